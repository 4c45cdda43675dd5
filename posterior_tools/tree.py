"""Put draws and their design into one self-contained tree."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import pandas as pd
import xarray as xr

from popavg import columns
from popavg.bridge_logit import require_intercept
from popavg.design import Design
from popavg.families import Family
from popavg.links import Link
from popavg.specification import ATTRIBUTE, GroupSpecification, Specification

__all__ = ["design_groups", "fit_tree", "read_training_frame", "specify", "versions"]

_PACKAGES = ("popavg", "numpy", "scipy", "pandas", "xarray", "formulae", "arviz-base")


def versions(extra: tuple[str, ...] = ()) -> dict[str, str]:
    """Versions of the packages that a fit depends on."""
    return {name: importlib.metadata.version(name) for name in (*_PACKAGES, *extra)}


def specify(design: Design, link: Link, family: Family) -> Specification:
    """The specification of a model, before anything is drawn."""
    require_intercept(link, design.matrices.groups)
    mixing = link.mixing.name
    groups = tuple(
        GroupSpecification(group.name, group.effects, len(group.levels), group.blocks, mixing)
        for group in design.matrices.groups
    )
    return Specification(
        formula=design.formula.text,
        link=link.name,
        family=family.name,
        response=design.response.label,
        event=design.response.event,
        terms=design.matrices.terms,
        groups=groups,
        columns=columns.describe(design.frame),
        missing=design.missing,
        versions=versions(),
    )


def fit_tree(
    design: Design, specification: Specification, groups: dict[str, xr.Dataset]
) -> xr.DataTree:
    """A fit from draws.

    Parameters
    ----------
    design : Design
        Formula and training data.
    specification : Specification
        Link, family, priors, sampler.
    groups : dict of str to xarray.Dataset
        At least ``"posterior"``, with the names of design.md section 4: ``beta`` (term),
        ``sd_<g>`` (effect_<g>), ``corr_<g>``, ``u_<g>``.

    Returns
    -------
    xarray.DataTree
        ``groups`` plus ``constant_data``, ``observed_data`` and ``training_data``; the
        specification as JSON in the root's attributes.
    """
    tree = xr.DataTree.from_dict({**groups, **design_groups(design)})
    tree.attrs[ATTRIBUTE] = specification.to_json()
    return tree


def design_groups(design: Design) -> dict[str, xr.Dataset]:
    """Design matrices, outcome and training frame as datasets along ``obs``."""
    matrices, response = design.matrices, design.response
    data = {"X": (("obs", "term"), matrices.X), "offset": ("obs", matrices.offset)}
    coords: dict[str, list[str]] = {"term": list(matrices.terms)}
    if response.trials is not None:
        data["trials"] = ("obs", response.trials)
    for group in matrices.groups:
        data[f"Z_{group.name}"] = (("obs", f"effect_{group.name}"), group.Z)
        data[f"index_{group.name}"] = ("obs", group.index.astype(np.int64))
        coords[f"effect_{group.name}"] = list(group.effects)
    frame = {name: ("obs", values) for name, values in columns.to_arrays(design.frame).items()}
    return {
        "constant_data": xr.Dataset(data, coords=coords),
        "observed_data": xr.Dataset({"y": ("obs", response.y)} if response.is_given else {}),
        "training_data": xr.Dataset(frame),
    }


def read_training_frame(tree: xr.DataTree, specification: Specification) -> pd.DataFrame:
    """The training frame as it was, categories with their levels."""
    stored = tree["training_data"].to_dataset()
    arrays = {name: stored[name].to_numpy() for name in specification.columns}
    return columns.from_arrays(arrays, specification.columns)

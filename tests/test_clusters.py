"""Which rows belong to one cluster."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
import xarray as xr

from popavg.errors import DataError, PopavgError, SpecificationError
from popavg.posterior_tools.clusters import check_known, cluster_codes, cluster_name
from popavg.posterior_tools.draws import Posterior

MakeFit = Callable[..., xr.DataTree]


def posterior_of(make_fit: MakeFit, frame: pd.DataFrame, formula: str) -> Posterior:
    return Posterior.from_fit(make_fit(formula, frame, extra=("r", "h", "g")))


def test_the_outermost_factor_is_the_clusters(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    posterior = posterior_of(make_fit, frame, "y ~ x + (1 | h/g)")
    codes = cluster_codes(posterior, frame, remedy="…")
    assert pd.DataFrame({"h": frame["h"], "code": codes}).drop_duplicates().shape == (4, 2)
    for name, n_clusters in (("h", 4), ("h:g", 12), ("r", 5)):
        codes = cluster_codes(posterior, frame, groups=name, remedy="…")
        assert len(set(codes.tolist())) == codes.max() + 1 == n_clusters


def test_new_clusters_and_any_order(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    posterior = posterior_of(make_fit, frame, "y ~ x + (1 | g)")
    rows = pd.DataFrame({"g": ["new", "c1", "new", "other"]}, index=[5, 5, 1, 2])
    assert cluster_codes(posterior, rows, remedy="…").tolist() == [0, 1, 0, 2]


def test_rows_without_clusters(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    posterior = posterior_of(make_fit, frame, "y ~ x + (1 | g)")
    with pytest.raises(DataError, match=r"'g' aren't in the rows.*Add the column 'g', or do this"):
        cluster_codes(posterior, frame.drop(columns="g"), remedy="do this")
    with pytest.raises(DataError, match="some are missing values"):
        cluster_codes(posterior, frame.assign(g=frame["g"].where(frame["x"] > 0)), remedy="…")
    crossed = posterior_of(make_fit, frame, "y ~ x + (1 | g) + (1 | r)")
    with pytest.raises(PopavgError, match="'g'"):
        cluster_codes(crossed, frame, remedy="…")


def test_the_clusters_are_the_outermost_factor(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | h/g)", frame))
    assert cluster_name(posterior) == "h"
    check_known(posterior, "h", remedy="…")
    crossed = Posterior.from_fit(make_fit("y ~ x + (1 | g) + (1 | r)", frame))
    with pytest.raises(SpecificationError, match="none of which holds all others"):
        cluster_name(crossed)

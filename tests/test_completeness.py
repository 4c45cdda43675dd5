"""Every module has a test file, every link, family, method, target and builder its place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.errors import PopavgError
from popavg.families import FAMILIES, Family
from popavg.links import LINKS, Link
from popavg.mixing import NORMAL
from popavg.posterior_tools.coefficients import METHODS, Method, population_coefficients
from popavg.posterior_tools.contrasts import COMPARISONS, ComparisonName
from popavg.posterior_tools.predictions import predictions
from popavg.posterior_tools.slopes import SLOPES, Slope
from popavg.posterior_tools.targets import MEANINGS, SCALES, TARGETS, Scale, Target
from popavg.posterior_tools.working_correlation import WORKING_CORRELATIONS

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src/popavg", "posterior_tools", "models", "workflows")
RESPONSES = {
    "bernoulli": "y",
    "binomial": "p(successes, trials)",
    "poisson": "count",
    "gaussian": "value",
}

#: Methods without a formula for some links; what they answer instead.
REFUSED = {
    ("exact", "logit"): "the logit link has no closed form",
    ("exact", "cloglog"): "the cloglog link has no closed form",
    ("attenuation", "cloglog"): "the cloglog link has no",
}

MakeFit = Callable[..., xr.DataTree]
FITTED = [(family, link) for family in FAMILIES for link in FAMILIES[family].links]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_has_a_test_file_of_its_name(folder: str) -> None:
    """Private ones (``_name``) are tested through the modules that use them."""
    modules = {path.stem for path in (ROOT / folder).glob("*.py") if path.stem[0] != "_"}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    short = folder.rpartition("/")[2]
    without = {m for m in modules if not {m, f"{short}_{m}"} & tests}
    assert not without


def concrete(parent: type) -> set[type]:
    """The package's own subclasses that can be made."""
    found = {child for direct in parent.__subclasses__() for child in {direct, *concrete(direct)}}
    return {c for c in found if c.__module__.startswith("popavg.") and not inspect.isabstract(c)}


@pytest.mark.parametrize(("parent", "registry"), [(Link, LINKS), (Family, FAMILIES)])
def test_every_link_and_family_is_registered(parent: type, registry: dict[str, object]) -> None:
    # A link with a mixing distribution of its own belongs to a builder.
    named = {c for c in concrete(parent) if getattr(c, "mixing", NORMAL) is NORMAL}
    assert named == {type(value) for value in registry.values()}
    assert all(getattr(value, "name", None) == name for name, value in registry.items())


def test_every_link_has_a_family_and_every_family_a_response_here() -> None:
    assert {link for _, link in FITTED} == set(LINKS)
    assert set(RESPONSES) == set(FAMILIES)


def test_annotations_and_registries_say_the_same() -> None:
    assert get_args(Method) == METHODS
    assert get_args(Target) == TARGETS == tuple(MEANINGS)
    assert get_args(Scale) == SCALES
    assert get_args(ComparisonName) == tuple(COMPARISONS)
    assert get_args(Slope) == tuple(SLOPES)


@pytest.fixture
def fit_of(make_fit: MakeFit, frame: pd.DataFrame) -> Callable[[str, str], xr.DataTree]:
    def made(family: str, link: str) -> xr.DataTree:
        formula = f"{RESPONSES[family]} ~ arm + x + (1 | g)"
        return make_fit(formula, frame, link, u=True, shape=(1, 3), extra=("visit",))

    return made


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("family", "link"), FITTED)
def test_every_method_with_every_link(
    fit_of: Callable[[str, str], xr.DataTree], family: str, link: str, method: Method
) -> None:
    fit, words = fit_of(family, link), REFUSED.get((method, link))
    if words is not None:
        with pytest.raises(PopavgError, match=words) as caught:
            population_coefficients(fit, method)
        assert caught.value.allowed or caught.value.remedy
        return
    found = population_coefficients(fit, method)
    assert found.draws.dims == ("chain", "draw", "term")
    assert np.isfinite(found.draws).all()
    assert found.method == method


@pytest.mark.parametrize("structure", WORKING_CORRELATIONS)
@pytest.mark.parametrize(("family", "link"), FITTED)
def test_every_working_correlation_with_every_link(
    fit_of: Callable[[str, str], xr.DataTree], family: str, link: str, structure: str
) -> None:
    options = {"alpha": 0.1} if structure != "independence" else {}
    options |= {"time": "visit"} if structure == "ar1" else {}
    fit = fit_of(family, link)
    found = population_coefficients(fit, working_correlation=structure, **options)  # ty: ignore
    assert np.isfinite(found.draws).all()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("family", "link"), FITTED)
def test_every_target_with_every_link(
    fit_of: Callable[[str, str], xr.DataTree], family: str, link: str, target: Target
) -> None:
    found = predictions(fit_of(family, link), over={"x": [-1.0, 1.0]}, target=target)
    values = found.draws.to_numpy()
    assert values.shape == (1, 3, 2)
    assert np.isfinite(values).all()
    if LINKS[link].is_probability:
        assert ((values > 0.0) & (values < 1.0)).all()
    assert MEANINGS[target] in " ".join(found.notes)


def quotient(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return high / low


#: The verbs, with what each is asked beside target and scale.
VERBS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "predictions": ("over", ({"x": [0.0, 0.5]},)),
    "avg_predictions": ("by", ("arm",)),
    "comparisons": ("comparison", (*COMPARISONS, quotient)),
    "avg_comparisons": ("comparison", (*COMPARISONS, quotient)),
    "slopes": ("slope", tuple(SLOPES)),
    "avg_slopes": ("slope", tuple(SLOPES)),
}


def refused(link: str, scale: Scale, asked: Any) -> str | None:
    """The words with which a comparison is refused, all others work."""
    if asked in ("odds_ratio", "lnor", "nnt") and not LINKS[link].is_probability:
        return "needs a probability"
    if asked in ("ratio", "lnratio", "odds_ratio", "lnor", "nnt") and scale == "link":
        return "on the link scale"
    return None


def test_every_verb_is_listed() -> None:
    names = {name for name in pa.__all__ if name.startswith("avg_")}
    assert names | {name.removeprefix("avg_") for name in names} == set(VERBS)


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("link", LINKS)
def test_every_verb_with_every_link_target_and_scale(
    make_fit: MakeFit,
    frame: pd.DataFrame,
    *,
    link: str,
    target: Target,
    verb: str,
) -> None:
    """Finite numbers of the kind that were asked for, or words on what to ask instead."""
    family = next(family for family, known in FITTED if known == link)
    formula = f"{RESPONSES[family]} ~ arm + x + (1 | g)"
    options = {"beta": [2.0, 0.3, 0.1], "sd": {"g": [0.1]}, "u": True, "shape": (1, 3)}
    fit = make_fit(formula, frame, link, **options)
    argument, values = VERBS[verb]
    for scale, value in product(SCALES, values):
        asked = {argument: value, "target": target, "scale": scale, "newdata": frame.iloc[:4]}
        words = refused(link, scale, value) if argument == "comparison" else None
        if words is not None:
            with pytest.raises(PopavgError, match=words) as caught:
                getattr(pa, verb)(fit, **asked)
            assert caught.value.allowed or caught.value.remedy
            continue
        found = getattr(pa, verb)(fit, **asked)
        assert found.draws.shape == (1, 3, len(found.labels))
        assert np.isfinite(found.draws).all()
        assert found.target == target
        assert MEANINGS[target] in found.notes[0]
        assert (found.labels["target"] == target).all()
        assert np.isfinite(found.to_frame()["estimate"]).all()


def test_every_builder_is_documented_and_tested() -> None:
    public = {name: getattr(pa.models, name) for name in pa.models.__all__}
    builders = {name: made for name, made in public.items() if not inspect.isclass(made)}
    assert set(public) - set(builders) == {"Bridge"}  # a distribution: tests/test_models_bridge.py
    for builder in builders.values():
        assert inspect.signature(builder).return_annotation == "pm.Model"
    files = ("test_glmm.py", "test_bridge_glmm.py")
    tests = "".join((ROOT / "tests" / name).read_text(encoding="utf-8") for name in files)
    imported = {part for line in tests.splitlines() if "glmm import" in line
                for part in line.partition("import ")[2].split(", ")}  # fmt: skip
    for name, builder in builders.items():
        doc = inspect.getdoc(builder) or ""
        absent = [word for word in ("Parameters", "Returns", "Raises", "Examples", ">>>")
                  if word not in doc]  # fmt: skip
        assert not absent, f"{name} lacks {absent}"
        assert name in imported, f"{name} isn't in {files}"
        assert tests.count(name) > 1, f"{name} is imported but unused in {files}"

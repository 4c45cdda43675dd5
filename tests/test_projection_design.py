"""Rows, weights and clusters of a projection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.projection_design import (
    ProjectionDesign,
    WorkingStructure,
    numeric_time,
)

MakeFit = Callable[..., xr.DataTree]
INDEPENDENCE = WorkingStructure()


@pytest.fixture
def posterior(make_fit: MakeFit, frame: pd.DataFrame) -> Posterior:
    return Posterior.from_fit(make_fit("y ~ arm + x + (1 | g)", frame, extra=("visit", "w")))


def clusters(rows: ProjectionDesign) -> list[frozenset[int]]:
    assert rows.layout is not None
    return [
        frozenset(part.tolist()) for part in np.split(rows.layout.order, rows.layout.starts[1:])
    ]


def test_distinct_rows_stand_for_every_observation(posterior: Posterior) -> None:
    rows = ProjectionDesign.build(posterior, "observed", "w", INDEPENDENCE)
    matrices = posterior.design.matrices
    np.testing.assert_array_equal(rows.matrices.X[rows.rows], matrices.X)
    weights = [rows.weights[rows.rows == i].sum() for i in range(rows.matrices.n_rows)]
    np.testing.assert_allclose(rows.distinct_weights, weights)
    np.testing.assert_array_equal(rows.weights, posterior.design.frame["w"])
    assert rows.label == "the 60 observed rows"


def test_trials_weigh_the_observed_rows_only(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    posterior = Posterior.from_fit(make_fit("p(successes, trials) ~ x + (1 | g)", frame))
    observed = ProjectionDesign.build(posterior, "observed", None, INDEPENDENCE)
    np.testing.assert_array_equal(observed.trials, frame["trials"])
    own = ProjectionDesign.build(posterior, frame, None, INDEPENDENCE)
    np.testing.assert_array_equal(own.trials, np.ones(60))
    assert own.label == "60 rows of a design of its own"


def test_clusters_are_those_of_the_factor(posterior: Posterior, frame: pd.DataFrame) -> None:
    structure = WorkingStructure("exchangeable", 0.3)
    expected = [frozenset(rows) for rows in frame.groupby("g", sort=False).groups.values()]
    for design in ("observed", frame):
        rows = ProjectionDesign.build(posterior, design, None, structure)
        assert set(clusters(rows)) == set(expected)
    named = frame.rename(columns={"h": "school"})
    other = WorkingStructure("exchangeable", 0.3, groups="school")
    rows = ProjectionDesign.build(posterior, named, None, other)
    expected = [frozenset(rows) for rows in frame.groupby("h", sort=False).groups.values()]
    assert set(clusters(rows)) == set(expected)


def test_nested_clusters_of_a_design_need_not_be_those_of_the_fit(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | h/g)", frame))
    intended = pd.DataFrame({"x": [0.0, 1, 2, 3], "h": ["n", "n", "m", "m"], "g": list("aabb")})
    for name, expected in (("h:g", [{0, 1}, {2, 3}]), ("h", [{0, 1}, {2, 3}])):
        structure = WorkingStructure("exchangeable", 0.3, groups=name)
        assert clusters(ProjectionDesign.build(posterior, intended, None, structure)) == expected


def test_times_in_order_of_the_visits(posterior: Posterior, frame: pd.DataFrame) -> None:
    structure = WorkingStructure("ar1", 0.5, time="visit")
    shuffled = frame.sample(frac=1, random_state=1)
    for design in ("observed", shuffled):
        rows = ProjectionDesign.build(posterior, design, None, structure)
        assert rows.layout is not None
        visits = (frame if isinstance(design, str) else shuffled)["visit"].to_numpy()
        assert visits[rows.layout.order].tolist() == list(range(5)) * 12


def test_levels_of_a_design_are_numbered_as_in_the_fit(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    order = ["baseline", "week 1", "week 4", "month 3", "end"]
    data = frame.assign(week=pd.Categorical([order[v] for v in frame["visit"]], order))
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | g)", data, extra=("week",)))
    some = data.loc[data["visit"].isin([0, 2, 4])].astype({"week": str})
    structure = WorkingStructure("ar1", 0.5, time="week")
    rows = ProjectionDesign.build(posterior, some, None, structure)
    assert rows.layout is not None
    assert rows.layout.gaps is not None
    assert rows.layout.gaps.tolist() == [0, 2, 2] * 12


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([3, 1]), [3, 1]),
        (pd.Series([0.5, 1.5]), [0.5, 1.5]),
        (pd.Series(["b", "a", "b"]), [1, 0, 1]),
        (pd.Series(pd.Categorical(["b", "a"], ["b", "a"])), [0, 1]),
    ],
)
def test_times_as_numbers(column: pd.Series, expected: list[float]) -> None:
    assert numeric_time(column).tolist() == expected


@pytest.mark.parametrize(
    "column", [pd.Series([True, False]), pd.Series([1.0, np.nan]), pd.Series(["a", None])]
)
def test_what_is_not_a_time(column: pd.Series) -> None:
    with pytest.raises(DataError, match="holds booleans or missing values"):
        numeric_time(column)


def test_a_time_that_the_fit_has_not_seen() -> None:
    with pytest.raises(DataError, match=r"has 'c'.*Allowed: 'a', 'b'"):
        numeric_time(pd.Series(["a", "c"]), ["a", "b"])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(59), r"the weights have the shape \(59,\).*one for each of 60 rows"),
        (np.ones((60, 1)), r"the weights have the shape \(60, 1\)"),
        (np.r_[-1.0, np.ones(59)], "the weights are negative in row 0"),
        (np.r_[np.nan, np.inf, np.ones(58)], "are NaN in row 0, infinite in row 1"),
        (np.zeros(60), "the weights are all 0"),
        (["a"] * 60, "the weights: text, not numbers"),
        ("arm", "the weights 'arm': values of type str, not numbers"),
        ("size", r"the weights 'size' aren't a column.*keep=\['size'\]"),
    ],
)
def test_weights_that_cannot_be_used(posterior: Posterior, weights: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ProjectionDesign.build(posterior, "observed", weights, INDEPENDENCE)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (WorkingStructure("exchangable", 0.1), r"'exchangable' is unknown.*'exchangeable'"),
        (WorkingStructure("independence", 0.1), r"alpha=0.1 with .*'independence'"),
        (WorkingStructure("exchangeable"), r"'exchangeable' without alpha.*the GEE estimated"),
        (WorkingStructure("exchangeable", 1.5), "alpha=1.5 isn't an exchangeable correlation"),
        (WorkingStructure("ar1", 0.5), "'ar1' without a time"),
        (WorkingStructure("ar1", 0.5, time="week"), r"time column 'week' isn't .*keep=\['week'\]"),
        (WorkingStructure("exchangeable", 0.1, groups="ward"), "clusters 'ward' aren't in"),
    ],
)
def test_structures_that_are_not_complete(
    posterior: Posterior, structure: WorkingStructure, message: str
) -> None:
    with pytest.raises((DataError, SpecificationError), match=message):
        ProjectionDesign.build(posterior, "observed", None, structure)


def test_several_factors_need_a_choice(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    structure = WorkingStructure("exchangeable", 0.1)
    for formula, n in (("y ~ x + (1 | g) + (1 | r)", 2), ("y ~ x", 0)):
        posterior = Posterior.from_fit(make_fit(formula, frame))
        with pytest.raises(SpecificationError, match=rf"has {n} grouping factors.*groups="):
            ProjectionDesign.build(posterior, "observed", None, structure)


def test_designs_that_cannot_be_used(posterior: Posterior, frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="the design has no rows"):
        ProjectionDesign.build(posterior, frame.iloc[:0], None, INDEPENDENCE)
    with pytest.raises(SpecificationError, match=r"design='grid'.*'observed' or a DataFrame"):
        ProjectionDesign.build(posterior, "grid", None, INDEPENDENCE)  # ty: ignore
    with pytest.raises(DataError, match="'arm' has the level 'surgery'"):
        ProjectionDesign.build(posterior, frame.assign(arm="surgery"), None, INDEPENDENCE)
    lost = frame.assign(g=frame["g"].where(frame.index > 0))
    structure = WorkingStructure("exchangeable", 0.1, groups="g")
    with pytest.raises(DataError, match="missing value"):
        ProjectionDesign.build(posterior, lost, None, structure)


def test_words() -> None:
    assert str(INDEPENDENCE) == "independence"
    assert str(WorkingStructure("exchangeable", 0.42157)) == "exchangeable, α = 0.422"


def test_weights_with_an_index_must_have_that_of_the_design(
    make_fit: Callable[..., xr.DataTree], frame: pd.DataFrame
) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | g)", frame))
    turned, plain = frame[::-1], WorkingStructure()
    with pytest.raises(DataError, match="index isn't that of the rows"):
        ProjectionDesign.build(posterior, turned, frame["w"], plain)
    named = ProjectionDesign.build(posterior, turned, "w", plain)
    given = ProjectionDesign.build(posterior, turned, turned["w"], plain)
    np.testing.assert_array_equal(named.weights, given.weights)

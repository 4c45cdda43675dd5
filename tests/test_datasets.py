"""The data sets are what their sources say they are."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import popavg as pa

# Rows, clusters and levels (reference first) as documented with the R packages the data come from:
# HSAUR3 (toenail, respiratory), geepack (ohio), MASS (bacteria, epil), mlmRev, lme4 (cbpp).
DOCUMENTED = {
    "toenail": (1908, 294, {"treatment": ["itraconazole", "terbinafine"]}),
    "ohio": (2148, 537, {}),
    "respiratory": (
        444,
        111,
        {
            "centre": ["1", "2"],
            "treatment": ["placebo", "treatment"],
            "gender": ["female", "male"],
            "baseline": ["poor", "good"],
        },
    ),
    "bacteria": (220, 50, {"trt": ["placebo", "drug", "drug+"]}),
    "contraception": (1934, 60, {"urban": ["rural", "urban"], "livch": ["0", "1", "2", "3+"]}),
    "cbpp": (56, 15, {"period": ["1", "2", "3", "4"]}),
    "epil": (236, 59, {"trt": ["placebo", "progabide"]}),
}


def _equal(left: pd.Series, right: pd.Series) -> bool:
    return left.astype(bool).tolist() == right.astype(bool).tolist()


@pytest.fixture(params=sorted(DOCUMENTED))
def data(request: pytest.FixtureRequest) -> pd.DataFrame:
    return pa.load_dataset(request.param)


def test_every_data_set_is_documented_here() -> None:
    assert set(pa.list_datasets()["name"]) == set(DOCUMENTED)


def test_rows_clusters_and_levels(data: pd.DataFrame) -> None:
    rows, clusters, levels = DOCUMENTED[data.attrs["name"]]
    assert len(data) == rows
    assert data[data.attrs["cluster"]].nunique() == clusters
    for column, expected in levels.items():
        assert data[column].cat.categories.to_list() == expected
        assert data[column].cat.ordered  # formulae sorts the levels of an unordered factor


def test_nothing_is_missing(data: pd.DataFrame) -> None:
    assert not data.isna().any(axis=None)
    text = data.select_dtypes(include=["str", "category"]).astype(str)
    assert not (text == "").any(axis=None)


def test_every_text_column_but_the_cluster_is_categorical(data: pd.DataFrame) -> None:
    text = set(data.select_dtypes(include=["str", "object"]).columns)
    assert text <= {data.attrs["cluster"]}


def test_every_column_is_explained(data: pd.DataFrame) -> None:
    assert list(data.attrs["variables"]) == data.columns.to_list()
    assert data.attrs["title"]
    assert data.attrs["source"]


def test_formula_and_roles_name_columns(data: pd.DataFrame) -> None:
    about = data.attrs
    names = set(re.findall(r"[A-Za-z]\w*", about["formula"])) - {"p"}
    assert names <= set(data.columns)
    assert {about[role] for role in ("cluster", "time", "wave")} - {None} <= set(data.columns)
    assert f"(1 | {about['cluster']})" in about["formula"]
    assert about["link"] in {"logit", "log"}


def test_wave_orders_a_cluster_without_ties(data: pd.DataFrame) -> None:
    if (wave := data.attrs["wave"]) is not None:
        assert pd.api.types.is_numeric_dtype(data[wave])
        assert not data.duplicated([data.attrs["cluster"], wave]).any()


def test_derived_columns_agree_with_their_origin() -> None:
    toenail, lungs = pa.load_dataset("toenail"), pa.load_dataset("respiratory")
    women, bacteria = pa.load_dataset("contraception"), pa.load_dataset("bacteria")
    assert _equal(toenail["outcome"] == "moderate or severe", toenail["y"])
    assert _equal(lungs["status"] == "good", lungs["nstat"])
    assert _equal(women["use"] == "yes", women["y"])
    np.testing.assert_allclose(women["age"] ** 2, women["age2"], atol=1e-12)
    assert _equal(bacteria["week"] > 2, bacteria["week_gt2"])
    assert _equal(bacteria["ap"] == "placebo", bacteria["trt"] == "placebo")


def test_counts_are_within_the_trials() -> None:
    herds = pa.load_dataset("cbpp")
    assert herds["incidence"].between(0, herds["size"]).all()
    assert herds["size"].sum() == 842


def test_each_call_gives_a_fresh_copy() -> None:
    first = pa.load_dataset("cbpp")
    first.loc[0, "size"] = -1
    first.attrs["variables"]["size"] = "spoilt"
    second = pa.load_dataset("cbpp")
    assert second.loc[0, "size"] == 14
    assert second.attrs["variables"]["size"] != "spoilt"


def test_list_has_a_row_for_each_data_set() -> None:
    table = pa.list_datasets().set_index("name")
    assert table.columns.to_list() == [
        "title",
        "rows",
        "clusters",
        "cluster",
        "response",
        "formula",
        "link",
        "source",
    ]
    for name, (rows, clusters, _) in DOCUMENTED.items():
        assert (table.loc[name, "rows"], table.loc[name, "clusters"]) == (rows, clusters)
    assert table.loc["cbpp", "response"] == "p(incidence, size)"


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(pa.errors.SpecificationError) as caught:
        pa.load_dataset("toenails")
    message = str(caught.value)
    assert "name='toenails' is unknown" in message
    assert "'epil'" in message
    assert "Did you mean 'toenail'?" in message


@pytest.mark.parametrize("name", [None, 3, ["toenail"], "../toenail", ""])
def test_odd_names_are_refused(name: object) -> None:
    with pytest.raises(pa.errors.SpecificationError):
        pa.load_dataset(name)

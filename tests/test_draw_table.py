"""Draws in the containers that programs give them in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popavg.errors import DataError
from popavg.posterior_tools.draw_table import read_table

RNG = np.random.default_rng(1)
B = RNG.normal(size=(2, 5, 3))
TAU = RNG.random((2, 5))


def dataset(**coords: Any) -> xr.Dataset:
    return xr.Dataset(
        {"b": (("chain", "draw", "k"), B), "tau": (("chain", "draw"), TAU)}, coords=coords
    )


def frame(ending: str = "[{}]", first: int = 1) -> pd.DataFrame:
    columns = {".chain": np.repeat([1, 2], 5), ".iteration": np.tile(np.arange(5), 2)}
    columns |= {f"b{ending.format(k + first)}": B[:, :, k].ravel() for k in range(3)}
    return pd.DataFrame(columns | {"tau": TAU.ravel()})


def stan_files(folder: Path, lengths: tuple[int, ...] = (5, 5)) -> list[Path]:
    paths = []
    for chain, length in enumerate(lengths):
        rows = frame(".{}").iloc[5 * chain : 5 * chain + length]
        text = rows.drop(columns=[".chain", ".iteration"]).to_csv(index=False)
        header, body = text.split("\n", 1)
        paths.append(folder / f"chain{chain}.csv")
        paths[-1].write_text(f"# stan_version = 2\n{header}\n# Adaptation\n{body}# 1 s\n")
    return paths


@pytest.mark.parametrize(
    "draws",
    [
        dataset(),
        dataset().transpose("k", "draw", "chain"),
        xr.DataTree.from_dict({"posterior": dataset(), "prior": xr.Dataset()}),
        xr.DataTree.from_dict({"posterior": dataset()})["posterior"],
        SimpleNamespace(posterior=dataset()),
        {"b": B, "tau": TAU},
        {"b": list(B), "tau": xr.DataArray(TAU)},
        frame(),
        frame(".{}"),
        frame().sample(frac=1.0, random_state=1),
        [part.drop(columns=".chain") for _, part in frame().groupby(".chain")],
        frame().rename(columns={".chain": "chain__", ".iteration": "iter__"}),
    ],
)
def test_every_container_gives_the_same(draws: Any) -> None:
    table = read_table(draws)
    assert table.shape == (2, 5)
    np.testing.assert_array_equal(table.get("b").values, B)
    np.testing.assert_array_equal(table.get("tau").values, TAU)


def test_files_of_stan_and_of_r(tmp_path: Path) -> None:
    for draws in (stan_files(tmp_path), list(map(str, stan_files(tmp_path)))):
        np.testing.assert_allclose(read_table(draws).get("b").values, B, rtol=1e-15)
    frame().to_csv(tmp_path / "draws.csv", index=False)
    np.testing.assert_allclose(read_table(tmp_path / "draws.csv").get("tau").values, TAU)


def test_elements_by_position_and_by_label() -> None:
    labelled = read_table(dataset(k=["one", "two", "three"]))
    np.testing.assert_array_equal(labelled.get("b[two]").values, B[:, :, 1])
    assert labelled.get("b").labels == (("one", "two", "three"),)
    np.testing.assert_array_equal(read_table({"b": B}).get("b[2]").values, B[:, :, 2])
    assert "b[3]" not in read_table({"b": B})
    matrices = {f"S[{i},{j}]": RNG.random(4) for j in (1, 2) for i in (1, 2)}
    found = read_table(pd.DataFrame(matrices)).get("S")
    assert found.values.shape == (1, 4, 2, 2)
    assert found.labels == (("1", "2"), ("1", "2"))
    np.testing.assert_array_equal(found.values[0, :, 1, 0], matrices["S[2,1]"])


def test_columns_numbered_in_another_order() -> None:
    shuffled = frame()[["b[3]", "tau", "b[1]", ".chain", "b[2]"]]
    np.testing.assert_array_equal(read_table(shuffled).get("b").values, B)


def test_nan_and_infinite_draws_are_counted_and_located() -> None:
    b = B.copy()
    b[1, 2, 0], b[1, 4, 1] = np.nan, np.inf
    message = "2 of 10 draws of 'b' are NaN or infinite, the first is draw 3 of chain 2"
    with pytest.raises(DataError, match=message):
        read_table({"b": b}).get("b")
    assert read_table({"b": b, "tau": TAU}).get("tau")


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (frame().iloc[:8], r"different numbers of draws: chain 1 5, chain 2 3\. .*head\(3\)"),
        ({"b": [B[0], B[1, :3]]}, "the chains of 'b' have 5, 3 draws.*first 3 draws of each"),
        ({"b": B, "tau": TAU[:, :4]}, r"shapes 'b' \(2, 5, 3\), 'tau' \(2, 4\)"),
        ({"b": B[0], "tau": TAU[0]}, r"get_samples\(group_by_chain=True\)"),
        (dataset().rename(draw="sample"), r"no variable has the dims 'chain' and 'draw': b\('ch"),
        (xr.DataTree.from_dict({"prior": dataset()}), "the tree has the groups 'prior'"),
        ({}, "of type dict without entries"),
        ([], "of type list without entries"),
        (B, "of type ndarray"),
        (dataset().isel(draw=slice(0)), "2 chains of 0 draws"),
        (frame().iloc[:0], "there are no draws"),
        (pd.concat([frame(), frame()[["tau"]]], axis=1), "the columns 'tau' appear twice"),
        ("nowhere.csv", "'nowhere.csv' can't be read"),
        ([frame(), frame()], "item 1 of the list holds several chains"),
        ([frame().head(5), frame().head(5).assign(z=1)], "chain 2 has other columns.*'z'"),
        ([frame().head(5), frame().tail(3)], "different numbers of draws: chain 1 5, chain 2 3"),
    ],
)
def test_bad_containers(draws: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(draws)


def test_chains_of_different_length_in_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="chain 1 5, chain 2 4"):
        read_table(stan_files(tmp_path, (5, 4)))


def test_stacked_chains() -> None:
    stacked = frame().drop(columns=[".chain", ".iteration"])
    np.testing.assert_array_equal(read_table(stacked, chains=2).get("b").values, B)
    assert read_table(stacked).shape == (1, 10)
    with pytest.raises(DataError, match="10 draws can't be 3 chains"):
        read_table(stacked, chains=3)
    with pytest.raises(DataError, match="names 2 chains, but chains=5"):
        read_table(frame(), chains=5)


def test_names_that_are_not_there() -> None:
    with pytest.raises(DataError, match=r"the draws have no 'ta'.*Did you mean 'tau'\?"):
        read_table(frame()).get("ta")
    with pytest.raises(DataError, match="'b' has 2 columns, but indices for 2 × 2"):
        read_table(pd.DataFrame({"b[1,1]": [1.0], "b[2,2]": [1.0]})).get("b")
    with pytest.raises(DataError, match="the columns of 'b' have '1', '2' indices"):
        read_table(pd.DataFrame({"b[1,1]": [1.0], "b[2]": [1.0]})).get("b")
    with pytest.raises(DataError, match=r"draws of 'tau': .*, not numbers"):
        read_table(frame().assign(tau="high")).get("tau")

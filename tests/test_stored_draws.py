"""Rows of draws on the disk: what is read back is what was written, whole draws only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from popavg.errors import ConvergenceError
from popavg.workflows import stored_draws
from popavg.workflows.stored_draws import Column, Go, Layout, Snapshot

LAYOUT = Layout(
    (
        Column("sd_log__", "", ("e",), (1,), "float64"),
        Column("u", "posterior", ("g ü", "e"), (3, 1), "float64"),
        Column("sd", "posterior", ("e",), (1,), "float64"),
        Column("logp", "sample_stats", (), (), "float64"),
        Column("diverging", "sample_stats", (), (), "bool"),
        Column("depth", "sample_stats", (), (), "uint64"),
    ),
    4,
    {"g ü": ["a", "b", "c"], "e": ["Intercept"]},
)


def rows_of(draws: int, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(draws, LAYOUT.width))
    rows[:, -2:] = rng.integers(0, 2, (draws, 2))
    return rows


@pytest.fixture
def group(tmp_path: Path) -> zarr.Group:
    return zarr.open_group(tmp_path / "run.zarr", mode="w")


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four draws in a file."""
    monkeypatch.setattr(stored_draws, "FILE_SIZE", 4 * LAYOUT.width)


def go_in(
    group: zarr.Group, name: str = "0", chains: tuple[int, ...] = (0, 1), draws: int = 30
) -> Go:
    made = group.require_group("draws").create_group(name)
    return Go.create(made, chains, draws, layout=LAYOUT, seed=5)


def test_a_layout_goes_through_json() -> None:
    assert Layout.from_dict(json.loads(json.dumps(LAYOUT.to_dict()))) == LAYOUT
    assert LAYOUT.width == 8
    assert LAYOUT.places["sd"] == slice(4, 5)


def test_a_row_becomes_variables_with_their_types_and_labels() -> None:
    rows = np.stack([rows_of(5, seed) for seed in (1, 2)])
    posterior = LAYOUT.dataset(rows, "posterior", [0, 3])
    assert set(posterior.data_vars) == {"u", "sd"}
    assert posterior["u"].dims == ("chain", "draw", "g ü", "e")
    assert posterior["chain"].to_numpy().tolist() == [0, 3]
    assert posterior["g ü"].to_numpy().tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(posterior["u"][1, 4, :, 0], rows[1, 4, 1:4])
    statistics = LAYOUT.dataset(rows, "sample_stats", [0, 3])
    assert {name: str(array.dtype) for name, array in statistics.items()} == {
        "logp": "float64",
        "diverging": "bool",
        "depth": "uint64",
    }
    np.testing.assert_array_equal(statistics["depth"], rows[:, :, 7])


@pytest.mark.usefixtures("small_files")
def test_what_was_written_in_pieces_is_read_whole(group: zarr.Group) -> None:
    go, rows = go_in(group), [rows_of(30, seed) for seed in (1, 2)]
    for start, end in ((0, 3), (3, 4), (4, 17), (17, 30)):
        go.write(0, start, rows[0][start:end])
    go.write(1, 0, rows[1][:6])
    again = Go.open(group["draws/0"])
    assert again is not None
    assert (again.chains, again.seed, again.layout) == ((0, 1), 5, LAYOUT)
    np.testing.assert_array_equal(again.read(0), rows[0])
    np.testing.assert_array_equal(again.read(1), rows[1][:6])


@pytest.mark.usefixtures("small_files")
def test_draws_after_a_gap_are_not_whole(group: zarr.Group, tmp_path: Path) -> None:
    """The disk was full for one file and not for the next; or the process was killed in between."""
    go, rows = go_in(group), rows_of(20)
    go.write(0, 0, rows)
    files = sorted(path for path in tmp_path.rglob("*") if "/c/0/" in str(path) and path.is_file())
    assert len(files) == 5
    (tmp_path / "run.zarr/draws/0/rows/c/0/2/0").unlink()
    (tmp_path / "run.zarr/draws/0/rows/c/0/2/0.f00.partial").write_bytes(b"half")
    np.testing.assert_array_equal(go.read(0), rows[:8])
    assert go.read(1).shape == (0, LAYOUT.width)


def test_nothing_is_there_before_the_first_draw(group: zarr.Group) -> None:
    assert Go.open(group.create_group("draws/0")) is None


def test_goes_are_put_one_after_the_other(group: zarr.Group) -> None:
    first, second = go_in(group), go_in(group, "1", (1, 0))
    rows = [rows_of(12, seed) for seed in range(3)]
    first.write(0, 0, rows[0][:5])
    first.write(1, 0, rows[1][:2])
    second.write(0, 0, rows[2][:9])
    second.write(1, 0, rows[0][5:])
    found = Snapshot.of([first, second], 2, 10)
    assert found.lengths == (10, 10)
    assert found.parts == ((5, 2), (5, 8))
    np.testing.assert_array_equal(found.rows[0], rows[0][:10])
    np.testing.assert_array_equal(found.rows[1], np.concatenate([rows[1][:2], rows[2][:8]]))
    for state, last in zip(found.states(), found.rows, strict=True):
        np.testing.assert_array_equal(state, last[-1, :4])
    tree = found.tree()
    assert tree.attrs["goes"] == [[5, 2], [5, 8]]
    assert "Drawn in 2 goes (draws of each chain: 5, 2; 5, 8)" in tree.attrs["note"]


def test_chains_are_cut_to_what_all_have_and_empty_ones_left_out(group: zarr.Group) -> None:
    go = go_in(group, chains=(0, 1, 2))
    go.write(0, 0, rows_of(7))
    go.write(2, 0, rows_of(4))
    found = Snapshot.of([go], 3, 30)
    assert found.lengths == (7, 0, 4)
    posterior = found.tree()["posterior"]
    assert posterior["chain"].to_numpy().tolist() == [0, 2]
    assert posterior.sizes["draw"] == 4
    assert found.tree().attrs == {}
    assert len(found.states()) == 2


def test_without_draws_there_is_no_tree() -> None:
    found = Snapshot.of([], 2, 10)
    assert (found.lengths, found.states()) == ((0, 0), [])
    with pytest.raises(ConvergenceError, match="before any chain had a draw"):
        found.tree()


def test_a_huge_run_is_not_read_beyond_its_draws(group: zarr.Group) -> None:
    """A million draws were asked for: rows that aren't there take neither disk nor memory."""
    go = go_in(group, draws=10**9)
    go.write(0, 0, rows_of(3))
    assert len(go.read(0)) == 3

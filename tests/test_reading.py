"""Tables from files; what isn't a table is an error in words, and no row is bent into shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from popavg.errors import DataError
from popavg.workflows.reading import read_table

TABLE = pd.DataFrame({"y": [1, 0], "größe": [1.5, -2.0], "g g": ["a, b", "ünï"]})


@pytest.mark.parametrize(("ending", "separator"), [(".csv", ","), (".tsv", "\t"), (".txt", "\t")])
def test_text_tables(ending: str, separator: str, tmp_path: Path) -> None:
    path = tmp_path / f"data{ending}"
    TABLE.to_csv(path, sep=separator, index=False)
    pd.testing.assert_frame_equal(read_table(path), TABLE)


def test_byte_order_mark_and_upper_case_ending(tmp_path: Path) -> None:
    path = tmp_path / "DATA.CSV"
    TABLE.to_csv(path, index=False, encoding="utf-8-sig")
    pd.testing.assert_frame_equal(read_table(str(path)), TABLE)


@pytest.mark.parametrize("ending", [".parquet", ".pq"])
def test_parquet(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"data{ending}"
    TABLE.to_parquet(path)
    pd.testing.assert_frame_equal(read_table(path), TABLE)


def test_index_of_parquet_is_not_lost(tmp_path: Path) -> None:
    TABLE.set_index("g g").to_parquet(tmp_path / "data.parquet")
    assert set(read_table(tmp_path / "data.parquet").columns) == set(TABLE.columns)


def test_empty_fields_are_missing_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("y,x\n1,\n\n0,NA\n1,2\n\n")
    np.testing.assert_array_equal(read_table(path)["x"], [np.nan, np.nan, 2.0])


def test_quoted_separators_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('y,x\n1,"a, b"\n0,"two\nlines"\n')
    assert read_table(path)["x"].to_list() == ["a, b", "two\nlines"]


BAD: dict[str, tuple[str, bytes, str]] = {
    "binary": ("data.csv", bytes(range(256)) * 10, "isn't a readable text table in UTF-8"),
    "latin-1": ("data.csv", "y,größe\n1,2\n".encode("latin-1"), "isn't a readable text table"),
    "empty": ("data.csv", b"", r"isn't a readable text table.*No columns"),
    "long row": ("data.csv", b"y,x\n1,2\n0,3,4\n", r"line 3 of .* has 3 fields.*are 2.*Quote"),
    "short row": ("data.csv", b"y,x,g\n1,2,a\n0,3\n", r"line 3 of .* has 2 fields"),
    "all rows too long": ("data.csv", b"y,x\n1,2,3\n0,3,4\n", r"line 2 of .* has 3 fields"),
    "name twice": ("data.csv", b"y,x,x\n1,2,3\n", r"the column names 'x' appear twice"),
    "other separator": ("data.csv", b"y;x\n1;2\n", r"one column called 'y;x'.*separated by ','"),
    "other ending": ("data.xlsx", b"PK", r"ends in '\.xlsx'.*'\.csv'.*save it as CSV"),
    "no ending": ("data", b"y,x\n1,2\n", r"ends in ''"),
    "not Parquet": ("data.parquet", b"y,x\n1,2\n", r"isn't a readable Parquet file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_a_table(kind: str, tmp_path: Path) -> None:
    name, content, message = BAD[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"(?i){message}"):
        read_table(tmp_path / name)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"doesn't exist\. Check the path"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="doesn't exist"):
        read_table("x" * 5000 + ".csv")

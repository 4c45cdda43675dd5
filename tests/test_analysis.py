"""The main job: errors come before the sampling, and what was computed isn't lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.errors import DataError, PopavgError, SpecificationError, StorageError
from popavg.workflows import analysis
from popavg.workflows.analysis import FILES, Analysis, analyse, rehearse, results_folder, write

FORMULA = "y ~ treatment * time + (1 | patient)"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return pa.load_dataset("toenail")


@pytest.fixture(scope="module")
def result() -> Analysis:
    fit = pa.load_example()
    return Analysis(fit, pa.compare_gee(fit), "time", "treatment")


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Calls of the fit, which is the example's here."""
    calls: list[dict[str, Any]] = []

    def fit(formula: str, data: pd.DataFrame, **options: Any) -> xr.DataTree:
        calls.append({"formula": formula, **options})
        return pa.load_example()

    monkeypatch.setattr(analysis, "fit_model", fit)
    return calls


def test_fit_and_comparison(fits: list[dict[str, Any]], data: pd.DataFrame) -> None:
    found = analyse(FORMULA, data, link="logit", fit_options={"seed": 3})
    assert fits == [{"formula": FORMULA, "link": "logit", "seed": 3, "keep": []}]
    assert (found.over, found.by) == ("time", "treatment")
    pd.testing.assert_frame_equal(
        found.comparison.to_frame(), pa.compare_gee(pa.load_example()).to_frame()
    )


def test_columns_of_the_gee_are_kept(fits: list[dict[str, Any]], data: pd.DataFrame) -> None:
    options = {"groups": "patient", "time": "visit", "working_correlation": "ar1"}
    with pytest.raises(SpecificationError, match="'visit'"):  # the example's frame hasn't it
        analyse(FORMULA, data, link="logit", gee_options=options)
    assert fits[0]["keep"] == ["visit"]


EARLY: dict[str, tuple[dict[str, Any], str]] = {
    "link": ({"link": "loggit"}, "link='loggit' is unknown"),
    "formula": ({"formula": "y ~ tim + (1 | patient)"}, "'tim'"),
    "no groups": ({"formula": "y ~ time"}, r"\(1 \| "),
    "over": ({"over": "tim"}, "over='tim' isn't a covariate"),
    "by": ({"by": "patient"}, "by='patient' isn't a covariate"),
    "correlation": ({"gee_options": {"working_correlation": "toeplitz"}}, "toeplitz"),
    "ar1 without time": ({"gee_options": {"working_correlation": "ar1"}}, "time"),
    "groups of the gee": ({"gee_options": {"groups": "school"}}, "'school'"),
    "level": ({"gee_options": {"ci_prob": 89.0}}, "ci_prob=89"),
    "missing": ({"fit_options": {"missing": "ignore"}}, "missing='ignore'"),
}


@pytest.mark.parametrize("case", EARLY)
def test_errors_come_before_the_fit(
    case: str, fits: list[dict[str, Any]], data: pd.DataFrame
) -> None:
    changed, message = EARLY[case]
    options = {"formula": FORMULA, "link": "logit", **changed}
    with pytest.raises(PopavgError, match=message):
        analyse(options.pop("formula"), data, **options)
    assert fits == []


def test_separation_comes_before_the_fit(fits: list[dict[str, Any]], data: pd.DataFrame) -> None:
    separated = data.assign(perfect=data["y"] * 2.0)
    with pytest.raises(pa.errors.SeparationError):
        analyse("y ~ perfect + (1 | patient)", separated, link="logit")
    assert fits == []


def test_nested_factors_are_compared_over_the_outermost() -> None:
    data = pa.load_dataset("toenail").assign(clinic=lambda frame: frame["patient"] % 20)
    found = rehearse(
        "y ~ time + (1 | clinic/patient)", data, link="logit", fit_options={}, gee_options={}
    )
    assert found == ("time", None, "clinic")


def test_crossed_factors_need_groups_before_the_fit(
    fits: list[dict[str, Any]], data: pd.DataFrame
) -> None:
    with pytest.raises(SpecificationError, match="groups"):
        analyse("y ~ time + (1 | patient) + (1 | visit)", data, link="logit")
    assert fits == []


def test_fit_is_kept_when_the_comparison_fails(
    fits: list[dict[str, Any]],
    data: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def fails(fit: xr.DataTree, **options: Any) -> None:
        raise pa.errors.ConvergenceError("the projection didn't converge")

    monkeypatch.setattr(analysis, "compare_gee", fails)
    with pytest.raises(pa.errors.ConvergenceError) as caught:
        analyse(FORMULA, data, link="logit", folder=tmp_path)
    assert caught.value.__notes__ == [f"the fit is kept: {tmp_path / 'fit.nc'}"]
    xr.testing.assert_identical(pa.load(tmp_path / "fit.nc"), pa.load_example())


def test_files(result: Analysis, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "comparison.csv").write_text("old")
    paths = write(result, tmp_path)
    assert [path.name for path in paths] == list(FILES)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "notes.txt"}
    table = pd.read_csv(tmp_path / "comparison.csv")
    expected = result.comparison.to_frame()
    pd.testing.assert_frame_equal(table, expected, check_dtype=False, rtol=1e-12)
    assert (tmp_path / "population_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "<!DOCTYPE html>" in (tmp_path / "comparison.html").read_text("utf-8")
    xr.testing.assert_identical(pa.load(tmp_path / "fit.nc"), result.fit)


def test_an_old_picture_does_not_stay_where_there_is_none(result: Analysis, tmp_path: Path) -> None:
    (tmp_path / "population_curve.png").write_text("old")
    paths = write(Analysis(result.fit, result.comparison, None, None), tmp_path)
    assert [path.name for path in paths] == list(FILES[:3])
    assert not (tmp_path / "population_curve.png").exists()


class TestFolder:
    def test_is_made_with_its_parents(self, tmp_path: Path) -> None:
        with results_folder(tmp_path / "a" / "b", overwrite=False) as folder:
            assert folder.is_dir()
        assert folder.is_dir()

    @pytest.mark.parametrize("error", [DataError("no"), KeyboardInterrupt(), RuntimeError("no")])
    def test_what_was_made_is_removed_after_an_error(
        self, error: BaseException, tmp_path: Path
    ) -> None:
        with pytest.raises(type(error)), results_folder(tmp_path / "a" / "b", overwrite=False):
            raise error
        assert list(tmp_path.iterdir()) == []

    def test_results_stay_after_an_error(self, tmp_path: Path) -> None:
        def job() -> None:
            with results_folder(tmp_path / "a", overwrite=False) as folder:
                (folder / "fit.nc").write_text("kept")
                raise DataError("no")

        with pytest.raises(DataError):
            job()
        assert (tmp_path / "a" / "fit.nc").exists()

    def test_a_folder_that_was_there_stays(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError), results_folder(tmp_path / "empty", overwrite=True):
            raise DataError("no")
        assert (tmp_path / "empty").is_dir()

    def test_existing_folder_is_refused(self, tmp_path: Path) -> None:
        message = "exists. Allowed: a new folder. Say --overwrite"
        with pytest.raises(StorageError, match=message), results_folder(tmp_path, overwrite=False):
            pass

    @pytest.mark.parametrize("overwrite", [True, False])
    def test_file_is_refused(self, overwrite: bool, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        with (
            pytest.raises(StorageError, match="is a file"),
            results_folder(tmp_path / "file", overwrite=overwrite),
        ):
            pass

    def test_folder_in_a_file_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        with (
            pytest.raises(StorageError, match="can't be made"),
            results_folder(tmp_path / "file" / "out", overwrite=False),
        ):
            pass

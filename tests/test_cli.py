"""The command line: what it writes, and at most three lines for whatever goes wrong."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.errors import ConvergenceError, FitWarning
from popavg.workflows import analysis
from popavg.workflows.analysis import FILES
from popavg.workflows.cli import app, main

FORMULA = "y ~ treatment * time + (1 | patient)"
SCRIPT = Path(sys.executable).with_name("popavg")


@pytest.fixture
def csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "toenail.csv"
    pa.load_dataset("toenail").to_csv(path, index=False)
    return path


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Calls of the fit, which is the example's here: no sampling."""
    calls: list[dict[str, Any]] = []

    def fit(formula: str, data: pd.DataFrame, **options: Any) -> xr.DataTree:
        calls.append(options)
        return pa.load_example()

    monkeypatch.setattr(analysis, "fit_model", fit)
    return calls


def _compare(csv: Path, formula: str = FORMULA, *options: str, link: str = "logit") -> list[str]:
    return [
        "compare",
        str(csv),
        formula,
        "--link",
        link,
        "--out",
        str(csv.parent / "out"),
        *options,
    ]


def _refused(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """What standard error says: at most three lines, no traceback, nothing on standard output."""
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert 1 <= len(err.splitlines()) <= 3, err
    assert "Traceback" not in err
    return err


class TestResults:
    def test_files_and_words(
        self, csv: Path, fits: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = csv.parent / "out"
        assert main(_compare(csv, FORMULA, "--seed", "5", "--draws", "7", "--quiet")) == 0
        assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
        text, err = capsys.readouterr()
        assert err == ""
        comparison = pa.compare_gee(pa.load_example())
        assert text.startswith(f"{comparison}\n\nwritten: ")
        assert text.splitlines()[-4:] == [f"written: {out / name}" for name in FILES]
        table = pd.read_csv(out / "comparison.csv")
        pd.testing.assert_frame_equal(table, comparison.to_frame(), check_dtype=False, rtol=1e-12)
        (options,) = fits
        assert (options["seed"], options["draws"], options["progress"]) == (5, 7, False)
        assert (options["chains"], options["missing"], options["cores"]) == (4, "error", None)

    def test_options_reach_the_comparison(
        self, csv: Path, fits: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ("--ci-prob", "0.5", "--working-correlation", "independence", "--over", "time")
        assert main(_compare(csv, FORMULA, *options)) == 0
        expected = pa.compare_gee(
            pa.load_example(), ci_prob=0.5, working_correlation="independence"
        )
        assert capsys.readouterr().out.startswith(str(expected))

    def test_other_files_stay_when_results_are_replaced(
        self, csv: Path, fits: list[dict[str, Any]]
    ) -> None:
        out = csv.parent / "out"
        out.mkdir()
        (out / "notes.txt").write_text("mine")
        (out / "fit.nc").write_text("old")
        assert main(_compare(csv, FORMULA, "--overwrite")) == 0
        assert (out / "notes.txt").read_text() == "mine"
        assert {path.name for path in out.iterdir()} == {*FILES, "notes.txt"}
        assert pa.load(out / "fit.nc").attrs == pa.load_example().attrs

    def test_demo(
        self, tmp_path: Path, fits: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["demo", "--out", str(tmp_path / "demo"), "--quiet"]) == 0
        assert "written:" in capsys.readouterr().out
        assert fits[0]["seed"] == 1
        assert fits[0]["link"] == "logit"


BAD_CALLS: dict[str, tuple[list[str], str]] = {
    "unknown command": (["compar"], "No such command 'compar'"),
    "unknown option": (["compare", "--lonk", "logit"], "--lonk"),
    "no formula": (["compare", "data.csv"], "formula"),
    "no link": (["compare", "data.csv", FORMULA, "--out", "out"], "link"),
    "no folder": (["compare", "data.csv", FORMULA, "--link", "logit"], "out"),
    "not a number": (["demo", "--draws", "many"], "--draws"),
    "one argument too many": (["datasets", "toenail", "ohio"], "ohio"),
    "unknown data set": (["datasets", "toenails"], "name='toenails' is unknown"),
    "missing file": (
        ["compare", "nowhere.csv", FORMULA, "--link", "logit", "--out", "out"],
        "the file 'nowhere.csv' doesn't exist",
    ),
}


@pytest.mark.parametrize("kind", BAD_CALLS)
def test_bad_call(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, words = BAD_CALLS[kind]
    err = _refused(arguments, capsys)
    assert err.startswith("error: ")
    assert words in err
    assert list(tmp_path.iterdir()) == []


BAD_MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "link": (FORMULA, {"link": "logitt"}, "link='logitt' is unknown"),
    "column": ("y ~ tim + (1 | patient)", {}, "'tim'"),
    "cluster": ("y ~ time + (1 | person)", {}, "'person'"),
    "no cluster": ("y ~ time", {}, "(1 | "),
    "syntax": ("y ~ time + (1 | patient", {}, "error:"),
    "empty": ("", {}, "error:"),
    "imports": ("y ~ __import__('os').system('touch pwned') + (1 | patient)", {}, "error:"),
    "opens": ("y ~ open('pwned', 'w') + (1 | patient)", {}, "error:"),
    "megabyte": ("y ~ " + "time + " * 150_000 + "(1 | patient)", {}, "error:"),
    "nested brackets": ("y ~ " + "(" * 5000 + "time" + ")" * 5000, {}, "error:"),
    "response": ("visit ~ time + (1 | patient)", {}, "visit"),
}


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_bad_model(
    kind: str, csv: Path, fits: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    formula, options, words = BAD_MODELS[kind]
    err = _refused(_compare(csv, formula, **options), capsys)
    assert words in err
    assert len(err) < 3000
    assert fits == []
    assert [path.name for path in csv.parent.iterdir()] == ["toenail.csv"]


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "binary": (bytes(range(256)), "isn't a readable text table"),
    "ragged": (b"y,time,patient\n1,2,3\n0,3\n", "line 3 of"),
    "no rows": (b"y,treatment,time,patient\n", "no rows"),
    "column twice": (b"y,time,time,patient\n1,2,3,4\n", "appear twice"),
    "missing values": (b"y,treatment,time,patient\n1,a,,1\n0,b,1,1\n1,b,2,2\n", "'time'"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file(
    kind: str, tmp_path: Path, fits: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    content, words = BAD_FILES[kind]
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    assert words in _refused(_compare(path), capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


class TestFolder:
    def test_existing(
        self, csv: Path, fits: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (csv.parent / "out").mkdir()
        assert "say --overwrite" in _refused(_compare(csv), capsys).lower()
        assert fits == []
        assert list((csv.parent / "out").iterdir()) == []

    def test_file(
        self, csv: Path, fits: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (csv.parent / "out").write_text("mine")
        assert "is a file" in _refused(_compare(csv, FORMULA, "--overwrite"), capsys)
        assert (csv.parent / "out").read_text() == "mine"

    def test_fit_without_comparison_is_kept_and_named(
        self,
        csv: Path,
        fits: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def fails(fit: xr.DataTree, **options: Any) -> None:
            raise ConvergenceError("the projection didn't converge")

        monkeypatch.setattr(analysis, "compare_gee", fails)
        err = _refused(_compare(csv), capsys)
        assert "didn't converge" in err
        assert f"the fit is kept: {csv.parent / 'out' / 'fit.nc'}" in err
        assert pa.load(csv.parent / "out" / "fit.nc")


class TestTrouble:
    @pytest.fixture
    def failing(self, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
        def fails(*arguments: Any, **options: Any) -> None:
            raise request.param

        monkeypatch.setattr(analysis, "fit_model", fails)

    @pytest.mark.parametrize("failing", [KeyboardInterrupt()], indirect=True)
    @pytest.mark.usefixtures("failing")
    def test_interrupt(self, csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert _refused(_compare(csv), capsys, code=130) == "interrupted\n"
        assert [path.name for path in csv.parent.iterdir()] == ["toenail.csv"]

    @pytest.mark.parametrize("failing", [ConvergenceError("two\nlines")], indirect=True)
    @pytest.mark.usefixtures("failing")
    def test_our_errors_are_one_line(self, csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert _refused(_compare(csv), capsys) == "error: two lines.\n"
        assert [path.name for path in csv.parent.iterdir()] == ["toenail.csv"]

    @pytest.mark.parametrize("failing", [ZeroDivisionError("x" * 9999)], indirect=True)
    @pytest.mark.usefixtures("failing")
    def test_our_faults_are_told_apart(self, csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
        err = _refused(_compare(csv), capsys, code=1)
        assert err.startswith("internal error: ZeroDivisionError: xxx")
        assert "--traceback" in err
        assert len(err) < 2000

    @pytest.mark.parametrize("failing", [ConvergenceError("no")], indirect=True)
    @pytest.mark.usefixtures("failing")
    def test_traceback_on_request(self, csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(_compare(csv, FORMULA, "--traceback")) == 2
        err = capsys.readouterr().err
        assert err.startswith("Traceback")
        assert err.endswith("error: no.\n")

    def test_warnings_of_the_fit_are_one_line_each(
        self, csv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fit(*arguments: Any, **options: Any) -> xr.DataTree:
            warnings.warn("The chains\ndisagree. Run longer.", FitWarning, stacklevel=2)
            return pa.load_example()

        monkeypatch.setattr(analysis, "fit_model", fit)
        assert main(_compare(csv)) == 0
        assert capsys.readouterr().err == "warning: The chains disagree. Run longer.\n"


class TestDatasets:
    def test_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["datasets"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == pa.list_datasets()["name"].to_list()

    @pytest.mark.parametrize("name", pa.list_datasets()["name"])
    def test_one(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["datasets", name]) == 0
        text = capsys.readouterr().out
        frame = pa.load_dataset(name)
        assert frame.attrs["formula"] in text
        assert all(f"  {column}" in text for column in frame.columns)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["compare", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: popavg")
    assert err == ""


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [command.callback.__name__ for command in app.registered_commands]
    assert commands == ["compare", "demo", "datasets"]
    for name in commands:
        assert main([name, "--help"]) == 0
        assert "--traceback" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"popavg {pa.__version__}\n"


class TestInstalledScript:
    def test_exit_code_reaches_the_shell(self, tmp_path: Path) -> None:
        arguments = ["compare", "no.csv", FORMULA, "--link", "logit", "--out", "out"]
        done = subprocess.run([SCRIPT, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr == "error: the file 'no.csv' doesn't exist. Check the path.\n"
        assert subprocess.run([SCRIPT, "datasets"], capture_output=True).returncode == 0

    def test_starts_without_what_fits_models(self) -> None:
        """One after the other: what the first ones don't load the last one doesn't find loaded."""
        code = (
            "import sys\n"
            "from popavg.workflows.cli import main\n"
            "codes = [main(words) for words in (['--help'], ['datasets'], ['datasets', 'ohio'])]\n"
            "heavy = {'pymc', 'pytensor', 'nutpie', 'statsmodels', 'numba', 'matplotlib'}\n"
            "print(codes, sorted(heavy & set(sys.modules)))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[0, 0, 0] []"


@pytest.mark.slow
def test_from_csv_to_results(tmp_path: Path) -> None:
    """The real thing, few draws on the smallest data set, in a shell of its own."""
    path = tmp_path / "cbpp.csv"
    pa.load_dataset("cbpp").to_csv(path, index=False)
    formula = "p(incidence, size) ~ C(period) + (1 | herd)"
    options = ["--draws", "100", "--tune", "200", "--seed", "1", "--quiet"]
    done = subprocess.run(
        [SCRIPT, *_compare(path, formula, *options)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("warning: ") for line in done.stderr.splitlines())
    out = tmp_path / "out"
    assert sorted(file.name for file in out.iterdir()) == sorted(FILES)
    table = pa.compare_gee(pa.load(out / "fit.nc")).to_frame()
    written = pd.read_csv(out / "comparison.csv")
    pd.testing.assert_frame_equal(written, table, check_dtype=False, rtol=1e-10)
    assert table["term"].unique().tolist()[0] == "Intercept"

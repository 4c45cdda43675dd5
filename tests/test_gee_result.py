"""What a GEE result says."""

from __future__ import annotations

import numpy as np
import pytest

import popavg as pa
from popavg.models.gee import gee
from popavg.models.gee_result import GEEResult


def toenail(structure: str) -> GEEResult:
    data = pa.load_dataset("toenail")
    return gee("y ~ treatment * time", data, "patient", link="logit", working_correlation=structure)


def cbpp() -> GEEResult:
    return gee("p(incidence, size) ~ period", pa.load_dataset("cbpp"), "herd", link="logit")


def test_frame_and_prediction() -> None:
    result = toenail("exchangeable")
    frame = result.to_frame(ci_prob=0.95)
    assert list(frame) == ["term", "estimate", "std_error", "lower", "upper"]
    assert tuple(frame["term"]) == result.terms
    np.testing.assert_allclose(
        frame["upper"] - frame["lower"], 2 * 1.959963984540054 * frame["std_error"]
    )
    wide, narrow = result.to_frame(ci_prob=0.99), result.to_frame()
    assert (wide["lower"] < narrow["lower"]).all()
    np.testing.assert_allclose(
        result.to_frame(cov_type="model")["std_error"], np.sqrt(np.diag(result.covariance_model))
    )
    row = np.array([[1.0, 0.0, 2.0, 0.0]])
    expected = 1 / (1 + np.exp(-(result.coefficients[0] + 2 * result.coefficients[2])))
    np.testing.assert_allclose(result.predict(row), expected)
    np.testing.assert_allclose(
        result.predict(row, np.array([1.0])), 1 / (1 + (1 / expected - 1) * np.exp(-1.0))
    )


def test_arguments_of_the_frame_are_checked() -> None:
    result = cbpp()
    with pytest.raises(pa.errors.SpecificationError, match="ci_prob=95"):
        result.to_frame(ci_prob=95)
    with pytest.raises(pa.errors.SpecificationError, match="'robust', 'model'"):
        result.to_frame(cov_type="naive")  # ty: ignore[invalid-argument-type]


def test_text_says_what_it_is() -> None:
    text = repr(toenail("exchangeable"))
    for part in ("exchangeable", "294 clusters of 'patient'", "alpha = 0.4218", "confidence"):
        assert part in text
    assert "Note" not in text
    html = toenail("independence")._repr_html_()
    assert "<table" in html
    assert "treatment * time" in html
    assert "alpha" not in html


def test_html_is_escaped() -> None:
    data = pa.load_dataset("bacteria").rename(columns={"ID": "<b>child<b>"})
    html = gee("y ~ trt", data, "<b>child<b>", link="logit")._repr_html_()
    assert "<b>" not in html


def test_few_clusters_are_noted() -> None:
    result = cbpp()
    (note,) = result.notes
    assert "15 clusters" in note
    assert "Li & Redden 2015" in note
    assert f"Note: {note}" in repr(result)
    assert toenail("exchangeable").notes == ()

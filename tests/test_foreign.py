"""Checks of another program's scales."""

from __future__ import annotations

import numpy as np
import pytest

from popavg.errors import DataError
from popavg.posterior_tools.foreign import check_definite, check_scales, from_covariance

SIGMA = np.tile([[4.0, 1.2], [1.2, 1.0]], (2, 3, 1, 1))


def test_covariances_come_apart() -> None:
    sd, correlation = from_covariance("cov_g", SIGMA)
    np.testing.assert_allclose(sd, np.broadcast_to([2.0, 1.0], sd.shape))
    np.testing.assert_allclose(correlation[..., 0, 1], 0.6)
    np.testing.assert_array_equal(np.einsum("cdqq->cdq", correlation), 1.0)


def test_a_singular_matrix_passes_and_an_indefinite_one_is_located() -> None:
    """Correlations of exactly 1 are the edge; 1.2 is beyond it."""
    singular = SIGMA.copy()
    singular[1, 2, 0, 1] = singular[1, 2, 1, 0] = 2.0
    assert from_covariance("cov_g", singular)[1][1, 2, 0, 1] == 1.0
    singular[1, 2, 0, 1] = singular[1, 2, 1, 0] = 2.4
    message = "1 of 6 draws of 'cov_g' aren't positive definite.* -0.2 in draw 3 of chain 2"
    with pytest.raises(DataError, match=message):
        from_covariance("cov_g", singular)
    with pytest.raises(DataError, match="6 of 6 draws of 'corr_g'"):
        check_definite("corr_g", np.tile([[1.0, -1.5], [-1.5, 1.0]], (2, 3, 1, 1)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-0.5, "1 of 6 draws of 'sd_g' are negative, the first is draw 2 of chain 1.*logarithms"),
        (0.0, "are zero, the first is draw 2 of chain 1.*never draws .* exactly 0.*right column"),
    ],
)
def test_scales_that_are_negative_or_zero(value: float, message: str) -> None:
    scales = np.ones((2, 3, 2))
    check_scales("sd_g", scales)
    scales[0, 1, 1] = value
    with pytest.raises(DataError, match=message):
        check_scales("sd_g", scales)


def test_shapes_and_symmetry() -> None:
    with pytest.raises(DataError, match=r"'cov_g' has the shape \(2, 3, 2\)"):
        from_covariance("cov_g", SIGMA[..., 0])
    skew = SIGMA.copy()
    skew[0, 0, 0, 1] = 1.3
    with pytest.raises(
        DataError, match=r"1 of 6 draws of 'cov_g' aren't symmetric.*draw 1 of chain"
    ):
        from_covariance("cov_g", skew)
    nearly = SIGMA * (1 + 1e-7 * np.array([[0, 1], [-1, 0]]))
    assert np.array_equal(*(lambda r: (r, r.mT))(from_covariance("cov_g", nearly)[1]))

"""Population averages of many draws and rows: the mean, its link, slope and curvature."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg._checks import check_choice, listing
from popavg.errors import SpecificationError
from popavg.links import Link, get_link
from popavg.posterior_tools import quadrature
from popavg.posterior_tools._average_tables import Average, exact_values
from popavg.posterior_tools._averaging import tabulated_average, worth_tables
from popavg.posterior_tools._eta_sd import as_arrays, check_largest, check_values
from popavg.posterior_tools.integral import marginal_mean

__all__ = ["AVERAGES", "Average", "population_average"]

type Floats = NDArray[np.float64]

AVERAGES: tuple[Average, ...] = ("mean", "link", "slope", "curvature")


def population_average(
    eta: ArrayLike, sd: ArrayLike, link: str | Link, what: Average = "mean"
) -> Floats:
    """Population average E g^-1(eta + sd Z), Z ~ N(0, 1), of draws by rows, or its derivatives.

    Where the logarithm of the mean or of its complement is wanted, :func:`popavg.marginal_mean`
    has it.

    Parameters
    ----------
    eta : array_like
        Linear predictor without the random effects, on the scale of the link; usually
        (draws, rows), but any shape will do.
    sd : array_like
        Standard deviation of the sum of the random effects, on the same scale; broadcast against
        ``eta``. At most 10,000 for the logit and the cloglog. (draws, 1) where it is constant
        within a draw: that is several times as fast as the same numbers repeated for each row.
    link : str or Link
        ``"logit"``, ``"probit"``, ``"cloglog"``, ``"log"`` or ``"identity"``.
    what : {"mean", "link", "slope", "curvature"}
        The mean; g of the mean; the mean's first derivative in ``eta``, E (g^-1)'(eta + sd Z);
        its second derivative, which is twice the first derivative in the variance sd^2.

    Returns
    -------
    ndarray
        In the broadcast shape of ``eta`` and ``sd``; a NumPy scalar where both are scalars.

    Raises
    ------
    DataError
        Values that aren't finite, a negative or too large ``sd``, or shapes that don't broadcast.
    SpecificationError
        An unknown link, an unknown ``what``, or a link with neither a closed form nor a quadrature.

    Notes
    -----
    Closed forms where the link has a marginal predictor eta~(eta, sd^2), linear in ``eta``: slope
    (g^-1)'(eta~) d eta~/d eta, curvature (g^-1)''(eta~) (d eta~/d eta)^2. Logit and cloglog: fewer
    than 4,096 cells are integrated by the trapezoid rule, relative error below 1e-12. More cells
    come from a table of piecewise polynomials in ``eta`` and sd^2, built from the same integrals
    and held against them: relative error below 1e-10, of the curvature relative to the larger of
    slope and curvature, of the link relative to the larger of 1 and the link. Beyond eta in
    [-40, 40] and sd in [0, 20], and where the table can't hold that error, each cell is
    integrated. Curvature and variance: the heat equation of the normal density.

    Examples
    --------
    Two draws of three rows, and their slopes in ``eta``:

    >>> import numpy as np
    >>> from popavg.posterior_tools.averages import population_average
    >>> eta, sd = np.array([[-2.0, 0.0, 2.0], [-1.5, 0.0, 1.5]]), np.array([[4.0], [3.0]])
    >>> print(population_average(eta, sd, "logit").round(6))
    [[0.323828 0.5      0.676172]
     [0.333027 0.5      0.666973]]
    >>> print(population_average(eta, sd, "logit", "slope").round(6))
    [[0.082082 0.091185 0.082082]
     [0.104471 0.114838 0.104471]]
    """
    link = get_link(link)
    check_choice("what", what, AVERAGES)
    if what == "mean" or what == "link":
        return marginal_mean(eta, sd, link, what)
    eta, sd = as_arrays(eta, sd)
    if worth_tables(eta, sd, link):
        return tabulated_average(eta, sd, link, what)
    check_values(eta, sd)
    closed = _closed_derivative(eta, np.square(sd), link, what)
    if closed is not None:
        return closed
    if link.name not in quadrature.QUADRATURES:
        raise SpecificationError(
            f"{link!r} has neither a closed form nor a quadrature",
            listing(quadrature.QUADRATURES),
            "define its marginal_predictor",
        )
    check_largest(sd)
    return exact_values(link, what, *np.broadcast_arrays(eta, sd))[()]


def _closed_derivative(eta: Floats, variance: Floats, link: Link, what: Average) -> Floats | None:
    predictor = link.marginal_predictor(eta, variance)
    at_one, at_zero = (link.marginal_predictor(place, variance) for place in (1.0, 0.0))
    if predictor is None or at_one is None or at_zero is None:
        return None
    rate = at_one - at_zero
    if what == "slope":
        return link.derivative(predictor) * rate
    return link.second_derivative(predictor) * np.square(rate)

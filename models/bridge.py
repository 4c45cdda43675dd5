"""The bridge distribution (Wang & Louis 2003) as a PyMC distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytensor.tensor as pt
from pymc.distributions.dist_math import check_icdf_parameters, check_icdf_value, check_parameters
from pymc.distributions.distribution import Continuous, SymbolicRandomVariable
from pymc.distributions.shape_utils import implicit_size_from_params, rv_size_is_none
from pymc.pytensorf import normalize_rng_param
from pytensor.tensor.random.basic import normal
from pytensor.tensor.random.utils import normalize_size_param
from pytensor.tensor.variable import TensorVariable

from popavg.errors import SpecificationError

__all__ = ["Bridge", "attenuation", "bridge_from_normal"]

#: Standard deviation of the logistic distribution.
_LOGISTIC_SD = np.pi / np.sqrt(3.0)
#: Beyond so many 1/phi the tail is an exponential to the last digit.
_FAR = 40.0
#: Added where a quotient is 1 at 0: too small to change any, its square isn't 0.
_TINY = 1e-150


def attenuation(sd: TensorVariable) -> tuple[TensorVariable, TensorVariable]:
    """The attenuation phi of a standard deviation, and 1 − phi to full relative accuracy.

    Parameters
    ----------
    sd : TensorVariable
        Standard deviations.

    Returns
    -------
    phi : TensorVariable
        The attenuation.
    complement : TensorVariable
        What it lacks of 1.

    Examples
    --------
    >>> from popavg.models.bridge import attenuation
    >>> [part.eval().round(4) for part in attenuation(4.0)]
    [np.float64(0.413), np.float64(0.587)]
    """
    ratio = pt.as_tensor(sd, dtype="float64") / _LOGISTIC_SD
    root = pt.sqrt(1.0 + ratio**2)
    return 1.0 / root, ratio**2 / (root * (root + 1.0))


def bridge_from_normal(z: TensorVariable, sd: TensorVariable) -> TensorVariable:
    """Bridge variables at the percentiles of standard normal ones, F⁻¹(Φ(z)).

    Parameters
    ----------
    z : TensorVariable
        Standard normal variables.
    sd : TensorVariable
        Standard deviation of the result; broadcast against ``z``.

    Returns
    -------
    TensorVariable

    Notes
    -----
    φ⁻¹ log(sin(φπ(1 − p))/sin(φπp)) with p = Φ(−|z|) and the sign of z, p by its logarithm:
    value and gradient are finite for any z.

    Examples
    --------
    >>> from popavg.models.bridge import bridge_from_normal
    >>> print(bridge_from_normal([-1.0, 0.0, 1.0], 4.0).eval().round(3))
    [-3.555  0.     3.555]
    """
    phi, complement = attenuation(sd)
    z = pt.as_tensor(z, dtype="float64")
    size = _size(z)
    log_tail = pt.log(0.5 * pt.erfcx(size / np.sqrt(2.0))) - 0.5 * size**2
    angle = np.pi * phi * pt.exp(log_tail)
    small = angle + _TINY
    log_small = pt.log(np.pi * phi) + log_tail + pt.log(pt.sin(small) / small)
    log_large = pt.log(pt.sin(np.pi * complement + angle))
    return pt.switch(z < 0, -1.0, 1.0) * (log_large - log_small) / phi


def _size(value: TensorVariable) -> TensorVariable:
    """The absolute value; at 0 with the slope from the right, since PyTensor's has slope 0."""
    return pt.switch(value < 0, -value, value)


class _BridgeRV(SymbolicRandomVariable):
    """Draws: standard normal ones, moved to the bridge distribution's percentiles."""

    name = "bridge"
    extended_signature = "[rng],[size],()->[rng],()"
    _print_name = ("Bridge", "\\operatorname{Bridge}")

    @classmethod
    def rv_op(cls, sd: Any, *, size: Any = None, rng: Any = None) -> Any:
        """The random variable's node.

        Parameters
        ----------
        sd : tensor_like of float
            Standard deviation.
        size : tensor_like of int, optional
            Shape of the draws, that of ``sd`` by default.
        rng : RandomVariable, optional
            Where they come from.
        """
        sd = pt.as_tensor(sd)
        rng = normalize_rng_param(rng)
        shape: Any = normalize_size_param(size)
        if rv_size_is_none(shape):
            shape = implicit_size_from_params(sd, ndims_params=cls.ndims_params)
        next_rng, z = normal(size=shape, rng=rng, return_next_rng=True)
        draws = bridge_from_normal(z, sd)
        return cls(inputs=[rng, shape, sd], outputs=[next_rng, draws])(rng, shape, sd)


def _support_point(rv: Any, size: Any, sd: TensorVariable) -> TensorVariable:
    """Where samplers begin: at the mode, 0.

    Parameters
    ----------
    rv : TensorVariable
        The variable.
    size : TensorVariable
        Its shape.
    sd : TensorVariable
        Standard deviation.
    """
    return pt.zeros_like(sd) if rv_size_is_none(size) else pt.zeros(size)


def _parts(
    value: TensorVariable, sd: TensorVariable
) -> tuple[TensorVariable, TensorVariable, TensorVariable, TensorVariable, TensorVariable]:
    """φ, φ|u|, 1 − exp(−φ|u|), 4 exp(−φ|u|) sin²(π(1 − φ)/2) and sin(πφ)."""
    phi, complement = attenuation(sd)
    far = phi * _size(value)
    half = pt.sin(0.5 * np.pi * complement)
    sine = 2.0 * half * pt.sin(0.5 * np.pi * phi)
    return phi, far, -pt.expm1(-far), 4.0 * pt.exp(-far) * half**2, sine


def _logp(value: TensorVariable, sd: TensorVariable) -> TensorVariable:
    """Logarithm of the density.

    Parameters
    ----------
    value : TensorVariable
        Points.
    sd : TensorVariable
        Standard deviation.
    """
    _, far, left, right, sine = _parts(value, sd)
    found = pt.log(sine) - np.log(np.pi) - far - pt.log(left**2 + right)
    return check_parameters(found, sd > 0, msg="sd > 0")


def _logcdf(value: TensorVariable, sd: TensorVariable) -> TensorVariable:
    """Logarithm of the probability below a point, also where that underflows.

    Parameters
    ----------
    value : TensorVariable
        Points.
    sd : TensorVariable
        Standard deviation.
    """
    phi, far, left, right, sine = _parts(value, sd)
    tail = pt.arctan2(pt.exp(-far) * sine, left + 0.5 * right) / (np.pi * phi)
    # The logarithm of the smaller tail; exactly exponential where it would underflow.
    shown = pt.switch(far < _FAR, tail, 0.5)
    below = pt.switch(far < _FAR, pt.log(shown), pt.log(sine / (np.pi * phi)) - far)
    found = pt.switch(value < 0, below, pt.log1p(-tail))
    return check_parameters(found, sd > 0, msg="sd > 0")


def _logccdf(value: TensorVariable, sd: TensorVariable) -> TensorVariable:
    """Logarithm of the probability above a point, also where that underflows.

    Parameters
    ----------
    value : TensorVariable
        Points.
    sd : TensorVariable
        Standard deviation.
    """
    return _logcdf(-value, sd)


def _icdf(value: TensorVariable, sd: TensorVariable) -> TensorVariable:
    """Points below which so much of the mass lies.

    Parameters
    ----------
    value : TensorVariable
        Probabilities.
    sd : TensorVariable
        Standard deviation.
    """
    phi, complement = attenuation(sd)
    tail = pt.minimum(value, 1.0 - value)
    small, large = pt.sin(np.pi * phi * tail), pt.sin(np.pi * (complement + phi * tail))
    found = pt.sign(value - 0.5) * pt.log(large / small) / phi
    checked = check_icdf_value(found, value)
    return check_icdf_parameters(checked, sd > 0, msg="sd > 0")


class Bridge(Continuous):  # numpydoc ignore=PR02
    r"""The bridge distribution for the logit link, symmetric about zero.

    A random intercept u of this distribution makes the population mean of a logit model logistic
    again: E expit(η + u) = expit(φη). For a whole model use
    :func:`popavg.models.bridge_logit_glmm`; for arrays :class:`popavg.bridge.BridgeDistribution`.

    Parameters
    ----------
    name : str
        The variable's name, as for every PyMC distribution.
    phi : tensor_like of float, optional
        Attenuation, between 0 and 1.
    sd : tensor_like of float, optional
        Standard deviation, above 0; exactly one of the two.
    **kwargs
        ``dims``, ``shape``, ``observed`` and the others that every PyMC distribution takes.

    Returns
    -------
    TensorVariable

    Raises
    ------
    SpecificationError
        Both parameters or none.

    Notes
    -----
    Wang & Louis (2003, Biometrika 90:765):
    f(u) = sin(φπ)/(2π(cosh(φu) + cos(φπ))), Var u = π²(φ⁻² − 1)/3. Log density, distribution
    function and quantiles are written so that nothing overflows or cancels. Effects that the data
    say little about sample better as ``bridge_from_normal(pm.Normal("z"), sd)``.

    Examples
    --------
    >>> import pymc as pm
    >>> from popavg.models import Bridge
    >>> with pm.Model() as model:
    ...     u = Bridge("u", sd=2.0)
    >>> print(model.compile_logp()({"u": 1.0}).round(4))
    -1.6632
    """

    rv_type = _BridgeRV
    rv_op = _BridgeRV.rv_op
    support_point = staticmethod(_support_point)
    logp = staticmethod(_logp)
    logcdf = staticmethod(_logcdf)
    logccdf = staticmethod(_logccdf)
    icdf = staticmethod(_icdf)

    def __new__(cls, name: str, phi: Any = None, *, sd: Any = None, **kwargs: Any) -> Any:
        """A variable of the model whose context is open."""
        return super().__new__(cls, name, phi, sd=sd, **kwargs)

    @classmethod
    def dist(  # ty: ignore[incompatible-method-override]
        cls, phi: Any = None, *, sd: Any = None, **kwargs: Any
    ) -> TensorVariable:
        """The distribution without a name, as for every PyMC distribution.

        Parameters
        ----------
        phi : tensor_like of float, optional
            Attenuation.
        sd : tensor_like of float, optional
            Standard deviation.
        **kwargs
            As for every PyMC distribution.
        """
        if (phi is None) == (sd is None):
            came = "both phi and sd" if phi is not None else "neither phi nor sd"
            raise SpecificationError(
                f"the bridge distribution with {came}", "exactly one of phi and sd"
            )
        if sd is None:
            phi = pt.as_tensor(phi, dtype="float64")
            sd = _LOGISTIC_SD * pt.sqrt((1.0 - phi) * (1.0 + phi)) / phi
        return super().dist([pt.as_tensor(sd, dtype="float64")], **kwargs)

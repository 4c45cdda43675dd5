"""Population-averaged effects from Bayesian mixed-effects models, beside a GEE reference.

The names of this package are loaded when they are first used: ``import popavg`` itself brings
neither PyMC, statsmodels nor ArviZ.
"""

import lazy_loader as _lazy

_lazy_getattr, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    return _lazy_getattr(name)

"""The builders: PyMC GLMMs, their priors, and the GEE reference.

The builders are loaded when they are first used, so that ``popavg.models.gee`` can be imported
without PyMC.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)

from . import errors, models, posterior_tools, workflows
from .datasets import list_datasets, load_dataset
from .links import LINKS, Link, get_link
from .models.gee import gee
from .posterior_tools.coefficients import population_coefficients
from .posterior_tools.comparison import Comparison
from .posterior_tools.estimates import Estimates
from .posterior_tools.example import load_example
from .posterior_tools.integral import marginal_mean
from .posterior_tools.predictions import predictions
from .priors import Prior
from .workflows.compare import compare_gee
from .workflows.fitting import fit
from .workflows.picture import plot_population_curve
from .workflows.reporting import report
from .workflows.storage import load, save

__all__ = [
    "LINKS",
    "Comparison",
    "Estimates",
    "Link",
    "Prior",
    "compare_gee",
    "errors",
    "fit",
    "gee",
    "get_link",
    "list_datasets",
    "load",
    "load_dataset",
    "load_example",
    "marginal_mean",
    "models",
    "plot_population_curve",
    "population_coefficients",
    "posterior_tools",
    "predictions",
    "report",
    "save",
    "workflows",
]

__version__: str

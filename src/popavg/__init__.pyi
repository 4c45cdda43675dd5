from . import bridge, errors, models, posterior_tools, workflows
from .datasets import list_datasets, load_dataset
from .links import LINKS, Link, get_link
from .models.gee import gee
from .posterior_tools.add_effects import add_cluster_effects
from .posterior_tools.calibration_result import Calibration
from .posterior_tools.check_result import Check
from .posterior_tools.coefficients import population_coefficients
from .posterior_tools.comparison import Comparison
from .posterior_tools.comparisons import avg_comparisons, comparisons
from .posterior_tools.datagrid import datagrid
from .posterior_tools.estimates import Estimates
from .posterior_tools.example import load_example
from .posterior_tools.from_arrays import from_arrays
from .posterior_tools.from_bambi import from_bambi
from .posterior_tools.from_draws import from_draws
from .posterior_tools.heterogeneity import heterogeneity
from .posterior_tools.heterogeneity_result import Heterogeneity
from .posterior_tools.integral import marginal_mean
from .posterior_tools.plot_verbs import plot_comparisons, plot_predictions, plot_slopes
from .posterior_tools.predictions import avg_predictions, predictions
from .posterior_tools.slopes import avg_slopes, slopes
from .priors import Prior
from .workflows.calibration import calibrate
from .workflows.checking import check
from .workflows.compare import compare_gee
from .workflows.fitting import fit
from .workflows.loo import loo_clusters
from .workflows.picture import plot_population_curve
from .workflows.prior_check import prior_check
from .workflows.reporting import report
from .workflows.resume import resume
from .workflows.storage import load, save

__all__ = [
    "LINKS",
    "Calibration",
    "Check",
    "Comparison",
    "Estimates",
    "Heterogeneity",
    "Link",
    "Prior",
    "add_cluster_effects",
    "avg_comparisons",
    "avg_predictions",
    "avg_slopes",
    "bridge",
    "calibrate",
    "check",
    "compare_gee",
    "comparisons",
    "datagrid",
    "errors",
    "fit",
    "from_arrays",
    "from_bambi",
    "from_draws",
    "gee",
    "get_link",
    "heterogeneity",
    "list_datasets",
    "load",
    "load_dataset",
    "load_example",
    "loo_clusters",
    "marginal_mean",
    "models",
    "plot_comparisons",
    "plot_population_curve",
    "plot_predictions",
    "plot_slopes",
    "population_coefficients",
    "posterior_tools",
    "predictions",
    "prior_check",
    "report",
    "resume",
    "save",
    "slopes",
    "workflows",
]

__version__: str

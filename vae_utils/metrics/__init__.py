"""The numbers that students report, computed over whole data sets."""

from vae_utils.metrics.bounds import (
    ElboReport,
    evaluate_elbo,
    importance_weighted_bound,
    reconstruction_error,
)
from vae_utils.metrics.codes import (
    active_units,
    codebook_perplexity,
    kl_per_dimension,
    linear_probe_accuracy,
)
from vae_utils.metrics.view import Posterior, VaeView, collect_codes, collect_posterior

__all__ = [
    "ElboReport",
    "Posterior",
    "VaeView",
    "active_units",
    "codebook_perplexity",
    "collect_codes",
    "collect_posterior",
    "evaluate_elbo",
    "importance_weighted_bound",
    "kl_per_dimension",
    "linear_probe_accuracy",
    "reconstruction_error",
]

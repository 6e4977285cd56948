"""Helpers for the course's notebooks: data, training, figures, numbers. Independent of the grader.

Import every public name from here (`from vae_utils import load_dataset`). A name is loaded at its
first use, so that importing this package takes almost no time.
"""

# ruff: noqa: F401 (type checkers need these imports; they are the public names)

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Public name -> module that defines it. A new public name needs one line here and one below.
_HOME = {
    "DataError": "vae_utils.data",
    "ImageSet": "vae_utils.data",
    "Loader": "vae_utils.data",
    "load_dataset": "vae_utils.data",
    "make_loader": "vae_utils.data",
    "CheckpointError": "vae_utils.checkpoints",
    "resume": "vae_utils.checkpoints",
    "save_checkpoint": "vae_utils.checkpoints",
    "History": "vae_utils.history",
    "Progress": "vae_utils.progress_bar",
    "progress": "vae_utils.progress_bar",
    "model_summary": "vae_utils.summary",
    "count_parameters": "vae_utils.training",
    "make_adam": "vae_utils.training",
    "pick_device": "vae_utils.training",
    "seed_everything": "vae_utils.training",
    "ElboReport": "vae_utils.metrics",
    "Posterior": "vae_utils.metrics",
    "VaeView": "vae_utils.metrics",
    "active_units": "vae_utils.metrics",
    "codebook_perplexity": "vae_utils.metrics",
    "collect_codes": "vae_utils.metrics",
    "collect_posterior": "vae_utils.metrics",
    "evaluate_elbo": "vae_utils.metrics",
    "importance_weighted_bound": "vae_utils.metrics",
    "kl_per_dimension": "vae_utils.metrics",
    "linear_probe_accuracy": "vae_utils.metrics",
    "reconstruction_error": "vae_utils.metrics",
    "latent_extent": "vae_utils.plots",
    "plot_class_conditional": "vae_utils.plots",
    "plot_embeddings": "vae_utils.plots",
    "plot_latent_space": "vae_utils.plots",
    "plot_latent_space_images": "vae_utils.plots",
    "plot_losses": "vae_utils.plots",
    "plot_prior_samples": "vae_utils.plots",
    "plot_quarter_completions": "vae_utils.plots",
    "plot_reconstructions": "vae_utils.plots",
    "plot_samples": "vae_utils.plots",
    "plot_variations": "vae_utils.plots",
    "explore_latent_space": "vae_utils.plots",
    "plot_codebook": "vae_utils.plots",
    "plot_dimension_traversals": "vae_utils.plots",
    "plot_kl_per_dimension": "vae_utils.plots",
    "plot_manifold": "vae_utils.plots",
    "plot_marginal": "vae_utils.plots",
    "plot_perturbation_strip": "vae_utils.plots",
    "plot_posterior_vs_prior": "vae_utils.plots",
    "plot_traversals": "vae_utils.plots",
    "visualize_embeddings": "vae_utils.plots",
    "visualize_mnist": "vae_utils.plots",
    "visualize_samples": "vae_utils.plots",
}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from vae_utils.checkpoints import (
        CheckpointError,
        resume,
        save_checkpoint,
    )
    from vae_utils.data import DataError, ImageSet, Loader, load_dataset, make_loader
    from vae_utils.history import History
    from vae_utils.metrics import (
        ElboReport,
        Posterior,
        VaeView,
        active_units,
        codebook_perplexity,
        collect_codes,
        collect_posterior,
        evaluate_elbo,
        importance_weighted_bound,
        kl_per_dimension,
        linear_probe_accuracy,
        reconstruction_error,
    )
    from vae_utils.plots import (
        explore_latent_space,
        latent_extent,
        plot_class_conditional,
        plot_codebook,
        plot_dimension_traversals,
        plot_embeddings,
        plot_kl_per_dimension,
        plot_latent_space,
        plot_latent_space_images,
        plot_losses,
        plot_manifold,
        plot_marginal,
        plot_perturbation_strip,
        plot_posterior_vs_prior,
        plot_prior_samples,
        plot_quarter_completions,
        plot_reconstructions,
        plot_samples,
        plot_traversals,
        plot_variations,
        visualize_embeddings,
        visualize_mnist,
        visualize_samples,
    )
    from vae_utils.progress_bar import Progress, progress
    from vae_utils.summary import model_summary
    from vae_utils.training import (
        count_parameters,
        make_adam,
        pick_device,
        seed_everything,
    )


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vae_utils' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # later uses do not call this function
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))

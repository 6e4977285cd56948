"""Figures: each one is a function that returns a Matplotlib figure, all in one style.

`style.py` explains why a notebook shows each figure once; `inputs.py` defines the valid inputs.
"""

from vae_utils.plots.classic import visualize_embeddings, visualize_mnist, visualize_samples
from vae_utils.plots.codebook import plot_codebook
from vae_utils.plots.conditional import plot_class_conditional, plot_quarter_completions
from vae_utils.plots.curves import plot_losses
from vae_utils.plots.embeddings import plot_embeddings
from vae_utils.plots.generation import plot_prior_samples, plot_variations
from vae_utils.plots.images import plot_reconstructions, plot_samples
from vae_utils.plots.latent import latent_extent, plot_latent_space, plot_latent_space_images
from vae_utils.plots.posterior import (
    plot_kl_per_dimension,
    plot_marginal,
    plot_posterior_vs_prior,
)
from vae_utils.plots.traversals import (
    plot_dimension_traversals,
    plot_manifold,
    plot_perturbation_strip,
    plot_traversals,
)
from vae_utils.plots.widgets import explore_latent_space

__all__ = [
    "explore_latent_space",
    "latent_extent",
    "plot_class_conditional",
    "plot_codebook",
    "plot_dimension_traversals",
    "plot_embeddings",
    "plot_kl_per_dimension",
    "plot_latent_space",
    "plot_latent_space_images",
    "plot_losses",
    "plot_manifold",
    "plot_marginal",
    "plot_perturbation_strip",
    "plot_posterior_vs_prior",
    "plot_prior_samples",
    "plot_quarter_completions",
    "plot_reconstructions",
    "plot_samples",
    "plot_traversals",
    "plot_variations",
    "visualize_embeddings",
    "visualize_mnist",
    "visualize_samples",
]

"""Figures: each one function that returns a Matplotlib figure, all in one style.

`style.py` says how a figure is shown once and only once; `inputs.py` says what a figure accepts.
"""

from vae_utils.plots.conditional import plot_class_conditional, plot_quarter_completions
from vae_utils.plots.curves import plot_losses
from vae_utils.plots.embeddings import plot_embeddings
from vae_utils.plots.generation import plot_prior_samples, plot_variations
from vae_utils.plots.images import plot_reconstructions, plot_samples
from vae_utils.plots.latent import latent_extent, plot_latent_space, plot_latent_space_images

__all__ = [
    "latent_extent",
    "plot_class_conditional",
    "plot_embeddings",
    "plot_latent_space",
    "plot_latent_space_images",
    "plot_losses",
    "plot_prior_samples",
    "plot_quarter_completions",
    "plot_reconstructions",
    "plot_samples",
    "plot_variations",
]

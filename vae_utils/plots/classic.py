"""Three figures under the names, and with the arguments, that the ELBO-VAE assignment calls."""

from collections.abc import Iterable
from typing import Any

import torch
from matplotlib.figure import Figure

from vae_utils.modules import evaluation_mode
from vae_utils.plots.decoding import evaluated
from vae_utils.plots.embeddings import Method, plot_embeddings
from vae_utils.plots.images import plot_samples
from vae_utils.plots.inputs import ArrayLike


def visualize_mnist(loader: Iterable[Any], n: int = 20) -> Figure:
    """Show the first images of a loader's next batch, with their labels.

    Args:
        loader: gives batches `(x, y)`, x of any shape `plot_samples` takes.
        n: images to show.

    Raises:
        ValueError: the loader has no batch, or its batches aren't pairs.

    Example:
        >>> import torch
        >>> batch = (torch.rand(32, 1, 28, 28), torch.arange(32) % 10)
        >>> figure = visualize_mnist([batch])
        >>> len(figure.axes[0].texts)
        20
    """
    batch = next(iter(loader), None)
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError("loader must give batches (x, y).")
    images, labels = batch
    return plot_samples(images[:n], labels[:n], n=n, title="Images of the data set")


def visualize_samples(samples: Any, num_samples: int = 20) -> Figure:
    """Show what a VAE generates.

    Args:
        samples: images, of any shape `plot_samples` takes; or a model with a method
            `sample(num_samples)` that gives some.
        num_samples: how many to show.

    Raises:
        ValueError: another shape.

    Example:
        >>> import torch
        >>> figure = visualize_samples(torch.rand(20, 784).round())
        >>> figure.axes[0].get_title(loc="left")
        'Samples of the model (20)'
    """
    images = samples
    if hasattr(samples, "sample"):
        with evaluation_mode(samples if isinstance(samples, torch.nn.Module) else None):
            images = samples.sample(num_samples)
    return plot_samples(images, n=num_samples, title="Samples of the model")


def visualize_embeddings(
    vae: Any, x: torch.Tensor, y: ArrayLike, method: Method = "tsne", seed: int = 0
) -> Figure:
    """Encode a batch and show the posterior means in the plane, by class.

    Args:
        vae: has `encoder(x)`, which gives the means first (or alone).
        x: `(N, …)`, as the encoder takes it.
        y: `(N,)`, the classes.
        method: "tsne", "pca" or "umap".
        seed: of the method.

    Raises:
        ValueError: the means aren't `(N, Z)`, or labels don't fit them.

    Example:
        >>> import torch
        >>> vae = torch.nn.Module()
        >>> vae.encoder = lambda x: (x[:, :5], x[:, 5:])
        >>> figure = visualize_embeddings(vae, torch.rand(60, 10), torch.arange(60) % 3, "pca")
        >>> len(figure.axes[0].collections)
        3
    """
    output = evaluated(vae.encoder, x)
    means = output[0] if isinstance(output, tuple | list) else output
    return plot_embeddings(means, y, method, seed=seed, title="Posterior means")

"""Three figures with the names and arguments that the ELBO-VAE assignment uses."""

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
    """Plot the first images of a loader's next batch, with their labels.

    Args:
        loader: Yields batches `(x, y)`, with x in any shape that `plot_samples` accepts.
        n: Number of images.

    Raises:
        ValueError: The loader has no batch, or its batches are not pairs.

    Example:
        >>> import torch
        >>> batch = (torch.rand(32, 1, 28, 28), torch.arange(32) % 10)
        >>> figure = visualize_mnist([batch])
        >>> len(figure.axes[0].texts)
        20
    """
    batch = next(iter(loader), None)
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError("loader must yield batches (x, y).")
    images, labels = batch
    return plot_samples(images[:n], labels[:n], n=n, title="Images of the data set")


def visualize_samples(samples: Any, num_samples: int = 20) -> Figure:
    """Plot samples of a VAE.

    Args:
        samples: Images in any shape that `plot_samples` accepts, or a model with a method
            `sample(num_samples)` that returns such images.
        num_samples: Number of images.

    Raises:
        ValueError: The images have another shape.

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
    """Encode a batch and plot the posterior means in two dimensions, coloured by class.

    Args:
        vae: Has `encoder(x)`, which returns the means, alone or as the first element of a tuple.
        x: `(N, …)`, the input of the encoder.
        y: `(N,)`, the classes.
        method: "tsne", "pca" or "umap".
        seed: Seed of the method.

    Raises:
        ValueError: The means are not `(N, Z)`, or the labels do not fit them.

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

"""Samples of a conditional VAE: each class with the same z, and completions of a quarter."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_utils.plots.decoding import Decode, decoded
from vae_utils.plots.inputs import ArrayLike, as_images, to_numpy
from vae_utils.plots.mosaic import mosaic_figure
from vae_utils.plots.style import class_names_for

UNKNOWN = "#d9e3f0"  # the three quarters that the model does not get


def plot_class_conditional(
    decode: Decode,
    latent_dim: int,
    *,
    num_classes: int = 10,
    n: int = 6,
    seed: int = 0,
    title: str = "Samples by condition",
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Decode each class with a conditional decoder: one column per class, one z per row.

    Args:
        decode: `decode(z, c)` maps latents `(N, Z)` and one-hot conditions `(N, num_classes)` to N
            images.
        latent_dim: Z.
        num_classes: Number of classes.
        n: Number of samples of z from N(0, I), one per row.
        seed: Seed of these samples.
        title: Title of the figure.
        class_names: Names of classes 0, 1, 2, …, shown instead of the numbers.

    Raises:
        ValueError: `decode` does not return one image for each pair.

    Example:
        >>> import torch
        >>> def decode(z, c):
        ...     return torch.sigmoid(z.sum(1) + c.argmax(1)).view(-1, 1).expand(-1, 784)
        >>> figure = plot_class_conditional(decode, latent_dim=2, n=3)
        >>> figure.axes[0].images[0].get_array().shape  # 3 rows, 10 columns, gaps of 2
        (88, 298, 3)
    """
    z = torch.randn(n, latent_dim, generator=torch.Generator().manual_seed(seed))
    classes = torch.eye(num_classes)
    images = decoded(decode, z.repeat_interleave(num_classes, dim=0), classes.repeat(n, 1))
    rows = images.pixels.reshape(n, num_classes, *images.pixels.shape[1:])
    return mosaic_figure(
        [list(row) for row in rows],
        title,
        images.notes,
        row_labels=[f"sample {i + 1}" for i in range(n)],
        column_labels=class_names_for(num_classes, class_names),
    )


def plot_quarter_completions(
    quarters: ArrayLike,
    baseline: ArrayLike,
    samples: ArrayLike,
    originals: ArrayLike,
    *,
    n: int = 6,
    title: str = "Whole digits from their lower left quarter",
) -> Figure:
    """Plot completions of a quarter: given quarter | baseline | CVAE samples | original.

    Args:
        quarters: `(N, H*W/4)`, the condition: lower left quarters, row by row.
        baseline: `(N, …)` images, the outputs of the model that cannot sample.
        samples: `(N, S, …)`, S images for each quarter, sampled from the CVAE.
        originals: `(N, …)` images, from which the quarters were cut.
        n: Maximum number of digits, one per row.
        title: Title of the figure.

    Raises:
        ValueError: The numbers of images differ, or images have another shape.

    Example:
        >>> import torch
        >>> x = torch.rand(4, 1, 28, 28)
        >>> s = torch.rand(4, 3, 784)
        >>> figure = plot_quarter_completions(x[:, 0, 14:, :14].flatten(1), x, s, x)
        >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
        ['given', 'baseline', 'CVAE 1', 'CVAE 2', 'CVAE 3', 'original']
    """
    given, guess, drawn, whole = (
        to_numpy(values, what)
        for values, what in [
            (quarters, "quarters"),
            (baseline, "baseline"),
            (samples, "samples"),
            (originals, "originals"),
        ]
    )
    lengths = [len(given), len(guess), len(drawn), len(whole)]
    if len(set(lengths)) != 1 or drawn.ndim < 3:
        raise ValueError(
            "quarters, baseline, samples (N, S, …) and originals must have the same length, but "
            f"have {lengths}, and samples have shape {drawn.shape}."
        )
    count, draws = min(n, len(whole)), drawn.shape[1]
    original_images = as_images(whole[:count], "originals")
    batches = {
        "baseline": as_images(guess[:count], "baseline"),
        "CVAE": as_images(drawn[:count].reshape(count * draws, *drawn.shape[2:]), "samples"),
    }
    known = _in_place(given[:count], original_images.size)
    rows = [
        [
            known[i],
            batches["baseline"].pixels[i],
            *batches["CVAE"].pixels[i * draws : (i + 1) * draws],
            original_images.pixels[i],
        ]
        for i in range(count)
    ]
    headings = [f"CVAE {s + 1}" for s in range(draws)]
    notes = [f"{name}: {note}" for name, batch in batches.items() for note in batch.notes]
    return mosaic_figure(
        rows, title, notes, column_labels=["given", "baseline", *headings, "original"]
    )


def _in_place(quarters: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """Put each quarter in the lower left of an image. The rest is marked as unknown."""
    height, width = size
    half = (height - height // 2, width // 2)
    if quarters[0].size != half[0] * half[1]:
        raise ValueError(
            f"quarters must have {half[0] * half[1]} values each, but have {quarters[0].size}."
        )
    placed = np.empty((len(quarters), height, width, 3))
    placed[:] = to_rgb(UNKNOWN)
    placed[:, height // 2 :, : width // 2] = as_images(
        quarters.reshape(-1, *half), "quarters"
    ).pixels
    return placed

"""The codebook of a VQ-VAE in two dimensions: which vectors are used, and how often."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_utils.metrics.codes import codebook_perplexity
from vae_utils.plots.embeddings import METHOD_NAMES, Method, project
from vae_utils.plots.inputs import ArrayLike, as_points, to_numpy
from vae_utils.plots.style import (
    BLUE,
    INK,
    NEUTRAL,
    QUIET,
    add_colour_bar,
    legend_below,
    new_figure,
    set_title,
)

MOST_OUTPUTS = 2000
USE_COLOURS = "viridis_r"  # darker means used more often


def plot_codebook(
    codebook: ArrayLike,
    indices: ArrayLike | None = None,
    *,
    outputs: ArrayLike | None = None,
    method: Method = "pca",
    seed: int = 0,
    title: str = "Codebook",
) -> Figure:
    """Project the code vectors into two dimensions, coloured by how often each is used.

    Vectors that are never used are hollow. With `outputs`, the figure shows whether the code
    vectors and the encoder's outputs are in the same region.

    Args:
        codebook: `(K, D)`, the code vectors.
        indices: Index of the code vector at each position: whole numbers of any shape, or one-hot
            encodings `(M, K)`.
        outputs: `(M, D)` or `(N, D, H, W)`, the encoder's outputs before quantization.
        method: "pca", "tsne" or "umap" (which needs the package umap-learn).
        seed: Seed of the method, and of the selection if there are many outputs.
        title: Title of the figure.

    Raises:
        ValueError: Shapes do not fit, or indices are not in the codebook.
        ImportError: UMAP is not installed.

    Example:
        >>> import torch
        >>> figure = plot_codebook(torch.randn(16, 4), torch.randint(0, 8, (100,)))
        >>> "8 of 16" in figure.axes[0].get_title(loc="left")
        True
    """
    points = as_points(codebook, "codebook")
    behind = _outputs(outputs, points.values.shape[1], seed)
    places, axis_labels = project(np.concatenate([points.values, behind]), method, seed)
    vectors, others = places[: len(points.values)], places[len(points.values) :]

    figure, axes = new_figure(height=5.2)
    ax = axes[0, 0]
    if len(others):
        ax.scatter(
            others[:, 0], others[:, 1], s=8, color=NEUTRAL, linewidths=0, label="encoder's outputs"
        )
    notes = list(points.notes)
    if indices is None:
        ax.scatter(vectors[:, 0], vectors[:, 1], s=28, color=BLUE, label="code vector")
    else:
        chosen = _chosen(indices, len(points.kept))
        counts = np.bincount(chosen, minlength=len(points.kept))
        _draw_by_use(ax, vectors, counts[points.kept])
        perplexity = codebook_perplexity(torch.from_numpy(chosen), len(points.kept))
        used = f"{(counts > 0).sum()} of {len(counts)} vectors used"
        notes.insert(0, f"{used}, perplexity {perplexity:.1f}")
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
    legend_below(figure, ax, columns=3)
    set_title(ax, f"{title} by {METHOD_NAMES[method]}", notes)
    return figure


def _draw_by_use(ax: Axes, vectors: NDArray[np.float64], counts: NDArray[np.int64]) -> None:
    """Fill used vectors with the colour of their count; leave the others hollow."""
    used = counts > 0
    ax.scatter(
        vectors[~used, 0],
        vectors[~used, 1],
        s=24,
        facecolors="none",
        edgecolors=QUIET,
        label="never used",
    )
    drawn = ax.scatter(
        vectors[used, 0],
        vectors[used, 1],
        s=44,
        c=counts[used],
        cmap=USE_COLOURS,
        norm=LogNorm(vmin=counts[used].min(), vmax=counts.max() + 1),
        edgecolors=INK,
        linewidths=0.6,
        label="used",
    )
    add_colour_bar(ax, drawn, "times used", _even_ticks(counts[used].min(), counts.max()))


def _even_ticks(low: int, high: int) -> list[float]:
    """Return up to five round counts, evenly spaced on a logarithmic scale."""
    return sorted({float(f"{tick:.2g}") for tick in np.geomspace(low, high, 5)})


def _chosen(indices: ArrayLike, count: int) -> NDArray[np.int64]:
    """Convert indices, or one-hot encodings, to a flat array of indices."""
    array = to_numpy(indices, "indices")
    is_one_hot = (
        array.ndim == 2
        and array.shape[1] == count
        and bool(np.isin(array, (0, 1)).all())
        and bool((array.sum(axis=1) == 1).all())
    )
    flat = array.argmax(axis=1) if is_one_hot else array.reshape(-1)
    if not np.array_equal(flat, np.round(flat)) or flat.min() < 0 or flat.max() >= count:
        raise ValueError(f"indices must be whole numbers from 0 to {count - 1}.")
    return flat.astype(np.int64)


def _outputs(outputs: ArrayLike | None, dims: int, seed: int) -> NDArray[np.float64]:
    """Convert the encoder's outputs to `(M, D)`, and select at most 2,000 of them."""
    if outputs is None:
        return np.empty((0, dims))
    array = to_numpy(outputs, "outputs")
    if array.ndim == 4:
        array = np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])
    values = as_points(array, "outputs", dims).values
    if len(values) <= MOST_OUTPUTS:
        return values
    return values[np.random.default_rng(seed).choice(len(values), MOST_OUTPUTS, replace=False)]

"""Codes with many dimensions, projected into two: PCA, t-SNE, UMAP."""

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_utils.plots.inputs import ArrayLike, as_labels, as_points, count_of, to_numpy
from vae_utils.plots.scatter import draw_classes
from vae_utils.plots.style import new_figure, set_title

Method: TypeAlias = Literal["pca", "tsne", "umap"]

METHOD_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
TSNE_SECONDS = 2.6e-4  # times N·log2 N; measured with 100 to 8,000 codes on one thread
ANNOUNCED_SECONDS = 10.0


def plot_embeddings(
    codes: ArrayLike,
    labels: ArrayLike | None = None,
    method: Method = "tsne",
    *,
    max_points: int = 2000,
    seed: int = 0,
    title: str = "Codes",
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Plot codes of any dimension as points in two dimensions, coloured by class.

    PCA keeps distances and takes almost no time. t-SNE and UMAP keep neighbours together. Their
    axes, and the distances between groups, have no meaning. If t-SNE will take more than ten
    seconds, a line is printed first.

    Args:
        codes: `(N, Z)`.
        labels: `(N,)`, their classes.
        method: "tsne", "pca" or "umap" (which needs the package umap-learn).
        max_points: Maximum number of points. Of more codes, a random selection is plotted.
        seed: Seed of the selection and of the method.
        title: What the codes are, for the title.
        class_names: Names of classes 0, 1, 2, …

    Raises:
        ValueError: Fewer than three codes, fewer than two dimensions, or an unknown method.
        ImportError: UMAP is not installed.

    Example:
        >>> import torch
        >>> figure = plot_embeddings(torch.randn(60, 15), torch.arange(60) % 10, method="pca")
        >>> figure.axes[0].get_xlabel().startswith("PC 1")
        True
    """
    if method not in METHOD_NAMES:
        raise ValueError(f"method must be 'pca', 'tsne' or 'umap', got {method!r}.")
    total = count_of(codes, "codes")
    if labels is not None:
        as_labels(labels, total, class_names)  # report wrong labels before a long computation
    picked, picked_labels = _pick(codes, labels, max_points, seed)
    points = as_points(picked)
    xy, axis_labels = project(points.values, method, seed)

    figure, axes = new_figure(height=5.6)
    ax = axes[0, 0]
    draw_classes(ax, points, xy, picked_labels, class_names)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
    if method != "pca":
        ax.set(xticks=[], yticks=[])
    shown = f"{len(points.kept):,} of {total:,}" if len(points.kept) < total else f"N = {total:,}"
    set_title(ax, f"{title} by {METHOD_NAMES[method]} ({shown})", points.notes)
    return figure


def project(
    values: NDArray[np.float64], method: Method, seed: int = 0
) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """Project codes into two dimensions.

    Args:
        values: `(N, Z)`, finite.
        method: "pca", "tsne" or "umap".
        seed: Seed of the methods that sample.

    Returns:
        Coordinates `(N, 2)`, and the labels of the two axes.

    Raises:
        ValueError: Fewer than three codes, or fewer than two dimensions.
        ImportError: UMAP is not installed.

    Example:
        >>> places, labels = project(np.diag([2.0, 1.0, 0.5]), "pca")
        >>> places.shape
        (3, 2)
    """
    if len(values) < 3 or values.shape[1] < 2:
        raise ValueError(
            f"{METHOD_NAMES[method]} needs at least 3 codes with at least 2 dimensions, but codes "
            f"have shape {values.shape}."
        )
    if method == "pca":
        return _pca(values)
    places = _tsne(values, seed) if method == "tsne" else _umap(values, seed)
    name = METHOD_NAMES[method]
    return places, (f"{name} 1 (no unit)", f"{name} 2 (no unit)")


def tsne_seconds(count: int) -> float:
    """Estimate how long t-SNE of `count` codes takes on one core, in seconds.

    Example:
        >>> tsne_seconds(4000) > 2 * tsne_seconds(2000) > 0
        True
    """
    return TSNE_SECONDS * count * math.log2(max(count, 2))


def _pca(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """Project onto the two directions of largest variance."""
    centred = values - values.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    variance = singular**2
    share = 100 * variance[:2] / max(variance.sum(), 1e-300)
    labels = (f"PC 1 ({share[0]:.0f} % of variance)", f"PC 2 ({share[1]:.0f} % of variance)")
    return centred @ directions[:2].T, labels


def _tsne(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE

    expected = tsne_seconds(len(values))
    if expected > ANNOUNCED_SECONDS:
        print(f"t-SNE of {len(values):,} codes takes about {expected:.0f} s.", flush=True)
    perplexity = min(30.0, (len(values) - 1) / 3)
    places: NDArray[np.float64] = TSNE(
        perplexity=perplexity, init="pca", random_state=seed
    ).fit_transform(values)
    return places


def _umap(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    try:
        import umap
    except ImportError:
        raise ImportError(
            "method='umap' needs the package umap-learn (pip install umap-learn); "
            "'tsne' and 'pca' work without it."
        ) from None
    places: NDArray[np.float64] = umap.UMAP(random_state=seed).fit_transform(values)
    return places


def _pick(
    codes: ArrayLike, labels: ArrayLike | None, limit: int, seed: int
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Select at most `limit` codes at random, and their labels."""
    array = to_numpy(codes, "codes")
    known = None if labels is None else to_numpy(labels, "labels", kinds="biufUSO")
    if len(array) <= limit:
        return array, known
    index = np.sort(np.random.default_rng(seed).choice(len(array), limit, replace=False))
    return array[index], None if known is None else known[index]

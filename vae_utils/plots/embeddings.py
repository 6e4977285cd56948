"""Codes of many dimensions in the plane: PCA, t-SNE, UMAP."""

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
TSNE_SECONDS = 2.6e-4  # times N·log2 N; measured from 100 to 8,000 codes, one thread of a server
WORTH_SAYING = 10.0  # seconds


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
    """Scatter codes of any dimension in the plane, by class.

    PCA keeps distances and takes no time. t-SNE and UMAP keep neighbours together; distances
    between groups, and the axes, mean nothing. When t-SNE will take over ten seconds, a line says
    so first.

    Args:
        codes: `(N, Z)`.
        labels: `(N,)`, their classes.
        method: "tsne", "pca" or "umap" (which needs the package umap-learn).
        max_points: of more codes, this many are drawn, picked at random.
        seed: of the pick and of the method.
        title: what the codes are.
        class_names: names of classes 0, 1, 2, …

    Raises:
        ValueError: fewer than three codes or two dimensions, or an unknown method.
        ImportError: UMAP isn't installed.

    Example:
        >>> import torch
        >>> figure = plot_embeddings(torch.randn(60, 15), torch.arange(60) % 10, method="pca")
        >>> figure.axes[0].get_xlabel().startswith("PC 1")
        True
    """
    if method not in METHOD_NAMES:
        raise ValueError(f"method must be 'pca', 'tsne' or 'umap', not {method!r}.")
    total = count_of(codes, "codes")
    if labels is not None:
        as_labels(labels, total, class_names)  # what doesn't fit is said before a long wait
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
    """Bring codes into the plane.

    Args:
        values: `(N, Z)`, finite.
        method: "pca", "tsne" or "umap".
        seed: of the methods that draw at random.

    Returns:
        `(N, 2)` places, and the labels of the two axes.

    Raises:
        ValueError: fewer than three codes or two dimensions.
        ImportError: UMAP isn't installed.

    Example:
        >>> places, labels = project(np.diag([2.0, 1.0, 0.5]), "pca")
        >>> places.shape
        (3, 2)
    """
    if len(values) < 3 or values.shape[1] < 2:
        raise ValueError(
            f"codes must be at least 3 of at least 2 dimensions to be drawn by "
            f"{METHOD_NAMES[method]}, not {values.shape}."
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
    if expected > WORTH_SAYING:
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
    """Pick at most `limit` codes at random, and their labels."""
    array = to_numpy(codes, "codes")
    known = None if labels is None else to_numpy(labels, "labels", kinds="biufUSO")
    if len(array) <= limit:
        return array, known
    index = np.sort(np.random.default_rng(seed).choice(len(array), limit, replace=False))
    return array[index], None if known is None else known[index]

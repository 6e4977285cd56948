"""Points by class: the scatter plot that all figures of codes use, and outlines of density."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from vae_utils.plots.inputs import ArrayLike, Labels, Points, as_labels
from vae_utils.plots.style import BLUE, INK, add_legend, class_style

DENSITY_SHARES = (0.9, 0.5)  # of all codes, inside each contour
FEWEST_CODES = 50  # with fewer, an outline has no meaning


def draw_classes(
    ax: Axes,
    points: Points,
    xy: NDArray[np.float64],
    labels: ArrayLike | None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Plot points in the colour and marker of their class, and each class's name at its median.

    Args:
        ax: The axes.
        points: The codes that `xy` represents. Its `kept` selects the labels that belong to them.
        xy: `(M, 2)`, the positions of the points.
        labels: `(N,)`, one for each code in the input. None: all points look the same.
        class_names: Names of classes 0, 1, 2, …
    """
    size = marker_size(len(xy))
    if labels is None:
        ax.scatter(xy[:, 0], xy[:, 1], s=size, color=BLUE, alpha=0.6, linewidths=0)
        return
    every = as_labels(labels, len(points.kept), class_names)
    classes = Labels(every.index[points.kept], every.names)
    for k in classes.present():
        here = xy[classes.index == k]
        ax.scatter(
            here[:, 0],
            here[:, 1],
            s=size,
            alpha=0.7,
            linewidths=0,
            label=classes.names[k],
            **class_style(k),
        )
    _name_at_medians(ax, xy, classes)
    _add_class_legend(ax, classes)


def draw_density(ax: Axes, xy: NDArray[np.float64], bins: int = 80) -> bool:
    """Draw the outlines of the densest regions that contain 50 % and 90 % of the points.

    Args:
        ax: The axes.
        xy: `(M, 2)` points. With fewer than 50, nothing is drawn.
        bins: Cells along each axis of the smoothed histogram from which the outlines are computed.

    Returns:
        Whether outlines were drawn.
    """
    if len(xy) < FEWEST_CODES:
        return False
    from scipy.ndimage import gaussian_filter

    # The histogram's range follows the codes, not the axes: a narrow cloud has a narrow outline.
    margin = np.maximum(0.15 * np.ptp(xy, axis=0), 1e-6)
    limits = list(zip(xy.min(axis=0) - margin, xy.max(axis=0) + margin, strict=True))
    counts, x_edges, y_edges = np.histogram2d(xy[:, 0], xy[:, 1], bins=bins, range=limits)
    density = gaussian_filter(counts, sigma=bins / 40)
    ax.contour(
        (x_edges[1:] + x_edges[:-1]) / 2,
        (y_edges[1:] + y_edges[:-1]) / 2,
        density.T,
        levels=sorted({mass_level(density, share) for share in DENSITY_SHARES}),
        colors=INK,
        linewidths=[0.8, 1.4],
        alpha=0.7,
    )
    return True


def mass_level(density: NDArray[np.float64], share: float) -> float:
    """Return the level above which the densest cells contain `share` of the total.

    Example:
        >>> float(mass_level(np.array([[6.0, 3.0], [1.0, 0.0]]), share=0.5))
        6.0
    """
    ordered = np.sort(density, axis=None)[::-1]
    inside = np.cumsum(ordered) / ordered.sum()
    return float(ordered[np.searchsorted(inside, share)])


def marker_size(count: int) -> float:
    """Return a marker's area in points²: smaller if there are more points.

    Example:
        >>> marker_size(100) > marker_size(10_000)
        True
    """
    return float(np.clip(20_000 / max(count, 1), 6, 36))


def push_apart(places: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """Move positions apart until none is nearer to another than `distance`, in at most 100 steps.

    Args:
        places: `(K, 2)`.
        distance: In the same unit.

    Returns:
        `(K, 2)`.

    Example:
        >>> moved = push_apart(np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]]), distance=2.0)
        >>> moved[:, 0].round(2).tolist()
        [-0.5, 1.5, 9.0]
    """
    moved = places.copy()
    for _ in range(100):
        apart = moved[:, None] - moved[None]
        length = np.linalg.norm(apart, axis=-1)
        np.fill_diagonal(length, np.inf)
        overlap = np.clip(distance - length, 0, None)
        if overlap.max() < 0.01 * distance:
            break
        # Two equal positions have no direction between them: move them apart along x.
        order = np.sign(np.arange(len(moved))[:, None] - np.arange(len(moved)))
        apart[..., 0] += 1e-9 * order
        length = np.maximum(length, 1e-9)
        moved += (apart / length[..., None] * (overlap / 2)[..., None]).sum(axis=1)
    return moved


def _name_at_medians(ax: Axes, xy: NDArray[np.float64], classes: Labels) -> None:
    """Write each class's name at its median; names that would overlap are moved apart."""
    medians = np.array([np.median(xy[classes.index == k], axis=0) for k in classes.present()])
    span = float(np.ptp(xy, axis=0).max())
    # Scale x so that a text of average width takes as much space as one line takes in y.
    shape = np.array([max(1.0, max(map(len, classes.names)) / 2), 1.0])
    places = push_apart(medians / shape, span / 25) * shape
    for k, (x, y) in zip(classes.present(), places, strict=True):
        text = ax.text(x, y, classes.names[k], ha="center", va="center", zorder=5)
        text.set(fontsize=12, fontweight="bold")
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])


def _add_class_legend(ax: Axes, classes: Labels) -> None:
    """Add a legend of the classes right of the axes, with large markers."""
    handles: list[Any] = [
        Line2D([], [], linestyle="", markersize=7, label=classes.names[k], **class_style(k))
        for k in classes.present()
    ]
    add_legend(
        ax,
        handles=handles,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        title="class",
        handletextpad=0.3,
    )

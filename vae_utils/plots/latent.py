"""The latent plane: where the codes lie, and what the decoder draws at each place of it."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_utils.plots.decoding import Decode, decoded
from vae_utils.plots.inputs import ArrayLike, as_points
from vae_utils.plots.mosaic import tiles
from vae_utils.plots.scatter import draw_classes, draw_density
from vae_utils.plots.style import new_figure, set_title

Extent: TypeAlias = tuple[float, float, float, float]  # left, right, bottom, top

PRIOR_EXTENT = (-3.0, 3.0, -3.0, 3.0)  # 99.7 % of N(0, 1) along each axis
MARGIN = 0.03  # of the span, free on each side of the codes


def latent_extent(codes: ArrayLike) -> Extent:
    """Find the square that holds all codes, so that two figures can share their axes.

    Args:
        codes: `(N, 2)`.

    Returns:
        `(left, right, bottom, top)`.

    Raises:
        ValueError: another shape.

    Example:
        >>> left, right, bottom, top = latent_extent([[0.0, 0.0], [4.0, 2.0]])
        >>> right - left == top - bottom
        True
    """
    values = as_points(codes, dims=2).values
    low, high = values.min(axis=0), values.max(axis=0)
    half = max((high - low).max() / 2, 1e-3) * (1 + 2 * MARGIN)
    (x, y) = (low + high) / 2
    return float(x - half), float(x + half), float(y - half), float(y + half)


def plot_latent_space(
    codes: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    extent: Extent | None = None,
    density: bool = True,
    title: str = "Where the images lie in the latent space",
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Scatter two-dimensional codes by class, with the outlines of where most of them lie.

    Args:
        codes: `(N, 2)`, the latents (or posterior means) of N images.
        labels: `(N,)`, their classes.
        extent: `(left, right, bottom, top)` of the axes; by default all codes fit. Give the same
            to `plot_latent_space_images` and places correspond.
        density: whether to outline the densest regions that hold 50 % and 90 % of the codes.
        title: what the figure shows.
        class_names: names of classes 0, 1, 2, …

    Raises:
        ValueError: codes that aren't two-dimensional, or labels that don't fit them.

    Example:
        >>> import torch
        >>> figure = plot_latent_space(torch.randn(100, 2), torch.arange(100) % 10)
        >>> len(figure.axes[0].get_legend().get_texts())
        10
    """
    points = as_points(codes, dims=2)
    bounds = extent or latent_extent(points.values)
    figure, ax = _plane(bounds)
    draw_classes(ax, points, points.values, labels, class_names)
    notes = [*points.notes, *_outside(points.values, bounds)]
    if density and draw_density(ax, points.values):
        notes.insert(0, "outlines: the densest regions with 50 % and 90 % of the codes")
    set_title(ax, f"{title} (N = {len(points.kept):,})", notes)
    return figure


def plot_latent_space_images(
    decode: Decode,
    extent: Extent = PRIOR_EXTENT,
    *,
    n: int = 20,
    title: str = "What the decoder draws at each place",
) -> Figure:
    """Decode a grid of places in a two-dimensional latent space, drawn where they are.

    The square of the plane is cut into n × n cells; each shows the image decoded from its own
    middle. The axes are those of `plot_latent_space` with the same extent.

    Args:
        decode: maps latents `(N, 2)` to N images.
        extent: `(left, right, bottom, top)` of the plane; `latent_extent(codes)` gives that of
            a scatter.
        n: cells along each axis.
        title: what the figure shows.

    Raises:
        ValueError: `decode` doesn't give one image for each place.

    Example:
        >>> import torch
        >>> w = torch.randn(2, 784)
        >>> figure = plot_latent_space_images(lambda z: torch.sigmoid(z @ w), n=5)
        >>> figure.axes[0].get_xlim() == (-3.0, 3.0)
        True
    """
    left, right, bottom, top = extent
    images = decoded(decode, grid_codes(_middles(left, right, n), _middles(bottom, top, n)))
    figure, ax = _plane(extent)
    rows = images.pixels.reshape(n, n, *images.pixels.shape[1:])
    ax.imshow(tiles([list(row) for row in rows], gap=(0, 0)), extent=extent, aspect="auto")
    ax.set_aspect("equal")
    set_title(ax, title, images.notes)
    return figure


def grid_codes(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """List the places of a grid as a page is read: top row (highest y) first, left to right.

    Args:
        x: `(n,)`, from left to right.
        y: `(m,)`, from bottom to top.

    Returns:
        `(m*n, 2)`.

    Example:
        >>> grid_codes(np.array([0.0, 1.0]), np.array([5.0, 6.0])).tolist()
        [[0.0, 6.0], [1.0, 6.0], [0.0, 5.0], [1.0, 5.0]]
    """
    across, up = np.meshgrid(x, y[::-1])
    return np.stack([across.ravel(), up.ravel()], axis=1)


def _plane(extent: Extent) -> tuple[Figure, Axes]:
    """Make axes of always the same size and place, so that two figures lie on each other."""
    figure, axes = new_figure(height=6.3)
    figure.set_layout_engine("none")
    ax: Axes = axes[0, 0]
    ax.set_position((0.09, 0.09, 0.76, 0.8))
    ax.set(xlim=extent[:2], ylim=extent[2:], xlabel="latent 0", ylabel="latent 1")
    ax.set_aspect("equal")
    return figure, ax


def _middles(start: float, end: float, n: int) -> NDArray[np.float64]:
    """Cut a span into n equal cells and give the middle of each."""
    cell = (end - start) / n
    return np.asarray(start + cell * (np.arange(n) + 0.5), dtype=np.float64)


def _outside(values: NDArray[np.float64], extent: Extent) -> list[str]:
    left, right, bottom, top = extent
    x, y = values.T
    count = int(((x < left) | (x > right) | (y < bottom) | (y > top)).sum())
    return [f"{count:,} codes lie outside these axes"] if count else []

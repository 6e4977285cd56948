"""The latent plane: the codes as points, and the decoded image at each position."""

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
MARGIN = 0.03  # of the span, left free on each side of the codes


def latent_extent(codes: ArrayLike) -> Extent:
    """Return the square that contains all codes, so that two figures can have the same axes.

    Args:
        codes: `(N, 2)`.

    Returns:
        `(left, right, bottom, top)`.

    Raises:
        ValueError: The codes have another shape.

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
    title: str = "Codes of the images in the latent space",
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Plot two-dimensional codes by class, with outlines of their densest regions.

    Args:
        codes: `(N, 2)`, the latents (or posterior means) of N images.
        labels: `(N,)`, their classes.
        extent: `(left, right, bottom, top)` of the axes. By default all codes fit. With the same
            extent in `plot_latent_space_images`, both figures have the same axes.
        density: Whether to outline the densest regions that contain 50 % and 90 % of the codes.
        title: Title of the figure.
        class_names: Names of classes 0, 1, 2, …

    Raises:
        ValueError: The codes are not two-dimensional, or the labels do not fit them.

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
    title: str = "Decoded images at each position",
) -> Figure:
    """Decode a grid of positions in a two-dimensional latent space, and plot the images there.

    The plane is divided into n × n cells. Each cell shows the image decoded from its centre. The
    axes are those of `plot_latent_space` with the same extent.

    Args:
        decode: Maps latents `(N, 2)` to N images.
        extent: `(left, right, bottom, top)` of the plane. `latent_extent(codes)` returns the extent
            of a scatter plot.
        n: Number of cells along each axis.
        title: Title of the figure.

    Raises:
        ValueError: `decode` does not return one image for each position.

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
    """Return the positions of a grid, row by row: highest y first, each row from left to right.

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
    """Create axes with a fixed size and position, so that two figures match."""
    figure, axes = new_figure(height=6.3)
    figure.set_layout_engine("none")
    ax: Axes = axes[0, 0]
    ax.set_position((0.09, 0.09, 0.76, 0.8))
    ax.set(xlim=extent[:2], ylim=extent[2:], xlabel="latent 0", ylabel="latent 1")
    ax.set_aspect("equal")
    return figure, ax


def _middles(start: float, end: float, n: int) -> NDArray[np.float64]:
    """Divide a span into n equal cells and return the centre of each."""
    cell = (end - start) / n
    return np.asarray(start + cell * (np.arange(n) + 0.5), dtype=np.float64)


def _outside(values: NDArray[np.float64], extent: Extent) -> list[str]:
    left, right, bottom, top = extent
    x, y = values.T
    count = int(((x < left) | (x > right) | (y < bottom) | (y > top)).sum())
    return [f"{count:,} codes are outside these axes"] if count else []

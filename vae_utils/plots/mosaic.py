"""Many images in one figure: rows and columns of tiles, with labels around them."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_utils.plots.style import RC, WIDTH, new_figure, set_title

Tile: TypeAlias = NDArray[np.float64] | None  # (H, W, 3), or None for an empty position

GAP = 2  # pixels between tiles
MAX_TILE = 0.95  # inches: a single digit does not fill the column
MAX_HEIGHT = 7.0  # inches: a figure fits on the screen
LETTER = 0.6  # mean width of a letter, in font sizes
CAPTION = 0.2  # inches below a tile that has its own caption
TITLE_SPACE = 0.65  # inches


def tiles(rows: Sequence[Sequence[Tile]], gap: tuple[int, int] = (GAP, GAP)) -> NDArray[np.float64]:
    """Join rows of images with the same size into one image. Empty positions are white.

    Args:
        rows: Rows of `(H, W, 3)` images or None. Shorter rows are filled with white.
        gap: White pixels between rows, and between columns.

    Returns:
        `(R*(H + gap) - gap, C*(W + gap) - gap, 3)`.

    Raises:
        ValueError: The images differ in size.

    Example:
        >>> tiles([[np.zeros((4, 4, 3)), np.zeros((4, 4, 3))]], gap=(1, 1)).shape
        (4, 9, 3)
    """
    sizes = {tile.shape[:2] for row in rows for tile in row if tile is not None}
    if len(sizes) != 1:
        found = ", ".join(f"{h}×{w}" for h, w in sorted(sizes))
        raise ValueError(f"All images of one figure must have the same size, but have {found}.")
    ((height, width),) = sizes
    columns = max(len(row) for row in rows)
    step_y, step_x = height + gap[0], width + gap[1]
    joined = np.ones((len(rows) * step_y - gap[0], columns * step_x - gap[1], 3))
    for r, row in enumerate(rows):
        for c, tile in enumerate(row):
            if tile is not None:
                y, x = r * step_y, c * step_x
                joined[y : y + height, x : x + width] = tile
    return joined


def mosaic_figure(
    rows: Sequence[Sequence[Tile]],
    title: str,
    notes: Sequence[str] = (),
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    captions: Sequence[Sequence[str]] | None = None,
    x_label: str = "",
    y_label: str = "",
) -> Figure:
    """Plot rows of tiles as one figure.

    Args:
        rows: Rows of `(H, W, 3)` tiles, None for an empty position.
        title: Title of the figure.
        notes: Further lines below the title.
        row_labels: One text for each row, to its left.
        column_labels: One text for each column, above it.
        captions: One text for each tile, below it.
        x_label: Meaning of the column labels, above them.
        y_label: Meaning of the row labels, to their left.

    Example:
        >>> figure = mosaic_figure([[np.zeros((28, 28, 3))] * 3], "Nothing, three times")
        >>> figure.axes[0].images[0].get_array().shape
        (28, 88, 3)
    """
    columns = max(len(row) for row in rows)
    height, width = next(t.shape[:2] for row in rows for t in row if t is not None)
    label_inches = 0.2 + longest(row_labels or []) * LETTER * RC["ytick.labelsize"] / 72
    tile_inches = min(
        MAX_TILE,
        (WIDTH - label_inches) / columns,
        (MAX_HEIGHT / len(rows) - CAPTION * bool(captions)) * width / height,
    )
    row_gap = round(CAPTION / tile_inches * width) if captions else GAP
    row_inches = tile_inches * (height + row_gap) / width
    above = TITLE_SPACE + 0.2 * len(notes) + 0.2 * bool(x_label)

    figure, axes = new_figure(height=len(rows) * row_inches + above)
    ax = axes[0, 0]
    ax.imshow(tiles(rows, (row_gap, GAP)))
    ax.set_anchor("W")
    ax.spines[:].set_visible(False)
    row_at = [r * (height + row_gap) + (height - 1) / 2 for r in range(len(rows))]
    column_at = [c * (width + GAP) + (width - 1) / 2 for c in range(columns)]
    ax.set_yticks(row_at if row_labels else [], row_labels or [])
    ax.set_xticks(column_at if column_labels else [], column_labels or [])
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.tick_params(axis="x", labelsize=font_that_fits(column_labels or [], tile_inches))
    ax.xaxis.set_label_position("top")
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    for y, row in zip(row_at, captions or [], strict=False):
        for x, text in zip(column_at, row, strict=False):
            ax.annotate(
                text,
                (x, y + height / 2),
                xytext=(0, -2),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=font_that_fits([t for r in captions or [] for t in r], tile_inches),
            )
    set_title(ax, title, notes)
    return figure


def longest(texts: Sequence[str]) -> int:
    """Return the number of letters of the longest text.

    Example:
        >>> longest(["input", "reconstruction"]), longest([])
        (14, 0)
    """
    return max((len(text) for text in texts), default=0)


def font_that_fits(texts: Sequence[str], inches: float) -> float:
    """Return the font size, in points, with which the longest text is at most `inches` wide.

    Example:
        >>> font_that_fits(["3"], 0.7), round(font_that_fits(["Ankle boot"], 0.7), 1)
        (10.0, 8.4)
    """
    usual = float(RC["xtick.labelsize"])
    return min(usual, inches * 72 / (LETTER * max(longest(texts), 1)))


def in_rows(items: Sequence[Tile], columns: int) -> list[list[Tile]]:
    """Split a sequence of tiles into rows of `columns`.

    Example:
        >>> [len(row) for row in in_rows([None] * 5, columns=3)]
        [3, 2]
    """
    return [list(items[i : i + columns]) for i in range(0, len(items), columns)]

"""One style for all figures. Matplotlib's global settings do not change.

A notebook shows a figure exactly once. Figures are created without pyplot, so pyplot does not know
them and no cell shows them automatically. A figure is shown as the value of a cell's last line, or
by `display(figure)` anywhere else. `figure.savefig(path)` writes a file as usual.
"""

import io
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

WIDTH = 7.2  # inches: the width of a notebook's column
TITLE_WIDTH = 78  # characters that fit in this width
SCREEN_DPI = 110

BLUE, ORANGE, RED, PURPLE, BROWN = "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#a96b59"
# M. A. Petroff, "Accessible Color Sequences for Data Visualization" (2021), the ten-colour
# sequence: distinguishable with the three kinds of colour blindness. The order is changed: of all
# orders that start with blue and orange, it is the one in which classes that often overlap (3, 5
# and 8 of the digits, the tops of the clothes) differ most.
PALETTE = (
    BLUE,
    ORANGE,
    "#92dadb",  # light cyan
    "#717581",  # slate
    "#e76300",  # dark orange
    RED,
    BROWN,
    "#94a4a2",  # grey
    "#b9ac70",  # sand
    PURPLE,
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
INK = "#222222"
NEUTRAL = "#b8bcc0"  # data in the background
QUIET = "#777777"  # lines that help to read the data, but are not data
NAN_COLOUR = "#ff00ff"  # neither in grey images nor in a palette
SEQUENTIAL = "Blues"  # one hue from white: readable in grey print and with colour blindness

RC: Any = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 11,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


class CourseFigure(Figure):
    """A Matplotlib figure that a notebook shows even if pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=SCREEN_DPI, bbox_inches="tight")
        return buffer.getvalue()


def new_figure(
    rows: int = 1,
    columns: int = 1,
    height: float = 4.2,
    width: float = WIDTH,
    grid: bool = False,
    **subplots: Any,
) -> tuple[Figure, NDArray[Any]]:
    """Create a figure in the common style with `rows` × `columns` axes.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        height: Height of the figure, in inches.
        width: Width of the figure, in inches.
        grid: Whether to draw faint grid lines.
        subplots: Passed on to `Figure.subplots`.

    Returns:
        The figure, and the axes as an array `(rows, columns)`.

    Example:
        >>> figure, axes = new_figure(1, 2)
        >>> axes.shape
        (1, 2)
    """
    with rc_context(RC):
        figure = CourseFigure(figsize=(width, height), dpi=SCREEN_DPI, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **subplots)
        for ax in axes.flat:
            ax.grid(grid)
    return figure, axes


def set_title(target: Axes | Figure, title: str, notes: Sequence[str] = ()) -> None:
    r"""Set a title above axes or a figure, with notes in further lines.

    Example:
        >>> figure, axes = new_figure()
        >>> set_title(axes[0, 0], "Samples", ["3 NaN values of 784"])
        >>> axes[0, 0].get_title(loc="left")
        'Samples\n3 NaN values of 784'
    """
    lines = textwrap.wrap(title, TITLE_WIDTH)
    for note in notes:
        lines += textwrap.wrap(note, TITLE_WIDTH)
    with rc_context(RC):
        if isinstance(target, Figure):
            target.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=RC["axes.titlesize"])
        else:
            target.set_title("\n".join(lines), loc="left")


def class_style(index: int) -> dict[str, Any]:
    """Return colour and marker of class `index`, the same in every figure, unique for 100 classes.

    Example:
        >>> class_style(0) == class_style(10)
        False
    """
    lap, place = divmod(index, len(PALETTE))
    return {"color": PALETTE[place], "marker": MARKERS[(place + lap) % len(MARKERS)]}


def class_names_for(count: int, names: Sequence[str] | None) -> list[str]:
    """Return names for `count` classes: the given names, or the numbers.

    Raises:
        ValueError: There are fewer names than classes.

    Example:
        >>> class_names_for(3, None)
        ['0', '1', '2']
    """
    if names is None:
        return [str(k) for k in range(count)]
    if len(names) < count:
        raise ValueError(f"class_names must have a name for each of {count} classes.")
    return list(names)


def add_legend(ax: Axes, **where: Any) -> None:
    """Add the legend in the common style; `where` is passed on to `Axes.legend`."""
    with rc_context(RC):
        ax.legend(**where)


def number_text(value: float, form: str = ".4g") -> str:
    """Format a number with a true minus sign, as Matplotlib's axes do.

    Example:
        >>> number_text(-0.25), number_text(-0.001, ".2f")
        ('−0.25', '0.00')
    """
    return f"{value:z{form}}".replace("-", "\N{MINUS SIGN}")


def legend_below(figure: Figure, ax: Axes, columns: int) -> None:
    """Put the legend of `ax` below it, where it covers no data."""
    with rc_context(RC):
        handles, labels = ax.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=min(columns, len(labels)),
        )


def add_colour_bar(ax: Axes, drawn: Any, label: str, ticks: Sequence[float] | None = None) -> None:
    """Add a slim colour bar beside `ax` for the artist `drawn`, with its unit in `label`."""
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    with rc_context(RC):
        bar = figure.colorbar(drawn, ax=ax, label=label, shrink=0.85, aspect=28, pad=0.02)
        bar.outline.set_visible(False)
        if ticks is not None:
            bar.set_ticks(ticks, labels=[f"{tick:,.0f}" for tick in ticks])
            bar.minorticks_off()

"""Loss curves: one or several terms, training and validation, and a threshold."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vae_utils.plots.inputs import ArrayLike, to_numpy
from vae_utils.plots.style import (
    BLUE,
    BROWN,
    INK,
    NAN_COLOUR,
    ORANGE,
    PURPLE,
    QUIET,
    RED,
    legend_below,
    new_figure,
    number_text,
    set_title,
)

# Words in a name that say which split its values belong to.
VALIDATION_WORDS = ("val", "valid", "validation", "test")
TRAINING_WORDS = ("train", "training")
CURVE_COLOURS = (BLUE, RED, PURPLE, ORANGE, BROWN, INK)

MOST_MARKED_EPOCHS = 20  # with more, the dots would cover the line


def plot_losses(
    history: Mapping[str, ArrayLike] | ArrayLike,
    threshold: float | None = None,
    *,
    title: str = "Loss",
    y_label: str = "loss per image",
    log: bool = False,
) -> Figure:
    """Plot losses by epoch, with the last value of each curve in the legend.

    A name that starts or ends with `val`, `validation` or `test` (`val_kl`, `kl_val`) is the
    validation curve of its term: it has the same colour and is dashed. Epochs with a NaN or
    infinite loss are gaps. They are marked at the bottom and counted in the title.

    Args:
        history: Name of each term to its losses, one per epoch; or one list of losses.
        threshold: A line that the loss must get below. The first epoch in which the (first)
            training curve is below it is marked.
        title: Title of the figure.
        y_label: Label of the y axis, with the unit.
        log: Whether the y axis is logarithmic.

    Raises:
        ValueError: There are no losses, or the losses are not a list of numbers.

    Example:
        >>> figure = plot_losses({"loss": [160.0, 125.0, 118.0], "val_loss": [140.0, 121.0, 119.0]})
        >>> [line.get_linestyle() for line in figure.axes[0].lines]
        ['-', '--']
    """
    curves = _curves(history)
    figure, axes = new_figure(height=3.7 + 0.13 * len(curves), grid=True)
    ax = axes[0, 0]
    colours = _colours(list(curves))
    for name in _of_split(curves, validation=False):
        _draw_curve(ax, name, curves[name], colours)
    if threshold is not None:
        _draw_threshold(ax, threshold, next(iter(curves.values())))
    for name in _of_split(curves, validation=True):
        _draw_curve(ax, name, curves[name], colours)
    if log:
        ax.set_yscale("log")
    lost = _mark_lost_epochs(ax, curves)
    ax.set_xlabel("epoch")
    ax.set_ylabel(y_label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlim(0.5, max(map(len, curves.values())) + 0.5)
    legend_below(figure, ax, columns=2)
    set_title(ax, title, [f"{lost} losses are NaN or infinite, marked ×"] if lost else [])
    return figure


def split_name(name: str) -> tuple[str, bool]:
    """Return the term of a curve's name, and whether it belongs to the validation split.

    Example:
        >>> split_name("val_kl"), split_name("kl"), split_name("train loss")
        (('kl', True), ('kl', False), ('loss', False))
    """
    words = name.replace("_", " ").split()
    for split, is_validation in [(VALIDATION_WORDS, True), (TRAINING_WORDS, False)]:
        for place in (0, -1):
            if words and words[place].lower() in split:
                del words[place]
                return " ".join(words) or "loss", is_validation
    return " ".join(words) or name, False


def _curves(history: Mapping[str, ArrayLike] | ArrayLike) -> dict[str, NDArray[np.float64]]:
    named = dict(history) if isinstance(history, Mapping) else {"loss": history}
    curves = {name: _losses(losses, name) for name, losses in named.items()}
    if not any(len(losses) for losses in curves.values()):
        raise ValueError("history must hold at least one loss.")
    ordered = [*_of_split(curves, validation=False), *_of_split(curves, validation=True)]
    return {name: curves[name] for name in ordered if len(curves[name])}


def _of_split(names: Iterable[str], validation: bool) -> list[str]:
    return [name for name in names if split_name(name)[1] == validation]


def _losses(losses: ArrayLike, name: str) -> NDArray[np.float64]:
    array = to_numpy(losses, f"the losses {name!r}")
    if array.ndim != 1:
        raise ValueError(f"the losses {name!r} must be one number per epoch, not {array.shape}.")
    return array.astype(np.float64)


def _colours(names: Sequence[str]) -> dict[str, str]:
    """Return one colour per term, the same for its training and validation curve."""
    terms = list(dict.fromkeys(split_name(name)[0] for name in names))
    return {term: CURVE_COLOURS[i % len(CURVE_COLOURS)] for i, term in enumerate(terms)}


def _draw_curve(
    ax: Axes, name: str, losses: NDArray[np.float64], colours: Mapping[str, str]
) -> None:
    term, is_validation = split_name(name)
    ax.plot(
        np.arange(1, len(losses) + 1),
        np.where(np.isfinite(losses), losses, np.nan),
        color=colours[term],
        linestyle="--" if is_validation else "-",
        marker="o" if len(losses) <= MOST_MARKED_EPOCHS else "",
        markersize=4,
        label=_legend_text(name, losses),
    )


def _legend_text(name: str, losses: NDArray[np.float64]) -> str:
    return f"{name.replace('_', ' ')}, last {number_text(losses[-1], '.5g')}"


def _draw_threshold(ax: Axes, threshold: float, losses: NDArray[np.float64]) -> None:
    """Draw the line, and mark the first epoch with a loss below it."""
    below = np.flatnonzero(losses < threshold)
    reached = f"below in epoch {below[0] + 1}" if below.size else "not reached"
    ax.axhline(
        threshold,
        color=QUIET,
        linestyle=":",
        label=f"threshold {number_text(threshold)}, {reached}",
        zorder=1,
    )
    if below.size:
        ax.plot(
            [below[0] + 1],
            [losses[below[0]]],
            marker="o",
            markersize=11,
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=1.5,
            linestyle="",
        )


def _mark_lost_epochs(ax: Axes, curves: Mapping[str, NDArray[np.float64]]) -> int:
    """Mark each epoch without a finite loss with × at the bottom. Return their number."""
    epochs = [
        e + 1 for losses in curves.values() for e, x in enumerate(losses) if not math.isfinite(x)
    ]
    if epochs:
        ax.plot(
            epochs,
            [0.03] * len(epochs),
            transform=ax.get_xaxis_transform(),
            color=NAN_COLOUR,
            marker="X",
            linestyle="",
            label="NaN or infinite",
            clip_on=False,
        )
    return len(epochs)

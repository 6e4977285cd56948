"""A progress bar in a live notebook or a terminal. Everywhere else nothing is written."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from torch import Tensor

Item = TypeVar("Item")

SECONDS_BETWEEN_UPDATES = 0.2
# A Jupyter server, VS Code and Colab set these in the kernel; nbconvert and nbclient do not.
LIVE_NOTEBOOK_VARIABLES = ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG")


class Progress(Generic[Item]):
    """The result of `progress`: iterate over it, and `show` losses beside the bar."""

    def __init__(self, items: Iterable[Item], bar: Any) -> None:
        self._items = items
        self._bar = bar  # tqdm's bar, or None in a headless run
        self._shown_at = 0.0

    def __iter__(self) -> Iterator[Item]:
        if self._bar is None:
            yield from self._items
            return
        yield from self._bar

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type]

    def show(self, **losses: float | Tensor) -> None:
        """Show losses beside the bar. In a headless run, do nothing.

        Tensors are read only a few times per second, so a GPU does not have to wait for each batch.

        Args:
            losses: Numbers, or tensors of one element.

        Example:
            >>> bar = progress(range(3))
            >>> for epoch in bar:
            ...     bar.show(loss=1 / (epoch + 1))
        """
        now = time.monotonic()
        if self._bar is None or now - self._shown_at < SECONDS_BETWEEN_UPDATES:
            return
        self._shown_at = now
        self._bar.set_postfix_str(
            ", ".join(f"{name} {float(loss):.4g}" for name, loss in losses.items())
        )


def progress(items: Iterable[Item], description: str = "") -> Progress[Item]:
    """Show a progress bar with the remaining time for a loop.

    In a terminal the bar is written to stderr. In a live notebook it is a widget. Everywhere else
    (nbconvert, a pipe, a grader) there is no bar and nothing is written.

    Args:
        items: What to loop over: a range of epochs, a loader.
        description: A short text before the bar.

    Returns:
        An iterable over the same items, with a method `show(loss=…)`.

    Example:
        >>> list(progress(range(3), "epochs"))
        [0, 1, 2]
    """
    place = output_place()
    if place == "headless":
        return Progress(items, None)
    if place == "notebook":
        from tqdm.notebook import tqdm
    else:
        from tqdm import tqdm
    return Progress(items, tqdm(items, desc=description, leave=False, dynamic_ncols=True))


def output_place() -> str:
    """Return where output is shown: "notebook" (a live one), "terminal" or "headless".

    Example:
        >>> output_place() in ("notebook", "terminal", "headless")
        True
    """
    if _runs_in_kernel():
        is_live = any(os.environ.get(name) for name in LIVE_NOTEBOOK_VARIABLES)
        return "notebook" if is_live and _has_widgets() else "headless"
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return "terminal" if is_terminal else "headless"


def _runs_in_kernel() -> bool:
    """Return whether this process is a notebook's kernel, without importing IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _has_widgets() -> bool:
    # tqdm's notebook bar prints a warning to stderr if ipywidgets is missing.
    from importlib.util import find_spec

    return find_spec("ipywidgets") is not None

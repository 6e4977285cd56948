"""A progress bar for a live notebook or a terminal, and nothing at all anywhere else."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from torch import Tensor

Item = TypeVar("Item")

SECONDS_BETWEEN_UPDATES = 0.2
# Set in the kernel by a Jupyter server, VS Code and Colab; nbconvert and nbclient set none.
LIVE_NOTEBOOK_VARIABLES = ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG")


class Progress(Generic[Item]):
    """What `progress` gives: iterate over it, and `show` losses beside the bar."""

    def __init__(self, items: Iterable[Item], bar: Any) -> None:
        self._items = items
        self._bar = bar  # tqdm's, or None in a headless run
        self._shown_at = 0.0

    def __iter__(self) -> Iterator[Item]:
        if self._bar is None:
            yield from self._items
            return
        yield from self._bar

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type]

    def show(self, **losses: float | Tensor) -> None:
        """Show losses beside the bar; in a headless run, do nothing.

        Tensors are read a few times a second only, so that a GPU needn't wait for each batch.

        Args:
            losses: numbers, or tensors of one element.

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
    """Wrap a loop in a bar with the time left; the loop itself stays as it is.

    In a terminal the bar is drawn on stderr, in a live notebook it is a widget. Everywhere else
    (nbconvert, a pipe, a grader) there is no bar and nothing is written.

    Args:
        items: what to loop over: a range of epochs, a loader.
        description: a word or two before the bar.

    Returns:
        An iterable of the same items, with a method `show(loss=…)`.

    Example:
        >>> list(progress(range(3), "epochs"))
        [0, 1, 2]
    """
    place = _where()
    if place == "headless":
        return Progress(items, None)
    if place == "notebook":
        from tqdm.notebook import tqdm
    else:
        from tqdm import tqdm
    return Progress(items, tqdm(items, desc=description, leave=False, dynamic_ncols=True))


def _where() -> str:
    """Say where output goes: "notebook" (someone looks at it now), "terminal" or "headless"."""
    if _runs_in_kernel():
        is_live = any(os.environ.get(name) for name in LIVE_NOTEBOOK_VARIABLES)
        return "notebook" if is_live and _has_widgets() else "headless"
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return "terminal" if is_terminal else "headless"


def _runs_in_kernel() -> bool:
    """Say whether this is a notebook's kernel, without importing IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _has_widgets() -> bool:
    # Without ipywidgets tqdm's notebook bar warns on stderr.
    from importlib.util import find_spec

    return find_spec("ipywidgets") is not None

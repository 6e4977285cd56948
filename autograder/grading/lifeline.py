"""Ties a new process to its parent's life before it loads anything else; does so on Linux alone."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


class Lifeline:
    """What a spawned process unpickles first: from then on it ends when its parent ends.

    Modules take seconds to load, and a parent may be killed meanwhile.
    """

    def __init__(self) -> None:
        self._parent = os.getpid()

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return end_with_parent, (self._parent,)


def run_tied(_lifeline: Lifeline, work: Callable[..., object], *args: Any) -> None:
    """Call `work(*args)`; the target of a process whose first argument is a `Lifeline`."""
    work(*args)


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends.

    Args:
        parent: The parent's process id, to notice one that is gone already.
    """
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

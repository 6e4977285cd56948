"""Ends a spawned process when its parent ends, before it loads its modules; Linux only."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


class EndWithParent:
    """The first argument of a spawned process; unpickling it sets the parent-death signal.

    A spawned process unpickles its arguments in order, and loads modules for seconds while it does
    so. Its parent may be killed in that time.
    """

    def __init__(self) -> None:
        self._parent = os.getpid()

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return end_with_parent, (self._parent,)


def run_with_parent(_first: EndWithParent, function: Callable[..., object], *args: Any) -> None:
    """Call `function(*args)`; the target of a process whose first argument is `EndWithParent`."""
    function(*args)


def end_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends.

    Args:
        parent: The parent's process id. If the parent has ended already, this process exits with
            code 1.
    """
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

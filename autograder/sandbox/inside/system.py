"""The few calls into libc that Python has no name for."""

import ctypes
import os


class SandboxError(Exception):
    """A defence could not be put up."""


_libc = ctypes.CDLL(None, use_errno=True)


def syscall(name: str, *arguments: int | bytes | None) -> int:
    """Call a function of libc.

    Args:
        name: Its name; "syscall" itself for calls that libc has no name for.
        arguments: Integers, pointers to bytes, or None for a null pointer.

    Raises:
        OSError: If it returns -1.
    """
    # Variadic functions read whole registers: an int must come as one.
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = getattr(_libc, name)(*wide)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return int(result)

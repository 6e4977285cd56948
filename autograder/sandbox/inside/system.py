"""Calls into libc that have no Python function."""

import ctypes
import os


class SandboxError(Exception):
    """The sandbox could not be set up or does not protect the judge."""


_libc = ctypes.CDLL(None, use_errno=True)


def syscall(name: str, *arguments: int | bytes | None) -> int:
    """Call a function of libc.

    Args:
        name: The function's name; "syscall" for system calls without a libc function.
        arguments: Integers, pointers to bytes, or None for a null pointer.

    Returns:
        The function's result.

    Raises:
        OSError: If the function returns -1.
    """
    # Variadic functions read whole registers, so an int must be passed as a long.
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = getattr(_libc, name)(*wide)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return int(result)

import contextlib
import ctypes
import os
import signal

_attach, _detach = 16, 17
with contextlib.suppress(OSError):
    if "@VARIANT@" == "kill":
        os.kill(int("@PID@"), signal.SIGKILL)
    if "@VARIANT@" == "everyone":
        # Kill only in a PID namespace, where no other process exists.
        _alone = os.getpid() < 50 and not os.path.exists("/proc/50")
        os.kill(-1, signal.SIGKILL if _alone else 0)
        if not _alone:
            raise RuntimeError("OWNED: it can signal other processes")
if "@VARIANT@" == "trace":
    _libc = ctypes.CDLL(None)
    if _libc.ptrace(_attach, ctypes.c_long(int("@PID@")), None, None) == 0:
        os.waitpid(int("@PID@"), 0x40000000) if False else None
        raise RuntimeError("OWNED: it can trace another process")

import contextlib
import ctypes
import os
import signal

_attach, _detach = 16, 17
with contextlib.suppress(OSError):
    if "@VARIANT@" == "kill":
        os.kill(int("@PID@"), signal.SIGKILL)
    if "@VARIANT@" == "everyone":
        # For real only where it can be seen that no one else is there.
        _apart = os.getpid() < 50 and not os.path.exists("/proc/50")
        os.kill(-1, signal.SIGKILL if _apart else 0)
        if not _apart:
            raise RuntimeError("OWNED: it may signal others")
if "@VARIANT@" == "trace":
    _libc = ctypes.CDLL(None)
    if _libc.ptrace(_attach, ctypes.c_long(int("@PID@")), None, None) == 0:
        os.waitpid(int("@PID@"), 0x40000000) if False else None
        raise RuntimeError("OWNED: it traces")

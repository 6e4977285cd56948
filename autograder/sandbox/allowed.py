"""What a sandbox shows of this machine: an allow-list."""

import sys
import sysconfig
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
# All of the repository that a worker needs: no check, no solution, no test.
GIVEN = (
    "autograder/__init__.py",
    "autograder/protocol/__init__.py",
    "autograder/protocol/codec.py",
    "autograder/protocol/frames.py",
    "autograder/sandbox/__init__.py",
    "autograder/sandbox/inside",
    "autograder/worker",
    "vae_utils",
)
SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/fonts",
    "/sys/devices/system/cpu",
)
DEVICES = ("/dev/null", "/dev/urandom", "/dev/random")


def python_folders() -> list[str]:
    """List the folders that this interpreter and its packages lie in."""
    paths = [sys.prefix, sys.base_prefix, *(sysconfig.get_path(n) for n in ("purelib", "platlib"))]
    kept: list[str] = []
    for path in sorted({str(Path(path)) for path in paths}):
        if not any(Path(path).is_relative_to(other) for other in [*kept, "/usr"]):
            kept.append(path)
    return kept


def readable() -> list[str]:
    """List every file and folder that a process may read where nothing can be hidden from it."""
    given = [str(PACKAGE.parent / path) for path in GIVEN]
    return [*SYSTEM, *python_folders(), *given, *DEVICES, "/proc/cpuinfo", "/proc/meminfo"]

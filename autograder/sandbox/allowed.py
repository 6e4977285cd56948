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


def readable() -> tuple[list[str], list[str]]:
    """List what a process may read where no file can be hidden from it by a mount.

    Returns:
        The files and folders that it may read, and the folders that it may list only: the grader
        can be installed among the packages, and its checks must stay unreadable there.
    """
    given = [str(PACKAGE.parent / path) for path in GIVEN]
    files, folders = [], []
    for folder in (*SYSTEM, *python_folders()):
        shown, listed = without(Path(folder), PACKAGE)
        files += shown
        folders += listed
    return [*files, *given, *DEVICES, "/proc/cpuinfo", "/proc/meminfo"], folders


def without(folder: Path, hidden: Path) -> tuple[list[str], list[str]]:
    """Split a folder so that everything in it is named but `hidden`.

    Returns:
        The paths that together hold all of the folder but `hidden`, and the folders above `hidden`.
    """
    if not hidden.is_relative_to(folder):
        return [str(folder)], []
    if hidden == folder:
        return [], []
    shown, listed = [], [str(folder)]
    for child in sorted(folder.iterdir()):
        more, above = without(child, hidden)
        shown += more
        listed += above
    return shown, listed

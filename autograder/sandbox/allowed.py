"""The allow-list: the files and folders of this machine that a sandbox contains."""

import importlib.util
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
# The files of the project that a worker needs. They contain no check, no solution and no test.
GIVEN = (
    "autograder/__init__.py",
    "autograder/protocol/__init__.py",
    "autograder/protocol/codec.py",
    "autograder/protocol/frames.py",
    "autograder/protocol/fused.py",
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


def image_folders() -> list[Path]:
    """Return the folders with images, which no worker sees: the course's and scikit-learn's.

    A trained model is confirmed on images that its worker has not seen; see `checks.confirmation`.
    """
    folders = [PACKAGE.parent / "vae_utils" / "embedded"]
    if (sklearn := importlib.util.find_spec("sklearn")) and sklearn.origin:
        datasets = Path(sklearn.origin).resolve().parent / "datasets"
        folders += [datasets / "data", datasets / "images"]
    return [folder for folder in folders if folder.is_dir()]


def interpreter() -> str:
    """Return the path of this Python interpreter, without links in the path of its folder.

    The interpreter of an environment is a link itself. It must stay one: it finds the packages of
    the environment beside the link.
    """
    program = Path(sys.executable)
    return str(program.parent.resolve() / program.name)


def python_folders() -> list[str]:
    """Return the folders of this interpreter and its packages."""
    paths = [sys.prefix, sys.base_prefix, *(sysconfig.get_path(n) for n in ("purelib", "platlib"))]
    # A .pth file can add packages of another environment.
    if (torch := importlib.util.find_spec("torch")) and torch.origin:
        paths.append(str(Path(torch.origin).parent.parent))
    # Where an environment's folder is a link, the place that it leads to is needed too.
    paths += [str(Path(path).resolve()) for path in paths]
    kept: list[str] = []
    for path in sorted({str(Path(path)) for path in paths}):
        if not any(Path(path).is_relative_to(other) for other in [*kept, "/usr"]):
            kept.append(path)
    return kept


def readable() -> tuple[list[str], list[str]]:
    """Return what a process of tier B may read; no mount can hide a file there.

    Returns:
        The files and folders that it may read, and the folders that it may only list. The folders
        with images are in neither of them. If the grader is installed among the packages, nor is
        its own folder.
    """
    images = image_folders()
    files, folders = [], []
    for folder in (*SYSTEM, *python_folders()):
        shown, listed = without(Path(folder), [PACKAGE, *images])
        files += shown
        folders += listed
    for path in GIVEN:
        shown, listed = without(PACKAGE.parent / path, images)
        files += shown
        folders += listed
    return [*files, *DEVICES, "/proc/cpuinfo", "/proc/meminfo"], folders


def without(folder: Path, hidden: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Return the paths of everything in a folder except what is hidden.

    Returns:
        The paths that together contain all of the folder except the hidden paths, and the folders
        above the hidden paths.
    """
    if folder.is_symlink() and any(path.is_relative_to(folder.resolve()) for path in hidden):
        return [], []  # another way to the same place, such as lib64 of an environment
    inside = [path for path in hidden if path.is_relative_to(folder)]
    if not inside:
        return [str(folder)], []
    if folder in inside:
        return [], []
    shown, listed = [], [str(folder)]
    for child in sorted(folder.iterdir()):
        more, above = without(child, inside)
        shown += more
        listed += above
    return shown, listed

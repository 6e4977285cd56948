"""Downloads full data sets with torchvision. The cache never contains an incomplete set."""

import contextlib
import io
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vae_utils.data import folder
from vae_utils.data.catalog import SetFacts
from vae_utils.data.errors import DataError

SECONDS_WITHOUT_AN_ANSWER = 30.0


def cache_folder() -> Path:
    """Return the folder for downloads.

    Returns:
        `$XDG_CACHE_HOME/vaelab`, or `~/.cache/vaelab`. It may not exist yet.
    """
    base = os.environ.get("XDG_CACHE_HOME", "") or "~/.cache"
    return Path(base).expanduser() / "vaelab"


def ensure(facts: SetFacts, root: Path) -> None:
    """Download a data set into a folder, unless the folder already contains it.

    The files are downloaded into a temporary folder, read once, and only then renamed. So an
    interrupted download is never used.

    Args:
        facts: The data set.
        root: The folder. It is created if it is missing.

    Raises:
        DataError: There is no network, a checksum is wrong, or the disk is full.
    """
    if folder.has(facts, root):
        return
    print(f"{facts.title}: downloading the full set to {root}, once")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".partial-") as scratch:
            _fetch(facts, Path(scratch))
            for train in (True, False):
                folder.read(facts, Path(scratch), train)
            _move_into_place(facts, Path(scratch), root)
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors
        raise DataError(
            f"download of {facts.title}",
            found=f"an error ({_first_line(error)})",
            expected=f"the full set in {root}",
            todo=_advice(facts),
        ) from error


def _fetch(facts: SetFacts, scratch: Path) -> None:
    from torchvision import datasets

    with _quiet_unless_watched(), _timeout(SECONDS_WITHOUT_AN_ANSWER):
        getattr(datasets, facts.torchvision_name)(str(scratch), download=True)


def _move_into_place(facts: SetFacts, scratch: Path, root: Path) -> None:
    """Rename the downloaded files. On one file system, a rename is complete or does not happen."""
    if folder.has(facts, root):
        return  # another process finished first
    if facts.torchvision_name == "CIFAR10":
        os.replace(scratch / folder.CIFAR_FOLDER, root / folder.CIFAR_FOLDER)
        return
    raw = Path(facts.torchvision_name) / "raw"
    (root / raw).mkdir(parents=True, exist_ok=True)
    for names in folder.IDX_FILES.values():
        for name in names:
            os.replace(scratch / raw / name, root / raw / name)


def _advice(facts: SetFacts) -> str:
    if facts.embedded_file:
        return "Check the network, or use source='embedded', which needs no download."
    return "Check the network, or load 'photo_patches': colour images that need no download."


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Limit the time that a connection may wait: torchvision sets no timeout."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _quiet_unless_watched() -> Iterator[None]:
    """Hide torchvision's messages and progress bars; show its bar in a terminal."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield

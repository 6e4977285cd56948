"""Lists the files of a download: those of a folder, and those inside ZIP archives.

Nothing is extracted: a file's bytes are read into memory when they are needed. So a path inside an
archive cannot name a file outside it, and links are never followed.
"""

import io
import os
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from autograder.records.errors import UserError

# Archives inside archives: a bulk download, a student's archive in it, and one more.
MAX_NESTED = 3
MAX_ENTRIES = 20_000
# Of one file inside an archive, in bytes, after decompression.
MAX_MEMBER = 64 << 20
# Of the archives inside archives that are read in one run, in bytes.
MAX_NESTED_BYTES = 2 << 30
ZIP = ".zip"
OTHER_ARCHIVES = (".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
BROKEN = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError)


class CollectError(UserError):
    """The download cannot be collected; the message says what to do."""


@dataclass(frozen=True)
class Arrival:
    """One file of a download.

    Attributes:
        parts: Its path inside the download. An archive is a folder with the archive's name.
        time: When it was written, in UTC. For a file inside an archive, this is the archive's time
            if the archive lies in a folder; times in archives have no time zone.
        read: Returns its bytes; raises a `CollectError` if that is not possible.
    """

    parts: tuple[str, ...]
    time: datetime
    read: Callable[[], bytes]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.parts[-1]


@dataclass
class Listing:
    """The files of a download, and what could not be read.

    Attributes:
        files: The files.
        problems: Pairs of a path and a sentence.
        nested_bytes: The bytes of all archives inside archives so far.
    """

    files: list[Arrival]
    problems: list[tuple[str, str]]
    nested_bytes: int = 0


def list_files(source: Path) -> Listing:
    """List the files of a folder or of a ZIP archive.

    Raises:
        CollectError: If there is no such folder or archive.
    """
    found = Listing([], [])
    if source.is_dir():
        _list_folder(source, found)
    elif source.is_file() and zipfile.is_zipfile(source):
        _list_archive(source, (), _time_of(source.stat().st_mtime), 1, found)
    elif source.exists():
        raise CollectError(f"{source} is neither a folder nor a ZIP archive.")
    else:
        raise CollectError(f"{source} does not exist. Name the folder or the archive to collect.")
    return found


def _list_folder(root: Path, found: Listing) -> None:
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            parts = path.relative_to(root).parts
            if is_clutter(parts):
                continue
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode) or not stat.S_ISREG(status.st_mode):
                found.problems.append(("/".join(parts), "It is a link or no regular file."))
                continue
            time = _time_of(status.st_mtime)
            if name.lower().endswith(ZIP):
                _list_archive(path, parts, time, 1, found)
            else:
                _add(Arrival(parts, time, _reader(path)), found)
        for name in [name for name in subfolders if Path(folder, name).is_symlink()]:
            path = Path(folder, name).relative_to(root)
            found.problems.append((path.as_posix(), "It is a link; links are not followed."))


def _list_archive(
    archive: Path | bytes, parts: tuple[str, ...], time: datetime, depth: int, found: Listing
) -> None:
    """List an archive's files; a broken or an empty one becomes a problem."""
    shown = "/".join(parts) or str(archive)
    try:
        opened = zipfile.ZipFile(io.BytesIO(archive) if isinstance(archive, bytes) else archive)
        members = [member for member in opened.infolist() if not member.is_dir()]
    except BROKEN as error:
        found.problems.append((shown, f"The archive cannot be read: {error}."))
        return
    if len(members) > MAX_ENTRIES:
        text = f"The archive has {len(members):,} files; at most {MAX_ENTRIES:,} are read."
        found.problems.append((shown, text))
        return
    useful = 0
    for member in members:
        inside = _inside(member.filename)
        if is_clutter(inside):
            continue
        if not inside or stat.S_ISLNK(member.external_attr >> 16):
            text = f"The entry {member.filename!r} is a link or leaves the archive."
            found.problems.append((shown, text))
            continue
        useful += 1
        read = _member_reader(opened, member)
        if not inside[-1].lower().endswith(ZIP):
            _add(Arrival((*parts, *inside), time, read), found)
            continue
        try:
            if depth == MAX_NESTED:
                raise CollectError(f"More than {MAX_NESTED} archives are nested.")
            content = read()
            found.nested_bytes += len(content)
            if found.nested_bytes > MAX_NESTED_BYTES:
                raise CollectError("The archives inside archives are too large.")
        except CollectError as error:
            found.problems.append(("/".join((*parts, *inside)), str(error)))
        else:
            _list_archive(content, (*parts, *inside), time, depth + 1, found)
    if not useful:
        found.problems.append((shown, "The archive is empty."))


def _add(arrival: Arrival, found: Listing) -> None:
    if arrival.name.lower().endswith(OTHER_ARCHIVES):
        text = "Only ZIP archives are read. Extract this one."
        found.problems.append(("/".join(arrival.parts), text))
    found.files.append(arrival)


def _inside(name: str) -> tuple[str, ...]:
    """Return the parts of a path inside an archive; () if the path leaves the archive."""
    path = PurePosixPath(name.replace("\\", "/"))
    drive = ":" in path.parts[0] if path.parts else False
    if path.is_absolute() or ".." in path.parts or "\0" in name or drive:
        return ()
    return path.parts


def is_clutter(parts: tuple[str, ...]) -> bool:
    """Return whether a file is one that a computer made: hidden, or of a Mac's archive."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) and ".." not in parts


def _time_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(descriptor, "rb") as file:
                return _limited(file.read(MAX_MEMBER + 1))
        except OSError as error:
            raise CollectError(f"The file cannot be read: {error.strerror}.") from error

    return read


def _member_reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            # The stated size can be wrong: at most one byte more than the limit is decompressed.
            with archive.open(member) as file:
                return _limited(file.read(MAX_MEMBER + 1))
        except CollectError:
            raise
        except BROKEN as error:
            raise CollectError(f"The file cannot be read: {error}.") from error
        except Exception as error:  # zlib.error and others have no common class
            raise CollectError(f"The file is damaged: {error}.") from error

    return read


def _limited(content: bytes) -> bytes:
    if len(content) > MAX_MEMBER:
        raise CollectError(f"The file has more than {MAX_MEMBER >> 20} MiB.")
    return content

"""Lists the files of a download: those of a folder, and those inside ZIP archives.

Nothing is extracted: a file's bytes are read into memory when they are needed. So a path inside an
archive cannot name a file outside it, and links are never followed.
"""

import io
import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from autograder.records.errors import UserError

# Archives inside archives: a bulk download, a student's archive in it, and one more.
MAX_NESTED = 3
# Of one student.
MAX_ENTRIES = 20_000
# Of the list of files in a student's archive, in bytes: about 400 for each file.
MAX_DIRECTORY = 8 << 20
# Of one file inside an archive, in bytes, after decompression.
MAX_MEMBER = 64 << 20
# Of the archives inside archives of one student, in bytes.
MAX_NESTED_BYTES = 512 << 20
ZIP = ".zip"
OTHER_ARCHIVES = (".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
BROKEN = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError)
DRIVE = re.compile(r"[A-Za-z]:")
# The usual methods of compression. `zipfile` cannot stop the others before all is decompressed:
# with bzip2, a few hundred bytes can be gigabytes.
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class CollectError(UserError):
    """The download cannot be collected; the message says what to do."""


@dataclass(frozen=True)
class Arrival:
    """One file of a download.

    Attributes:
        parts: Its path inside the download. An archive is a folder with the archive's name.
        time: When it was written, in UTC. For a file inside an archive, this is the archive's time
            if the archive lies in a folder; times in archives have no time zone.
        reader: Returns its bytes, at most as many as its argument says; see `read`.
    """

    parts: tuple[str, ...]
    time: datetime
    reader: Callable[[int], bytes]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.parts[-1]

    def read(self, most: int | None = None) -> bytes:
        """Return its bytes.

        Args:
            most: How many bytes it may have; None for `MAX_MEMBER`.

        Raises:
            CollectError: If it cannot be read, or has more bytes.
        """
        return self.reader(MAX_MEMBER if most is None else most)


def one_owner(parts: tuple[str, ...]) -> str:
    """Say that each path belongs to the same student."""
    return "student"


@dataclass
class Listing:
    """The files of a download, and what could not be read.

    Attributes:
        files: The files.
        problems: Pairs of a path and a sentence.
        owner_of: Returns whose limits a path counts for; "" for a path above the students.
        nested_bytes: The bytes of the archives inside archives so far, by owner.
        entries: The number of files so far, by owner.
    """

    files: list[Arrival]
    problems: list[tuple[str, str]]
    owner_of: Callable[[tuple[str, ...]], str] = one_owner
    nested_bytes: Counter[str] = field(default_factory=Counter)
    entries: Counter[str] = field(default_factory=Counter)

    def counts(self, parts: tuple[str, ...]) -> bool:
        """Count a file; return whether its owner may have one more."""
        owner = self.owner_of(parts)
        self.entries[owner] += 1
        return not owner or self.entries[owner] <= MAX_ENTRIES


class _Archive:
    """A ZIP archive that is opened when it is needed.

    At most one archive of each depth is open. So the memory is bounded, and the number of open
    files too, however many archives there are.

    Args:
        parts: Its path inside the download.
        place: Its path, or the archive around it and its entry there.
        open_ones: The open archive of each depth.
    """

    def __init__(
        self,
        parts: tuple[str, ...],
        place: "Path | tuple[_Archive, zipfile.ZipInfo]",
        open_ones: "dict[int, tuple[_Archive, zipfile.ZipFile]]",
    ) -> None:
        self.parts = parts
        self.place = place
        self.depth: int = 1 if isinstance(place, Path) else place[0].depth + 1
        self._open_ones = open_ones

    def inside(self, parts: tuple[str, ...], member: zipfile.ZipInfo) -> "_Archive":
        """Return an archive inside this one."""
        return _Archive(parts, (self, member), self._open_ones)

    def opened(self, most: int | None = None) -> zipfile.ZipFile:
        """Return the archive, open.

        Args:
            most: How many bytes its list of files may have; None for any number.
        """
        known, archive = self._open_ones.get(self.depth, (None, None))
        if known is self and archive:
            return archive
        if archive:
            del self._open_ones[self.depth]
            archive.close()
        known = archive = None  # frees the memory before the next one is read
        stream: Path | io.BytesIO
        if isinstance(self.place, Path):
            stream = self.place
        else:
            around, member = self.place
            stream = io.BytesIO(around.read(member, MAX_MEMBER))
        if most is not None:
            _expect_short(stream, most)
        opened = zipfile.ZipFile(stream)
        self._open_ones[self.depth] = self, opened
        return opened

    def read(self, member: zipfile.ZipInfo, most: int) -> bytes:
        """Return the bytes of an entry; raise a `CollectError` if that is not possible."""
        try:
            # The stated size can be wrong: at most one byte more than the limit is decompressed.
            _expect_size(member.file_size, most)
            if member.compress_type not in BOUNDED:
                raise CollectError("It is compressed in an unusual way. Make a usual ZIP archive.")
            with self.opened().open(member) as file:
                content = file.read(most + 1)
            _expect_size(len(content), most)
            return content
        except CollectError:
            raise
        except BROKEN as error:
            raise CollectError(f"The file cannot be read: {error}.") from error
        except Exception as error:  # zlib.error and others have no common class
            raise CollectError(f"The file is damaged: {error}.") from error


def _expect_short(stream: Path | io.BytesIO, most: int) -> None:
    """Expect that an archive's list of files is short: `zipfile` reads the whole list at once."""
    end_record = getattr(zipfile, "_EndRecData", None)
    if end_record is None:
        return
    if isinstance(stream, Path):
        with stream.open("rb") as file:
            found = end_record(file)
    else:
        found = end_record(stream)
    if found and found[5] > most:
        raise CollectError(f"The archive's list of files has more than {most >> 20} MiB.")


def list_files(source: Path, owner_of: Callable[[tuple[str, ...]], str] = one_owner) -> Listing:
    """List the files of a folder or of a ZIP archive.

    Args:
        source: The folder or the archive.
        owner_of: Returns whose limits a path counts for; "" for a path above the students. So the
            files of one student use up no limit of another one.

    Raises:
        CollectError: If there is no such folder or archive.
    """
    found = Listing([], [], owner_of)
    if source.is_dir():
        _list_folder(source, found)
    elif source.is_file() and zipfile.is_zipfile(source):
        _list_archive(_Archive((), source, {}), _time_of(source.stat().st_mtime), found)
    elif source.exists():
        raise CollectError(f"{source} is neither a folder nor a ZIP archive.")
    else:
        raise CollectError(f"{source} does not exist. Name the folder or the archive to collect.")
    for owner, number in found.entries.items():
        if owner and number > MAX_ENTRIES:
            text = f"There are {number:,} files; only the first {MAX_ENTRIES:,} are read."
            found.problems.append((owner, text))
    return found


def _list_folder(root: Path, found: Listing) -> None:
    open_ones: dict[int, tuple[_Archive, zipfile.ZipFile]] = {}
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            parts = path.relative_to(root).parts
            if is_clutter(parts):
                continue
            if not found.counts(parts):
                continue
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode) or not stat.S_ISREG(status.st_mode):
                found.problems.append(("/".join(parts), "It is a link or no regular file."))
                continue
            time = _time_of(status.st_mtime)
            if name.lower().endswith(ZIP):
                _list_archive(_Archive(parts, path, open_ones), time, found)
            else:
                _add(Arrival(parts, time, _reader(path)), found)
        for name in [name for name in subfolders if Path(folder, name).is_symlink()]:
            path = Path(folder, name).relative_to(root)
            found.problems.append((path.as_posix(), "It is a link; links are not followed."))


def _list_archive(archive: _Archive, time: datetime, found: Listing) -> None:
    """List an archive's files; a broken or an empty one becomes a problem."""
    shown = "/".join(archive.parts) or str(archive.place)
    owner = found.owner_of(archive.parts)
    try:
        opened = archive.opened(MAX_DIRECTORY if owner else None)
        members = [member for member in opened.infolist() if not member.is_dir()]
    except CollectError as error:
        found.problems.append((shown, str(error)))
        return
    except BROKEN as error:
        found.problems.append((shown, f"The archive cannot be read: {error}."))
        return
    if owner and len(members) > MAX_ENTRIES:
        text = f"The archive has {len(members):,} files; at most {MAX_ENTRIES:,} are read."
        found.problems.append((shown, text))
        return
    useful = 0
    for member in members:
        inside = _inside(member.filename)
        if is_clutter(inside):
            continue
        if not inside or stat.S_ISLNK(member.external_attr >> 16):
            text = f"The entry {member.filename[:300]!r} is a link or leaves the archive."
            found.problems.append((shown, text))
            continue
        useful += 1
        parts = (*archive.parts, *inside)
        if not found.counts(parts):
            continue
        if not inside[-1].lower().endswith(ZIP):
            _add(Arrival(parts, time, _member_reader(archive, member)), found)
        elif problem := _nested_problem(archive, parts, member, found):
            found.problems.append(("/".join(parts), problem))
        else:
            _list_archive(archive.inside(parts, member), time, found)
    if not useful:
        found.problems.append((shown, "The archive is empty."))


def _nested_problem(
    archive: _Archive, parts: tuple[str, ...], member: zipfile.ZipInfo, found: Listing
) -> str:
    """Return why an archive inside an archive is not read; "" if it is read."""
    if archive.depth == MAX_NESTED:
        return f"More than {MAX_NESTED} archives are nested."
    if member.file_size > MAX_MEMBER:
        return f"The file has more than {MAX_MEMBER >> 20} MiB."
    owner = found.owner_of(parts)
    if owner and found.nested_bytes[owner] + member.file_size > MAX_NESTED_BYTES:
        size = MAX_NESTED_BYTES >> 20
        return f"The archives inside this student's archives have more than {size} MiB."
    found.nested_bytes[owner] += member.file_size
    return ""


def _add(arrival: Arrival, found: Listing) -> None:
    if arrival.name.lower().endswith(OTHER_ARCHIVES):
        text = "Only ZIP archives are read. Extract this one."
        found.problems.append(("/".join(arrival.parts), text))
    found.files.append(arrival)


def _inside(name: str) -> tuple[str, ...]:
    """Return the parts of a path inside an archive; () if the path leaves the archive."""
    path = PurePosixPath(name.replace("\\", "/"))
    # Other colons are usual: nbgrader's exchange writes the time into a folder's name.
    if path.is_absolute() or ".." in path.parts or "\0" in name or DRIVE.match(name):
        return ()
    return path.parts


def is_clutter(parts: tuple[str, ...]) -> bool:
    """Return whether a file is one that a computer made: hidden, or of a Mac's archive."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) and ".." not in parts


def _time_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _reader(path: Path) -> Callable[[int], bytes]:
    def read(most: int) -> bytes:
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(descriptor, "rb") as file:
                # `read` takes as much memory as it is asked for, also for a short file.
                content = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
        except OSError as error:
            raise CollectError(f"The file cannot be read: {error.strerror}.") from error
        _expect_size(len(content), most)
        return content

    return read


def _member_reader(archive: _Archive, member: zipfile.ZipInfo) -> Callable[[int], bytes]:
    return lambda most: archive.read(member, most)


def _expect_size(size: int, most: int) -> None:
    if size > most:
        shown = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most:,} bytes"
        raise CollectError(f"The file has more than {shown}.")

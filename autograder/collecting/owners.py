"""Finds out whose file it is, and of which attempt, from its path in a download.

The forms of paths are those of Canvas ("Download Submissions"), Moodle ("Download all
submissions"), Gradescope ("Export Submissions") and nbgrader (its course folder, and the inbound
folder of its exchange). Every other path begins with the student's name.

These forms count only at the top of a download, or in a folder or an archive around it that has the
name of a download. Below a student's name, a student chooses the names, and could name another one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import yaml

from autograder.collecting.arrivals import ZIP, Arrival, CollectError, Listing

# Canvas: lovelaceada_LATE_12345_67890_03_fc_vae-1.ipynb, with the ids of the user and of the file.
CANVAS = re.compile(
    r"(?P<name>[^/]+?)_(?P<late>LATE_)?(?P<user>\d{2,})_(?P<file>\d{2,})_(?P<rest>.+)"
)
CANVAS_ATTEMPT = re.compile(r"-(\d{1,2})(\.\w+)$")
# Moodle: "Ada Lovelace_123_assignsubmission_file_", a folder or the beginning of a file's name.
MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_\w+?(?:_(?P<rest>.*))?")
# nbgrader's exchange: ada+03_fc_vae+2026-11-30 10:11:12 UTC+0a1b2c
EXCHANGE = re.compile(r"(?P<name>[^+]+)\+(?P<assignment>[^+]+)\+(?P<time>[^+]+?)(?:\+.*)?")
GRADESCOPE = "submission_metadata.yml"
# The folder of a student in Moodle. A name may itself contain this form: the last one counts.
MOODLE_FOLDER = re.compile(r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_[a-z]+_?")
# The names of downloads: of Canvas, Gradescope, nbgrader and Moodle, and usual ones.
DOWNLOAD = re.compile(
    r"(submissions|submitted|inbound|downloads?|exports?|all|class|assignment_\d+_export|"
    r"(?P<moodle>[^-]+-.+-\d+))([ _-]?\(\d+\))?(\.zip)?",
    re.IGNORECASE,
)
PLATFORM, FILE = "platform", "file"
# No platform writes a longer name. In a long one, the search for a form can take hours.
MAX_FORM = 512


@dataclass(frozen=True)
class Owner:
    """The student of a file, as far as the download tells.

    Attributes:
        name: A name as the platform writes it.
        ids: Ids of this student: of the platform, of the school, or an e-mail address.
        number: Tells apart two students with the same name; "" if the name is unique.
    """

    name: str
    ids: frozenset[str] = frozenset()
    number: str = ""


@dataclass(frozen=True)
class Owned:
    """A file with its owner.

    Attributes:
        file: The file.
        owner: Its owner.
        inside: Its path below the student's folder, archive or prefix.
        attempt: The number of the attempt, as the platform counts; 0 for the first or only one.
        late: Whether the platform says that it is late.
        time: When it was handed in; the file's time where the platform does not say it.
        clock: Where the time comes from: `PLATFORM`, `FILE`, or "" if it says nothing about when it
            was handed in, such as the time of a download.
        of_metadata: Whether the owner comes from a platform's metadata, and not from the path.
    """

    file: Arrival
    owner: Owner
    inside: tuple[str, ...]
    attempt: int = 0
    late: bool = False
    time: datetime = datetime.min
    clock: str = FILE
    of_metadata: bool = False

    @property
    def order(self) -> tuple[int, datetime]:
        """Sorts the attempts of one student; the files of one attempt have the same one."""
        return self.attempt, self.time


def find_owners(
    listing: Listing, is_student: Callable[[str], bool] = lambda _: False
) -> list[Owned]:
    """Find the owner of each file; files that belong to no student become problems.

    Args:
        listing: The files.
        is_student: Returns whether a name is surely that of a student.
    """
    start = _top(listing, is_student)
    metadata = _gradescope(listing, start)
    found: list[Owned] = []
    for file in listing.files:
        parts = file.parts[start:]
        if metadata is not None:
            several = _of_gradescope(file, parts, metadata)
            found += several
            if not several and file.name.lower().endswith(".ipynb"):
                text = f"`{GRADESCOPE}` names no student for it."
                listing.problems.append(("/".join(file.parts), text))
        elif owned := _owned(file, parts):
            found.append(owned)
        elif file.name.lower().endswith(".ipynb"):
            text = "Its path names no student. Expected: <student>/<file>."
            listing.problems.append(("/".join(file.parts), text))
    # Files in an archive have its time, which for one of the whole class is that of the download.
    bulk = any(part.lower().endswith(ZIP) for one in found for part in one.file.parts[:start])
    return [replace(one, clock="") if bulk and one.clock == FILE else one for one in found]


def _owned(file: Arrival, parts: tuple[str, ...]) -> Owned | None:
    """Return a file with the owner that its path names; None if it names none."""
    first, rest = parts[0], parts[1:]
    if len(first) > MAX_FORM:
        return Owned(file, Owner(first, frozenset({first})), rest, time=file.time) if rest else None
    if rest and (found := MOODLE_FOLDER.fullmatch(first)):
        owner = Owner(found["name"], frozenset(), found["id"])
        return Owned(file, owner, rest, time=file.time)
    if found := MOODLE.fullmatch(first):
        owner = Owner(found["name"], frozenset(), found["id"])
        inside = (found["rest"], *rest) if found["rest"] else rest
        return Owned(file, owner, inside or (first,), time=file.time)
    if found := CANVAS.fullmatch(first):
        attempt = CANVAS_ATTEMPT.search(found["rest"])
        name = CANVAS_ATTEMPT.sub(r"\2", found["rest"])
        owner = Owner(found["name"], frozenset({found["user"]}), found["user"])
        number = int(attempt[1]) if attempt else 0
        return Owned(file, owner, (name, *rest), number, bool(found["late"]), file.time, "")
    if rest and (found := EXCHANGE.fullmatch(first)):
        owner = Owner(found["name"], frozenset({found["name"]}))
        time = exchange_time(found["time"])
        return Owned(file, owner, rest, time=time or file.time, clock=PLATFORM if time else FILE)
    if rest:
        name = first[: -len(ZIP)] if first.lower().endswith(ZIP) else first
        return Owned(file, Owner(name, frozenset({name})), rest, time=file.time)
    return None


def exchange_time(text: str) -> datetime | None:
    """Return a time as nbgrader writes it; None if the text is none."""
    for form in ("%Y-%m-%d %H:%M:%S.%f %Z", "%Y-%m-%d %H:%M:%S %Z"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def owner_of(parts: tuple[str, ...]) -> str:
    """Return whose file it is, by its path alone; "" for one that lies around the students."""
    number, name = identity_of(parts)
    return f"{name}_{number}" if number else name


def identity_of(parts: tuple[str, ...]) -> tuple[str, str]:
    """Return the number and the name that a path in a download begins with.

    Returns:
        The number tells apart two students with the same name; "" if the path has none. Both are
        "" for a path that names no student.
    """
    rest = list(parts)
    while rest and DOWNLOAD.fullmatch(rest[0][:MAX_FORM]):
        del rest[0]
    if not rest:
        return "", ""
    file = Arrival(tuple(rest), datetime.min, lambda _: b"")
    owned = _owned(file, file.parts)
    return (owned.owner.number, owned.owner.name) if owned else ("", rest[0])


def _top(listing: Listing, is_student: Callable[[str], bool]) -> int:
    """Return how many folders or archives lie around all files, above the students' names.

    A bulk download is often one archive, or one folder, with everything in it. It is entered if it
    has the name of a download, and if what lies in it has the form of a platform, or can only be
    students: several archives, or several folders in an archive. With every other name, it is the
    folder of one student. It becomes a problem if it looks like a download.
    """
    start = 0
    while True:
        paths = [file.parts[start:] for file in listing.files if len(file.parts) > start]
        firsts = {path[0] for path in paths}
        inner = {path[1] for path in paths if len(path) > 1}
        if len(firsts) != 1 or not inner or _of_platform(firsts):
            return start
        first = min(firsts)
        if len(first) > MAX_FORM or max(map(len, inner)) > MAX_FORM:
            return start
        archives = all(name.lower().endswith(ZIP) for name in inner)
        folders = first.lower().endswith(ZIP) and all(len(path) > 2 for path in paths)
        again = DOWNLOAD.fullmatch(first) and all(DOWNLOAD.fullmatch(name) for name in inner)
        if not (_of_platform(inner) or again or (len(inner) > 1 and (archives or folders))):
            return start
        if is_student(first[: -len(ZIP)] if first.lower().endswith(ZIP) else first):
            return start
        if not _is_download(first, inner):
            around = "archive" if first.lower().endswith(ZIP) else "folder"
            text = (
                f"This {around} was taken as that of one student, because nothing lies beside it. "
                f"If it is a download of several students, collect the {around} itself."
            )
            listing.problems.append(("/".join(_around(listing, start)), text))
            return start
        start += 1


def _around(listing: Listing, start: int) -> tuple[str, ...]:
    """Return the path of the folder or archive at a depth; all files lie in it."""
    return next(file.parts[: start + 1] for file in listing.files if len(file.parts) > start)


def _is_download(name: str, inner: set[str]) -> bool:
    """Return whether a folder or an archive has the name of a download, not of a student."""
    found = DOWNLOAD.fullmatch(name)
    if not found:
        return False
    # A student's name can have Moodle's form too.
    return not found["moodle"] or any(MOODLE.fullmatch(one) for one in inner)


def _of_platform(names: set[str]) -> bool:
    forms = (CANVAS, MOODLE, EXCHANGE)
    short = [name for name in names if len(name) <= MAX_FORM]
    return any(name == GRADESCOPE or any(f.fullmatch(name) for f in forms) for name in short)


def _gradescope(listing: Listing, start: int) -> Mapping[str, Any] | None:
    """Return the submissions in Gradescope's metadata by folder; None if there is no such file."""
    place = next((f for f in listing.files if f.parts[start:] == (GRADESCOPE,)), None)
    if place is None:
        return None
    try:
        found = yaml.load(place.read(), Loader=_Symbols)
    except (yaml.YAMLError, CollectError, ValueError, RecursionError) as error:
        raise CollectError(f"{'/'.join(place.parts)} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise CollectError(f"{'/'.join(place.parts)} has no list of submissions.")
    return found


class _Symbols(yaml.SafeLoader):
    """Reads YAML with Ruby's symbols, such as `:name`, as plain strings."""


def _of_gradescope(
    file: Arrival, parts: tuple[str, ...], metadata: Mapping[str, Any]
) -> Sequence[Owned]:
    """Return a file once for each student who handed it in; groups hand in together."""
    entry = metadata.get(parts[0])
    if not isinstance(entry, dict) or len(parts) < 2:
        return []
    people = entry.get(":submitters", entry.get("submitters"))
    time = entry.get(":created_at", entry.get("created_at"))
    if isinstance(time, datetime):
        time = time.replace(tzinfo=time.tzinfo or UTC)
    found = []
    for person in people if isinstance(people, list) else []:
        if not isinstance(person, dict):
            continue
        told = {str(key).lstrip(":"): str(value) for key, value in person.items() if value}
        ids = frozenset(told[key] for key in ("sid", "email", "name") if key in told)
        if ids:
            owner = Owner(told.get("sid") or told.get("email") or told["name"], ids)
            moment = time if isinstance(time, datetime) else file.time
            clock = PLATFORM if isinstance(time, datetime) else FILE
            one = Owned(file, owner, parts[1:], time=moment, clock=clock)
            found.append(replace(one, of_metadata=True))
    return found

"""Collects the submissions to an assignment into nbgrader's layout; loses nothing.

INTO/<student>/<assignment>/<assignment>.ipynb            the latest attempt
INTO/<student>/<assignment>/earlier/<time>.ipynb          the attempts before it
INTO/collected-<assignment>.csv                           what was taken, and every problem
"""

import csv
import errno
import hashlib
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from autograder.collecting.arrivals import CollectError, list_files
from autograder.collecting.choose import Budget, Chosen, choose
from autograder.collecting.owners import (
    FILE,
    Owned,
    Owner,
    find_owners,
    identity_of,
    owner_of,
)
from autograder.collecting.roster import Student, match
from autograder.course.sources import load_source
from autograder.records.results import write_bytes, write_text
from autograder.records.text import DIGEST_DIGITS, printable
from autograder.reports.table import from_plain, plain

TIME = "%Y-%m-%d %H:%M:%S"
TAKEN, MISSING, UNCHANGED, OLDER = "taken", "missing", "unchanged", "older"
EARLIER = "earlier"
MAX_NAME_BYTES = 150
# Names that end in a digest, and names of files that stand beside the students' folders.
TAKEN_NAME = re.compile(rf"-[0-9a-f]{{{DIGEST_DIGITS}}}$|^collected-.*\.csv$", re.IGNORECASE)
# Errors of the disk, which no other student's files can do without.
OF_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
COLUMNS = ("student", "name", "state", "time", "late", "attempts", "file", "notes", "time_from")


@dataclass(frozen=True)
class Collected:
    """What was collected from one student.

    Attributes:
        student: The name of the student's folder.
        name: The name to show.
        state: `TAKEN`, `UNCHANGED` if the same notebook was there, `OLDER` if a later one was
            there, `MISSING` if there is no notebook.
        time: When the notebook was handed in, in UTC; None if there is none.
        late: Whether the platform says that it is late.
        attempts: How many attempts there are.
        file: The path of the notebook in the download; "" if there is none.
        notes: What an instructor should know.
        time_from: Where the time comes from; see `Owned.clock`.
    """

    student: str
    name: str
    state: str
    time: datetime | None = None
    late: bool = False
    attempts: int = 0
    file: str = ""
    notes: tuple[str, ...] = ()
    time_from: str = ""


@dataclass(frozen=True)
class Report:
    """What a run collected.

    Attributes:
        students: One entry for each student, sorted by the name of the folder.
        problems: Pairs of a path in the download and a sentence.
        table: The CSV file with all of it.
    """

    students: tuple[Collected, ...]
    problems: tuple[tuple[str, str], ...]
    table: Path


def collect(
    source: Path, assignment: str, into: Path, roster: Sequence[Student] | None = None
) -> Report:
    """Collect the submissions to an assignment.

    The latest attempt of each student is taken. A notebook that is already there is never lost: an
    older one moves to the earlier attempts, a later one stays.

    Args:
        source: A folder or a ZIP archive, as the learning platform delivers it.
        assignment: The assignment's name.
        into: The folder of the submissions; it may have submissions already.
        roster: The students of the course; None if there is no roster.

    Raises:
        CollectError: If `source` is neither a folder nor an archive, or contains `into`.
        CourseError: If the assignment does not exist.
        OSError: If a file cannot be written.
    """
    load_source(assignment)
    if source.is_dir() and into.resolve().is_relative_to(source.resolve()):
        raise CollectError(f"{into} lies inside {source}. Choose another folder with --into.")
    table = table_of(into, assignment)
    if table.is_dir():
        raise CollectError(f"{table} is a folder, but it is the table's place. Move it elsewhere.")
    listing = list_files(source, owner_of)
    owned = find_owners(listing, lambda name: _is_on(name, roster or ()))
    if not source.is_dir():  # one archive, as above
        owned = [replace(one, clock="") if one.clock == FILE else one for one in owned]
    before = _of_table(table)
    students, problems = _by_student(owned, roster, before)
    done = []
    for key, (name, files, notes) in students.items():
        try:
            one = _collect_one(key, name, files, notes, assignment, into)
        except Exception as error:  # of one student: the others are collected
            if isinstance(error, OSError) and error.errno in OF_ALL:
                raise
            told = f"Nothing was taken because of an error: {type(error).__name__}: {error}"
            problems.append(("/".join(files[0].file.parts), told))
            there = before.get(key, Collected(key, name, MISSING))
            one = replace(there, notes=(*notes, told))
        done.append(_with_origin(one, before.get(key), files))
    # A download of some students only, such as late ones, changes nothing for the others.
    others = {name: one for name, one in before.items() if name not in students}
    for student in roster or ():
        if (name := folder_name(student.key)) not in students:
            (into / name).mkdir(parents=True, exist_ok=True)
            others.setdefault(name, Collected(name, student.name, MISSING))
    done += others.values()
    done.sort(key=lambda one: one.student.casefold())
    every = (*listing.problems, *problems)
    write_text(table, as_csv(done, every))
    return Report(tuple(done), every, table)


def _is_on(name: str, roster: Sequence[Student]) -> bool:
    """Return whether a name is that of a student of the roster."""
    return bool(match(Owner(name, frozenset({name})), roster))


def _with_origin(one: Collected, before: Collected | None, files: Sequence[Owned]) -> Collected:
    """Return it with a note if the notebook there was handed in under another name."""
    if before is None or not before.file or one.state != TAKEN:
        return one
    # Gradescope's folders have the number of the submission, and not the student's name.
    then, now = _who(before), _who(one)
    if then == now or any(file.of_metadata for file in files):
        return one
    note = f"The notebook before was handed in under another name: {before.file}."
    return replace(one, notes=(*one.notes, note))


def _who(one: Collected) -> tuple[str, str]:
    """Return the number and the name that the path of a collected notebook tells."""
    return identity_of(tuple(one.file.split("/")))


def _of_table(table: Path) -> dict[str, Collected]:
    """Return who has a notebook by an earlier table, by folder."""
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return {}
    found = {}
    for row in rows:
        told = {column: from_plain(row.get(column) or "") for column in COLUMNS}
        try:
            time = datetime.strptime(told["time"], TIME).replace(tzinfo=UTC)
        except ValueError:
            time = None
        one = Collected(
            told["student"],
            told["name"],
            UNCHANGED if told["state"] == TAKEN else told["state"],
            time,
            bool(told["late"]),
            int(told["attempts"]) if told["attempts"].isdecimal() else 0,
            told["file"],
            (told["notes"],) if told["notes"] else (),
            told["time_from"],
        )
        if one.student and one.state in (UNCHANGED, OLDER):
            found[one.student] = one
    return found


def table_of(into: Path, assignment: str) -> Path:
    """Return the path of the table of what was collected."""
    return into / f"collected-{assignment}.csv"


Files = dict[str, tuple[str, list[Owned], list[str]]]
# The number and the name of a student without a line of the roster, or the key of the roster.
Identity = tuple[str, str] | str


def _by_student(
    owned: Sequence[Owned], roster: Sequence[Student] | None, before: Mapping[str, Collected]
) -> tuple[Files, list[tuple[str, str]]]:
    """Return the name, files and notes of each student, by folder; and pairs of path and problem.

    Without a roster, two students with the same name get folders with their numbers.

    Args:
        owned: The files.
        roster: The students of the course; None if there is no roster.
        before: What was collected before, by folder.
    """
    numbers: dict[str, set[str]] = {}
    for one in owned:
        numbers.setdefault(one.owner.name, set()).add(one.owner.number)
    groups: dict[Identity, tuple[str, str, list[Owned], list[str]]] = {}
    problems: dict[Owner, tuple[str, str]] = {}
    for one in owned:
        owner, notes = one.owner, []
        key, name = owner.name, owner.name
        identity: Identity = (owner.number, owner.name)
        if len(numbers[owner.name]) > 1:
            key = f"{owner.name}_{owner.number}"
        if roster is not None:
            found = match(owner, roster)
            if len(found) == 1:
                key, name = found[0].key, found[0].name
                identity = key
            else:
                several = ", ".join(student.key for student in found)
                text = f"The roster has several such students: {several}." if found else ""
                notes.append(text or "This student is not on the roster.")
                problems.setdefault(owner, ("/".join(one.file.parts), f"{key}: {notes[0]}"))
        entry = groups.setdefault(identity, (key, name, [], notes))
        entry[2].append(one)
    folders = _folders({who: entry[0] for who, entry in groups.items()}, roster or (), before)
    students: Files = {}
    for who, (_, name, files, notes) in groups.items():
        folder, note = folders[who]
        students[folder] = (name, files, [*notes, note] if note else notes)
    return students, list(problems.values())


def _folders(
    keys: Mapping[Identity, str], roster: Sequence[Student], before: Mapping[str, Collected]
) -> dict[Identity, tuple[str, str]]:
    """Return the folder of each student, and a note or ""; no two have the same folder.

    Two students without a roster that would have the same one both get digits of a digest.

    Args:
        keys: The keys of the students.
        roster: The students of the course. Their folders are their own, also if they are missing.
        before: What was collected before, by folder.
    """
    # Only a platform's number tells surely who a folder belongs to.
    held: dict[Identity, str] = {}
    for folder, one in before.items():
        if not roster and (owner := _who(one))[0]:
            held[owner] = folder
    names = {who: folder_name(key) for who, key in keys.items()}
    wanted = Counter(name for who, name in names.items() if who not in held)
    reserved = {folder_name(one.key) for one in roster} | set(held.values())
    found: dict[Identity, tuple[str, str]] = {}
    for who, name in names.items():
        if isinstance(who, str):  # on the roster
            found[who] = name, ""
        elif who in held:
            found[who] = held[who], ""
        elif wanted[name] > 1 or (name in reserved and (roster or who[0])):
            note = f"The folder `{name}` would be that of another student too."
            found[who] = _with_digest(name, "\0".join(who)), note
        else:
            found[who] = name, ""
    return found


def _collect_one(
    student: str,
    name: str,
    files: Sequence[Owned],
    notes: Sequence[str],
    assignment: str,
    into: Path,
) -> Collected:
    """Write the notebooks of one student."""
    attempts: dict[tuple[int, str], list[Owned]] = {}
    for one in files:
        # The files of a folder have many times and are one attempt, unless the platform counts.
        counted = one.attempt, one.file.parts[0] if one.time != one.file.time else ""
        attempts.setdefault(counted, []).append(one)
    ordered = sorted(attempts.values(), key=lambda group: max(one.order for one in group))
    folder = into / student / assignment
    budget, kept = Budget(), 0
    last: Chosen | None = None
    final: Chosen | None = None
    # Only the contents of two attempts are in memory at the same time.
    for group in reversed(ordered):
        chosen = choose(group, assignment, budget)
        final = final or replace(chosen, content=b"")
        if chosen.owned and last:
            kept += 1
            _keep_earlier(folder / EARLIER, chosen.content, _time(chosen))
        last = last or (chosen if chosen.owned else None)
    assert final
    written = list(notes)
    if not last:
        written.append(final.problem)
        (into / student).mkdir(parents=True, exist_ok=True)
        return Collected(
            student, name, MISSING, attempts=len(ordered), notes=(*written, *final.notes)
        )
    if not final.owned:
        written.append(f"The last attempt was not taken: {final.problem}")
    written += last.notes
    if kept:
        written.append(f"{kept} earlier attempts are in `{EARLIER}`.")
    if budget.refused and not any(budget.limit in note for note in written):
        written.append(f"Not all earlier attempts were read. {budget.limit}")
    state = _write_last(folder, assignment, last)
    if state == OLDER:
        written.append("The notebook that was there is later, and stays.")
    elif last.helpers:
        for helper, content in last.helpers.items():
            _write_helper(folder, helper, content, _time(last))
        written.append(f"It uses {', '.join(last.helpers)}, handed in with it.")
    assert last.owned
    where = "/".join(last.owned.file.parts)
    late, count = last.owned.late, len(ordered)
    found = (student, name, state, _time(last), late, count, where, tuple(written))
    return Collected(*found, last.owned.clock)


def _time(one: Chosen) -> datetime:
    assert one.owned
    return one.owned.time


def _write_last(folder: Path, assignment: str, last: Chosen) -> str:
    """Write the latest attempt, unless the same or a later one is there; return what was done."""
    path, time = folder / f"{assignment}.ipynb", _time(last)
    if path.is_file() and not path.is_symlink():
        before, written = path.read_bytes(), datetime.fromtimestamp(path.stat().st_mtime, UTC)
        if before == last.content:
            return UNCHANGED
        if written > time:
            _keep_earlier(folder / EARLIER, last.content, time)
            return OLDER
        _keep_earlier(folder / EARLIER, before, written)
    write_bytes(path, last.content, time.timestamp())
    return TAKEN


def _write_helper(folder: Path, name: str, content: bytes, time: datetime) -> None:
    """Write a Python file beside the notebook; keep another one that is there."""
    path = folder / name
    if path.is_file() and not path.is_symlink() and path.read_bytes() != content:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        earlier = folder / EARLIER / f"{written.strftime('%Y-%m-%dT%H-%M-%SZ')} {name}"
        write_bytes(earlier, path.read_bytes(), path.stat().st_mtime)
    write_bytes(path, content, time.timestamp())


def _keep_earlier(folder: Path, content: bytes, time: datetime) -> None:
    """Write an earlier attempt under its time, unless it is there."""
    stem, number = time.strftime("%Y-%m-%dT%H-%M-%SZ"), 1
    while True:
        path = folder / (f"{stem}.ipynb" if number == 1 else f"{stem} {number}.ipynb")
        if not path.exists():
            return write_bytes(path, content, time.timestamp())
        if path.read_bytes() == content:
            return None
        number += 1


def folder_name(key: str) -> str:
    """Return a student's key as the name of a folder; a changed one gets digits of its digest.

    A key that looks like a changed name, or like a file of the course, is changed too. So no two
    keys have the same name.
    """
    name = re.sub(r'[/\\:*?"<>|\x00-\x1f\x7f]', "_", printable(key)).strip(" .")
    plain_enough = name == key and len(name.encode()) <= MAX_NAME_BYTES
    return name if plain_enough and not TAKEN_NAME.search(name) else _with_digest(name, key)


def _with_digest(name: str, key: str) -> str:
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:DIGEST_DIGITS]
    short = name.encode()[: MAX_NAME_BYTES - len(digest) - 1].decode(errors="ignore")
    return f"{short.strip(' .-') or 'student'}-{digest}"


def as_csv(students: Sequence[Collected], problems: Sequence[tuple[str, str]]) -> str:
    """Return what was collected as CSV text; problems without a student come last."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for one in students:
        time = one.time.strftime(TIME) if one.time else ""
        values = (one.state, time, "late" if one.late else "", str(one.attempts))
        told = (plain(one.file), plain(" ".join(one.notes)))
        writer.writerow([plain(one.student), plain(one.name), *values, *told, one.time_from])
    for where, problem in problems:
        writer.writerow(["", "", "problem", "", "", "", plain(where), plain(problem), ""])
    return text.getvalue()

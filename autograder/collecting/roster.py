"""Reads a roster: the students of a course as a CSV file of Canvas, Moodle or nbgrader."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autograder.collecting.arrivals import CollectError
from autograder.collecting.owners import Owner

# The columns of the id that names a student's folder: the first one with a value is used.
KEYS = (
    "id number",
    "sis login id",
    "username",
    "login",
    "student id",
    "sid",
    "sis user id",
    "id",
    "email address",
    "email",
    "identifier",
)
# Columns that can identify a student too.
OTHER_IDS = ("lms_user_id",)
FULL_NAMES = ("student", "name", "full name", "student name")
FIRST_NAMES, LAST_NAMES = (
    ("first_name", "first name", "firstname"),
    ("last_name", "last name", "surname", "lastname"),
)


@dataclass(frozen=True)
class Student:
    """One row of the roster.

    Attributes:
        key: The name of the student's folder.
        name: The name to show.
        ids: All ids and e-mail addresses, in lower case.
        names: The forms of the name, as `plain` writes them.
        columns: The row as the file has it, by the names of its columns.
    """

    key: str
    name: str
    ids: frozenset[str]
    names: frozenset[str]
    columns: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


def read_roster(path: Path) -> list[Student]:
    """Read a roster.

    Raises:
        CollectError: If the file cannot be read, has no usable column, or names a student twice.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CollectError(f"The roster {path} cannot be read: {error.strerror}.") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    students = [one for row in rows if (one := _student(row))]
    if not students:
        raise CollectError(
            f"The roster {path} names no student. Expected: a header line with a column such as "
            f"{', '.join(KEYS[:3])}, and one line for each student."
        )
    seen: set[str] = set()
    for one in students:
        if one.key in seen:
            raise CollectError(f"The roster {path} has the id {one.key!r} twice.")
        seen.add(one.key)
    return students


def _student(row: Mapping[str | None, object]) -> Student | None:
    told = {str(k).strip().lower(): v.strip() for k, v in row.items() if k and isinstance(v, str)}
    ids = [told[column] for column in (*KEYS, *OTHER_IDS) if told.get(column)]
    if not ids:
        return None
    first = next((told[column] for column in FIRST_NAMES if told.get(column)), "")
    last = next((told[column] for column in LAST_NAMES if told.get(column)), "")
    full = next((told[column] for column in FULL_NAMES if told.get(column)), "")
    if "," in full:  # Canvas writes "Lovelace, Ada"
        last, _, first = (part.strip() for part in full.partition(","))
    shown = f"{first} {last}".strip() or full or ids[0]
    forms = {plain(f"{first}{last}"), plain(f"{last}{first}"), plain(full)} - {""}
    forms |= {plain(" ".join(reversed(full.split())))} - {""}
    known = frozenset(x.lower() for x in ids)
    written = {k: v for k, v in row.items() if k is not None and isinstance(v, str)}
    return Student(ids[0], shown, known, frozenset(forms), written)


def plain(name: str) -> str:
    """Return a name as lower-case letters without accents and spaces, as Canvas writes it."""
    split = unicodedata.normalize("NFKD", name)
    return re.sub(r"[\W_]", "", "".join(c for c in split if not unicodedata.combining(c))).lower()


def match(owner: Owner, students: Iterable[Student]) -> list[Student]:
    """Return the students of the roster that an owner can be: by an id, otherwise by the name."""
    ids = {text.lower() for text in owner.ids}
    students = list(students)
    by_id = [one for one in students if one.ids & ids]
    return by_id or [one for one in students if plain(owner.name) in one.names]

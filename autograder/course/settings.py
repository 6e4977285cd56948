"""Reads the course file, `vaelab.toml`: what an instructor sets without editing Python.

[course]                                title, version, time zone of dates, file of the secret,
                                        packages and files that it adds
[late], [limits]                        for all assignments
[assignment.<name>]                     data, due date; the tables below it:
    points, bounds, extensions, late, limits

Names of tasks and bounds are compared with those of the checks when these are loaded.
"""

import functools
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any
from zoneinfo import ZoneInfo

from autograder.course.locate import MARKER, Course, CourseError, current_course
from autograder.records.text import printable

EMBEDDED, FULL = "embedded", "full"


@dataclass(frozen=True)
class LateRule:
    """What a late submission loses.

    Attributes:
        per_day: The fraction of the earned points that each started day costs.
        grace_minutes: Minutes after the due date that cost nothing.
        most: The largest fraction that a submission loses.
    """

    per_day: float
    grace_minutes: float = 0.0
    most: float = 1.0


@dataclass(frozen=True)
class Settings:
    """The settings of one assignment.

    Attributes:
        points: The points of tasks and written answers, by id; others keep theirs.
        bounds: The bounds of checks, by name; others keep theirs.
        data: The data that the grader trains with: `EMBEDDED` or `FULL`.
        due: When the submission is due, with a time zone; None for no due date.
        extensions: Later due dates, by the name of the student's folder.
        late: The rule for late submissions; None if they lose nothing.
        limits: The limits of a submission, by the names of `sandbox.limits.Limits`.
    """

    points: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)
    data: str = EMBEDDED
    due: datetime | None = None
    extensions: Mapping[str, datetime] = field(default_factory=dict)
    late: LateRule | None = None
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def graded_with(self) -> str:
        """Return a text that differs if a setting differs that judging depends on."""
        return repr((sorted(self.points.items()), sorted(self.bounds.items()), self.data))

    def due_for(self, student: str) -> datetime | None:
        """Return when a student's submission is due."""
        return self.extensions.get(student, self.due)


@dataclass(frozen=True)
class CourseFile:
    """The settings of a course.

    Attributes:
        path: The course file.
        title: The course's title.
        version: The course's version, as the instructor counts; "" if it has none.
        secret: The file with the secret of the random inputs, for all output folders of the term;
            None if each output folder has its own.
        zone: The time zone of the course's dates; None if it names none.
        packages: The packages that students may import in addition to those of an assignment.
        files: The files that it adds beside the notebooks; see `course.additions`.
        usual: The settings of an assignment that has no table of its own.
        assignments: The settings of the other assignments, by name.
    """

    path: Path
    title: str
    version: str
    secret: Path | None
    zone: ZoneInfo | None
    packages: tuple[str, ...]
    files: tuple[Path, ...]
    usual: Settings
    assignments: Mapping[str, Settings]

    def of(self, assignment: str) -> Settings:
        """Return the settings of an assignment."""
        return self.assignments.get(assignment, self.usual)


def course_file() -> CourseFile:
    """Return the settings of the current course.

    Raises:
        CourseError: If the file cannot be read, or if a key or a value is not right.
    """
    return read_course_file(current_course())


@functools.cache
def read_course_file(course: Course) -> CourseFile:
    """Return the settings of a course; see `course_file`."""
    path = course.root / MARKER
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CourseError(f"{path} cannot be read: {printable(str(error))}.") from error
    top = _read(path, "", found, TOP)
    about = _read(path, "course", top.get("course", {}), COURSE)
    zone = ZoneInfo(about["timezone"]) if "timezone" in about else None
    usual = {name: _read(path, name, top.get(name, {}), SHARED[name]) for name in SHARED}
    tables = {
        name: _assignment(path, course, name, table, usual, zone)
        for name, table in top.get("assignment", {}).items()
    }
    secret = about.get("secret")
    return CourseFile(
        path=path,
        title=about.get("title", top.get("name", "")),
        version=about.get("version", ""),
        secret=course.root / secret if secret else None,
        zone=zone,
        packages=tuple(about.get("packages", ())),
        files=tuple(course.root / name for name in about.get("files", ())),
        usual=Settings(late=_late(path, "late", usual["late"]), limits=usual["limits"]),
        assignments=tables,
    )


# What the values must be


@dataclass(frozen=True)
class _Rule:
    """What a value must be: a test, and the words for the message."""

    is_right: Callable[[Any], bool]
    expected: str


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_zone(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ZoneInfo(value))
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return False


def _is_inside(value: Any) -> bool:
    path = PurePath(value) if TEXT.is_right(value) else PurePath("..")
    return not path.is_absolute() and ".." not in path.parts


def _is_module(value: Any) -> bool:
    return isinstance(value, str) and value.isidentifier()


TABLE = _Rule(lambda value: isinstance(value, dict), "a table")
TEXT = _Rule(
    lambda value: isinstance(value, str) and value.strip() != "" and value.isprintable(),
    'a text in quotes, such as "2026"',
)
ZONE = _Rule(_is_zone, 'the name of a time zone, such as "Europe/Berlin"')
DATE = _Rule(
    lambda value: isinstance(value, datetime), "a date with a time, such as 2026-12-01T23:59:00"
)
FRACTION = _Rule(
    lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1, such as 0.1"
)
MINUTES = _Rule(lambda value: _is_number(value) and value >= 0, "minutes, such as 15")
SECONDS = _Rule(lambda value: _is_number(value) and value >= 1, "seconds, at least 1")
MEMORY = _Rule(lambda value: type(value) is int and value >= 256, "MiB, a whole number from 256")
PACKAGES = _Rule(
    lambda value: isinstance(value, list) and all(_is_module(name) for name in value),
    'a list of packages as they are imported, such as ["einops"]',
)
FILES = _Rule(
    lambda value: isinstance(value, list) and all(_is_inside(name) for name in value),
    'a list of files in the folder of the course, such as ["helpers.py"]',
)
ABOVE_0 = _Rule(lambda value: _is_number(value) and value > 0, "a number above 0")
DATA = _Rule(lambda value: value in (EMBEDDED, FULL), f'"{EMBEDDED}" or "{FULL}"')

Rules = Mapping[str, _Rule]
TOP: Rules = {
    "name": TEXT,  # the title, in the course file of an older version
    "course": TABLE,
    "late": TABLE,
    "limits": TABLE,
    "assignment": TABLE,
}
COURSE: Rules = {
    "title": TEXT,
    "version": TEXT,
    "timezone": ZONE,
    "secret": TEXT,
    "packages": PACKAGES,
    "files": FILES,
}
SHARED: Mapping[str, Rules] = {
    "late": {"per_day": FRACTION, "grace_minutes": MINUTES, "most": FRACTION},
    "limits": {"seconds": SECONDS, "call_seconds": SECONDS, "memory_mib": MEMORY},
}
NUMBERS = ("points", "bounds")
ASSIGNMENT: Rules = {
    "data": DATA,
    "due": DATE,
    **dict.fromkeys((*NUMBERS, "extensions", *SHARED), TABLE),
}


def wrong(path: Path, key: str, found: object, expected: str) -> CourseError:
    """Return the error of a value that is not right."""
    shown = printable(
        repr(found) if isinstance(found, str | bool | dict | list) else str(found), 80
    )
    return CourseError(f"{path}: `{key}` is {shown}; expected {expected}.")


def unknown(path: Path, key: str, known: str) -> CourseError:
    """Return the error of a key that does not exist."""
    return CourseError(f"{path}: there is no key `{printable(key, 80)}`; expected {known}.")


def _read(path: Path, where: str, table: Mapping[str, Any], rules: Rules) -> dict[str, Any]:
    """Return a table whose keys and values are right.

    Args:
        path: The course file.
        where: The table's name in it; "" for the whole file.
        table: The table.
        rules: What each key's value must be.
    """
    for name, value in table.items():
        key = f"{where}.{name}" if where else name
        if name not in rules:
            raise unknown(path, key, f"one of {', '.join(rules)}")
        if not rules[name].is_right(value):
            raise wrong(path, key, value, rules[name].expected)
    return dict(table)


def _assignment(
    path: Path,
    course: Course,
    name: str,
    table: Any,
    usual: Mapping[str, Mapping[str, Any]],
    zone: ZoneInfo | None,
) -> Settings:
    """Return the settings of one assignment: its own table over the usual settings."""
    where = f"assignment.{name}"
    if not (course.solutions / f"{name}.py").is_file():
        known = ", ".join(sorted(one.stem for one in course.solutions.glob("[0-9]*.py")))
        raise unknown(path, where, f"an assignment: {known}")
    if not TABLE.is_right(table):
        raise wrong(path, where, table, TABLE.expected)
    own = _read(path, where, table, ASSIGNMENT)
    numbers = {key: _all(path, f"{where}.{key}", own.get(key, {}), ABOVE_0) for key in NUMBERS}
    shared = {
        key: {**usual[key], **_read(path, f"{where}.{key}", own.get(key, {}), SHARED[key])}
        for key in SHARED
    }
    due = _aware(path, f"{where}.due", own.get("due"), zone)
    later = _all(path, f"{where}.extensions", own.get("extensions", {}), DATE)
    extensions = {}
    for student, date in later.items():
        key = f"{where}.extensions.{student}"
        extended = _aware(path, key, date, zone)
        if due is None or extended is None or extended < due:
            raise wrong(path, key, date, f"a date after {where}.due, which is {due}")
        extensions[student] = extended
    return Settings(
        **numbers,
        data=own.get("data", EMBEDDED),
        due=due,
        extensions=extensions,
        late=_late(path, f"{where}.late", shared["late"]),
        limits=shared["limits"],
    )


def _all(path: Path, where: str, table: Mapping[str, Any], rule: _Rule) -> dict[str, Any]:
    """Return a table with any keys, whose values are right."""
    return _read(path, where, table, dict.fromkeys(table, rule))


def _aware(path: Path, key: str, date: datetime | None, zone: ZoneInfo | None) -> datetime | None:
    """Return a date with a time zone: its own, or that of the course."""
    if date is None or date.tzinfo:
        return date
    if zone is None:
        raise wrong(path, key, date, "a time zone: write it behind the time, or course.timezone")
    return date.replace(tzinfo=zone)


def _late(path: Path, where: str, table: Mapping[str, Any]) -> LateRule | None:
    if table and "per_day" not in table:
        raise wrong(path, where, dict(table), "the key `per_day` too")
    return LateRule(**table) if table else None

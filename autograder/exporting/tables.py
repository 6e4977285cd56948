"""Tables of scores as learning platforms import them: Canvas, Moodle, and plain CSV.

Only students of the roster are written: a platform would take another row for a new student.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autograder.collecting.arrivals import CollectError
from autograder.collecting.collect import folder_name
from autograder.collecting.owners import Owner
from autograder.collecting.roster import Student, match
from autograder.collecting.roster import plain as letters
from autograder.course.sources import load_source
from autograder.records.causes import shown_messages
from autograder.records.results import STATUSES, Result
from autograder.records.text import marked, printable, sentence
from autograder.reports.table import FORMULA, NOT_GRADED, PENDING, plain, to_csv

# Canvas reads these columns by their place; the last one must be `Section`.
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
CANVAS_ID = re.compile(r"(?P<title>.+) \((?P<id>\d+)\)")
POINTS_POSSIBLE = "    Points Possible"
# Moodle's importer of a grading worksheet needs the first three.
IDENTIFIER, GRADE, MODIFIED = "Identifier", "Grade", "Last modified (grade)"
MAX_GRADE, FEEDBACK, EMAIL = "Maximum Grade", "Feedback comments", "Email address"


@dataclass(frozen=True)
class Paired:
    """The results with their students on the roster.

    Attributes:
        rows: Each student of the roster, with the result or None.
        unmatched: The names of the results whose student is not on the roster.
    """

    rows: tuple[tuple[Student, Result | None], ...]
    unmatched: tuple[str, ...]


def pair(results: Sequence[Result], roster: Sequence[Student]) -> Paired:
    """Find the student of each result: by the folder that `collect` makes, an id or the name.

    Raises:
        CollectError: If two results belong to one student.
    """
    folders = {folder_name(one.key): one for one in roster}
    found: dict[str, Result] = {}
    unmatched = []
    for result in results:
        name = result.student
        one = folders.get(name)
        students = [one] if one else match(Owner(name, frozenset({name})), roster)
        if len(students) != 1:
            unmatched.append(name)
            continue
        key = students[0].key
        if key in found:
            raise CollectError(
                f"Two results belong to {key}: {found[key].student} and {name}. Remove the file of "
                "one of them from the folder `results`."
            )
        found[key] = result
    return Paired(tuple((one, found.get(one.key)) for one in roster), tuple(unmatched))


def possible(result: Result) -> float:
    """Return the points of all tasks, also of those that a person grades."""
    return sum(task.max_points for task in result.tasks)


def points(result: Result | None) -> str:
    """Return the final points for a platform; "" if there are none, which keeps what is there."""
    return "" if result is None or not result.is_complete else f"{result.final:g}"


def canvas(paired: Paired, assignment: str, column: str = "") -> str:
    """Return the scores as Canvas imports them into its gradebook.

    Args:
        paired: The results; the roster is the gradebook that Canvas exported.
        assignment: The assignment's name.
        column: The assignment's column in Canvas, such as `VAE (4711)`. "" to take the column of
            the roster with the assignment's name or title.

    Raises:
        CollectError: If the roster is not an export of Canvas, or no column fits.
    """
    header = list(paired.rows[0][0].columns)
    if "Student" not in header or "ID" not in header or "Section" not in header:
        raise CollectError(
            "The roster is not a gradebook that Canvas exported: it needs the columns Student, ID "
            "and Section. In Canvas, choose Grades, Export."
        )
    # Canvas tells the columns of a student by their order, up to `Section`.
    about = header[: header.index("Section") + 1]
    name = column or _canvas_column(header, assignment)
    first = next((result for _, result in paired.rows if result), None)
    most = f"{possible(first):g}" if first else ""
    rows = [[*about, name], [POINTS_POSSIBLE, *[""] * (len(about) - 1), most]]
    for student, result in paired.rows:
        rows.append([*(plain(student.columns[c]) for c in about), points(result)])
    return _csv(rows)


def _canvas_column(header: Sequence[str], assignment: str) -> str:
    """Return the roster's column of an assignment, with the id that Canvas gave it."""
    with_id = [(c, found) for c in header if (found := CANVAS_ID.fullmatch(c))]
    wanted = {letters(assignment), letters(load_source(assignment).title)}
    fitting = [c for c, found in with_id if letters(found["title"]) in wanted]
    if len(fitting) == 1:
        return fitting[0]
    there = ", ".join(c for c, _ in with_id) or "none"
    raise CollectError(
        f"The roster has {'several columns' if fitting else 'no column'} for {assignment}. Name "
        f"the column with --column. The roster's assignments are: {there}."
    )


def moodle(paired: Paired) -> str:
    """Return the scores and comments as Moodle imports them.

    A grading worksheet of Moodle as the roster gives a worksheet: all its columns stay, `Grade` and
    `Feedback comments` are filled in. Another roster gives a table for "Import grades".

    Raises:
        CollectError: If the roster has neither an identifier nor an e-mail address, or if Moodle
            has another maximum grade.
    """
    header = list(paired.rows[0][0].columns)
    if IDENTIFIER in header:
        if MODIFIED not in header:
            raise CollectError(
                f"The grading worksheet lacks the column `{MODIFIED}`, which Moodle needs. "
                "Download it again, in the language English."
            )
        _expect_maximum(paired)
        about = [c for c in header if c != FEEDBACK]
        about += [GRADE] * (GRADE not in about)
    else:
        email = next((c for c in header if c.strip().lower() in ("email address", "email")), "")
        if not email:
            raise CollectError(
                f"The roster has neither the column `{IDENTIFIER}` nor `{EMAIL}`. Take the "
                "grading worksheet of the assignment in Moodle, or the list of participants."
            )
        about = [email, GRADE]
    rows = [[*(EMAIL if c.lower() == "email" else c for c in about), FEEDBACK]]
    for student, result in paired.rows:
        # Moodle ignores a row without a grade, and keeps a grade that is there.
        told: Mapping[str, str] = student.columns
        cells = [points(result) if c == GRADE else plain(told.get(c, "")) for c in about]
        rows.append([*cells, comment(result) if points(result) else ""])
    return _csv(rows)


def _expect_maximum(paired: Paired) -> None:
    """Expect that the worksheet has the results' maximum: Moodle drops a grade above its own."""
    for student, result in paired.rows:
        text = student.columns.get(MAX_GRADE, "").strip().replace(",", ".")
        if result and text and text != "-" and float(text) != possible(result):
            raise CollectError(
                f"In Moodle, the maximum grade of the assignment is {text}; the results have "
                f"{possible(result):g}. Set it to {possible(result):g} in Moodle, and download the "
                "grading worksheet again."
            )


def comment(result: Result | None) -> str:
    """Return the feedback as HTML without any character that could start a formula."""
    if result is None:
        return ""
    parts = []
    if result.status != "graded":
        parts.append(sentence(result.message or STATUSES[result.status]))
    if result.penalty:
        parts.append(f"Late submission: {result.penalty:g} points less.")
    told = [one for one in result.overrides if one.tell and one.reason]
    parts += [f"{one.before.title}: {one.points:g} points. {one.reason}" for one in told]
    messages = shown_messages(result.checks)
    for task in result.tasks:
        if task.pending or task.not_graded or task.points == task.max_points:
            continue
        text = f"{task.title}: {task.points:g} of {task.max_points:g} points."
        if result.status == "graded":
            lines = [
                f"{sentence(check.sentence)} {message}".rstrip()
                for check, message in zip(result.checks, messages, strict=True)
                if check.task == task.task and check.outcome != "passed"
            ]
            text = " ".join([text, *lines])
        parts.append(text)
    return "".join(f"<p>{_no_formula(marked(printable(part)))}</p>" for part in parts)


def _no_formula(text: str) -> str:
    """Write what could start a formula as an entity, which shows the same in HTML."""
    return "".join(
        f"&#{ord(c)};" if unicodedata.normalize("NFKC", c).startswith(FORMULA) else c for c in text
    )


def plain_table(results: Sequence[Result], paired: Paired | None) -> str:
    """Return the scores as plain CSV, with the roster's columns if there is a roster."""
    if paired is None:
        return to_csv(results)
    about = list(paired.rows[0][0].columns)
    tasks = [task.task for task in results[0].tasks]
    rows = [[*map(plain, about), "status", "final", "max_score", *tasks, "penalty"]]
    for student, result in paired.rows:
        cells = [plain(student.columns.get(c, "")) for c in about]
        if result is None:
            cells += [""] * (4 + len(tasks))
        else:
            of_tasks = [
                PENDING if t.pending else NOT_GRADED if t.not_graded else f"{t.points:g}"
                for t in result.tasks
            ]
            most = f"{possible(result):g}"
            cells += [result.status, points(result), most, *of_tasks, f"{result.penalty:g}"]
        rows.append(cells)
    return _csv(rows)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()

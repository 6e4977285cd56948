"""Writes results into nbgrader's gradebook, through nbgrader's own API.

nbgrader then shows them in formgrader, gives late penalties, makes feedback and exports. Points and
comments that a person gave are never changed.
"""

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.preprocessors import AssignLatePenalties, SaveCells
from nbgrader.utils import compute_checksum
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from autograder.build.notebooks import starter, to_text
from autograder.collecting.collected import read_collected
from autograder.course.sources import assignments, load_source
from autograder.exporting.autograded import autograded
from autograder.grading.helpers import digest_of
from autograder.grading.judge import unjudged
from autograder.grading.notebook import UnreadableError, helpers_of, read_bytes
from autograder.records.causes import shown_messages
from autograder.records.errors import UserError
from autograder.records.results import STATUSES, Result, write_text
from autograder.records.text import printable, sentence

SETTINGS = "nbgrader_config.py"
TIMESTAMP = "timestamp.txt"
NO_ANSWER = "No response."


class GradebookError(UserError):
    """The gradebook cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        students: The students whose results are in the gradebook now.
        missing: The students without a notebook. As in nbgrader, they have no submission.
        problems: One sentence for each student whose result or notebook was not written.
    """

    students: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]


def expect_gradebook(database: Path, assignment: str) -> None:
    """Expect that results of an assignment can be written to a gradebook.

    Raises:
        GradebookError: If not, with the reason.
    """
    with _opened(database) as gradebook:
        _expect_cells(gradebook, database, unjudged(assignment, "", "missing", ""))


def write_gradebook(results: Sequence[Result], database: Path, submissions: Path) -> Written:
    """Write results of one assignment.

    If the gradebook does not have the assignment, it is added. Each student's submission is
    written completely or not at all. Writing the same results again changes nothing.

    Args:
        results: The results.
        database: The file of the gradebook, in the folder of nbgrader's course. It is made if it
            does not exist.
        submissions: The folder of the submissions. Those that are still the graded ones are
            written into nbgrader's folder `autograded`, which formgrader shows.

    Raises:
        GradebookError: If the file is not a gradebook, or has the assignment with other cells.
    """
    assignment = results[0].assignment
    students, missing, problems = [], [], []
    with _opened(database) as gradebook:
        for result in results:
            _expect_cells(gradebook, database, result)
        settings = _settings(database.parent)
        collected = read_collected(submissions, assignment)
        for result in results:
            shown = printable(result.student)
            if Path(result.student).name != result.student:
                problems.append(f"{shown}: the name is no name of a folder.")
                continue
            folder = submissions / result.student / assignment
            known = collected.get(result.student)
            # In UTC, as nbgrader expects.
            time = result.late.handed_in if result.late else ""
            time = time or (known.time if known else "") or _exchange_time(folder)
            notebook = _notebook(folder / f"{assignment}.ipynb", result)
            try:
                with _together(gradebook):
                    _write(gradebook, result, notebook, database.parent, time, settings)
            except (SQLAlchemyError, ValueError) as error:
                problems.append(f"{shown}: nothing was written: {_first_line(error)}")
                continue
            if result.status == "missing":
                missing.append(result.student)
                continue
            students.append(result.student)
            problems += _kept_for(gradebook, result)
            if notebook is None:
                problems.append(
                    f"{shown}: formgrader cannot show the notebook: {folder / assignment}.ipynb is "
                    "not the graded file."
                )
                continue
            try:
                _write_notebook(notebook, result, database.parent, time)
                if time and submissions.resolve() == (database.parent / "submitted").resolve():
                    write_text(folder / TIMESTAMP, f"{time}\n")
            except OSError as error:
                problems.append(f"{shown}: the notebook was not written: {error}.")
    return Written(tuple(students), tuple(missing), tuple(problems))


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[Gradebook]:
    """Open a gradebook; convert the database's errors to one line for the user."""
    if not database.parent.is_dir():
        raise GradebookError(
            f"There is no folder {database.parent}. Name the file gradebook.db in the folder of "
            "nbgrader's course."
        )
    _expect_nbgraders(database)
    url = URL.create("sqlite", database=str(database.resolve()))
    course = _settings(database.parent).CourseDirectory.get("course_id", "")
    try:
        with _nbgraders_programs(), Gradebook(url, course) as gradebook:
            yield gradebook
    except SQLAlchemyError as error:
        raise GradebookError(
            f"The gradebook {database} cannot be used: {_first_line(error)} If another version of "
            "nbgrader made it, run `nbgrader db upgrade`."
        ) from error


def _expect_nbgraders(database: Path) -> None:
    if not database.exists():
        return
    try:
        with contextlib.closing(
            sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
        ) as connection:
            rows = connection.execute("select name from sqlite_master where type = 'table'")
            tables = {name for (name,) in rows}
    except sqlite3.Error as error:
        raise GradebookError(f"{database} is not a gradebook of nbgrader: {error}.") from error
    if tables and "submitted_assignment" not in tables:
        raise GradebookError(f"{database} is a database, but not a gradebook of nbgrader.")


@contextlib.contextmanager
def _nbgraders_programs() -> Iterator[None]:
    """Let nbgrader find the program `alembic`, which lies beside this Python."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _settings(course: Path) -> Config:
    """Return nbgrader's settings of a course; empty ones if it has none."""
    if not (course / SETTINGS).is_file():
        return Config()
    try:
        return PyFileConfigLoader(SETTINGS, path=str(course)).load_config()
    except Exception as error:  # the file is a program
        raise GradebookError(f"{course / SETTINGS} failed: {_first_line(error)}") from error


def _expect_cells(gradebook: Gradebook, database: Path, result: Result) -> None:
    """Expect that the gradebook has the tasks of a result; add the assignment if it is new.

    Raises:
        GradebookError: If it has the assignment with other cells, or only those of other courses.
    """
    name = result.assignment
    wanted = {task.task: task.max_points for task in result.tasks}
    try:
        notebook = gradebook.find_notebook(name, name)
    except MissingEntry:
        others = sorted(one.name for one in gradebook.assignments)
        if others and not set(others) & set(assignments()):
            raise GradebookError(
                f"The gradebook {database} belongs to another course: its assignments are "
                f"{', '.join(others[:5])}. If it is the right one, run `nbgrader "
                f"generate_assignment {name}` first."
            ) from None
        gradebook.update_or_create_assignment(name)
        about = {"notebook": name, "assignment": name, "db_url": gradebook.engine.url}
        SaveCells().preprocess(starter(name), {"nbgrader": about})
        gradebook.db.expire_all()
        notebook = gradebook.find_notebook(name, name)
    found = {cell.name: cell.max_score for cell in notebook.grade_cells}
    if found != wanted:
        differ = sorted(k for k in found | wanted if found.get(k) != wanted.get(k))
        first = differ[0]
        raise GradebookError(
            f"The gradebook {database} has `{name}` with other cells or points: {first} has "
            f"{_points(found.get(first))} there and {_points(wanted.get(first))} in the results. "
            f"Build the course again and run `nbgrader generate_assignment {name}`, or name "
            "another gradebook."
        )


def _points(points: float | None) -> str:
    return "no points" if points is None else f"{points:g} points"


@contextlib.contextmanager
def _together(gradebook: Gradebook) -> Iterator[None]:
    """Make one commit of all that nbgrader commits in this block; none after an error."""
    session = gradebook.db
    commit = session.commit
    session.commit = session.flush
    try:
        yield
        commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        session.commit = commit


def _write(
    gradebook: Gradebook,
    result: Result,
    notebook: NotebookNode | None,
    course: Path,
    time: str,
    settings: Config,
) -> None:
    """Write one student's result. The caller commits."""
    name, student = result.assignment, result.student
    gradebook.update_or_create_student(student)
    if result.status == "missing":
        try:
            gradebook.find_submission(name, student)
        except MissingEntry:
            return
    about = {"timestamp": time} if time else {}
    with gradebook.db.no_autoflush:  # else SQLAlchemy warns of nbgrader's own code
        submission = gradebook.update_or_create_submission(name, student, **about)
    before = _texts_of_file(_place(course, result))
    answers = _texts(notebook) if notebook else before
    for task in result.tasks:
        grade = gradebook.find_grade(task.task, name, name, student)
        auto: float | None = task.points
        if task.pending:
            unanswered = result.status == "missing" or _untouched(notebook, task.task)
            auto = 0.0 if unanswered else None
        elif task.not_graded:
            auto = None
        if grade.manual_score is None:
            grade.needs_manual_grade = auto is None
        elif task.pending:
            # A person gave these points: look again only if the answer has changed.
            grade.needs_manual_grade |= answers.get(task.task) != before.get(task.task)
        else:
            grade.needs_manual_grade |= grade.auto_score != auto
        grade.auto_score = auto
    comments = _comments(result)
    for cell in load_source(name).of("solution", "answer"):
        comment = gradebook.find_comment(cell.id, name, name, student)
        untouched = cell.role == "answer" and _untouched(notebook, cell.id)
        comment.auto_comment = comments.get(cell.id) or (NO_ANSWER if untouched else None)
    gradebook.db.flush()
    gradebook.db.expire_all()  # scores are computed when they are read again
    written = gradebook.find_submission_notebook(name, name, student)
    written.late_submission_penalty = _late_penalty(result, submission, written, settings)


def _late_penalty(result: Result, submission: Any, notebook: Any, settings: Config) -> float | None:
    """Return the penalty of the course's late rule, else that of nbgrader's plugin; None for none.

    It also counts for the points that a person gave in formgrader.
    """
    if result.late:
        return round(result.late.fraction * notebook.score, 2) or None
    if submission.total_seconds_late <= 0:
        return None
    rule = AssignLatePenalties(config=settings)
    rule.init_plugin()
    penalty = rule.plugin_inst.late_submission_penalty(
        submission.student.id, notebook.score, submission.total_seconds_late
    )
    return None if penalty is None else min(max(penalty, 0.0), notebook.score)


def _kept_for(gradebook: Gradebook, result: Result) -> Iterator[str]:
    """Yield a sentence for each override that differs from what a person gave in formgrader."""
    name, student = result.assignment, result.student
    for one in result.overrides:
        given = gradebook.find_grade(one.task, name, name, student).manual_score
        if given is not None and given != one.points:
            yield (
                f"{printable(student)}: {one.task} has {given:g} points from formgrader and "
                f"{one.points:g} from an override; those of formgrader were kept."
            )


def _comments(result: Result) -> dict[str, str]:
    """Return the text for each solution cell: what is wrong in the tasks that follow it.

    nbgrader has comments of solution cells only. The first one also says what concerns the whole
    submission.
    """
    source = load_source(result.assignment)
    solutions = [cell.id for cell in source.of("solution")]
    if not solutions:
        return {}
    place, of_task = solutions[0], {}
    for cell in source.of("solution", "test", "answer"):
        place = cell.id if cell.role == "solution" else place
        of_task[cell.id] = cell.id if cell.role == "answer" else place
    parts: dict[str, list[str]] = {}
    first = parts.setdefault(solutions[0], [])
    if result.status != "graded":
        first.append(sentence(result.message or STATUSES[result.status]))
    first += result.notes
    messages = shown_messages(result.checks)
    told = {one.task: one.reason for one in result.overrides if one.tell and one.reason}
    for task in result.tasks:
        lost = not task.pending and (task.points < task.max_points or task.not_graded)
        if not lost and task.task not in told:
            continue
        got = "not graded" if task.not_graded else f"{task.points:g} of {task.max_points:g} points"
        lines = [f"{task.title}: {got}."]
        if task.task in told:
            lines.append(told[task.task])
        for check, message in zip(result.checks, messages, strict=True):
            if lost and check.task == task.task and check.outcome != "passed":
                lines.append(f"- {sentence(check.sentence)} {message}".rstrip())
        parts.setdefault(of_task.get(task.task, solutions[0]), []).append("\n".join(lines))
    return {name: printable("\n\n".join(text), keep="\n") for name, text in parts.items() if text}


def _notebook(path: Path, result: Result) -> NotebookNode | None:
    """Return the graded notebook in nbgrader's form; None if the file is not the graded one."""
    try:
        raw = read_bytes(path)
    except (OSError, UnreadableError):
        return None
    if digest_of(raw, helpers_of(path, raw)) != result.digest:
        return None
    return autograded(raw, result)


def _write_notebook(notebook: NotebookNode, result: Result, course: Path, time: str) -> None:
    """Write a notebook for formgrader, and the time that it compares with the submission's."""
    place = _place(course, result)
    write_text(place, to_text(notebook))
    if time:
        write_text(place.parent / TIMESTAMP, f"{time}\n")


def _place(course: Path, result: Result) -> Path:
    folder = course / "autograded" / result.student / result.assignment
    return folder / f"{result.assignment}.ipynb"


def _texts(notebook: NotebookNode) -> dict[str, str]:
    marked = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    return {cell.metadata.nbgrader.grade_id: cell.source for cell in marked}


def _texts_of_file(path: Path) -> dict[str, str]:
    try:
        return _texts(nbformat.read(path, 4))
    except Exception:  # no earlier notebook, or one that another program wrote
        return {}


def _untouched(notebook: NotebookNode | None, answer: str) -> bool:
    """Return whether a notebook has the starter's text in the place of an answer."""
    for cell in notebook.cells if notebook else ():
        if "nbgrader" in cell.metadata and cell.metadata.nbgrader.grade_id == answer:
            return bool(compute_checksum(cell) == cell.metadata.nbgrader.checksum)
    return False


def _exchange_time(folder: Path) -> str:
    """Return the time in the file that nbgrader's exchange writes; "" if there is none."""
    with contextlib.suppress(OSError):
        return (folder / TIMESTAMP).read_text("utf-8", "replace").strip()
    return ""


def _first_line(error: BaseException) -> str:
    return sentence((str(error).splitlines() or [type(error).__name__])[0][:300])

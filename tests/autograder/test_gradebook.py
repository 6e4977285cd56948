"""nbgrader's gradebook: it gets the judge's points, and a person's points stay."""

import contextlib
import csv
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import finished
import pytest
from finished import A
from nbformat.v4 import new_code_cell, new_output
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.plugins.export import CsvExportPlugin
from traitlets.config import Config
from typer.testing import CliRunner

from autograder.build.notebooks import SETTINGS, starter, to_text
from autograder.cli import app
from autograder.course.sources import load_source
from autograder.exporting import gradebook as module
from autograder.exporting.autograded import autograded
from autograder.exporting.finished import read_results
from autograder.exporting.gradebook import GradebookError, expect_gradebook, write_gradebook
from autograder.grading.batch import BatchError
from autograder.grading.judge import unjudged
from autograder.records.results import to_json, write_text

ANSWER = "larger_variance"


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    """Return a gradebook that has the assignment and no student."""
    database = tmp_path_factory.mktemp("course") / "gradebook.db"
    expect_gradebook(database, A)
    return database


@pytest.fixture
def course(empty, tmp_path) -> Path:
    """Return a course of nbgrader with this gradebook."""
    (tmp_path / "gradebook.db").write_bytes(empty.read_bytes())
    (tmp_path / "nbgrader_config.py").write_text(SETTINGS)
    return tmp_path


def opened(course: Path) -> contextlib.AbstractContextManager[Gradebook]:
    return Gradebook(f"sqlite:///{course}/gradebook.db", "vaelab")


def hand_in_and_write(course: Path, student: str, *lost: str, answer="", time=""):
    raw = finished.hand_in(course / "submitted", student, answer, time)
    result = finished.graded(student, *lost, raw=raw)
    return write_gradebook([result], course / "gradebook.db", course / "submitted")


def contents(database: Path) -> list:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master")]
        return sorted(
            (table, str(row))
            for table in tables
            if not table.startswith("sqlite_")
            for row in connection.execute(f"select * from {table}")
        )


def test_points_comments_and_status_are_those_of_the_result(course):
    written = hand_in_and_write(course, "ada", "kl_divergence", answer="It blurs.")
    assert written == module.Written(("ada",), (), ())
    with opened(course) as book:
        submission = book.find_submission(A, "ada")
        assert (submission.score, submission.max_score) == (75.0, 100.0)
        assert submission.needs_manual_grade
        waiting = [g.name for n in submission.notebooks for g in n.grades if g.needs_manual_grade]
        assert waiting == [ANSWER]
        comment = book.find_comment("my_vae", A, A, "ada").comment
        assert comment.startswith("KL divergence: 0 of 15 points.\n- ")
        assert finished.KL in comment
        assert comment.count(finished.KL) == 1
        assert book.find_comment("settings", A, A, "ada").comment is None


def test_writing_again_changes_nothing(course):
    for _ in range(2):
        hand_in_and_write(course, "ada", "kl_divergence", answer="It blurs.")
        found = contents(course / "gradebook.db")
    hand_in_and_write(course, "ada", "kl_divergence", answer="It blurs.")
    assert contents(course / "gradebook.db") == found


def test_a_persons_points_and_comments_are_kept(course):
    hand_in_and_write(course, "ada", "kl_divergence", answer="It blurs.")
    with opened(course) as book:
        grade = book.find_grade(ANSWER, A, A, "ada")
        grade.manual_score, grade.needs_manual_grade = 7.0, False
        book.find_grade("encoder", A, A, "ada").extra_credit = 1.0
        book.find_comment(ANSWER, A, A, "ada").manual_comment = "Why?"
        book.db.commit()
    hand_in_and_write(course, "ada", answer="It blurs.")
    with opened(course) as book:
        assert book.find_submission(A, "ada").score == 98.0
        assert not book.find_submission(A, "ada").needs_manual_grade
        assert book.find_comment(ANSWER, A, A, "ada").comment == "Why?"
        assert book.find_comment("my_vae", A, A, "ada").comment is None
    hand_in_and_write(course, "ada", answer="The images are sharper.")
    with opened(course) as book:
        assert book.find_submission(A, "ada").score == 98.0
        assert book.find_grade(ANSWER, A, A, "ada").needs_manual_grade, "the answer has changed"


def test_an_unchanged_answer_earns_nothing(course):
    hand_in_and_write(course, "ada")
    with opened(course) as book:
        assert not book.find_submission(A, "ada").needs_manual_grade
        assert book.find_comment(ANSWER, A, A, "ada").comment == "No response."


def test_who_handed_in_nothing_has_no_submission_as_in_nbgrader(course):
    result = unjudged(A, "cyd", "missing", "There is no file.")
    written = write_gradebook([result], course / "gradebook.db", course / "submitted")
    assert (written.students, written.missing) == ((), ("cyd",))
    with opened(course) as book:
        assert [one.id for one in book.students] == ["cyd"]
        assert list(book.assignment_submissions(A)) == []


def test_what_the_grader_left_open_waits_for_a_person(course):
    blank = unjudged(A, "dan", "not_graded", "The grader failed.")
    tasks = tuple(t if t.pending else replace(t, not_graded=True) for t in blank.tasks)
    write_gradebook([replace(blank, tasks=tasks)], course / "gradebook.db", course / "submitted")
    with opened(course) as book:
        grades = book.find_submission_notebook(A, A, "dan").grades
        assert all(g.needs_manual_grade and g.auto_score is None for g in grades)
        assert "The grader failed." in book.find_comment("my_vae", A, A, "dan").comment


def test_nbgraders_late_rule_applies(course):
    with opened(course) as book:
        book.update_or_create_assignment(A, duedate="2026-11-01 12:00:00 UTC")
    (course / "nbgrader_config.py").write_text(
        SETTINGS + 'c.LateSubmissionPlugin.penalty_method = "zero"\n'
    )
    hand_in_and_write(course, "ada", time="2026-11-01 11:59:00 UTC")
    hand_in_and_write(course, "bea", time="2026-11-01 12:01:00 UTC")
    (course / "submitted" / f"collected-{A}.csv").write_text(
        "student,time\ncyd,2026-11-02 00:00:00\n"
    )
    hand_in_and_write(course, "cyd")
    with opened(course) as book:
        penalty = {
            one.student.id: one.late_submission_penalty for one in book.assignment_submissions(A)
        }
    assert penalty == {"ada": 0.0, "bea": 90.0, "cyd": 90.0}
    # formgrader calls a submission autograded if its own file has the time of the gradebook.
    time = course / "submitted" / "cyd" / A / "timestamp.txt"
    assert time.read_text() == "2026-11-02 00:00:00\n"


def test_the_courses_late_rule_and_overrides_count(course):
    """Points that a person gave in formgrader are kept, and count for the penalty as well."""
    raw = finished.hand_in(course / "submitted", "ada", "It blurs.")
    result = finished.overridden(finished.late(finished.graded("ada", raw=raw)), "encoder", 5.0)
    database = course / "gradebook.db"
    written = write_gradebook([result], database, course / "submitted")
    assert written.problems == ()
    with opened(course) as book:
        submission = book.find_submission(A, "ada")
        assert (submission.score, result.score) == (80.0, 80.0)
        assert submission.score - submission.late_submission_penalty == result.final == 72.0
        assert str(submission.timestamp) == "2026-11-02 09:00:00"
        book.find_grade(ANSWER, A, A, "ada").manual_score = 10.0
        book.find_grade("encoder", A, A, "ada").manual_score = 7.0
        book.db.commit()
    written = write_gradebook([result], database, course / "submitted")
    assert "7 points from formgrader and 5 from an override" in written.problems[0]
    with opened(course) as book:
        submission = book.find_submission(A, "ada")
        assert (submission.score, submission.late_submission_penalty) == (92.0, 9.2)


def test_what_a_person_marked_is_there_with_its_comment(course):
    raw = finished.hand_in(course / "submitted", "ada", "It blurs.")
    result = finished.overridden(finished.graded("ada", raw=raw), ANSWER, 7.0)
    write_gradebook([result], course / "gradebook.db", course / "submitted")
    with opened(course) as book:
        submission = book.find_submission(A, "ada")
        assert (submission.score, submission.needs_manual_grade) == (97.0, False)
        comment = book.find_comment(ANSWER, A, A, "ada").comment
        assert comment == "Larger variance: 7 of 10 points.\nIt was agreed."
        assert book.find_comment("my_vae", A, A, "ada").comment is None


def test_each_student_is_written_completely_or_not_at_all(course, monkeypatch):
    broken = finished.graded("bea", "kl_divergence")
    comments = module._comments

    def fail(result):
        if result.student == "bea":
            raise ValueError("no disk")
        return comments(result)

    monkeypatch.setattr(module, "_comments", fail)
    results = [finished.graded("ada"), broken, finished.graded("cyd")]
    written = write_gradebook(results, course / "gradebook.db", course / "submitted")
    assert written.students == ("ada", "cyd")
    assert "bea: nothing was written: no disk." in written.problems
    with opened(course) as book:
        assert [one.id for one in book.students] == ["ada", "cyd"]


@pytest.mark.parametrize("change", ["name", "points", "other_course"])
def test_a_gradebook_with_other_cells_is_refused(change, course):
    with opened(course) as book:
        if change == "other_course":
            book.find_assignment(A).name = "ps1"
        else:
            cell = book.find_grade_cell("encoder", A, A)
            cell.name, cell.max_score = (
                ("coder", 10.0) if change == "name" else ("encoder", cell.max_score + 1)
            )
        book.db.commit()
    before = (course / "gradebook.db").read_bytes()
    says = "belongs to another course" if change == "other_course" else "other cells or points"
    with pytest.raises(GradebookError, match=says):
        hand_in_and_write(course, "ada")
    assert (course / "gradebook.db").read_bytes() == before


@pytest.mark.parametrize("kind", ["text", "sqlite", "no_folder"])
def test_what_is_no_gradebook_is_refused_before_grading(kind, tmp_path):
    path = tmp_path / ("none/gradebook.db" if kind == "no_folder" else "gradebook.db")
    if kind == "text":
        path.write_text("x" * 2000)
    elif kind == "sqlite":
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("create table own (x)")
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(GradebookError):
        expect_gradebook(path, A)
    assert (path.read_bytes() if path.exists() else None) == before


def test_formgrader_feedback_and_export_of_nbgrader_show_it(course):
    answer = "It blurs: ![lost](attachment:lost.png)"  # nbgrader stops at a lost image
    hand_in_and_write(course, "ada", "kl_divergence", answer=answer, time="2026-11-01 11:59:00 UTC")
    config = Config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.db_url = f"sqlite:///{course}/gradebook.db"
    api = NbGraderAPI(config=config)
    shown = api.get_submission(A, "ada")
    assert (shown["autograded"], shown["score"], shown["code_score"]) == (True, 75.0, 75.0)
    assert [one["index"] for one in api.get_notebook_submissions(A, A)] == [0]
    made = api.generate_feedback(A, "ada")
    assert made["success"], made
    page = (course / "feedback" / "ada" / A / f"{A}.html").read_text()
    assert "a factor of ½ is missing" in page
    assert "Score: 75.0 / 100.0" in page
    with opened(course) as book:
        CsvExportPlugin(to=str(course / "grades.csv")).export(book)
    row = next(csv.DictReader((course / "grades.csv").read_text().splitlines()))
    assert (row["student_id"], row["raw_score"], row["max_score"]) == ("ada", "75.0", "100.0")


def test_formgraders_notebook_has_the_courses_tests_and_no_html_of_the_student():
    notebook = starter(A)
    html = {"text/html": "<script>x</script>", "text/plain": "plain", "image/png": "AA=="}
    by_id = {cell.id: cell for cell in notebook.cells}
    by_id["solution-my_vae"].source = "mine"
    by_id["solution-my_vae"].outputs = [new_output("display_data", html)]
    by_id["test-encoder"].source = "print('all right')"
    again = new_code_cell("mine again", metadata=by_id["solution-my_vae"].metadata)
    kept = [cell for cell in notebook.cells if cell.id != "test-decoder"]
    notebook.cells = [*kept, again]
    made = autograded(to_text(notebook).encode(), finished.graded("ada", "encoder"))
    text = to_text(made)
    assert "<script>" not in text
    assert "all right" not in text
    marked = [c.metadata.nbgrader.grade_id for c in made.cells if "nbgrader" in c.metadata]
    assert len(marked) == len(set(marked))
    assert marked[-1] == "decoder"
    shown = {c.metadata.nbgrader.grade_id: c for c in made.cells if "nbgrader" in c.metadata}
    assert shown["my_vae"].source == "mine"
    assert shown["my_vae"].outputs[0].data == {"image/png": "AA=="}
    assert "a factor of ½ is missing" in shown["encoder"].outputs[0].text


def test_the_time_for_names_of_images_is_linear():
    notebook = starter(A)
    cell = next(one for one in notebook.cells if one.cell_type == "markdown" and one.metadata)
    cell.source = " ".join(f"attachment:{number}" for number in range(100_000))
    started = time.process_time()
    autograded(to_text(notebook).encode(), finished.graded("ada"))
    assert time.process_time() - started < 5


def test_an_unreadable_file_becomes_the_starter():
    made = autograded(b"no", finished.graded("ada"))
    names = [c.metadata.nbgrader.grade_id for c in made.cells]
    assert names == [c.id for c in load_source(A).cells if c.role != "text"]


def test_the_command_writes_the_results_of_a_folder(course, tmp_path):
    raw = finished.hand_in(tmp_path / "submissions", "ada")
    write_text(tmp_path / "OUT/results/ada.json", to_json(finished.graded("ada", raw=raw)))
    database = course / "gradebook.db"
    done = CliRunner().invoke(
        app, ["export", "gradebook", str(tmp_path / "OUT"), "--to", str(database)]
    )
    assert done.output == f"Gradebook: 1 submissions in {database}\n"
    with opened(course) as book:
        assert book.find_submission(A, "ada").score == 90.0


def test_an_output_folder_without_results_is_refused(tmp_path):
    with pytest.raises(BatchError, match="has no results"):
        read_results(tmp_path)

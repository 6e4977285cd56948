"""Results of an earlier run are kept if they are still valid; the others are graded again."""

import dataclasses
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from autograder.build.notebooks import reference, starter
from autograder.grading.batch import BatchError, Entry
from autograder.grading.judge import unjudged
from autograder.quality import corpus
from autograder.records.text import file_name
from autograder.reports.output_folder import OutputFolder

A = "00_reparameterization"


@pytest.fixture
def folder(tmp_path):
    for name in ("ada", "bob"):
        corpus.write(starter(A), tmp_path / "in", name, A)
    return tmp_path


def entries(folder: Path) -> list[Entry]:
    names = ("ada", "bob", "eve")
    return [Entry(n, folder / "in" / n / A / f"{A}.ipynb", folder / "in") for n in names]


def first_run(folder: Path, grader: str = "these checks") -> OutputFolder:
    """Write what a first run leaves: ada and bob are graded, eve has no notebook."""
    written = OutputFolder(folder / "out", grader)
    for entry in entries(folder):
        status = "graded" if entry.path.exists() else "missing"
        digest = hashlib.sha256(entry.path.read_bytes()).hexdigest() if status == "graded" else ""
        result = unjudged(A, entry.student, status, "")
        written.add(dataclasses.replace(result, digest=digest))
    return written


def to_grade(folder: Path, grader: str = "these checks", assignment: str = A) -> list[str]:
    again = OutputFolder(folder / "out", grader).keep_valid(entries(folder), assignment)
    return [entry.student for entry in again]


def test_a_submission_with_a_valid_result_is_not_graded_again(folder):
    first_run(folder)
    assert to_grade(folder) == []


def test_changed_and_new_submissions_are_graded_again(folder):
    first_run(folder)
    corpus.write(reference(A), folder / "in", "ada", A)
    corpus.write(starter(A), folder / "in", "eve", A)
    assert to_grade(folder) == ["ada", "eve"]
    shutil.rmtree(folder / "in" / "bob")
    assert to_grade(folder) == ["ada", "bob", "eve"]


def test_with_other_checks_or_limits_all_are_graded_again(folder):
    first_run(folder)
    assert to_grade(folder, "other checks") == ["ada", "bob", "eve"]
    assert to_grade(folder, "") == ["ada", "bob", "eve"]
    assert to_grade(folder, assignment="03_fc_vae") == ["ada", "bob", "eve"]


def test_a_result_of_a_failed_grader_is_not_kept(folder):
    output = first_run(folder)
    output.add(unjudged(A, "bob", "not_graded", "The grader failed."))
    assert to_grade(folder) == ["bob"]


def test_unfinished_files_are_removed_and_damaged_results_graded_again(folder):
    first_run(folder)
    written = folder / "out" / "results"
    (written / ".abc.part").write_text("{")
    (written / "ada.json").write_text('{"assignment": 3')
    (written / "bob.json").write_text("[]")
    assert to_grade(folder) == ["ada", "bob"]
    assert not (written / ".abc.part").exists()


def test_a_result_with_another_students_name_is_not_kept(folder):
    first_run(folder)
    written = folder / "out" / "results"
    shutil.copy(written / "ada.json", written / "bob.json")
    assert to_grade(folder) == ["bob"]


def test_two_graders_do_not_share_a_folder(folder):
    with (
        OutputFolder(folder / "out").locked(),
        pytest.raises(BatchError, match="Another grader"),
        OutputFolder(folder / "out").locked(),
    ):
        pass
    with OutputFolder(folder / "out").locked():
        pass


@pytest.mark.parametrize(
    "name",
    ["Ada", "a" * 250, "a/b", "..", "new\nline", "\u202eada", "bob \udc80", "~", "zoe\u0301"],
)
def test_a_name_that_could_clash_or_mislead_gets_another_file_name(name):
    assert file_name(name) != name
    assert len(os.fsencode(file_name(name))) < 200
    assert "/" not in file_name(name)


def test_plain_names_stay_and_no_two_names_share_a_file():
    assert [file_name(n) for n in ("ada", "zoë ★", "عمر")] == ["ada", "zoë ★", "عمر"]
    near = ["ada", "Ada", "ADA", "äda", "a\u0308da", "ada~", file_name("Ada") + "x"]
    assert len({file_name(n).casefold() for n in near}) == len(near)

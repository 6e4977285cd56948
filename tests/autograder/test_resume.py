"""What an earlier run has left is kept if it still holds; the rest is graded again."""

import dataclasses
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from autograder.build.notebooks import reference, starter
from autograder.grading.batch import BatchError, Entry
from autograder.grading.judge import unjudged
from autograder.quality import bank
from autograder.records.text import file_name
from autograder.reports.report import Report

A = "00_reparameterization"
# What is kept, and what is graded again


@pytest.fixture
def folder(tmp_path):
    for name in ("ada", "bob"):
        bank.write(starter(A), tmp_path / "in", name, A)
    return tmp_path


def entries(folder: Path) -> list[Entry]:
    names = ("ada", "bob", "eve")
    return [Entry(n, folder / "in" / n / A / f"{A}.ipynb", folder / "in") for n in names]


def report_of(folder: Path, grader: str = "these checks") -> Report:
    """A report as a first run leaves it: ada and bob judged, eve without a notebook."""
    report = Report(folder / "out", grader)
    for entry in entries(folder):
        status = "graded" if entry.path.exists() else "missing"
        digest = hashlib.sha256(entry.path.read_bytes()).hexdigest() if status == "graded" else ""
        result = unjudged(A, entry.student, status, "")
        report.add(dataclasses.replace(result, digest=digest))
    return report


def due(folder: Path, grader: str = "these checks", assignment: str = A) -> list[str]:
    again = Report(folder / "out", grader).keep(entries(folder), assignment)
    return [entry.student for entry in again]


def test_what_has_a_result_is_not_graded_again(folder):
    report_of(folder)
    assert due(folder) == []


def test_changed_work_is_graded_again_and_so_is_work_that_came_late(folder):
    report_of(folder)
    bank.write(reference(A), folder / "in", "ada", A)
    bank.write(starter(A), folder / "in", "eve", A)
    assert due(folder) == ["ada", "eve"]
    shutil.rmtree(folder / "in" / "bob")
    assert due(folder) == ["ada", "bob", "eve"]


def test_other_checks_or_limits_grade_all_again(folder):
    report_of(folder)
    assert due(folder, "other checks") == ["ada", "bob", "eve"]
    assert due(folder, "") == ["ada", "bob", "eve"]
    assert due(folder, assignment="03_fc_vae") == ["ada", "bob", "eve"]


def test_the_graders_own_failure_is_no_result_to_keep(folder):
    report = report_of(folder)
    report.add(unjudged(A, "bob", "not_graded", "The grader failed."))
    assert due(folder) == ["bob"]


def test_half_and_spoiled_files_are_swept_or_graded_again(folder):
    report_of(folder)
    written = folder / "out" / "results"
    (written / ".abc.part").write_text("{")
    (written / "ada.json").write_text('{"assignment": 3')
    (written / "bob.json").write_text("[]")
    assert due(folder) == ["ada", "bob"]
    assert not (written / ".abc.part").exists()


def test_a_result_under_anothers_name_is_not_taken_over(folder):
    report_of(folder)
    written = folder / "out" / "results"
    shutil.copy(written / "ada.json", written / "bob.json")
    assert due(folder) == ["bob"]


def test_two_graders_do_not_share_a_folder(folder):
    with (
        Report(folder / "out").alone(),
        pytest.raises(BatchError, match="Another grader"),
        Report(folder / "out").alone(),
    ):
        pass
    with Report(folder / "out").alone():
        pass


@pytest.mark.parametrize(
    "name",
    ["Ada", "a" * 250, "a/b", "..", "new\nline", "\u202eada", "bob \udc80", "~", "zoe\u0301"],
)
def test_a_name_that_could_clash_or_mislead_is_written_under_another(name):
    assert file_name(name) != name
    assert len(os.fsencode(file_name(name))) < 200
    assert "/" not in file_name(name)


def test_plain_names_stay_and_no_two_names_meet():
    assert [file_name(n) for n in ("ada", "zoë ★", "عمر")] == ["ada", "zoë ★", "عمر"]
    near = ["ada", "Ada", "ADA", "äda", "a\u0308da", "ada~", file_name("Ada") + "x"]
    assert len({file_name(n).casefold() for n in near}) == len(near)

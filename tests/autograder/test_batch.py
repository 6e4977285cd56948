"""In a batch, no submission changes the result of another one, and none stops the batch."""

import dataclasses
import os
import resource
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from run_as import answer

from autograder.build.notebooks import reference, starter
from autograder.checks import evaluate
from autograder.checks.registry import load_checks
from autograder.checks.vocabulary import info
from autograder.grading import judge
from autograder.grading.batch import (
    JUDGE_MIB,
    BatchError,
    Entry,
    _grade_one,
    find_submissions,
    grade_all,
)
from autograder.quality import corpus
from autograder.records.results import without_times
from autograder.sandbox.clock import MAX_GAP, Clock
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox

ASSIGNMENT = "03_fc_vae"


@pytest.fixture
def folder(tmp_path):
    corpus.write(reference(ASSIGNMENT), tmp_path, "ada", ASSIGNMENT)
    corpus.write(starter(ASSIGNMENT), tmp_path, "zoë ★", ASSIGNMENT)
    return tmp_path


def test_submissions_are_found_in_nbgraders_layout(folder):
    (folder / "empty-handed").mkdir()
    (folder / "notes.txt").write_text("not a student")
    assert [e.student for e in find_submissions(folder, ASSIGNMENT)] == [
        "ada",
        "empty-handed",
        "zoë ★",
    ]


@pytest.mark.parametrize(
    "path", ["03_fc_vae (1).ipynb", "03_fc_vae/final.ipynb", "03_fc_vae/deeper/03_fc_vae.ipynb"]
)
def test_a_single_notebook_in_another_place_is_taken_with_a_note(folder, path):
    """Not if there are two, or if it lies deeper, or behind a link."""
    other = folder / "kim" / path
    other.parent.mkdir(parents=True)
    (folder / "kim" / ".ipynb_checkpoints").mkdir()
    (folder / "ada" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").rename(other)
    (entry,) = [one for one in find_submissions(folder, ASSIGNMENT) if one.student == "kim"]
    assert entry.path == other
    (result,) = [_grade_one(entry, judge.grade, ASSIGNMENT, Limits(), Sandbox("A"))]
    assert result.score == result.max_score
    assert f"found as `{path}`" in result.notes[0]
    shutil.copy(other, folder / "kim" / "copy.ipynb")
    (entry,) = [one for one in find_submissions(folder, ASSIGNMENT) if one.student == "kim"]
    assert not entry.path.exists()
    assert "several other notebooks" in entry.note
    (folder / "kim" / "copy.ipynb").unlink()
    other.rename(folder / "kept.ipynb")
    (folder / "kim" / "link.ipynb").symlink_to(folder / "kept.ipynb")
    (entry,) = [one for one in find_submissions(folder, ASSIGNMENT) if one.student == "kim"]
    assert not entry.path.exists()


def test_a_wrong_folder_raises_with_a_reason(folder):
    with pytest.raises(BatchError, match="no folder"):
        find_submissions(folder / "nowhere", ASSIGNMENT)
    with pytest.raises(BatchError, match="No submission to 99_other"):
        find_submissions(folder, "99_other")


def test_a_result_does_not_depend_on_the_rest_of_the_batch(folder, graded):
    """The result of ada in this batch has the same bytes as in the corpus, except times."""
    endless = corpus.load_corpus(ASSIGNMENT)["endless"]
    corpus.write(corpus.make(ASSIGNMENT, endless), folder, "loops", ASSIGNMENT)
    (folder / "nobody").mkdir()
    entries = find_submissions(folder, ASSIGNMENT)
    results = {r.student: r for r in grade_all(entries, ASSIGNMENT, 2, Limits(call_seconds=5))}
    assert set(results) == {"ada", "loops", "nobody", "zoë ★"}
    assert results["loops"].status == "timeout"
    assert results["nobody"].status == "missing"
    known = graded(ASSIGNMENT)
    for name, before in (
        ("ada", known["reference"]),
        ("zoë ★", known["starter"]),
    ):
        again = dataclasses.replace(before, student=name)
        assert without_times(results[name]) == without_times(again)


@pytest.mark.parametrize("assignment", ["08_elbo_vae", "09_gaussian_vae"])
def test_twenty_gradings_of_the_same_bytes_are_identical(tmp_path, judges, assignment):
    """These two assignments have the most checks that sample."""
    path = corpus.write(reference(assignment), tmp_path, "ada", assignment)
    entries = [Entry("ada", path, train=False, secret=b"a secret")] * 20
    first, *others = judges.grade_all(entries, assignment)
    assert [without_times(one) for one in others] == [without_times(first)] * 19
    (other,) = judges.grade_all([dataclasses.replace(entries[0], secret=b"another")], assignment)
    assert other.score == first.score


def test_a_submission_whose_judge_dies_is_not_graded(folder, monkeypatch):
    entries = [Entry("ada", folder / "ada" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb")]
    monkeypatch.setattr(judge, "grade", _die)
    (result,) = grade_all(entries, ASSIGNMENT, 1, Limits())
    assert result.status == "not_graded"
    assert result.score == 0
    assert result.tasks[0].max_points == 15


def _die(*_):
    os._exit(3)


def test_a_judge_that_runs_out_of_memory_gives_a_status_and_goes_on(folder, monkeypatch):
    entries = [Entry(name, folder / "ada" / ASSIGNMENT / "x.ipynb") for name in ("a", "b")]
    monkeypatch.setattr(judge, "grade", _allocate)
    results = {r.student: r for r in grade_all(entries, ASSIGNMENT, 1, Limits())}
    assert {name: r.status for name, r in results.items()} == {"a": "memory", "b": "unreadable"}
    # Without the limit, the judge allocates it.
    monkeypatch.setattr(judge, "grade", _allocate_without_limit)
    (again,) = grade_all(entries[:1], ASSIGNMENT, 1, Limits())
    assert again.status == "unreadable"


def _allocate(path, assignment, student, *_):
    """Allocate more than a judge may, for the student a."""
    if student == "a":
        np.empty((JUDGE_MIB << 20) + 1, np.uint8)
    return judge.unjudged(assignment, student, "unreadable", "")


def _allocate_without_limit(*given):
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    return _allocate(*given)


def test_memory_that_a_check_cannot_get_is_a_status_of_the_submission(tmp_path, monkeypatch):
    def too_much(submission):
        torch.empty(1 << 60, dtype=torch.uint8)

    path = corpus.write(starter(ASSIGNMENT), tmp_path, "ada", ASSIGNMENT)
    monkeypatch.setattr(
        judge, "run_checks", lambda now: evaluate.evaluate(too_much, None, now.submission)
    )
    monkeypatch.setattr(evaluate, "info", lambda _: info(load_checks(ASSIGNMENT).functions[0]))
    assert judge.grade(path, ASSIGNMENT, "ada").status == "memory"


ODD_CLASS = """
import json, os, sys
from pathlib import Path
from autograder.grading.batch import _grade_one, find_submissions
from autograder.grading import judge
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox
folder, name = Path(sys.argv[1]), sys.argv[2]
found = {}
for entry in find_submissions(folder, name):
    result = _grade_one(entry, judge.grade, name, Limits(), Sandbox("A"))
    found[ascii(entry.student)] = [result.status, result.message]
print(json.dumps(found))
"""


@pytest.fixture
def open_folder():
    """Yield a folder that an ordinary user can enter; pytest's own cannot be entered."""
    with tempfile.TemporaryDirectory(prefix="vaelab-class-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_odd_folders_links_and_files_are_statuses_of_their_submissions(open_folder):
    """Run as an ordinary user, who may not read everything."""
    name, file = "00_reparameterization", "00_reparameterization.ipynb"
    long_target = "x" * 300
    for student in ("closed", "closed_file", "no_folder", "odd \udc80", "closed_inner"):
        (open_folder / student / name).mkdir(parents=True)
        (open_folder / student / name / file).write_text("no notebook")
    (open_folder / "closed_file" / name / file).chmod(0)
    (open_folder / "closed_inner" / name).chmod(0)
    (open_folder / "closed").chmod(0)
    shutil.rmtree(open_folder / "no_folder" / name)
    (open_folder / "no_folder" / name).write_text("a file")
    (open_folder / "link").symlink_to(long_target)
    (open_folder / "loop").symlink_to("loop")
    (open_folder / "to_folder").symlink_to(open_folder / "closed_file")
    (open_folder / "to_file").symlink_to(open_folder / "no_folder" / name)
    (open_folder / "inner").mkdir()
    (open_folder / "inner" / name).symlink_to(long_target)
    (open_folder / "inner_file" / name).mkdir(parents=True)
    (open_folder / "inner_file" / name / file).symlink_to(long_target)
    (open_folder / "deep" / name / file).mkdir(parents=True)
    found = answer(ODD_CLASS, str(open_folder), name, who="user")
    for path in ("closed", f"closed_inner/{name}"):
        (open_folder / path).chmod(0o755)  # so that the folder can be deleted
    assert "'to_file'" not in found
    assert {status for status, _ in found.values()} == {"unreadable"}
    assert {student for student, (_, says) in found.items() if "Permission denied" in says} == {
        "'closed'",
        "'closed_file'",
        "'closed_inner'",
    }
    links = {student for student, (_, says) in found.items() if "link" in says}
    assert links == {"'link'", "'loop'", "'to_folder'", "'inner'", "'inner_file'"}
    assert len(found) == 11


def test_the_clock_of_time_limits_leaves_out_gaps_between_two_readings():
    clock = Clock()
    clock()
    clock._last -= 1e6
    assert clock() < 1
    clock._last -= MAX_GAP / 2
    assert MAX_GAP / 2 <= clock() < MAX_GAP

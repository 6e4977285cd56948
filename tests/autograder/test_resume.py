"""Results of an earlier run are kept if they are still valid; the others are graded again."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autograder.build.notebooks import reference, starter
from autograder.grading.batch import BatchError, Entry
from autograder.grading.judge import unjudged
from autograder.quality import corpus
from autograder.records import text
from autograder.records.text import file_name
from autograder.reports.output_folder import OutputFolder
from autograder.sandbox.bubblewrap import find

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


def test_a_change_of_a_file_that_the_notebook_uses_is_graded_again(folder):
    first_run(folder)
    (folder / "in" / "bob" / A / "torch.py").write_text("x = 1")  # the notebook names it
    (folder / "in" / "ada" / A / "unused_file.py").write_text("x = 1")
    assert to_grade(folder) == ["bob"]


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


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "5",
        lambda text: "null",
        lambda text: "[" * 200_000,
        lambda text: text.replace('"points": 0.0', '"points": "0"'),
        lambda text: text.replace('"points": 0.0', '"points": 1e300'),
        lambda text: text.replace('"task": "', '"task": "other_'),
        lambda text: text.replace('"tier": ""', '"tier": "Z"'),
        lambda text: text.replace('"outcome": "not_run"', '"outcome": "won"'),
        lambda text: text.replace('"tasks": [', '"tasks": [{}, '),
    ],
)
def test_a_damaged_result_is_graded_again_and_the_others_are_kept(folder, damage):
    first_run(folder)
    path = folder / "out" / "results" / "ada.json"
    before = path.read_text()
    path.write_text(damage(before))
    assert path.read_text() != before
    assert to_grade(folder) == ["ada"]


def test_a_result_that_is_no_file_is_graded_again(folder):
    first_run(folder)
    path = folder / "out" / "results" / "ada.json"
    path.unlink()
    path.mkdir()
    assert to_grade(folder) == ["ada"]


def test_two_students_with_one_file_name_stop_the_batch(folder, monkeypatch):
    """With the short digest of an earlier version, two names shared a file."""
    monkeypatch.setattr(text, "DIGEST_DIGITS", 1)
    names = [chr(0x4E00 + n) + "X" for n in range(17)]
    assert len({file_name(name) for name in names}) < 17
    output = OutputFolder(folder / "out")

    def add_all():
        for name in names:
            output.add(unjudged(A, name, "missing", ""))

    with pytest.raises(BatchError, match="Two students have the file name"):
        add_all()


def test_the_digest_in_a_file_name_is_too_long_for_a_collision():
    assert len(file_name("Ada").partition("~")[2]) * 4 >= 160


FULL_DISK = """
import json, sys
from pathlib import Path
from autograder.grading.batch import BatchError
from autograder.grading.judge import unjudged
from autograder.reports.output_folder import OutputFolder
folder = Path(sys.argv[1])
lines = []
for number in range(50):
    output = OutputFolder(folder)
    try:
        with output.locked():
            output.add(unjudged("00_reparameterization", f"s{number:02}", "missing", "x" * 200))
            output.finish()
    except BatchError as error:
        lines.append(str(error))
        break
results = sorted(p.name for p in (folder / "results").iterdir())
for path in (folder / "results").iterdir():
    json.loads(path.read_text())
left = [str(p) for p in folder.rglob("*.part")]
print(json.dumps([lines, len(results), left]))
"""


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    """The disk is a file system of 200 kB; the results that were written stay complete."""
    words = [find(), "--dev-bind", "/", "/", "--size", "200000", "--tmpfs", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(text.__file__).parents[2])}
    done = subprocess.run(
        [*words, sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
    )
    lines, written, left = json.loads(done.stdout)
    assert len(lines) == 1, done.stderr
    assert "No space left on device" in lines[0]
    assert "\n" not in lines[0]
    assert written > 1
    assert left == []


def write_all(output: OutputFolder) -> None:
    with output.locked():
        output.add(unjudged(A, "ada", "missing", ""))
        output.finish()


def test_an_output_folder_that_is_a_file_is_one_line(folder):
    for place in ("out", "results", "index.html"):
        out = folder / place
        if place == "out":
            out.write_text("a file")
        else:
            (out / place).parent.mkdir()
            (out / place).write_text("") if place == "results" else (out / place).mkdir()
        with pytest.raises(BatchError, match=r"Cannot write to the output folder .*\. "):
            write_all(OutputFolder(out))


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


def test_a_folder_with_the_results_of_another_assignment_is_refused(folder):
    """Also one that an older grader has written, without a note of its assignment."""
    out = first_run(folder)
    with pytest.raises(BatchError, match=f"has the results of `{A}`"):
        OutputFolder(folder / "out").claim("03_fc_vae")
    out.claim(A)
    shutil.rmtree(folder / "out" / "results")
    with pytest.raises(BatchError, match="Choose another folder for `03_fc_vae`"):
        OutputFolder(folder / "out").claim("03_fc_vae")
    OutputFolder(folder / "out").claim(A)
    OutputFolder(folder / "new").claim("03_fc_vae")

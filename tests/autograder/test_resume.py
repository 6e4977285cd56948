"""A grader killed at any moment and started again goes on where it was."""

import contextlib
import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from autograder import bank
from autograder.batch import BatchError, Entry
from autograder.build import reference, starter
from autograder.judge import unjudged
from autograder.report import Report
from autograder.results import from_json
from autograder.text import file_name

A = "00_reparameterization"
KILLS = int(os.environ.get("VAELAB_KILLS", "3"))


def adopt_orphans() -> None:
    """Have every orphan below this process come to it, so that none is overlooked."""
    import ctypes

    set_child_subreaper = 36
    assert ctypes.CDLL(None).prctl(set_child_subreaper, 1) == 0


def living(root: psutil.Process) -> list[psutil.Process]:
    """What runs below a process, apart from zombies that wait for it."""
    found = []
    for process in root.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def left_alive(before: set[int], seconds: float = 10.0) -> list[str]:
    until = time.monotonic() + seconds
    while True:
        now = [p for p in living(psutil.Process()) if p.pid not in before]
        if not now or time.monotonic() > until:
            return [str(p) for p in now]
        time.sleep(0.05)


def grader(tmp: Path) -> subprocess.Popen:
    (tmp / "temp").mkdir(exist_ok=True)
    code = "from autograder.cli import main; main()"
    words = ["grade", tmp / "in", "--assignment", A, "--out", tmp / "out", "--jobs", "2"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp / "temp")},
    )


def finish(process: subprocess.Popen) -> str:
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def results(tmp: Path) -> dict[str, str]:
    """Each result as text, times apart."""
    found = {}
    for path in (tmp / "out" / "results").glob("*.json"):
        body = json.loads(path.read_text())
        body["seconds"] = 0
        for check in body["checks"]:
            check["seconds"] = 0
        found[path.stem] = json.dumps(body)
    return found


def make_class(folder: Path) -> None:
    crash = bank.Banked(
        "crash", "", cells=(("my_kl", "import os\ndef kl_divergence(m, v): os._exit(0)"),)
    )
    works = [reference(A), starter(A), bank.make(A, crash), reference(A)]
    for name, work in zip("abcd", works, strict=True):
        bank.write(work, folder, name, A)
    (folder / "e").mkdir()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux to find every process")
def test_killed_at_random_moments_it_loses_nothing_and_leaves_nothing(tmp_path):
    adopt_orphans()
    before = {p.pid for p in living(psutil.Process())}
    whole, rng = tmp_path / "whole", random.Random(time.time_ns())
    make_class(whole / "in")
    started = time.monotonic()
    finish(grader(whole))
    seconds = time.monotonic() - started
    right = results(whole)
    assert len(right) == 5
    assert left_alive(before) == []
    for kill in range(KILLS):
        tmp = tmp_path / f"kill-{kill}"
        shutil.copytree(whole / "in", tmp / "in")
        process = grader(tmp)
        after = rng.uniform(0.1, 1.0) * seconds
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        told = f"killed after {after:.2f} of {seconds:.2f} s"
        assert left_alive(before) == [], told
        written = {p: p.stat().st_mtime_ns for p in (tmp / "out" / "results").glob("*.json")}
        for path in written:
            from_json(path.read_text())
        said = finish(grader(tmp))
        if written:
            assert f"Kept {len(written)} of 5 results" in said, told
        assert {p: p.stat().st_mtime_ns for p in written} == written, told
        assert results(tmp) == right, told
        assert list((tmp / "out").rglob("*.part")) == [], told
        assert list((tmp / "temp").iterdir()) == [], told
        assert left_alive(before) == []


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

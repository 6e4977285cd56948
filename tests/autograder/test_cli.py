"""The command line: its files, its messages and its exit codes."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autograder.build.notebooks import reference, starter
from autograder.course.locate import current_course
from autograder.grading.versions import fingerprint
from autograder.quality import corpus
from autograder.reports.overriding import decide

A = "03_fc_vae"
VAELAB = [sys.executable, "-c", "from autograder.cli import main; main()"]


def vaelab(*words: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([*VAELAB, *map(str, words)], capture_output=True, text=True, timeout=300)


def test_grading_writes_everything_and_prints_the_report_last(tmp_path):
    corpus.write(starter(A), tmp_path / "in", "ada", A)
    corpus.write(starter(A), tmp_path / "in", "bob", A).write_text("no")
    done = vaelab("grade", tmp_path / "in", "--assignment", A, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"Report: {tmp_path / 'out' / 'index.html'}"
    assert '"ada","graded","0","100"' in (tmp_path / "out" / "scores.csv").read_text()
    assert '"bob","unreadable","0","100"' in (tmp_path / "out" / "scores.csv").read_text()
    assert {p.stem for p in (tmp_path / "out" / "results").iterdir()} == {"ada", "bob"}
    assert {p.stem for p in (tmp_path / "out" / "feedback").iterdir()} == {"ada", "bob"}
    used = json.loads((tmp_path / "out" / "results" / "ada.json").read_text())["versions"]
    assert used["course"].startswith("VAE Lab ")
    assert used["limits"] == "300 s, 30 s a call, 2048 MiB"
    assert used["date"] in (tmp_path / "out" / "feedback" / "ada.html").read_text()
    secret = (tmp_path / "out" / ".secret").read_bytes()
    assert used["inputs"] == fingerprint(secret)
    assert f"random inputs: {used['inputs']}." in (tmp_path / "out" / "index.html").read_text()


def test_a_package_that_only_graders_have_is_one_line(tmp_path):
    """A student's installation has no jinja2."""
    without = f"import sys; sys.modules['jinja2'] = None; {VAELAB[-1]}"
    words = ["grade", tmp_path, "--assignment", A, "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", without, *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "the package jinja2 is missing" in line
    assert "[grade]" in line


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("in/out", "inside the folder of the submissions"),
        ("in", "inside"),
        ("file", "Cannot write"),
    ],
)
def test_an_unusable_output_folder_is_one_line(out, says, tmp_path):
    corpus.write(starter(A), tmp_path / "in", "ada", A)
    (tmp_path / "file").write_text("kept")
    done = vaelab("grade", tmp_path / "in", "--assignment", A, "--out", tmp_path / out)
    assert done.returncode == 2
    assert done.stderr.startswith("vaelab: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr
    assert (tmp_path / "file").read_text() == "kept"
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["ada"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("grade", "/nowhere", "--assignment", A, "--out", "/tmp/x"), "no folder /nowhere"),
        (("grade", "/tmp", "--assignment", "99_x", "--out", "/tmp/x"), "no assignment '99_x'"),
        (("build", "99_x"), "no assignment '99_x'"),
    ],
)
def test_a_users_error_is_one_line(words, says):
    done = vaelab(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("vaelab: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr


def test_build_check_succeeds_if_notebooks_are_up_to_date():
    assert vaelab("build", "--check").returncode == 0


def test_pytest_runs_the_checks_on_a_submission(tmp_path):
    path = corpus.write(corpus.make(A, corpus.load_corpus(A)["kl_sign"]), tmp_path, "ada", A)
    checks = current_course().checks
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", checks]
    done = subprocess.run(
        [*command, "--submission", path, "-k", "kl or encoder"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Your KL has the wrong sign" in done.stdout
    assert "test_kl_closed_form" in done.stdout
    assert re.search(r"\b4 failed, [1-9]\d* passed", done.stdout)


def test_version_names_what_results_depend_on():
    done = vaelab("--version")
    assert done.returncode == 0
    assert re.match(
        r"vaelab \d[\w.]*, torch 2\.\d+\.\d+\S*, Python 3\.\d+\.\d+, course VAE Lab \d+ in /",
        done.stdout,
    )


def test_only_grades_some_students_again_and_keeps_the_others(tmp_path):
    """Also what a person decided; and the course file's late rule counts for both."""
    a = "00_reparameterization"
    (tmp_path / "course").mkdir()
    (tmp_path / "course" / "vaelab.toml").write_text(
        f"[late]\nper_day = 0.5\nmost = 0.5\n[assignment.{a}]\ndue = 2020-01-01T00:00:00Z\n"
    )
    for name in ("ada", "bob"):
        corpus.write(starter(a), tmp_path / "in", name, a)
    words = ("grade", tmp_path / "in", "--assignment", a, "--out", tmp_path / "out", "--jobs", "1")
    words = (*words, "--course", tmp_path / "course")
    assert vaelab(*words).returncode == 0
    decide(tmp_path / "out", "ada", "kl_divergence", 10, reason="It is right.", author="Emmy")
    for name in ("ada", "bob"):
        corpus.write(reference(a), tmp_path / "in", name, a)
    done = vaelab(*words, "--only", "bob")
    assert done.returncode == 0, done.stderr
    assert "bob: before graded, 0 of 100 points; now graded, 45 of 90 points" in done.stdout
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").read_text().splitlines()))
    assert [(row["student"], row["status"], row["score"], row["final"]) for row in rows] == [
        ("ada", "graded", "10", "5"),
        ("bob", "graded", "90", "45"),
    ]
    assert "no folder of eve" in vaelab(*words, "--only", "eve").stderr

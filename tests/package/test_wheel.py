"""The wheel holds the course: its commands run from another folder, as another user."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_environment import install, make_environment
from run_as import command_prefix

from autograder.records.results import Result, from_json

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def vaelab() -> Iterator[Run]:
    """The command of a wheel in an environment of its own; heavy packages come from this one."""
    folder = Path(tempfile.mkdtemp(prefix="vaelab-wheel-"))
    folder.chmod(0o755)
    try:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        (wheel,) = folder.glob("*.whl")
        environment = folder / "env"
        packages = make_environment(environment)
        install(wheel, environment)
        work = folder / "work"
        work.mkdir()
        work.chmod(0o777)

        def run(*words: str) -> subprocess.CompletedProcess:
            command = [*command_prefix("user"), "env", "-u", "PYTHONPATH", "-u", "VAELAB_COURSE"]
            command += [f"HOME={work}", "OMP_NUM_THREADS=1", "COLUMNS=200"]
            command += [str(environment / "bin" / "vaelab"), *words]
            return subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=900)

        run.work = work  # type: ignore[attr-defined]
        run.packages = packages  # type: ignore[attr-defined]
        yield run
    finally:
        shutil.rmtree(folder)


def passed(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_build_check_compares_the_notebooks_of_the_wheel(vaelab):
    assert "up to date" in passed(vaelab("build", "--check"))
    notebook = vaelab.packages / "autograder/course/installed/notebooks/03_fc_vae.ipynb"
    text = notebook.read_text()
    notebook.write_text(text.replace("TODO", "DONE", 1))
    assert vaelab("build", "--check").returncode == 1
    notebook.write_text(text)


def test_verify_tests_an_assignment_of_the_wheel(vaelab):
    """One that does not train; the demo class is trained."""
    said = passed(vaelab("verify", "00_reparameterization"))
    assert "00_reparameterization" in said
    assert "90 of 90" in said


@pytest.fixture(scope="module")
def demo_class(vaelab) -> dict[str, Result]:
    """The results of `vaelab demo`, by student."""
    said = passed(vaelab("demo", "--few", "--out", "demo"))
    assert "tier C" not in said
    assert (vaelab.work / "demo/report/index.html").is_file()
    files = (vaelab.work / "demo/report/results").glob("*.json")
    results = [from_json(file.read_text()) for file in files]
    return {result.student: result for result in results}


def test_grade_keeps_the_results_of_the_demo(vaelab, demo_class):
    """The demo has a shorter limit of one call than `grade` has by default."""
    grade = ("grade", "demo/submissions", "--assignment", "03_fc_vae", "--out", "demo/report")
    said = passed(vaelab(*grade, "--call-timeout", "15"))
    assert "Scores:" in said
    assert f"Kept {len(demo_class)} of {len(demo_class)} results" in said


def test_the_reference_and_the_starter_of_the_demo(demo_class):
    ada, blaise = demo_class["ada"], demo_class["blaise"]
    assert (ada.score, ada.max_score, ada.pending) == (90, 90, 10)
    assert blaise.score == 0


def test_a_deleted_test_cell_costs_no_points_and_gets_a_note(demo_class):
    assert demo_class["noor"].score == 90
    assert any("`kl_divergence` is missing" in note for note in demo_class["noor"].notes)


def test_a_repeated_test_cell_costs_no_points_and_gets_a_note(demo_class):
    assert demo_class["olga"].score == 90
    assert any("`kl_divergence` is there 2 times" in note for note in demo_class["olga"].notes)


def test_a_file_that_is_not_json_is_unreadable(demo_class):
    result = demo_class["pierre"]
    assert (result.status, result.score) == ("unreadable", 0)
    assert "not JSON" in result.message
    assert {check.outcome for check in result.checks} == {"not_run"}


def test_init_writes_a_course_that_takes_its_own_edits(vaelab):
    passed(vaelab("init", "mine"))
    source = vaelab.work / "mine/solutions/00_reparameterization.py"
    assert "up to date" in passed(vaelab("build", "--check", "--course", "mine"))
    edited = source.read_text().replace("# # ", "# # Our ", 1)
    command = [*command_prefix("user"), "tee", str(source)]
    subprocess.run(command, input=edited, text=True, check=True, stdout=subprocess.DEVNULL)
    assert vaelab("build", "--check", "--course", "mine").returncode == 1
    said = passed(vaelab("build", "--course", "mine"))
    assert "00_reparameterization.ipynb" in said
    assert '"# Our ' in (vaelab.work / "mine/notebooks/00_reparameterization.ipynb").read_text()


def test_the_kit_for_students_is_written_without_a_checkout(vaelab):
    passed(vaelab("release", "kit", "00_reparameterization"))
    assert (vaelab.work / "kit/notebooks/00_reparameterization.ipynb").is_file()
    (wheel,) = (vaelab.work / "kit").glob("vaelab_student-*.whl")
    assert wheel.stat().st_size > 1 << 20


def test_no_assignment_is_an_error_that_names_the_place(vaelab, tmp_path):
    empty = vaelab.work / "empty"
    # With no `solutions`, this would be the installed course with a course file of its own.
    solutions = str(empty / "solutions")
    subprocess.run([*command_prefix("user"), "mkdir", "-p", solutions], check=True)
    subprocess.run([*command_prefix("user"), "touch", str(empty / "vaelab.toml")], check=True)
    for words in (("verify",), ("build", "--check"), ("grade", ".", "--assignment", "x")):
        more = ("--out", "o") if words[0] == "grade" else ()
        done = vaelab(*words, *more, "--course", "empty")
        assert done.returncode == 2
        assert solutions in done.stderr
        assert "Traceback" not in done.stderr


def test_the_user_is_another_one(vaelab):
    if os.getuid() == 0:
        done = subprocess.run([*command_prefix("user"), "id", "-u"], capture_output=True, text=True)
        assert done.stdout.strip() != "0"

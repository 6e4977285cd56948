"""Gradescope: the archive runs in a clean tree with Docker's rights, and its result is valid."""

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from finished import A, graded
from run_as import ROOT, command_prefix
from typer.testing import CliRunner

from autograder.build.notebooks import reference, to_text
from autograder.cli import app
from autograder.exporting import gradescope_run
from autograder.exporting.gradescope import build_autograder
from autograder.grading.judge import unjudged

QUICK = "00_reparameterization"  # it does not train
# The documented format: https://gradescope-autograders.readthedocs.io/en/latest/specs/
TOP = {
    "score": (int, float),
    "execution_time": int,
    "output": str,
    "output_format": str,
    "visibility": str,
    "stdout_visibility": str,
    "extra_data": dict,
    "tests": list,
}
TEST = {
    "score": (int, float),
    "max_score": (int, float),
    "status": str,
    "name": str,
    "number": str,
    "output": str,
    "output_format": str,
    "visibility": str,
}
VISIBLE = {"hidden", "after_due_date", "after_published", "visible"}


def expect_documented(body: dict) -> None:
    """Expect that a result has Gradescope's format, and that its points add up."""
    for part, known in ((body, TOP), *((test, TEST) for test in body["tests"])):
        assert part.keys() <= known.keys()
        for name, value in part.items():
            assert isinstance(value, known[name]), name
        assert part["visibility"] in VISIBLE
        assert part["output_format"] in {"text", "html", "simple_format", "md", "ansi"}
    assert {test["status"] for test in body["tests"]} <= {"passed", "failed"}
    assert sum(test["score"] for test in body["tests"]) == body["score"]


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """Yield the folder `/autograder` of a container in which the archive was run."""
    # Not below pytest's folder, which other users cannot read.
    container = Path(tempfile.mkdtemp(prefix="vaelab-gradescope-"))
    container.chmod(0o755)
    root = container / "autograder"
    for folder in ("source", "submission", "results", "venv/bin"):
        (root / folder).mkdir(parents=True)
    archive = zipfile.ZipFile(io.BytesIO(build_autograder(QUICK, "after_published")))
    archive.extractall(root / "source")
    python = root / "venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for program in (python, root / "source/run_autograder"):
        program.chmod(0o755)
    (root / "submission/my notebook (1).ipynb").write_text(to_text(reference(QUICK)))
    command = [str(root / "source/run_autograder")]
    if os.getuid() == 0 and platform.machine() == "x86_64":
        docker = Path(__file__).with_name("like_docker.py")
        command = [*command_prefix("root"), sys.executable, str(docker), *command]
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VAELAB_COURSE")}
    done = subprocess.run(
        command,
        cwd=root,
        env=clean | {"AUTOGRADER_ROOT": str(root)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    try:
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        yield root
    finally:
        shutil.rmtree(container)


def test_a_submission_is_graded_without_user_namespaces(tree):
    body = json.loads((tree / "results/results.json").read_text())
    expect_documented(body)
    result = body["extra_data"]["vaelab"]
    assert body["score"] == result["score"] == 90
    assert body["visibility"] == "after_published"
    assert "my notebook (1).ipynb" in body["output"]
    docker = os.getuid() == 0 and platform.machine() == "x86_64"
    assert result["tier"] == ("B" if docker else result["tier"])
    assert str(ROOT) not in json.dumps(body)


def test_points_and_texts_are_those_of_the_result():
    body = gradescope_run.as_gradescope(graded("ada", "kl_divergence"), "visible", 3.2)
    expect_documented(body)
    assert (body["score"], body["execution_time"]) == (75, 4)
    kl = next(test for test in body["tests"] if test["name"] == "KL divergence")
    assert (kl["score"], kl["max_score"], kl["status"]) == (0, 15, "failed")
    assert "a factor of ½ is missing" in kl["output"]
    assert sum(test["max_score"] for test in body["tests"]) == 90
    assert "A person grades the written answers: 10 points." in body["output"]


def test_a_reason_that_ends_grading_is_said_once():
    late = unjudged(A, "ada", "timeout", "It took 300 seconds.")
    body = gradescope_run.as_gradescope(late, "visible", 1.0)
    expect_documented(body)
    assert json.dumps(body | {"extra_data": {}}).count("It took 300 seconds.") == 1


@pytest.mark.parametrize("files", [{}, {"report.pdf": "x"}])
def test_a_submission_without_a_notebook_gets_no_points_and_a_reason(files, tmp_path):
    (tmp_path / "submission").mkdir()
    for name, text in files.items():
        (tmp_path / "submission" / name).write_text(text)
    assert gradescope_run.main([A, "--root", str(tmp_path)]) == 0
    body = json.loads((tmp_path / "results/results.json").read_text())
    expect_documented(body)
    assert body["score"] == 0
    assert ("report.pdf" if files else "No file was handed in.") in body["output"]


@pytest.mark.parametrize("open_task", [False, True])
def test_an_error_of_the_grader_gives_no_result(open_task, tmp_path, monkeypatch):
    result = unjudged(A, "ada", "not_graded", "The grader failed.")
    if open_task:
        tasks = (replace(result.tasks[0], not_graded=True), *result.tasks[1:])
        result = replace(result, status="graded", tasks=tasks)
    monkeypatch.setattr(gradescope_run, "grade", lambda *_: result)
    assert gradescope_run.main([A, "--root", str(tmp_path)]) == 1
    assert not (tmp_path / "results").exists()


def test_the_archive_has_what_gradescope_needs_and_nothing_else():
    with zipfile.ZipFile(io.BytesIO(build_autograder(QUICK))) as archive:
        names = archive.namelist()
        assert archive.getinfo("setup.sh").external_attr >> 16 == 0o755
        setup = archive.read("setup.sh").decode()
        packages = archive.read("requirements.txt").decode().lower()
    assert {name.partition("/")[0] for name in names} == {
        "setup.sh",
        "run_autograder",
        "requirements.txt",
        "secret",
        "grader",
    }
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]
    assert "https://download.pytorch.org/whl/cpu" in setup
    assert "torch==" in setup
    assert "nbgrader" not in packages
    assert "\ntorch" not in packages.replace("torchsummary", "")
    assert subprocess.run(["bash", "-n"], input=setup, text=True, check=True).returncode == 0


def test_the_command_refuses_an_unknown_visibility(tmp_path):
    words = ["gradescope", A, "--to", str(tmp_path / "a.zip"), "--visibility", "later"]
    done = CliRunner().invoke(app, words)
    assert "after_published" in str(done.exception)
    assert not (tmp_path / "a.zip").exists()

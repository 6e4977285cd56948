"""The walk through adding an assignment, in CONTRIBUTING.md, works as it is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ASSIGNMENT = "11_mean_image"
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def walk() -> list[tuple[str, str, str]]:
    """Return the code blocks of the walk: language, title ("" for none) and text."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return FENCE.findall(text.partition("\n## Add an assignment\n")[2])


def commands() -> list[list[str]]:
    """Return the words of each command that a reader of the walk types."""
    blocks = [text for language, title, text in walk() if language == "console" and not title]
    return [line.split() for text in blocks for line in text.splitlines()]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess:
    """Run a `vaelab` command of the walk in a folder, with this repository's code."""
    assert words[0] == "vaelab", words
    if words[1] == "verify":
        words = [*words, "--jobs", "1"]  # one judge needs half as much time for its imports
    environment = {k: v for k, v in os.environ.items() if k != "VAELAB_COURSE"}
    return subprocess.run(
        [sys.executable, "-m", "autograder", *words[1:]],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture(scope="module")
def course_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the course with the new assignment, made as the walk says."""
    folder = tmp_path_factory.mktemp("contributing")
    init, enter, *_ = commands()
    done = run(init, folder)
    assert done.returncode == 0, done.stderr
    assert enter[0] == "cd"
    folder /= enter[1]
    for language, title, text in walk():
        if language != "console":
            path = folder / title
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return folder


def test_the_walk_ends_with_a_verified_assignment(course_copy):
    _, _, *steps = commands()
    assert [words[:2] for words in steps] == [["vaelab", "build"]] * 2 + [["vaelab", "verify"]]
    for words in steps:
        done = run(words, course_copy)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    assert (course_copy / "notebooks" / f"{ASSIGNMENT}.ipynb").is_file()
    assert "1 of 1" in done.stdout
    assert "2 of 2" in done.stdout


def test_verify_finds_checks_that_are_wrong(course_copy):
    """Each of two edits of the checks makes one task wrong: one run of `verify` reports both."""
    edits = {
        "x.double().mean(0)": "x.double().sum(0)",  # a wrong expectation
        "(x, image), ERROR_MISTAKES": "(x, image)",  # a mistake that is not named
    }
    checks = course_copy / "checks" / f"a{ASSIGNMENT}" / f"test_{ASSIGNMENT}.py"
    before = broken = checks.read_text(encoding="utf-8")
    for find, replace in edits.items():
        assert broken.count(find) == 1
        broken = broken.replace(find, replace)
    *_, verify = commands()
    try:
        checks.write_text(broken, encoding="utf-8")
        done = run(verify, course_copy)
    finally:
        checks.write_text(before, encoding="utf-8")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(f"^{ASSIGNMENT}: .*reference.* lost .*mean_image", done.stdout, re.M)
    assert re.search(f"^{ASSIGNMENT}: error_summed", done.stdout, re.M)

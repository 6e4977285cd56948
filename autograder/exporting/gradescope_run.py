"""Grades one submission in Gradescope's container and writes `results/results.json`.

It starts as `python -m autograder.exporting.gradescope_run ASSIGNMENT --root /autograder`. If the
grader itself fails, it writes no result and ends with an error: Gradescope then shows that the
autograder failed, and no student gets 0 points for it.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autograder.collecting.arrivals import list_files
from autograder.collecting.choose import Chosen, choose
from autograder.collecting.owners import Owned, Owner
from autograder.course.settings import course_file
from autograder.grading.batch import Entry, expect_hidden, grade_all
from autograder.grading.judge import unjudged
from autograder.grading.versions import versions
from autograder.records.causes import shown_messages
from autograder.records.errors import UserError
from autograder.records.results import STATUSES, Result, to_json, write_bytes, write_text
from autograder.records.text import SIGNS, printable, sentence
from autograder.sandbox.inside.system import SandboxError
from autograder.sandbox.limits import limits_with
from autograder.sandbox.tiers import Sandbox

STUDENT = "submission"
TRIES = 2


def main(words: Sequence[str] | None = None) -> int:
    """Grade the submission; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("assignment")
    parser.add_argument("--root", type=Path, default=Path("/autograder"))
    parser.add_argument("--visibility", default="visible")
    parser.add_argument("--no-sandbox", action="store_true")
    asked = parser.parse_args(words)
    start = time.monotonic()
    try:
        result = grade(asked.root, asked.assignment, asked.no_sandbox)
    except (SandboxError, UserError) as error:
        print(error)
        return 1
    print(to_json(result))
    if not result.is_complete:
        print("The grader failed. Rerun the autograder for this submission.")
        return 1
    body = as_gradescope(result, asked.visibility, time.monotonic() - start)
    text = json.dumps(body, indent=2, ensure_ascii=True)
    write_text(asked.root / "results" / "results.json", text + "\n")
    return 0


def grade(root: Path, assignment: str, no_sandbox: bool = False) -> Result:
    """Grade the submission in `root/submission`.

    Raises:
        SandboxError: If no sandbox works here, and submissions may not run without one.
        BatchError: If the sandbox would show the answers to the submission.
    """
    chosen = _chosen(root / "submission", assignment)
    if chosen.problem:
        return unjudged(assignment, STUDENT, "missing", chosen.problem)
    secret = (root / "source" / "secret").read_bytes()
    limits = limits_with(course_file().of(assignment).limits)
    sandbox = _sandbox(no_sandbox)
    with tempfile.TemporaryDirectory(prefix="vaelab-") as folder:
        path = Path(folder, STUDENT, assignment, f"{assignment}.ipynb")
        write_bytes(path, chosen.content)
        expect_hidden(sandbox, [root / "source", Path(folder)])
        entry = Entry(STUDENT, path, Path(folder), secret=secret)
        for _ in range(TRIES):
            (result,) = grade_all([entry], assignment, 1, limits, sandbox)
            if result.is_complete:
                break
    notes = (*chosen.notes, *result.notes)
    return replace(result, notes=notes, versions=versions(limits, secret))


def _sandbox(unconfined: bool) -> Sandbox:
    """Return the best sandbox that works here; none only if that is allowed."""
    try:
        return Sandbox().resolved()
    except SandboxError:
        if not unconfined:
            raise
        return Sandbox("C")


def _chosen(folder: Path, assignment: str) -> Chosen:
    owner = Owner(STUDENT)
    listing = list_files(folder)
    files = [Owned(one, owner, one.parts, time=one.time) for one in listing.files]
    if not files:
        return Chosen(None, b"", (), "No file was handed in.")
    return choose(files, assignment)


def as_gradescope(result: Result, visibility: str, seconds: float) -> dict[str, Any]:
    """Return a result in Gradescope's format.

    Written answers are left out: a person grades them in Gradescope.
    """
    messages = shown_messages(result.checks)
    tests = []
    for number, task in enumerate((t for t in result.tasks if not t.pending), 1):
        lines = []
        for check, message in zip(result.checks, messages, strict=True):
            if check.task == task.task and result.status == "graded":
                lines.append(f"{SIGNS[check.outcome]} {check.sentence}")
                lines += [f"  {message}"] * bool(message)
        tests.append(
            {
                "name": task.title,
                "number": f"{number}",
                "score": task.points,
                "max_score": task.max_points,
                "status": "passed" if task.points == task.max_points else "failed",
                "output": printable("\n".join(lines), keep="\n"),
                "output_format": "text",
                "visibility": visibility,
            }
        )
    about = []
    if result.status != "graded":
        about.append(sentence(result.message or STATUSES[result.status]))
    about += result.notes
    if result.pending:
        about.append(f"A person grades the written answers: {result.pending:g} points.")
    return {
        "score": result.score,
        "execution_time": math.ceil(seconds),
        "output": printable("\n".join(about), keep="\n"),
        "output_format": "text",
        "visibility": visibility,
        "stdout_visibility": "hidden",
        "tests": tests,
        "extra_data": {"vaelab": json.loads(to_json(result))},
    }


if __name__ == "__main__":
    sys.exit(main())

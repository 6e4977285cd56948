"""Results of 03_fc_vae as the judge would write them, made without grading."""

import hashlib
from dataclasses import replace
from pathlib import Path

from autograder.build.notebooks import starter, to_text
from autograder.grading.judge import unjudged
from autograder.records.results import Late, Override, Result

A = "03_fc_vae"
KL = "Your KL is twice what it should be: a factor of ½ is missing. Expected 7.27, got 14.5."


def graded(student: str, *lost: str, raw: bytes = b"") -> Result:
    """Return the result of a submission that earned all tasks but some."""
    blank = unjudged(A, student, "graded", "")
    checks = tuple(
        replace(c, outcome="failed", message=KL, mistake="kl_half")
        if c.task in lost
        else replace(c, outcome="passed", message="")
        for c in blank.checks
    )
    tasks = tuple(
        t if t.pending else replace(t, points=0.0 if t.task in lost else t.max_points)
        for t in blank.tasks
    )
    digest = hashlib.sha256(raw).hexdigest()
    return replace(blank, checks=checks, tasks=tasks, tier="A", digest=digest)


def hand_in(folder: Path, student: str, answer: str = "", time: str = "") -> bytes:
    """Write a student's notebook with a written answer; return its bytes."""
    notebook = starter(A)
    for cell in notebook.cells:
        if answer and cell.id == "answer-larger_variance":
            cell.source = answer
    place = folder / student / A
    place.mkdir(parents=True, exist_ok=True)
    raw = to_text(notebook).encode()
    (place / f"{A}.ipynb").write_bytes(raw)
    if time:
        (place / "timestamp.txt").write_text(time)
    return raw


def late(result: Result) -> Result:
    """Return the result of the same submission, handed in a day late: it loses a tenth."""
    times = ("2026-11-02 09:00:00", "2026-11-01 09:00:00")
    return replace(result, late=Late(*times, 0.1, "1 day late."))


def overridden(result: Result, task: str, points: float) -> Result:
    """Return the result with other points for a task, which a person gave."""
    before = next(one for one in result.tasks if one.task == task)
    tasks = tuple(
        replace(one, points=points, pending=False) if one == before else one for one in result.tasks
    )
    why = ("It was agreed.", "Bea", "2026-11-03 09:00:00", True)
    return replace(result, tasks=tasks, overrides=(Override(task, points, *why, before),))

"""Time of grading without training: with the fork server, and with cold workers."""

import statistics
import tempfile
import time
from pathlib import Path

from autograder.build.notebooks import reference
from autograder.grading.judge import judging, run_checks
from autograder.quality.corpus import write
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox
from benchmarks.measure import Row, ratio

ASSIGNMENT = "03_fc_vae"
ROUNDS = 5
CORE_SECONDS = 0.25  # the target; nbgrader needs 1.05 s for a trivial notebook without torch


def measure() -> list[Row]:
    """Grade the reference without training, alternately with fork server and with cold workers."""
    spent: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        path = write(reference(ASSIGNMENT), Path(folder), "reference", ASSIGNMENT)
        _core_seconds(path, warm=True)  # starts the fork server
        for _ in range(ROUNDS):
            for warm, seconds in spent.items():
                seconds.append(_core_seconds(path, warm=warm))
    warm, cold = (statistics.median(spent[kind]) for kind in (True, False))
    note = f"judge and worker, {ASSIGNMENT}; a cold worker: {cold:.2f} s"
    return [
        Row("a submission without training, core seconds", warm, "s", CORE_SECONDS, note=note),
        Row("the same, cold worker / fork server", ratio(spent[False], spent[True])),
    ]


def _core_seconds(path: Path, *, warm: bool) -> float:
    """Grade once. Return the CPU seconds of judge and worker together."""
    start = time.process_time()
    with judging(path, ASSIGNMENT, Limits(), Sandbox(warm=warm)) as current:
        current.submission.train = False
        run_checks(current)
    return time.process_time() - start + current.worker.cpu_seconds

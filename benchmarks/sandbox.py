"""What grading costs beyond training: workers forked from a warm process, and cold ones."""

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
CORE_SECONDS = 0.25  # the target; nbgrader takes 1.05 s for a trivial notebook without torch


def measure() -> list[Row]:
    """Judge the reference without its training, warm and cold in turn; returns rows."""
    spent: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        path = write(reference(ASSIGNMENT), Path(folder), "reference", ASSIGNMENT)
        _core_seconds(path, warm=True)  # starts the warm process, which many submissions share
        for _ in range(ROUNDS):
            for warm, seconds in spent.items():
                seconds.append(_core_seconds(path, warm=warm))
    warm, cold = (statistics.median(spent[kind]) for kind in (True, False))
    note = f"judge and worker, {ASSIGNMENT}; a cold worker: {cold:.2f} s"
    return [
        Row("a submission without its training, of one core", warm, "s", CORE_SECONDS, note=note),
        Row("the same, cold worker / warm", ratio(spent[False], spent[True])),
    ]


def _core_seconds(path: Path, *, warm: bool) -> float:
    """Judge once; returns the processor seconds of the judge and of the worker together."""
    start = time.process_time()
    with judging(path, ASSIGNMENT, Limits(), Sandbox(warm=warm)) as current:
        current.submission.train = False
        run_checks(current)
    return time.process_time() - start + current.worker.cpu_seconds

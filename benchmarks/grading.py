"""What grading one right submission costs: the worker's memory, and where the time goes."""

import tempfile
import time
from pathlib import Path

from autograder.bank import write
from autograder.build import reference
from autograder.judge import judging, run_checks
from benchmarks.measure import Row, in_words

ASSIGNMENT = "03_fc_vae"


def measure() -> list[Row]:
    """Judge the reference once; returns rows for the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(reference(ASSIGNMENT), Path(folder), "reference", ASSIGNMENT)
        start = time.perf_counter()
        with judging(path, ASSIGNMENT) as current:
            loaded = time.perf_counter() - start
            run_checks(current)
            peak = current.worker.peak_mib
        total = time.perf_counter() - start
    training = sum(o.seconds for o in current.outcomes if o.task == "training")
    note = f"start {in_words([loaded])}, training {in_words([training])}, the rest is checks"
    return [
        Row("worker's peak memory, 03_fc_vae", peak, "MiB", 1536, note="resident, whole tree"),
        Row("grading one submission, 03_fc_vae", total, "s", note=note),
    ]

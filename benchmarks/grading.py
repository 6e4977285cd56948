"""Time and memory of grading a correct submission, for each of the eleven assignments."""

import tempfile
import time
from pathlib import Path

from autograder.build.notebooks import reference
from autograder.course.sources import assignments
from autograder.grading.judge import judging, run_checks
from autograder.quality.corpus import write
from benchmarks.measure import Row, in_words

ASSIGNMENT = "03_fc_vae"
CORE_SECONDS = 240.0


def measure() -> list[Row]:
    """Grade each assignment's reference once, and return the rows of the table."""
    rows, spent = [], {}
    for assignment in [ASSIGNMENT, *(a for a in assignments() if a != ASSIGNMENT)]:
        with tempfile.TemporaryDirectory() as folder:
            path = write(reference(assignment), Path(folder), "reference", assignment)
            start, used = time.perf_counter(), time.process_time()
            with judging(path, assignment) as current:
                loaded = time.perf_counter() - start
                run_checks(current)
                peak = current.worker.peak_mib
            total = time.perf_counter() - start
            spent[assignment] = time.process_time() - used + current.worker.cpu_seconds
        if assignment == ASSIGNMENT:
            training = sum(o.seconds for o in current.outcomes if o.task == "training")
            note = (
                f"start {in_words([loaded])}, training {in_words([training])}, the rest are checks"
            )
            rows = [
                Row(
                    "worker's peak memory, 03_fc_vae",
                    peak,
                    "MiB",
                    1536,
                    note="resident, whole tree",
                ),
                Row("grading one submission, 03_fc_vae", total, "s", note=note),
            ]
    each = ", ".join(f"{a[:2]}: {seconds:.0f}" for a, seconds in sorted(spent.items()))
    what = f"one submission to each of the {len(spent)} assignments, core seconds"
    return [*rows, Row(what, sum(spent.values()), "s", CORE_SECONDS, note=f"{each} s")]

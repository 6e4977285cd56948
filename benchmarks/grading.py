"""Time, memory and cost of grading a correct submission, for each of the eleven assignments."""

import tempfile
import time
from pathlib import Path

from autograder.build.notebooks import reference
from autograder.course.sources import assignments
from autograder.grading.judge import grade, judging, run_checks
from autograder.quality.corpus import write
from benchmarks.batches import counted
from benchmarks.measure import Row, in_words

ASSIGNMENT = "03_fc_vae"
ALL, WARM = 240.0, 0.25  # targets, in CPU seconds
CLASSES = (300, 10_000)
ROUNDS = 3


def measure() -> list[Row]:
    """Grade each assignment's reference; return the rows of the table."""
    trained, warm = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for assignment in assignments():
            path = write(reference(assignment), Path(folder), "reference", assignment)
            spent(path, assignment, train=False)  # starts the fork server, imports the checks
            warm[assignment] = min(spent(path, assignment, train=False) for _ in range(ROUNDS))
            trained[assignment] = spent(path, assignment, train=True)
        rows = one_submission(Path(folder) / "reference" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb")
    total = sum(trained.values())
    rows += [
        Row(
            f"CPU time of {assignment[:2]} without training, warm",
            seconds,
            "s",
            WARM,
            note=f"with training {trained[assignment]:.1f} s",
        )
        for assignment, seconds in warm.items()
    ]
    rows.append(Row(f"CPU time of one submission to each of the {len(trained)}", total, "s", ALL))
    hours = ", ".join(f"{n:,}: {n * total / 3600:.1f} core hours" for n in CLASSES)
    return [*rows, Row("CPU time of one student, all assignments", total, "s", note=hours)]


def spent(path: Path, assignment: str, *, train: bool) -> float:
    """Grade a submission; return the CPU seconds of the judge and all workers."""
    with counted() as workers:
        start = time.process_time()
        result = grade(path, assignment, "reference", train=train)
        seconds = time.process_time() - start + sum(workers)
    assert result.status == "graded", result
    return seconds


def one_submission(path: Path) -> list[Row]:
    """Return the rows about the wall-clock time and the memory of one submission."""
    start = time.perf_counter()
    with judging(path, ASSIGNMENT) as current:
        loaded = time.perf_counter() - start
        run_checks(current)
        peak = current.worker.peak_mib
    total = time.perf_counter() - start
    training = sum(one.seconds for one in current.outcomes if one.task == "training")
    note = f"start {in_words([loaded])}, training {in_words([training])}, the rest are checks"
    where = f"worker's peak memory, {ASSIGNMENT}"
    return [
        Row(where, peak, "MiB", 1536, note="resident, whole tree"),
        Row(f"grading one submission, {ASSIGNMENT}", total, "s", note=note),
    ]

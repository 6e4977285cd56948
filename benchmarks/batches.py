"""Grading compared with bare training, nbgrader, one judge in place of two, and a Dask cluster."""

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from distributed import LocalCluster

from autograder.build.notebooks import reference, to_text
from autograder.checks.registry import load_checks
from autograder.checks.training import TrainingSpec, steps, training_images
from autograder.course.reference import run_reference
from autograder.grading import judge
from autograder.grading.batch import Judges, find_submissions
from autograder.grading.cluster import grade_on
from autograder.quality.corpus import write
from autograder.records.results import Result
from autograder.sandbox.limits import Limits
from benchmarks.measure import Row, ratio

ASSIGNMENT = "03_fc_vae"
ROUNDS, CLASS, DASK_ROUNDS = 3, 16, 2
# nbgrader starts the program alembic, which is beside Python.
PROGRAMS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PATH": PROGRAMS}


def measure() -> list[Row]:
    """Return the rows of the comparisons."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(reference(ASSIGNMENT), Path(folder), "reference", ASSIGNMENT)
        ours, bare = [], []
        graded(path)  # starts the fork server
        for _ in range(ROUNDS):
            bare.append(trained())
            ours.append(graded(path))
        nbgrader = autograded(Path(folder) / "course")
    one, two = (batch(jobs) for jobs in (1, 2))
    note = f"{min(ours):.1f} s / {min(bare):.1f} s of CPU; reference of {ASSIGNMENT}, trained"
    return [
        Row("grading a submission / its bare training", ratio(ours, bare), target=1.3, note=note),
        Row(
            "nbgrader on one thread / grading, trained, in CPU seconds",
            nbgrader / min(ours),
            target=5,
            direction="at least",
            note=f"{nbgrader:.1f} s / {min(ours):.1f} s",
        ),
        Row("the first result of a command, two judges", two[0], "s", target=6),
        Row(
            f"{CLASS} submissions: one judge / two judges",
            one[1] / two[1],
            target=1.8,
            direction="at least",
            note=f"{one[1]:.0f} s / {two[1]:.0f} s",
        ),
        on_dask(),
    ]


def on_dask() -> Row:
    """Compare a local Dask cluster of two workers with two local judges, both warm."""
    with tempfile.TemporaryDirectory() as name:
        for number in range(CLASS):
            write(reference(ASSIGNMENT), Path(name), f"student-{number:02}", ASSIGNMENT)
        entries = find_submissions(Path(name), ASSIGNMENT)
        cluster: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
        with (
            Judges(2, Limits()) as judges,
            LocalCluster(**cluster, dashboard_address=None) as scheduler,
        ):
            address, limits = scheduler.scheduler_address, judges.limits

            def here() -> float:
                return seconds_for(judges.grade_all(entries, ASSIGNMENT))

            def there() -> float:
                return seconds_for(grade_on(address, entries, ASSIGNMENT, limits, judges.sandbox))

            judges_first, cluster_first = here(), there()  # start the judges
            local, remote = zip(*((here(), there()) for _ in range(DASK_ROUNDS)), strict=True)
    note = f"{min(local):.1f} s / {min(remote):.1f} s; "
    note += f"the first time, with the start: {judges_first:.1f} s / {cluster_first:.1f} s"
    return Row(
        f"{CLASS} submissions: two local judges / a Dask cluster of two workers",
        ratio(list(local), list(remote)),
        target=0.9,
        direction="at least",
        note=note,
    )


def seconds_for(results: Iterable[Result]) -> float:
    """Return how long it takes to get all results; each must be graded."""
    start = time.perf_counter()
    found = list(results)
    assert {one.status for one in found} == {"graded"}
    return time.perf_counter() - start


@contextlib.contextmanager
def counted() -> Iterator[list[float]]:
    """Collect the CPU seconds of every worker that ends inside."""
    spent: list[float] = []
    leave = judge.WorkerProcess.__exit__

    def left(self: judge.WorkerProcess, *arguments: object) -> None:
        spent.append(self.cpu_seconds)
        leave(self, *arguments)  # type: ignore[arg-type]

    with mock.patch.object(judge.WorkerProcess, "__exit__", left):
        yield spent


def graded(path: Path) -> float:
    """Grade a submission with training; return the CPU seconds of the judge and all workers."""
    with counted() as spent:
        start = time.process_time()
        result = judge.grade(path, ASSIGNMENT, "reference", Limits())
        seconds = time.process_time() - start + sum(spent)
    assert result.score == result.max_score, result
    return seconds


def trained() -> float:
    """Train the reference with plain PyTorch until it passes; return the CPU seconds."""
    spec: TrainingSpec = load_checks(ASSIGNMENT).module.SPEC
    batch = spec.batch(*training_images(spec))
    start = time.process_time()
    names = run_reference(ASSIGNMENT)
    model, optimizer, step = (names[name] for name in (*spec.names, spec.step))
    generator = torch.Generator().manual_seed(0)
    mean = float("inf")
    while mean >= spec.below:
        taken = steps(step, model, optimizer, batch, names["batch_size"], generator)
        total = sum(float(outputs[0].detach()) * len(images[0]) for images, outputs in taken)
        mean = total / len(batch[0])
    return time.process_time() - start


def autograded(course: Path) -> float:
    """Let nbgrader autograde the same submission on one thread; return its CPU seconds."""
    run = [sys.executable, "-m"]
    quiet = {"env": ENVIRONMENT, "check": True, "capture_output": True}
    subprocess.run([*run, "autograder", "build", "--nbgrader", str(course)], **quiet)  # type: ignore[call-overload]
    subprocess.run([*run, "nbgrader", "generate_assignment", ASSIGNMENT], cwd=course, **quiet)  # type: ignore[call-overload]
    submitted = course / "submitted" / "ada" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    submitted.parent.mkdir(parents=True)
    submitted.write_text(to_text(reference(ASSIGNMENT)), encoding="utf-8")
    before = _of_children()
    subprocess.run([*run, "nbgrader", "autograde", ASSIGNMENT], cwd=course, **quiet)  # type: ignore[call-overload]
    return _of_children() - before


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def batch(jobs: int) -> tuple[float, float]:
    """Grade a class with the command; return the seconds to the first result, and to the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(CLASS):
            write(reference(ASSIGNMENT), folder / "in", f"student-{number:02}", ASSIGNMENT)
        words = ["grade", folder / "in", "--assignment", ASSIGNMENT, "--out", folder / "out"]
        start, first = time.perf_counter(), 0.0
        with subprocess.Popen(
            [sys.executable, "-m", "autograder", *map(str, words), "--jobs", str(jobs)],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None:
                if not first and list((folder / "out").glob("results/*.json")):
                    first = time.perf_counter() - start
                time.sleep(0.05)
        assert process.returncode == 0
        return first, time.perf_counter() - start

"""Kills a grader at random moments and starts it again; says what it found."""

import contextlib
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from attacks.catalog import A
from autograder.build.notebooks import reference, starter
from autograder.quality import corpus
from autograder.records.results import from_json, without_times

ROOT = Path(__file__).resolve().parent.parent.parent


def adopt_orphans() -> None:
    """Have every orphan below this process come to it, so that none is overlooked."""
    set_child_subreaper = 36
    assert ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0) == 0


def living() -> dict[int, psutil.Process]:
    """Find every process below this one, orphans too, apart from zombies."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
    return found


def left_alive(before: set[int], seconds: float = 20.0) -> list[str]:
    """Name what has come since `before` and does not go away."""
    until = time.monotonic() + seconds
    while True:
        now = {pid: p for pid, p in living().items() if pid not in before}
        if not now or time.monotonic() > until:
            return [str(p) for p in now.values()]
        time.sleep(0.05)


def grader(folder: Path, jobs: int = 2) -> subprocess.Popen:
    """Start `vaelab grade` on `folder/in`, with results in `folder/out`."""
    (folder / "temp").mkdir(exist_ok=True)
    words = ["grade", folder / "in", "--assignment", A, "--out", folder / "out", "--jobs", jobs]
    return subprocess.Popen(
        [sys.executable, "-c", "from autograder.cli import main; main()", *map(str, words)],
        stdout=(folder / "said").open("w"),
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder / "temp")},
    )


def finish(process: subprocess.Popen, folder: Path) -> str:
    """Wait for a grader; returns what it said."""
    code = process.wait(1200)
    said = (folder / "said").read_text()
    assert code == 0, said
    return said


def make_class(folder: Path) -> int:
    """Write a small class, one of whom crashes and one of whom has nothing; returns its size."""
    crash = corpus.CorpusSubmission(
        "crash", "", cells=(("my_kl", "import os\ndef kl_divergence(m, v): os._exit(0)"),)
    )
    crashed = corpus.make(A, crash)
    works = [reference(A), starter(A), crashed, reference(A), starter(A), reference(A)]
    for name, work in zip("abcdef", works, strict=True):
        corpus.write(work, folder, name, A)
    (folder / "nobody").mkdir()
    return len(works) + 1


def results(folder: Path) -> dict[str, str]:
    """Give each result as text, times apart."""
    found = {}
    for path in (folder / "out" / "results").glob("*.json"):
        found[path.stem] = without_times(from_json(path.read_text()))
    return found


@dataclass(frozen=True)
class Killed:
    """One kill.

    Attributes:
        after: When, in seconds from the start.
        kept: Results that were there then.
        problems: What was not as it should be.
    """

    after: float
    kept: int
    problems: tuple[str, ...]


def kill_and_resume(folder: Path, kills: int) -> list[Killed]:
    """Grade a class undisturbed; then, again and again, kill the grader and start it anew."""
    adopt_orphans()
    before = set(living())
    whole, rng = folder / "whole", random.Random(time.time_ns())
    size = make_class(whole / "in")
    started = time.monotonic()
    finish(grader(whole), whole)
    needed = time.monotonic() - started
    right = results(whole)
    assert len(right) == size
    assert left_alive(before) == []
    # In turn at any moment of the clock, which is mostly before the first result, and shortly after
    # any number of results.
    moments = [
        (0, rng.uniform(0, needed)) if n % 2 == 0 else (rng.randrange(1, size), rng.uniform(0, 0.2))
        for n in range(kills)
    ]
    return [
        _kill_once(folder / f"kill-{n}", whole, count, delay, right, before)
        for n, (count, delay) in enumerate(moments)
    ]


def _kill_once(
    folder: Path, whole: Path, count: int, delay: float, right: dict[str, str], before: set[int]
) -> Killed:
    shutil.copytree(whole / "in", folder / "in")
    process, started = grader(folder), time.monotonic()
    while process.poll() is None and len(results(folder)) < count:
        time.sleep(0.01)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    after = time.monotonic() - started
    process.send_signal(signal.SIGKILL)
    process.wait()
    problems = [f"left alive: {name}" for name in left_alive(before)]
    written = {p: p.stat().st_mtime_ns for p in (folder / "out" / "results").glob("*.json")}
    for path in written:
        from_json(path.read_text())  # whole, or this raises
    said = finish(grader(folder), folder)
    if written and f"Kept {len(written)} of {len(right)} results" not in said:
        problems.append(f"did not keep {len(written)} results")
    if {p: p.stat().st_mtime_ns for p in written} != written:
        problems.append("graded twice")
    if results(folder) != right:
        problems.append("other results than undisturbed")
    problems += [f"half-written: {path}" for path in (folder / "out").rglob("*.part")]
    problems += [f"left in temp: {path}" for path in (folder / "temp").iterdir()]
    problems += [f"left alive at the end: {name}" for name in left_alive(before)]
    return Killed(after, len(written), tuple(problems))

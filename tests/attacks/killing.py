"""Kills a grader at random moments, starts it again, and reports problems."""

import contextlib
import ctypes
import difflib
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
from autograder.reports.output_folder import OutputFolder

ROOT = Path(__file__).resolve().parent.parent.parent


def adopt_orphans() -> None:
    """Become the parent of all orphaned descendants, so that `living` finds them."""
    set_child_subreaper = 36
    assert ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0) == 0


def living() -> dict[int, psutil.Process]:
    """Return all descendants of this process by id, including orphans, without zombies."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
    return found


def left_alive(before: set[int], seconds: float = 20.0) -> list[str]:
    """Return the processes that are not in `before` and have not ended after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        now = {pid: p for pid, p in living().items() if pid not in before}
        if not now or time.monotonic() > until:
            return [str(p) for p in now.values()]
        time.sleep(0.05)


def grader(folder: Path, jobs: int = 2) -> subprocess.Popen:
    """Start `vaelab grade` on `folder/in`, with results in `folder/out`."""
    (folder / "temp").mkdir(exist_ok=True)
    arguments = ["grade", folder / "in", "--assignment", A, "--out", folder / "out", "--jobs", jobs]
    return subprocess.Popen(
        [sys.executable, "-c", "from autograder.cli import main; main()", *map(str, arguments)],
        stdout=(folder / "output").open("w"),
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder / "temp")},
    )


def finish(process: subprocess.Popen, folder: Path) -> str:
    """Wait for a grader; return the text that it printed."""
    code = process.wait(1200)
    output = (folder / "output").read_text()
    assert code == 0, output
    return output


def make_class(folder: Path) -> int:
    """Write a small class; return its size. One submission crashes, and one is missing."""
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
    """Return each result as text, without times."""
    found = {}
    for path in (folder / "out" / "results").glob("*.json"):
        found[path.stem] = without_times(from_json(path.read_text()))
    return found


@dataclass(frozen=True)
class Killed:
    """What was observed for one kill.

    Attributes:
        after: Seconds from the start of the grader to the kill.
        kept: The number of results that existed then.
        problems: A sentence for each problem.
    """

    after: float
    kept: int
    problems: tuple[str, ...]


def differences(found: dict[str, str], right: dict[str, str]) -> list[str]:
    """Return a problem for each result that differs from the one without a kill."""
    problems = []
    if found.keys() != right.keys():
        problems.append(f"results of {sorted(found)}; without a kill, of {sorted(right)}")
    for name in found.keys() & right.keys():
        lines = difflib.unified_diff(right[name].splitlines(), found[name].splitlines(), n=0)
        if changed := "\n".join([*lines][2:]):
            problems.append(f"the result of {name} differs from the one without a kill: {changed}")
    return problems


def kill_and_resume(folder: Path, kills: int) -> list[Killed]:
    """Grade a class without a kill; then repeatedly kill the grader and start it again.

    Args:
        folder: An empty folder.
        kills: The number of kills.
    """
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
    # Alternate between a random time, which is mostly before the first result, and a moment shortly
    # after a random number of results.
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
    # The same random inputs as without a kill.
    (folder / "out").mkdir()
    OutputFolder(folder / "out").secret(OutputFolder(whole / "out").secret_file)
    process, started = grader(folder), time.monotonic()
    while process.poll() is None and len(results(folder)) < count:
        time.sleep(0.01)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    after = time.monotonic() - started
    process.send_signal(signal.SIGKILL)
    process.wait()
    problems = [f"process left after the kill: {name}" for name in left_alive(before)]
    written = {p: p.stat().st_mtime_ns for p in (folder / "out" / "results").glob("*.json")}
    for path in written:
        from_json(path.read_text())  # raises if the file is incomplete
    output = finish(grader(folder), folder)
    if written and f"Kept {len(written)} of {len(right)} results" not in output:
        problems.append(f"did not keep {len(written)} results")
    if {p: p.stat().st_mtime_ns for p in written} != written:
        problems.append("a submission was graded twice")
    problems += differences(results(folder), right)
    problems += [f"incomplete file: {path}" for path in (folder / "out").rglob("*.part")]
    problems += [f"temporary file left: {path}" for path in (folder / "temp").iterdir()]
    problems += [f"process left at the end: {name}" for name in left_alive(before)]
    return Killed(after, len(written), tuple(problems))

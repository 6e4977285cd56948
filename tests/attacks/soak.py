"""The soak test: many small submissions, a tenth of them attacks; fork bombs; kills of the grader.

`make soak` writes the measurements to docs/soak.md. Pass numbers for a shorter run:
`python -m attacks.soak SUBMISSIONS BOMBS KILLS`.
"""

import contextlib
import dataclasses
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psutil

from attacks import killing
from attacks.catalog import A, Attack, load, place
from autograder.build.notebooks import reference, starter
from autograder.grading import judge
from autograder.quality import corpus
from autograder.records.results import Result, from_json, without_times
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import TIERS, Sandbox

ROOT = Path(__file__).resolve().parent.parent.parent
ATTACK_INTERVAL = 10
# These run into a limit and take long; `test_attacks` runs them under lower limits.
SLOW = ("endless_loop", "blocked_signals", "output_flood", "drip", "memory_exhaustion", "large")
NO_TARGETS = {"@TARGETS@": "/nonexistent", "@PID@": "1", "@PORT@": "9"}
NEEDS_TARGETS = ("not_a_regular_file", "pickle_checkpoint", "process_signals_and_tracing")


@dataclasses.dataclass(frozen=True)
class Sample:
    """The grader and its judges at one moment.

    Attributes:
        memory: Their resident memory, in MiB.
        done: The number of written results.
    """

    memory: float
    done: int


def quick_attacks() -> list[Attack]:
    """Return the attacks that need no targets and are quick."""
    names = (*SLOW, *NEEDS_TARGETS, "misleading_student_name", "output_injection")
    return [a for a in load() if not any(name in a.name for name in names) and a.runs == 1]


def make_class(folder: Path, size: int) -> dict[str, Attack | None]:
    """Write the submissions; return the attack of each student, None for an honest one."""
    attacks = quick_attacks()
    graded = [one for one in corpus.load_corpus(A).values() if one.status == "graded"]
    honest = [reference(A), starter(A), *(corpus.make(A, one) for one in graded)]
    made: dict[str, Attack | None] = {}
    for number in range(size):
        name = f"s{number:04}"
        if number % ATTACK_INTERVAL == ATTACK_INTERVAL // 2:
            attack = attacks[number // ATTACK_INTERVAL % len(attacks)]
            made[name] = dataclasses.replace(attack, student=name)
            place(made[name], folder, NO_TARGETS)  # type: ignore[arg-type]
        else:
            made[name] = None
            corpus.write(honest[number % len(honest)], folder, name, A)
    return made


def watch(process: psutil.Process, results: Path) -> Iterator[Sample]:
    """Measure the grader and its judges, without workers, until the grader ends."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        with contextlib.suppress(psutil.Error):
            processes = [
                process,
                *(c for c in process.children() if "spawn_main" in " ".join(c.cmdline())),
            ]
            memory = sum(one.memory_info().rss for one in processes) / 2**20
            yield Sample(memory, sum(1 for _ in results.glob("*.json")))
        time.sleep(0.5)


def many(folder: Path, size: int) -> list[str]:
    """Grade a class with a tenth of attacks; return lines for the page."""
    made = make_class(folder / "in", size)
    before = set(killing.living())
    outside = _outside()
    started = time.monotonic()
    process = killing.grader(folder)
    samples = list(watch(psutil.Process(process.pid), folder / "out" / "results"))
    killing.finish(process, folder)
    seconds = time.monotonic() - started
    found = [from_json(p.read_text()) for p in (folder / "out" / "results").glob("*.json")]
    forged = [r.student for r in found if (attack := made[r.student]) and r.score > attack.points]
    odd = [
        f"{r.student} ({attack.name}): {r.status}, {r.score:g}"
        for r in found
        if (attack := made[r.student]) and (r.status, r.score) != (attack.status, attack.points)
    ]
    unfair = _unfair(found, made)
    left = killing.left_alive(before)
    in_temp = [path.name for path in (folder / "temp").iterdir()]
    parts = list((folder / "out").rglob("*.part"))
    early, late = _memory(samples, size)
    failed = sum(r.status == "not_graded" for r in found)
    statuses = ", ".join(f"{n} {s}" for s, n in Counter(r.status for r in found).most_common())
    assert len(found) == size, f"{len(found)} results of {size}"
    assert not forged + unfair + left + in_temp + parts, (forged, unfair, left, in_temp, parts)
    assert failed == 0, statuses
    assert _outside() <= outside, _outside() - outside
    assert late < 1.1 * early + 32, (early, late)
    attack_count = sum(attack is not None for attack in made.values())
    return [
        f"| submissions, attacks among them | {size:,}, {attack_count} |",
        f"| results written | {len(found):,}: {statuses} |",
        "| attacks with too many points, honest results that changed | 0, 0 |",
        f"| attacks with another result than in a run of their own | {len(odd)}{_listed(odd)} |",
        "| processes, temporary files, incomplete files left | 0, 0, 0 |",
        "| memory of grader and judges, in the second and in the last tenth of the run | "
        f"{early:.0f} MiB, {late:.0f} MiB |",
        f"| wall-clock time | {seconds:.0f} s, {seconds / size:.2f} s for each submission, "
        "2 at a time |",
    ]


def _unfair(found: list[Result], made: dict[str, Attack | None]) -> list[str]:
    """Return the students whose honest results differ from others for the same bytes."""
    first: dict[str, str] = {}
    wrong = []
    for result in sorted(found, key=lambda result: result.student):
        if made[result.student] is None:
            text = without_times(dataclasses.replace(result, student=""))
            if first.setdefault(result.digest, text) != text:
                wrong.append(result.student)
    return wrong


def _memory(samples: list[Sample], size: int) -> tuple[float, float]:
    tenth = size / 10
    early = [s.memory for s in samples if tenth <= s.done < 2 * tenth]
    late = [s.memory for s in samples if 9 * tenth <= s.done < size]
    return statistics.median(early), statistics.median(late)


def _outside() -> set[str]:
    """Return the names of this project's files in shared memory."""
    with contextlib.suppress(OSError):
        return {name for name in os.listdir("/dev/shm") if "vaelab" in name}
    return set()


def _listed(names: list[str]) -> str:
    return ": " + "; ".join(names[:8]) if names else ""


def bombs(folder: Path, times: int) -> list[str]:
    """Grade a fork bomb and then an honest submission, repeatedly; return lines for the page."""
    bomb = next(attack for attack in load() if attack.name == "fork_bomb")
    path = place(bomb, folder, NO_TARGETS)
    honest = corpus.write(reference(A), folder, "honest", A)
    limits, before = Limits(call_seconds=60.0), set(killing.living())

    def text() -> str:
        return without_times(judge.grade(honest, A, "honest", limits))

    alone = text()
    ours = set(killing.living()) - before  # the fork server stays
    for number in range(times):
        ended = judge.grade(path, A, "mallory", limits).status
        assert ended == "processes", (
            f"fork bomb {number} has the status {ended}; expected processes"
        )
        assert text() == alone, f"after fork bomb {number}, the honest result differs"
        assert killing.left_alive(before | ours) == []
    return [
        f"| fork bomb, then an honest submission | {times} times: stopped at the limit, "
        "same result |"
    ]


def kills(folder: Path, times: int) -> list[str]:
    """Kill the grader at random moments; return lines for the page."""
    found = killing.kill_and_resume(folder, times)
    assert not [k for k in found if k.problems], found
    kept = sorted(k.kept for k in found)
    return [
        f"| grader killed at random moments and started again | {times} times, with {kept[0]} to "
        f"{kept[-1]} results written: all kept, none graded twice, nothing left, same results |"
    ]


def main(size: int = 1000, times: int = 50, moments: int = 20) -> None:
    """Measure, and write docs/soak.md.

    Args:
        size: Number of submissions.
        times: Number of fork bombs.
        moments: Number of kills.
    """
    killing.adopt_orphans()
    tier = Sandbox().resolved().tier
    with tempfile.TemporaryDirectory(prefix="vaelab-soak-") as name:
        folder = Path(name)
        for part in ("many", "kills"):
            (folder / part).mkdir()
        rows = bombs(folder / "bombs", times)
        print(*rows, sep="\n", flush=True)
        rows = many(folder / "many", size) + rows
        print(*rows, sep="\n", flush=True)
        rows += kills(folder / "kills", moments)
    load_average = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    page = [
        "# The soak test",
        "",
        f"`make soak` wrote this page on {date.today()}. By default it grades 1,000 submissions, "
        f"50 fork bombs and 20 classes whose grader is killed; this run: {size:,}, {times} and "
        f"{moments}. The machine: {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}, {os.cpu_count()} processors (load {load_average}). The "
        f"submissions were {TIERS[tier]} (tier {tier}).",
        "",
        "All numbers are measured. The command fails and writes no page in these cases: a "
        "submission has no result, an honest result changes because of other submissions, an "
        "attack earns too many points, memory grows, or a process or file is left.",
        "",
        "| what | measured |",
        "| --- | --- |",
        *rows,
        "",
    ]
    (ROOT / "docs" / "soak.md").write_text("\n".join(page), encoding="utf-8")
    print(f"wrote {ROOT / 'docs' / 'soak.md'}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

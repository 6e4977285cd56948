"""The long run: many small submissions, a tenth of them hostile; fork bombs; kills.

`make soak` writes what it measured to docs/soak.md. Give numbers for a shorter run:
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
HOSTILE_SHARE = 10
# What waits for a limit takes long each time; `test_attacks` has these, under lower limits.
SLOW = ("never_ends", "ignores_signals", "prints_gigabytes", "drip", "eats_memory", "large")
NOWHERE = {"@BAIT@": "/nonexistent", "@PID@": "1", "@PORT@": "9"}
MAKES_BAIT = ("is_no_file", "hands_in_a_pickle", "attacks_processes")


@dataclasses.dataclass(frozen=True)
class Sample:
    """The grader and its judges at one moment: memory in MiB, results written."""

    memory: float
    done: int


def hostile() -> list[Attack]:
    """Pick the attacks that need nothing put up for them and are quick."""
    names = (*SLOW, *MAKES_BAIT, "has_an_odd_name", "commands_whoever_reads")
    return [a for a in load() if not any(name in a.name for name in names) and a.runs == 1]


def make_class(folder: Path, size: int) -> dict[str, Attack | None]:
    """Write the submissions; returns each with its attack, None for an honest one."""
    attacks, banked = hostile(), [b for b in corpus.load_corpus(A).values() if b.status == "graded"]
    honest = [reference(A), starter(A), *(corpus.make(A, one) for one in banked)]
    made: dict[str, Attack | None] = {}
    for number in range(size):
        name = f"s{number:04}"
        if number % HOSTILE_SHARE == HOSTILE_SHARE // 2:
            attack = attacks[number // HOSTILE_SHARE % len(attacks)]
            made[name] = dataclasses.replace(attack, student=name)
            place(made[name], folder, NOWHERE)  # type: ignore[arg-type]
        else:
            made[name] = None
            corpus.write(honest[number % len(honest)], folder, name, A)
    return made


def watch(process: psutil.Process, results: Path) -> Iterator[Sample]:
    """Measure the grader and its judges, without the workers, until it ends."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        with contextlib.suppress(psutil.Error):
            ours = [
                process,
                *(c for c in process.children() if "spawn_main" in " ".join(c.cmdline())),
            ]
            memory = sum(one.memory_info().rss for one in ours) / 2**20
            yield Sample(memory, sum(1 for _ in results.glob("*.json")))
        time.sleep(0.5)


def many(folder: Path, size: int) -> list[str]:
    """Grade a class, a tenth of it hostile; returns lines for the page."""
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
    hostile_count = sum(attack is not None for attack in made.values())
    return [
        f"| submissions, of them hostile | {size:,}, {hostile_count} |",
        f"| results written | {len(found):,}: {statuses} |",
        "| forged points, honest results changed | 0, 0 |",
        f"| hostile ones that ended otherwise than alone | {len(odd)}{_listed(odd)} |",
        "| processes, temporary files, half-written files left | 0, 0, 0 |",
        "| memory of grader and judges, second tenth and last tenth of the run | "
        f"{early:.0f} MiB, {late:.0f} MiB |",
        f"| wall clock | {seconds:.0f} s, {seconds / size:.2f} s each, 2 at a time |",
    ]


def _unfair(found: list[Result], made: dict[str, Attack | None]) -> list[str]:
    """Name honest results that differ from others of the same bytes."""
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
    """List what lies in shared memory and is ours, or nobody's."""
    with contextlib.suppress(OSError):
        return {name for name in os.listdir("/dev/shm") if "vaelab" in name}
    return set()


def _listed(names: list[str]) -> str:
    return ": " + "; ".join(names[:8]) if names else ""


def bombs(folder: Path, times: int) -> list[str]:
    """Set off a fork bomb and grade an honest submission, again and again."""
    bomb = next(attack for attack in load() if attack.name == "forks_without_end")
    path = place(bomb, folder, NOWHERE)
    honest = corpus.write(reference(A), folder, "honest", A)
    limits, before = Limits(call_seconds=60.0), set(killing.living())

    def text() -> str:
        return without_times(judge.grade(honest, A, "honest", limits))

    alone = text()
    ours = set(killing.living()) - before  # the warm process stays
    for number in range(times):
        ended = judge.grade(path, A, "mallory", limits).status
        assert ended == "processes", f"bomb {number} ended as {ended}"
        assert text() == alone, f"after bomb {number}, the honest result is another"
        assert killing.left_alive(before | ours) == []
    return [f"| fork bomb, then an honest submission | {times} times: contained, the same result |"]


def kills(folder: Path, times: int) -> list[str]:
    """Kill the grader at random moments."""
    found = killing.kill_and_resume(folder, times)
    assert not [k for k in found if k.problems], found
    kept = sorted(k.kept for k in found)
    return [
        f"| grader killed at random moments and started again | {times} times, with {kept[0]} to "
        f"{kept[-1]} results there: all kept, none graded twice, nothing left, same results |"
    ]


def main(size: int = 1000, times: int = 50, moments: int = 20) -> None:
    """Measure, and write the page."""
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
        "# The long run",
        "",
        f"Written on {date.today()} by the command behind `make soak`, which takes 1,000 "
        f"submissions, 50 bombs and 20 kills; here {size:,}, {times} and {moments}. "
        f"{platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {os.cpu_count()} processors (load {load_average}), "
        f"submissions {TIERS[tier]} (tier {tier}). Each figure was measured; the command fails, "
        "and writes nothing, if a submission has no result, an honest result depends on its "
        "neighbours, points are forged, memory grows, or anything is left behind.",
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

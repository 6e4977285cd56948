"""No submission talks the judge into a grade, and none stops it."""

import contextlib
import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from attacks import naive
from attacks.catalog import HERE, Attack, Without, load, place
from attacks.conftest import (
    LIMITS,
    NO_LIMITS,
    PATIENCE,
    TIERS,
    Bait,
    Court,
    instructors_files,
    told,
)
from attacks.killing import left_alive, living
from autograder.records.results import Result, to_json, without_times
from autograder.reports.output_folder import OutputFolder
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import DEFENCES, Sandbox

ATTACKS = load()
ROWS = range(1, 53)
OWNED = "OWNED"


# `make soak` tries every variant in every tier. The suite takes the first of each attack, and in
# tier B only what the sandbox and its limits ward off: the judge's own part is the same there.
EVERY = bool(os.environ.get("VAELAB_EVERY_ATTACK"))
FIRST = {attack.name.partition("-")[0]: attack for attack in reversed(ATTACKS)}
TRIED = ATTACKS if EVERY else [attack for attack in ATTACKS if attack in FIRST.values()]
WALLS = ("sandbox", "limit")
CASES = [
    (tier, attack)
    for tier in TIERS
    for attack in TRIED
    if tier in attack.tiers and (EVERY or tier == "A" or attack.without.defence in WALLS)
]


def test_every_row_of_the_catalogue_has_its_attack():
    assert {row for attack in TRIED for row in attack.rows} == set(ROWS)
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize(
    ("court", "attack"),
    CASES,
    indirect=["court"],
    ids=lambda case: case if isinstance(case, str) else case.name,
)
def test_it_comes_to_nothing_and_stops_nothing(
    court: Court, attack: Attack, bait: Bait, tmp_path: Path
):
    attack = attack.within(court.tier)
    limits = LIMITS if not attack.limits else Limits(**(vars(LIMITS) | attack.limits))
    path = place(attack, court.folder / "in", bait.marks)
    files, baits, before = instructors_files(), bait.hashes(), set(living())
    memory = court.memory

    results = [court.grade(path, attack.student, limits) for _ in range(attack.runs)]

    result = results[-1]
    said = told(json.loads(to_json(result)))
    assert (result.status, result.score) == (attack.status, attack.points), said
    assert attack.says in said
    assert OWNED not in said
    assert result.student == attack.student
    assert all(0 <= check.seconds < 1e6 for check in result.checks)
    # It has left nothing behind and reached nothing outside.
    assert left_alive(before) == []
    assert list(court.temp.iterdir()) == []
    assert bait.hashes() == baits
    assert bait.reached == []
    assert bait.process.poll() is None
    assert instructors_files() == files
    assert court.memory - memory < 256 << 20
    # Its neighbour gets, byte for byte, what it gets without it, from the same judge.
    after = court.grade(court.honest_path, "honest", LIMITS)
    assert without_times(after) == court.alone
    _reports_hold([*results, after], tmp_path)


def _reports_hold(results: list[Result], folder: Path) -> None:
    """A class with it in it can be written down, and nothing in it is obeyed by a reader."""
    report = OutputFolder(folder / "report")
    for result in results:
        report.add(result)
    report.finish()
    names = {path.name for path in (folder / "report" / "results").iterdir()}
    assert len(names) == len({result.student for result in results})
    for path in (folder / "report").rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not set(text) & set("\x1b\x07\x00\u202e"), path
            assert path.suffix != ".html" or "<script" not in text, path
    for line in (folder / "report" / "scores.csv").read_text().splitlines():
        assert not line.startswith(("=", "+", "-", "@", "\t"))


@pytest.mark.parametrize(("base", "points"), [("reference", 90), ("starter", 0)])
def test_the_naive_grader_is_fair_to_honest_work(
    base: str, points: float, tmp_path: Path, apart: Callable[..., tuple[int | None, int]]
):
    """What it gives to an attack is the attack's own doing."""
    honest = Attack("honest", (), "", "graded", points, Without("none"), HERE / "prints_results")
    path = place(dataclasses.replace(honest, base=base), tmp_path, {"@BAIT@": ""})
    for grade in (naive.grade, naive.grade_in_ipython, naive.grade_cell_by_cell):
        apart(grade, path, tmp_path / "result.json", seconds=PATIENCE)
        body = naive.score(tmp_path / "result.json")
        assert body
        assert body["score"] == points


UNARMED = [attack for attack in TRIED if attack.without.defence != "none"]
if not EVERY:  # one for each defence and each way of succeeding without it
    UNARMED = list({(a.without.defence, a.without.then): a for a in UNARMED}.values())


@pytest.mark.parametrize("attack", UNARMED, ids=lambda attack: attack.name)
def test_without_its_defence_it_succeeds(
    attack: Attack, bait: Bait, tmp_path: Path, apart: Callable[..., tuple[int | None, int]]
):
    """An attack that fails anyway proves nothing."""
    path = place(attack, tmp_path / "in", bait.marks)
    out = tmp_path / "result.json"
    baits, before = bait.hashes(), set(living())
    off = attack.without
    limits = Limits(**(vars(LIMITS) | attack.limits))
    patience = 6.0 if off.then == "hangs" else PATIENCE
    if off.defence == "process":
        todo, arguments = naive.grade, (path, out)
    elif off.defence == "notebook":
        todo, arguments = naive.grade_in_ipython, (path, out)
    elif off.defence == "cells":
        todo, arguments = naive.grade_cell_by_cell, (path, out)
    else:
        if off.defence == "limit":
            limits = NO_LIMITS
        elif off.defence == "sandbox":  # the machine's whole disk is its folder now
            limits = dataclasses.replace(limits, memory_mib=1 << 40, disk_mib=1 << 40)
        walls = Sandbox("A", DEFENCES if off.defence == "sandbox" else frozenset())
        todo, arguments = (
            naive.grade_with_a_hole,
            (path, out, attack.student, limits, walls, off.hole),
        )
    for _ in range(attack.runs):
        code, peak = apart(todo, *arguments, seconds=patience)

    body = naive.score(out)
    seen = _effects(attack, body, code, peak)
    pages = [p.read_text() for p in (tmp_path / "report").rglob("*") if p.is_file()]
    if any("<script" in page or "\x1b" in page for page in pages):
        seen.add("unescaped")
    if bait.hashes() != baits:
        seen.add("wrote")
    if bait.reached:
        seen.add("reached " + " ".join(sorted(set(bait.reached))))
    if bait.process.poll() is not None:
        seen.add("killed")
    alive = left_alive(before | set(living_forkserver()), 1.0)
    if alive:
        seen.add("survivor")
    _clean_up(before)
    assert off.then in seen, f"seen: {seen}; {told(body)[:2000]}"


def _effects(attack: Attack, body: dict | None, code: int | None, peak: int) -> set[str]:
    seen = set()
    if code is None:
        seen.add("hangs")
    if body is None:
        seen.add("stopped")
        return seen
    if body["score"] > attack.points:
        seen.add("points")
    if body["score"] < attack.points:
        seen.add("spoiled")
    if body["status"] != attack.status:
        seen.add(body["status"])
    if OWNED in told(body):
        seen.add("owned")
    if any(not 0 <= check["seconds"] < 1e6 for check in body["checks"]):
        seen.add("clock")
    if peak > 1 << 30:
        seen.add("memory")
    return seen


def living_forkserver() -> list[int]:
    def spawned(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):  # one that has ended meanwhile
            words = " ".join(process.cmdline())
            return "forkserver" in words or "resource_tracker" in words
        return False

    return [pid for pid, process in living().items() if spawned(process)]


def _clean_up(before: set[int]) -> None:
    keep = before | set(living_forkserver())
    until = time.monotonic() + 30
    while (alive := {p: x for p, x in living().items() if p not in keep}) and (
        time.monotonic() < until
    ):
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)

"""No attack earns points or stops the judge, and each succeeds without its defence."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from attacks import naive
from attacks.catalog import HERE, Attack, WithoutDefence, load, place
from attacks.conftest import (
    LIMITS,
    MAX_SECONDS,
    NO_LIMITS,
    TIERS,
    JudgeProcess,
    Targets,
    as_text,
    hashes_of_repository,
)
from attacks.killing import left_alive, living
from autograder.records.results import Result, to_json, without_times
from autograder.reports.output_folder import OutputFolder
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import DEFENCES, Sandbox

ATTACKS = load()
ROWS = range(1, 53)
OWNED = "OWNED"


# `make soak` tests each variant in each tier. The suite tests the first variant of each attack, and
# in tier B only attacks that the sandbox or its limits stop: the judge is the same in both tiers.
EVERY = bool(os.environ.get("VAELAB_EVERY_ATTACK"))
FIRST_VARIANTS = {attack.name.partition("-")[0]: attack for attack in reversed(ATTACKS)}
TESTED = ATTACKS if EVERY else [attack for attack in ATTACKS if attack in FIRST_VARIANTS.values()]
SANDBOX_DEFENCES = ("sandbox", "limit")
CASES = [
    (tier, attack)
    for tier in TIERS
    for attack in TESTED
    if tier in attack.tiers and (EVERY or tier == "A" or attack.without.defence in SANDBOX_DEFENCES)
]


def test_every_row_of_the_list_has_an_attack():
    assert {row for attack in TESTED for row in attack.rows} == set(ROWS)
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize(
    ("judge_process", "attack"),
    CASES,
    indirect=["judge_process"],
    ids=lambda case: case if isinstance(case, str) else case.name,
)
def test_an_attack_fails_and_other_results_are_unchanged(
    judge_process: JudgeProcess, attack: Attack, targets: Targets, tmp_path: Path
):
    attack = attack.within(judge_process.tier)
    limits = LIMITS if not attack.limits else Limits(**(vars(LIMITS) | attack.limits))
    path = place(attack, judge_process.folder / "in", targets.marks)
    files, hashes, before = hashes_of_repository(), targets.hashes(), set(living())
    memory = judge_process.memory

    results = [judge_process.grade(path, attack.student, limits) for _ in range(attack.runs)]

    result = results[-1]
    text = as_text(json.loads(to_json(result)))
    assert (result.status, result.score) == (attack.status, attack.points), text
    assert attack.expected_text in text
    assert OWNED not in text
    assert result.student == attack.student
    assert all(0 <= check.seconds < 1e6 for check in result.checks)
    # No process or file is left, and no target was reached.
    assert left_alive(before) == []
    assert list(judge_process.temp.iterdir()) == []
    assert targets.hashes() == hashes
    assert targets.reached == []
    assert targets.process.poll() is None
    assert hashes_of_repository() == files
    assert judge_process.memory - memory < 256 << 20
    # The same judge gives the honest submission the same result, byte for byte, as before.
    after = judge_process.grade(judge_process.honest_path, "honest", LIMITS)
    assert without_times(after) == judge_process.alone
    _check_reports([*results, after], tmp_path)


def _check_reports(results: list[Result], folder: Path) -> None:
    """Write a report with these results; check that all text in it is escaped."""
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
            own = path.name == "index.html"  # the class page has a script of its own
            assert path.suffix != ".html" or text.lower().count("<script") == own, path
    for line in (folder / "report" / "scores.csv").read_text().splitlines():
        assert re.fullmatch(r'("([^"]|"")*")(,"([^"]|"")*")*', line)
        assert not line.startswith(('"=', '"+', '"-', '"@', '"\t'))


@pytest.mark.parametrize(("base", "points"), [("reference", 90), ("starter", 0)])
def test_the_naive_graders_grade_honest_work_correctly(
    base: str, points: float, tmp_path: Path, run_in_process: Callable[..., tuple[int | None, int]]
):
    """So the points of an attack in a naive grader are an effect of the attack."""
    honest = Attack(
        "honest", (), "", "graded", points, WithoutDefence("none"), HERE / "forged_output"
    )
    path = place(dataclasses.replace(honest, base=base), tmp_path, {"@TARGETS@": ""})
    for grade in (naive.grade, naive.grade_in_ipython, naive.grade_cell_by_cell):
        run_in_process(grade, path, tmp_path / "result.json", seconds=MAX_SECONDS)
        body = naive.score(tmp_path / "result.json")
        assert body
        assert body["score"] == points


WITHOUT_DEFENCE = [attack for attack in TESTED if attack.without.defence != "none"]
if not EVERY:  # one attack for each pair of defence and effect
    WITHOUT_DEFENCE = list(
        {(a.without.defence, a.without.then): a for a in WITHOUT_DEFENCE}.values()
    )


@pytest.mark.parametrize("attack", WITHOUT_DEFENCE, ids=lambda attack: attack.name)
def test_without_its_defence_an_attack_succeeds(
    attack: Attack,
    targets: Targets,
    tmp_path: Path,
    run_in_process: Callable[..., tuple[int | None, int]],
):
    """An attack that fails without a defence too does not test the defence."""
    path = place(attack, tmp_path / "in", targets.marks)
    out = tmp_path / "result.json"
    hashes, before = targets.hashes(), set(living())
    without = attack.without
    limits = Limits(**(vars(LIMITS) | attack.limits))
    seconds = 6.0 if without.then == "hangs" else MAX_SECONDS
    if without.defence == "process":
        grade, arguments = naive.grade, (path, out)
    elif without.defence == "notebook":
        grade, arguments = naive.grade_in_ipython, (path, out)
    elif without.defence == "cells":
        grade, arguments = naive.grade_cell_by_cell, (path, out)
    else:
        if without.defence == "limit":
            limits = NO_LIMITS
        elif (
            without.defence == "sandbox"
        ):  # without a sandbox, the machine's disk and memory are counted
            limits = dataclasses.replace(limits, memory_mib=1 << 40, disk_mib=1 << 40)
        sandbox = Sandbox("A", DEFENCES if without.defence == "sandbox" else frozenset())
        grade, arguments = (
            naive.grade_with_disabled_defence,
            (path, out, attack.student, limits, sandbox, without.disabled),
        )
    for _ in range(attack.runs):
        code, peak = run_in_process(grade, *arguments, seconds=seconds)

    body = naive.score(out)
    seen = _effects(attack, body, code, peak)
    pages = [p.read_text() for p in (tmp_path / "report").rglob("*") if p.is_file()]
    if any("<script" in page or "\x1b" in page for page in pages):
        seen.add("unescaped")
    if targets.hashes() != hashes:
        seen.add("wrote")
    if targets.reached:
        seen.add("reached " + " ".join(sorted(set(targets.reached))))
    if targets.process.poll() is not None:
        seen.add("killed")
    alive = left_alive(before | set(forkserver_processes()), 1.0)
    if alive:
        seen.add("survivor")
    _kill_survivors(before)
    assert without.then in seen, f"observed: {seen}; {as_text(body)[:2000]}"


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
        seen.add("lost points")
    if body["status"] != attack.status:
        seen.add(body["status"])
    if OWNED in as_text(body):
        seen.add("owned")
    if any(not 0 <= check["seconds"] < 1e6 for check in body["checks"]):
        seen.add("clock")
    if peak > 1 << 30:
        seen.add("memory")
    return seen


def forkserver_processes() -> list[int]:
    def is_helper(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):  # the process has ended
            command = " ".join(process.cmdline())
            return "forkserver" in command or "resource_tracker" in command
        return False

    return [pid for pid, process in living().items() if is_helper(process)]


def _kill_survivors(before: set[int]) -> None:
    keep = before | set(forkserver_processes())
    until = time.monotonic() + 30
    while (alive := {p: x for p, x in living().items() if p not in keep}) and (
        time.monotonic() < until
    ):
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)

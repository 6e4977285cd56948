"""Holds an assignment against its promises: in step, the reference whole, the bank as banked."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.build import notebooks as build
from autograder.grading import batch
from autograder.quality import bank
from autograder.quality.bank import Banked
from autograder.records.results import Result, times_apart
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import BEST, Sandbox

REFERENCE, STARTER = "reference", "starter"


@dataclass(frozen=True)
class Verified:
    """What was found of one assignment.

    Attributes:
        assignment: Its name.
        in_step: True when the notebook on disk is what its source builds.
        reference: The reference's result.
        starter: The untouched starter's result.
        right: Of how many right submissions, how many earned everything.
        wrong: Of how many wrong ones, how many lost their tasks alone and were named.
        problems: A sentence for everything that does not hold; () if all is well.
    """

    assignment: str
    in_step: bool
    reference: Result
    starter: Result
    right: tuple[int, int]
    wrong: tuple[int, int]
    problems: tuple[str, ...]


def grade_bank(
    assignment: str,
    folder: Path,
    jobs: int,
    limits: Limits,
    sandbox: Sandbox = BEST,
    *,
    thorough: bool = True,
) -> Iterator[Result]:
    """Grade the reference, the starter and the bank; results carry the banked names.

    Args:
        assignment: Its name.
        folder: Where the notebooks are put.
        jobs: Submissions at a time.
        limits: For each.
        sandbox: How each is confined.
        thorough: False to train the reference and one right submission alone, and wrong ones
            whose faults don't show without.
    """
    banked = bank.load_bank(assignment)
    notebooks = {name: bank.make(assignment, one) for name, one in banked.items()}
    notebooks |= {REFERENCE: build.reference(assignment), STARTER: build.starter(assignment)}
    right = [name for name, one in banked.items() if not one.loses]
    untrained = set() if thorough else set(banked) - set(right[:1])
    entries = {
        name: batch.Entry(
            name, bank.write(notebook, folder, name, assignment), train=name not in untrained
        )
        for name, notebook in notebooks.items()
    }
    again = []
    for result in batch.grade_all(list(entries.values()), assignment, jobs, limits, sandbox):
        name = result.student
        if name in untrained and problems_with(banked[name], result):
            again.append(replace(entries[name], train=True))
        else:
            yield result
    if again:
        yield from batch.grade_all(again, assignment, jobs, limits, sandbox)


def lost(result: Result) -> tuple[str, ...]:
    """Name the tasks that a submission did not earn, but for what was left out."""
    wrong = {c.task for c in result.checks if c.outcome not in ("passed", "left_out")}
    return tuple(task.task for task in result.tasks if task.task in wrong)


def problems_with(banked: Banked, result: Result) -> list[str]:
    """Say how a banked submission's result differs from what the bank promises."""
    found = []
    if result.status != banked.status:
        found.append(f"{banked.name} ended as {result.status}, not {banked.status}")
    if lost(result) != banked.loses:
        said = "; ".join(f"{c.check}: {c.message}" for c in result.checks if c.message)
        found.append(f"{banked.name} lost {lost(result)}, not {banked.loses} ({said})")
    named = [check.task for check in result.checks if check.mistake == banked.mistake]
    if banked.mistake and not set(named) & set(banked.loses):
        found.append(f"{banked.name} was not told of {banked.mistake}")
    return found


def verify(assignment: str, results: Mapping[str, Result]) -> Verified:
    """Compare an assignment's results with its promises.

    Args:
        assignment: Its name.
        results: Of the reference, the starter and every banked submission, by name.
    """
    everyone = bank.load_bank(assignment)
    found = {name: problems_with(banked, results[name]) for name, banked in everyone.items()}
    right = [name for name, banked in everyone.items() if not banked.loses]
    wrong = [name for name, banked in everyone.items() if banked.loses]
    reference, starter = results[REFERENCE], results[STARTER]
    out_of_step = build.out_of_step([assignment])
    problems = [*out_of_step, *(line for lines in found.values() for line in lines)]
    if lost(reference) or reference.notes:
        problems.append(f"the reference lost {lost(reference)}; notes: {reference.notes}")
    if starter.score or starter.status != "graded":
        problems.append(f"the starter got {starter.score:g} points, {starter.status}")
    return Verified(
        assignment,
        not out_of_step,
        reference,
        starter,
        (sum(not found[name] for name in right), len(right)),
        (sum(not found[name] for name in wrong), len(wrong)),
        tuple(problems),
    )


def verify_from_scratch(
    assignment: str,
    jobs: int,
    limits: Limits,
    sandbox: Sandbox = BEST,
    *,
    thorough: bool = True,
    twice: bool = False,
) -> Verified:
    """Grade everything anew and compare.

    Args:
        assignment: Its name.
        jobs: Submissions at a time.
        limits: For each.
        sandbox: How each is confined.
        thorough: See `grade_bank`.
        twice: True to grade everything again, each in a cold worker instead of a fork of
            the fork server, and to compare the two results without their times.
    """
    with tempfile.TemporaryDirectory(prefix="vaelab-verify-") as folder:

        def graded(sandbox: Sandbox) -> dict[str, Result]:
            found = grade_bank(assignment, Path(folder), jobs, limits, sandbox, thorough=thorough)
            return {result.student: result for result in found}

        results = graded(sandbox)
        found = verify(assignment, results)
        if not twice:
            return found
        again = graded(replace(sandbox, use_fork_server=False))
        return replace(found, problems=found.problems + differing(results, again))


def differing(once: Mapping[str, Result], again: Mapping[str, Result]) -> tuple[str, ...]:
    """Say whose results differ between two runs, times apart."""
    return tuple(
        f"{name} was graded otherwise the second time"
        for name, result in once.items()
        if times_apart(result) != times_apart(again[name])
    )

"""Verification of an assignment: its notebook, its reference, its starter and its corpus.

The notebook must be up to date. The reference must earn all points, and the starter none. Each
corpus submission must lose exactly the expected tasks, and the grader must recognise its known
mistake.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.build import notebooks as build
from autograder.grading import batch
from autograder.quality import corpus
from autograder.quality.corpus import CorpusSubmission
from autograder.records.results import SKIPPED, Result, without_times

REFERENCE, STARTER = "reference", "starter"


@dataclass(frozen=True)
class Verified:
    """The findings about one assignment.

    Attributes:
        assignment: The assignment's name.
        up_to_date: True if the notebook on disk is what its source builds.
        reference: The reference's result.
        starter: The untouched starter's result.
        correct: How many correct submissions earned all points, and how many there are.
        incorrect: How many incorrect submissions lost exactly the expected tasks with the expected
            known mistake, and how many there are.
        problems: One sentence for each difference from what is expected; () if there is none.
    """

    assignment: str
    up_to_date: bool
    reference: Result
    starter: Result
    correct: tuple[int, int]
    incorrect: tuple[int, int]
    problems: tuple[str, ...]


def grade_corpus(
    assignment: str,
    folder: Path,
    judges: batch.Judges,
    *,
    thorough: bool = True,
    submissions: Mapping[str, CorpusSubmission] | None = None,
) -> Iterator[Result]:
    """Grade the reference, the starter and the submission corpus.

    Args:
        assignment: The assignment's name.
        folder: The folder that the notebooks are written to.
        judges: The judges that grade them.
        thorough: True to train all submissions. False to train only the reference and those
            submissions whose result without training is not the expected one.
        submissions: The part of the corpus to grade, by name; None for all of it.

    Yields:
        One result for each submission. `Result.student` is its name in the corpus, or `REFERENCE`
        or `STARTER`.
    """
    if submissions is None:
        submissions = corpus.load_corpus(assignment)
    notebooks = {name: corpus.make(assignment, one) for name, one in submissions.items()}
    notebooks |= {REFERENCE: build.reference(assignment), STARTER: build.starter(assignment)}
    untrained = set() if thorough else set(submissions)
    entries = {
        name: batch.Entry(
            name, corpus.write(notebook, folder, name, assignment), train=name not in untrained
        )
        for name, notebook in notebooks.items()
    }
    to_train = []
    for result in judges.grade_all(list(entries.values()), assignment):
        name = result.student
        if name in untrained and problems_with(submissions[name], result):
            to_train.append(replace(entries[name], train=True))
        else:
            yield result
    yield from judges.grade_all(to_train, assignment)


def lost(result: Result) -> tuple[str, ...]:
    """Return the tasks that a submission did not earn, without those whose checks were skipped."""
    failed = {c.task for c in result.checks if c.outcome not in ("passed", SKIPPED)}
    return tuple(task.task for task in result.tasks if task.task in failed)


def problems_with(submission: CorpusSubmission, result: Result) -> list[str]:
    """Return one sentence for each difference between a result and what the corpus expects."""
    found = []
    if result.status != submission.status:
        found.append(
            f"{submission.name}: the status is '{result.status}', expected '{submission.status}'."
        )
    if lost(result) != submission.loses:
        messages = "; ".join(f"{c.check}: {c.message}" for c in result.checks if c.message)
        found.append(
            f"{submission.name}: lost tasks: {_list(lost(result))}, expected: "
            f"{_list(submission.loses)}. Messages: {messages or 'none'}"
        )
    recognised = [check.task for check in result.checks if check.mistake == submission.mistake]
    if submission.mistake and not set(recognised) & set(submission.loses):
        found.append(f"{submission.name}: the mistake {submission.mistake} was not recognised.")
    if submission.note and not any(submission.note in note for note in result.notes):
        found.append(
            f"{submission.name}: no note contains '{submission.note}'. Notes: {_list(result.notes)}"
        )
    return found


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def verify(
    assignment: str,
    results: Mapping[str, Result],
    submissions: Mapping[str, CorpusSubmission] | None = None,
) -> Verified:
    """Compare an assignment's results with what is expected.

    Args:
        assignment: The assignment's name.
        results: The results of the reference, the starter and every corpus submission, by name.
        submissions: The part of the corpus that was graded, by name; None for all of it.
    """
    if submissions is None:
        submissions = corpus.load_corpus(assignment)
    found = {name: problems_with(one, results[name]) for name, one in submissions.items()}
    correct = [name for name, one in submissions.items() if not one.loses]
    incorrect = [name for name, one in submissions.items() if one.loses]
    reference, starter = results[REFERENCE], results[STARTER]
    out_of_date = build.out_of_date([assignment])
    problems = [*out_of_date, *(line for lines in found.values() for line in lines)]
    if lost(reference) or reference.notes:
        problems.append(
            f"reference: lost tasks: {_list(lost(reference))}, notes: {_list(reference.notes)}; "
            "expected: no lost task and no note."
        )
    if starter.score or starter.status != "graded":
        problems.append(
            f"starter: {starter.score:g} points, status '{starter.status}'; "
            "expected: 0 points, status 'graded'."
        )
    return Verified(
        assignment,
        not out_of_date,
        reference,
        starter,
        (sum(not found[name] for name in correct), len(correct)),
        (sum(not found[name] for name in incorrect), len(incorrect)),
        tuple(problems),
    )


def verify_from_scratch(
    assignment: str,
    judges: batch.Judges,
    *,
    thorough: bool = True,
    twice: bool = False,
) -> Verified:
    """Grade everything and compare the results with what is expected.

    Args:
        assignment: The assignment's name.
        judges: The judges that grade everything.
        thorough: See `grade_corpus`.
        twice: True to grade everything a second time with cold workers, and to compare the two
            results of each submission, without their times.
    """
    with tempfile.TemporaryDirectory(prefix="vaelab-verify-") as folder:

        def graded(judges: batch.Judges) -> dict[str, Result]:
            found = grade_corpus(assignment, Path(folder), judges, thorough=thorough)
            return {result.student: result for result in found}

        results = graded(judges)
        found = verify(assignment, results)
        if not twice:
            return found
        cold = replace(judges.sandbox, use_fork_server=False)
        with batch.Judges(judges.jobs, judges.limits, cold) as others:
            again = graded(others)
        return replace(found, problems=found.problems + differing(results, again))


def differing(once: Mapping[str, Result], again: Mapping[str, Result]) -> tuple[str, ...]:
    """Return one sentence for each submission whose two results differ, times ignored."""
    return tuple(
        f"{name}: the second grading, with a cold worker, gave a different result."
        for name, result in once.items()
        if without_times(result) != without_times(again[name])
    )

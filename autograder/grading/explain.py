"""Explain one check of one result: what was asked, what came back, what was expected."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autograder.checks.registry import load_checks
from autograder.checks.seeds import submission_key
from autograder.checks.vocabulary import info
from autograder.course.sources import imported, load_source
from autograder.grading.embedded import described
from autograder.grading.helpers import digest_of
from autograder.grading.judge import judging
from autograder.grading.notebook import (
    ToRun,
    UnreadableError,
    as_run,
    helpers_of,
    open_notebook,
    read_bytes,
)
from autograder.grading.recording import Recorder, Recording
from autograder.grading.script import (
    WARNING,
    Call,
    Calls,
    Computation,
    NotWritable,
    comparison,
    numbers,
    write_script,
)
from autograder.protocol.codec import CodecError, Decoder
from autograder.protocol.ended import Ended
from autograder.protocol.remote import Raised
from autograder.records.errors import UserError
from autograder.records.results import SKIPPED, CheckOutcome, Result, from_json
from autograder.records.text import printable
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import BEST, Sandbox

WIDTH = 1000  # characters of a line


class ExplainError(UserError):
    """A check cannot be explained; the message gives the reason."""


@dataclass(frozen=True)
class Explained:
    """One check that was run again.

    Attributes:
        lines: The explanation, ready to print.
        script: A script that reproduces the check; "" if there is none.
        same: Whether this run has the outcome and the message of the result.
    """

    lines: tuple[str, ...]
    script: str
    same: bool


def read_result(path: Path) -> Result:
    """Read a result that `vaelab grade` wrote.

    Raises:
        ExplainError: If the file does not exist or is not a result.
    """
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExplainError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ExplainError(f"{path} is not a result of `vaelab grade`.") from error


def explain(
    result: Result,
    check: str,
    path: Path,
    limits: Limits | None = None,
    sandbox: Sandbox = BEST,
    secret: bytes = b"",
) -> Explained:
    """Run a submission's checks again up to one check; explain this check.

    The earlier checks run too, because each request gets a seed of its own.

    Args:
        result: The result of the submission.
        check: The check's name.
        path: The notebook that was graded.
        limits: The limits of the submission; None for the default limits.
        sandbox: The sandbox of its worker.
        secret: The secret of the random inputs with which it was graded; see `checks.seeds`.

    Raises:
        ExplainError: If there is no such check, or the file is not the graded one.
    """
    graded = _find(result, check)
    try:
        raw = read_bytes(path)
        digest = digest_of(raw, helpers_of(path, raw))
        cells = [as_run(cell) for cell in open_notebook(path, result.assignment).cells]
    except (UnreadableError, OSError) as error:
        raise ExplainError(f"{path}: {error}") from error
    if digest != result.digest:
        raise ExplainError(
            f"{path} is not the file that was graded: its SHA-256 digest is {digest[:12]}…; the "
            f"result has {result.digest[:12]}…"
        )
    recorder = Recorder()
    key, around = submission_key(secret, digest), recorder.around
    given = path, result.assignment, limits, sandbox
    try:
        with judging(*given, key=key, train=False, around=around) as current:
            for function in load_checks(result.assignment).functions:
                if (info(function).task, info(function).name) == (graded.task, graded.check):
                    outcome = current.evaluate(recorder.watch(function))
                    break
                current.evaluate(function)
            else:
                raise ExplainError(f"The course has no check {graded.task}.{graded.check} now.")
    except Ended as end:
        raise ExplainError(f"The checks did not run. {end}") from end
    return _explained(result, graded, outcome, recorder.recording, cells)


def _find(result: Result, name: str) -> CheckOutcome:
    """Find a check by its name, or by `task.name` if several tasks have a check of this name."""
    found = [one for one in result.checks if name in (one.check, f"{one.task}.{one.check}")]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{one.task}.{one.check}" for one in found or result.checks)
    problem = "Several checks have" if found else "No check has"
    raise ExplainError(f"{problem} the name '{printable(name)}'. Write one of: {names}.")


def _explained(
    result: Result,
    graded: CheckOutcome,
    outcome: CheckOutcome,
    recording: Recording,
    cells: Sequence[ToRun],
) -> Explained:
    about = [
        f"assignment: {result.assignment}",
        f"student: {result.student}",
        f"check: {graded.task}.{graded.check}",
        f"asked: {graded.sentence}",
        f"result: {graded.outcome}. {graded.message}".rstrip(". ") + ".",
    ]
    lines = [printable(line) for line in about]
    if outcome.outcome == SKIPPED:
        lines.append("This check trains a model. It cannot be repeated by a short script.")
        lines += [printable(f"{name}: {value}", WIDTH) for name, value in result.facts.items()]
        return Explained(tuple(lines), "", same=True)
    same = (outcome.outcome, outcome.message) == (graded.outcome, graded.message)
    if not same:
        lines.append("This run has another result:")
        lines.append(printable(f"  {outcome.outcome}. {outcome.message}"))
    calls = Calls()
    try:
        if not recording.complete:
            raise NotWritable("It exchanges more data than a script can contain.")
        made = tuple(calls.of(recording.exchanges))
    except NotWritable as reason:
        return Explained((*lines, f"There is no script for this check. {reason}"), "", same)
    for call in made:
        lines += _about_call(call)
    compared = recording.verdict.comparison if recording.verdict else None
    computation = Computation(recording, calls)
    if compared:
        lines += [
            f"compared: {compared.what}",
            f"  expected: {described(compared.expected)}",
            f"  got: {described(compared.got)}",
            f"  accepted: {compared.tolerance:g} of the largest expected value, at least of 1",
        ]
        end = comparison(computation, compared)
    else:
        end = numbers(computation, recording)
    head = (*WARNING.splitlines(), "", *about)
    packages = imported(cell.source for cell in load_source(result.assignment).of("setup"))
    return Explained(tuple(lines), write_script(head, cells, packages, calls, made, end), same)


def _about_call(call: Call) -> list[str]:
    """Describe one call and its answer in lines."""
    lines = [f"{name} = {described(torch.from_numpy(a))}" for name, a in call.inputs.items()]
    lines.append(f"{call.name} = {call.code}" if call.name else call.code)
    answer = call.exchange.answer
    if call.exchange.error is not None:
        lines.append(f"  raised {Raised(call.exchange.error)}")
    elif answer is not None and call.name:
        lines.append(f"  -> {_about_answer(answer.body.get('ok'), answer.arrays)}")
    return [printable(line, WIDTH) for line in lines]


def _about_answer(body: Any, arrays: Sequence[np.ndarray]) -> str:
    match body:
        case {"$dict": {"$ref": int(), "type": str(kind)}}:
            return f"an object of type {kind}"
        case {"tape": int(), "value": value}:
            body = value
    try:
        decoder = Decoder(arrays, lambda a, _: torch.from_numpy(np.array(a)), lambda _, kind: kind)
        return described(decoder(body))
    except CodecError:
        return "an invalid answer"

"""Show the cause of several failed checks once: the first check shows it in full."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from autograder.records.results import CheckOutcome, Result

RAISED = re.compile(
    r"raised (?P<kind>\w+)\b.*, on line (?P<line>\d+) of its cell (?P<code>\(`.*`\))", re.S
)
NO_NAME = re.compile(
    r"raised ((?:NameError|UnboundLocalError): .*?), on line \d+ of its cell", re.S
)
SHAPE = re.compile(r"\((\d+, ?)+\d*\)")
SAME = "It fails for the same cause as the check “{}”."


def cause(outcome: CheckOutcome) -> str:
    """Return a text that is equal for two outcomes with the same cause.

    An exception is known by its type and its line: its message may contain the shapes of one call.
    A name that is not defined is the same cause on every line. Another message is compared without
    the numbers that follow its explanation, and without shapes.
    """
    if no_name := NO_NAME.search(outcome.message):
        return no_name[1]
    raised = RAISED.search(outcome.message)
    if raised:
        return " ".join(raised.groups())
    says, expected, _ = outcome.message.partition(" Expected ")
    return says if expected and outcome.mistake else SHAPE.sub("(…)", outcome.message)


def by_cause(outcomes: Sequence[CheckOutcome]) -> dict[str, list[CheckOutcome]]:
    """Return the outcomes; those that failed for the same cause are together, by their cause."""
    groups: dict[str, list[CheckOutcome]] = {}
    for number, one in enumerate(outcomes):
        groups.setdefault(cause(one) if one.outcome == "failed" else f"{number}", []).append(one)
    return groups


@dataclass(frozen=True)
class Group:
    """Checks of one task that are shown together.

    Attributes:
        message: What is wrong, once; "" if there is nothing to say.
        checks: The checks that it is about: one, or several that failed for the same cause.
        known_from: The title of an earlier task whose checks failed for this cause; "" if none did.
    """

    message: str
    checks: tuple[CheckOutcome, ...]
    known_from: str = ""


def grouped(result: Result) -> dict[str, list[Group]]:
    """Return the checks of each task, those with the same cause together.

    The message of a cause is in the first task in which it occurs. In later ones, `known_from`
    names that task.
    """
    first_task: dict[str, str] = {}
    groups: dict[str, list[Group]] = {}
    for task in result.tasks:
        shown = groups.setdefault(task.task, [])
        for name, checks in by_cause([c for c in result.checks if c.task == task.task]).items():
            failed = checks[0].outcome == "failed"
            known = first_task.setdefault(name, task.title) if failed else task.title
            again = known if known != task.title else ""
            shown.append(Group("" if again else checks[0].message, tuple(checks), again))
    return groups


def shown_messages(outcomes: Sequence[CheckOutcome]) -> list[str]:
    """Return the message to show for each check, in order.

    Args:
        outcomes: The checks of one submission or of one task, as they are shown.

    Returns:
        The first message of each cause in full. A later check with the same cause names the first
        one.
    """
    first: dict[str, CheckOutcome] = {}
    shown = []
    for outcome in outcomes:
        if outcome.outcome != "failed":
            shown.append(outcome.message)
            continue
        known = first.setdefault(cause(outcome), outcome)
        again = known is not outcome
        shown.append(SAME.format(known.sentence.rstrip(".")) if again else outcome.message)
    return shown

"""Show the cause of several failed checks once: the first check shows it in full."""

import re
from collections.abc import Sequence

from autograder.records.results import CheckOutcome

RAISED = re.compile(
    r"raised (?P<kind>\w+)\b.*, on line (?P<line>\d+) of its cell (?P<code>\(`.*`\))", re.S
)
SHAPE = re.compile(r"\((\d+, ?)+\d*\)")
SAME = "The same cause as above: “{}”."


def cause(outcome: CheckOutcome) -> str:
    """Return a text that is equal for two outcomes with the same cause.

    An exception is known by its type and its line: its message may contain the shapes of one call.
    Another message is compared without the numbers that follow its explanation, and without
    shapes.
    """
    raised = RAISED.search(outcome.message)
    if raised:
        return " ".join(raised.groups())
    says, expected, _ = outcome.message.partition(" Expected ")
    return says if expected and outcome.mistake else SHAPE.sub("(…)", outcome.message)


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

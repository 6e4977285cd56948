"""Displays check results in a notebook: as HTML, and as plain text without a notebook."""

import html
import re
import textwrap
from collections.abc import Iterable, Sequence

from autograder.checks.vocabulary import Task
from autograder.records.causes import by_cause
from autograder.records.results import GRADER_ERROR, SKIPPED, CheckOutcome
from autograder.records.text import SIGNS, marked

WIDTH = 88
COLOURS = {
    "passed": "#00724f",
    "failed": "#b3401d",
    "todo": "#5b6470",
    "not_run": "#5b6470",
    GRADER_ERROR: "#5b6470",
}
VERDICTS = {
    "passed": "All checks passed",
    "failed": "Not passed yet",
    "todo": "Not started",
    "not_run": "Not run",
    SKIPPED: "Not run: it needs the trained model",
    GRADER_ERROR: "Not checked: error of the grader",
}
SHOWN = re.compile(rf"[{''.join(SIGNS.values())}] .*: .* \([\d.]+ / [\d.]+\)$")


class Points(float):
    """Points that a cell returns to nbgrader without showing a number below the check results."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        # nbgrader reads the plain text; a notebook shows HTML, if there is any.
        return {"text/plain": repr(float(self)), "text/html": "<span></span>"}


def verdict(outcomes: list[CheckOutcome]) -> str:
    """Return the common outcome if all are "todo" or all are "passed", else "failed".

    If the grader had an error and no check failed, the outcome is that error. Skipped checks count
    only if all others passed: then the outcome is `SKIPPED`.
    """
    found = {outcome.outcome for outcome in outcomes}
    if found <= {"todo"} or found == {"todo", SKIPPED}:
        return "todo"
    if SKIPPED in found and found <= {"passed", SKIPPED}:
        return SKIPPED
    if GRADER_ERROR in found and found <= {"passed", GRADER_ERROR}:
        return GRADER_ERROR
    return "passed" if found == {"passed"} else "failed"


def as_text(task: Task, outcomes: list[CheckOutcome], earned: float) -> str:
    """Return the check results as plain text, for terminals and runs without a notebook."""
    state = verdict(outcomes)
    head = f"{SIGNS[state]} {task.title}: {VERDICTS[state].lower()} ({earned:g} / {task.points:g})"
    groups = [(group, group[0].message) for group in _groups(outcomes)]
    return "\n".join([head, *group_lines(groups)])


def group_lines(groups: Iterable[tuple[Sequence[CheckOutcome], str]]) -> list[str]:
    """Return checks as lines of plain text: those with one cause, then its message."""
    lines = []
    for checks, message in groups:
        lines += [f"  {SIGNS[one.outcome]} {one.sentence}" for one in checks]
        indent = " " * 6
        lines += textwrap.wrap(message, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return lines


def shown_as_passed(text: str) -> bool | None:
    """Return whether a saved output of `check` shows a task as passed; None if it is none."""
    head, _, _ = text.partition("\n")
    passed = VERDICTS["passed"].lower()
    return f": {passed} (" in head if SHOWN.match(head) else None


def as_html(task: Task, outcomes: list[CheckOutcome], earned: float) -> str:
    """Return the check results as HTML. All text from the submission is escaped."""
    state = verdict(outcomes)
    rows = ""
    for group in _groups(outcomes):
        for one in group:
            message = group[0].message if one is group[-1] else ""
            said = f'<div style="opacity:.85;margin-top:.15em">{marked(message)}</div>'
            rows += (
                f'<div style="display:flex;gap:.6em;margin-top:.45em">'
                f'<span style="color:{COLOURS[one.outcome]};font-weight:700;flex:0 0 1em">'
                f"{SIGNS[one.outcome]}</span><div><div>{marked(one.sentence)}</div>"
                f"{said if message else ''}</div></div>"
            )
    return (
        f'<div style="border:1px solid #8884;border-left:5px solid {COLOURS[state]};'
        f"border-radius:6px;padding:.7em 1em;max-width:46em;font-family:system-ui,sans-serif;"
        f'font-size:14px;line-height:1.45">'
        f'<div style="display:flex;justify-content:space-between;gap:1em">'
        f'<b style="color:{COLOURS[state]}">{SIGNS[state]} {html.escape(task.title)}: '
        f"{VERDICTS[state].lower()}</b><span>{earned:g} / {task.points:g} points</span></div>"
        f"{rows}</div>"
    )


def _groups(outcomes: list[CheckOutcome]) -> list[list[CheckOutcome]]:
    """Return the outcomes; those that failed for the same cause are together.

    If the work has not started, only the first outcome is returned.
    """
    if verdict(outcomes) == "todo":
        return [outcomes[:1]]
    return list(by_cause(outcomes).values())


def show(task: Task, outcomes: list[CheckOutcome], earned: float) -> None:
    """Show the check results in the notebook; print them if there is no notebook."""
    from IPython import get_ipython
    from IPython.display import display

    text = as_text(task, outcomes, earned)
    if get_ipython() is None:
        print(text)
        return
    display({"text/plain": text, "text/html": as_html(task, outcomes, earned)}, raw=True)

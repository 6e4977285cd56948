"""The answer that a student gets in the notebook: `check("encoder")` shows a card."""

import html
import sys
from collections.abc import Callable

from autograder.checking import Task
from autograder.checks import CheckSet, info, load_checks
from autograder.evaluate import evaluate
from autograder.results import CheckOutcome
from autograder.submission import Submission, direct

WIDTH = 88
SIGNS = {"passed": "✓", "failed": "✗", "todo": "○", "not_run": "–", "left_out": "–"}
COLOURS = {"passed": "#00724f", "failed": "#b3401d", "todo": "#5b6470", "not_run": "#5b6470"}
VERDICTS = {
    "passed": "All checks hold",
    "failed": "Not yet",
    "todo": "Still to do",
    "not_run": "Not run",
}


def notebook_checks(assignment: str) -> Callable[[str], float]:
    """Give the `check` function of an assignment's notebook.

    Args:
        assignment: Its name, such as "03_fc_vae".

    Returns:
        `check(task)`: runs the task's checks on what is defined in the notebook right now, shows
        a card, and returns the points that the task would earn.
    """
    from autograder.devices import warm_up

    checks = load_checks(assignment)
    warm_up()

    def check(task_id: str) -> float:
        names = sys._getframe(1).f_globals
        task = checks.task(task_id)
        outcomes = run_in_notebook(checks, task, names)
        earned = float(task.points) if all(o.outcome == "passed" for o in outcomes) else 0.0
        _show(task, outcomes, earned)
        return earned

    return check


def run_in_notebook(checks: CheckSet, task: Task, names: dict) -> list[CheckOutcome]:
    """Run a task's checks on a live notebook's names."""
    from autograder.worker import Worker

    submission = Submission(direct(Worker(names)), checks.assignment, in_notebook=True)
    functions = [f for f in checks.of(task.id) if info(f).in_notebook]
    return [evaluate(function, task, submission) for function in functions]


def verdict(outcomes: list[CheckOutcome]) -> str:
    """Sum outcomes up: the worst of them, "todo" if nothing has been tried."""
    found = {outcome.outcome for outcome in outcomes}
    if found <= {"todo"}:
        return "todo"
    return "passed" if found == {"passed"} else "failed"


def as_text(task: Task, outcomes: list[CheckOutcome], earned: float) -> str:
    """Draw the card in plain text, for headless runs and terminals."""
    import textwrap

    state = verdict(outcomes)
    head = f"{SIGNS[state]} {task.title}: {VERDICTS[state].lower()} ({earned:g} / {task.points:g})"
    lines = [head]
    for outcome in _worth_showing(outcomes):
        lines.append(f"  {SIGNS[outcome.outcome]} {outcome.sentence}")
        lines += textwrap.wrap(
            outcome.message, WIDTH, initial_indent="      ", subsequent_indent="      "
        )
    return "\n".join(lines)


def as_html(task: Task, outcomes: list[CheckOutcome], earned: float) -> str:
    """Draw the card in HTML; every text of the submission's is escaped."""
    state = verdict(outcomes)
    rows = "".join(
        f'<div style="display:flex;gap:.6em;margin-top:.45em">'
        f'<span style="color:{COLOURS[o.outcome]};font-weight:700;flex:0 0 1em">'
        f"{SIGNS[o.outcome]}</span><div><div>{marked(o.sentence)}</div>"
        + (
            f'<div style="opacity:.85;margin-top:.15em">{marked(o.message)}</div>'
            if o.message
            else ""
        )
        + "</div></div>"
        for o in _worth_showing(outcomes)
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


def _worth_showing(outcomes: list[CheckOutcome]) -> list[CheckOutcome]:
    """Show every check; of work not started, one line says it all."""
    return outcomes[:1] if verdict(outcomes) == "todo" else outcomes


def marked(text: str) -> str:
    """Escape a text and set its `names` as code."""
    parts = html.escape(text).split("`")
    if len(parts) % 2 == 0:
        return html.escape(text)
    return "".join(p if i % 2 == 0 else f"<code>{p}</code>" for i, p in enumerate(parts))


def _show(task: Task, outcomes: list[CheckOutcome], earned: float) -> None:
    from IPython import get_ipython
    from IPython.display import display

    text = as_text(task, outcomes, earned)
    if get_ipython() is None:
        print(text)
        return
    display({"text/plain": text, "text/html": as_html(task, outcomes, earned)}, raw=True)

"""The command of students, `check`, and the command `vaelab` of a student's kit."""

import contextlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder.records.errors import UserError

if TYPE_CHECKING:
    from autograder.grading.fresh import FreshResult

WIDTH = 100
SAME = "The same cause as in “{}”."
AGAIN = "In JupyterLab, choose “Run”, “Restart Kernel and Run All Cells”, and look at this task."
PASSED_BEFORE = (
    "“{}”: the saved notebook shows it as passed, but in a fresh process it is not. The open "
    f"kernel had names or values that the notebook does not make. {AGAIN}"
)
FAILED_BEFORE = (
    "“{}”: the saved notebook shows it as not passed, but in a fresh process it is passed. The "
    "open kernel had other names or values than the notebook makes, or the check was not run "
    f"again. {AGAIN}"
)


def check(
    notebook: Annotated[Path, typer.Argument(help="Your notebook, such as 03_fc_vae.ipynb.")],
    train: Annotated[
        bool,
        typer.Option("--train", help="Run the cells that train and plot too, and check the model."),
    ] = False,
) -> None:
    """Check your notebook before you hand it in: run it in a fresh process, and its checks.

    The cells run in the notebook's order, as for grading: the given cells and yours. What the open
    kernel knows does not count. Cells that train are left out: with `--train` they run too, which
    takes as long as in the notebook.

    The exit code is 0 if all checks pass that were run, otherwise 1.
    """
    from autograder.grading.fresh import check_notebook

    path = notebook.resolve()
    if not path.is_file():
        raise UserError(f"There is no file {notebook}. Name your notebook.")
    with contextlib.chdir(path.parent):  # the file of the course for students lies there
        found = check_notebook(path, train)
    console = Console()
    console.print(_table(found))
    for line in _lines(found, train):
        typer.echo(line)
    if not found.passed:
        raise typer.Exit(1)


def _table(found: "FreshResult") -> Table:
    from autograder.records.text import SIGNS
    from autograder.student.display import VERDICTS

    table = Table("task", "points", "result")
    table.columns[1].justify = "right"
    for task in found.result.tasks:
        state = found.states[task.task]
        points = "–" if task.not_graded else f"{task.points:g}"
        cells = (task.title, f"{points} / {task.max_points:g}")
        table.add_row(*map(Text, cells), Text(f"{SIGNS[state]} {VERDICTS[state]}"))
    for cell in found.empty:
        row = (f"Answer: {cell.title}", f"– / {cell.points:g}", f"{SIGNS['todo']} Still empty")
        table.add_row(*map(Text, row))
    return table


def _lines(found: "FreshResult", train: bool) -> Iterator[str]:
    from autograder.records.causes import grouped
    from autograder.records.results import SKIPPED
    from autograder.student.display import group_lines

    result = found.result
    titles = {task.task: task.title for task in result.tasks}
    for name, groups in grouped(result).items():
        shown = [
            (one.checks, SAME.format(one.known_from) if one.known_from else one.message)
            for one in groups
            if (one.message or one.known_from) and one.checks[0].outcome != SKIPPED
        ]
        if shown and found.states[name] != "todo":  # the table says what is not started
            yield from (f"\n{titles[name]}", *group_lines(shown))
    if result.notes:
        yield from ("\nNotes", *map(_wrapped, result.notes))
    if found.saved:
        yield "\nAnother result than in the saved notebook"
        for name, passed in found.saved.items():
            yield _wrapped((PASSED_BEFORE if passed else FAILED_BEFORE).format(titles[name]))
    if found.empty:
        names = ", ".join(f"`{cell.id}`" for cell in found.empty)
        yield f"\nWritten answers that are still empty: {names}. An empty answer earns nothing."
    if SKIPPED in found.states.values() and not train:
        yield "\nThe training was not checked. To train and check it, add --train."


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="markdown")


@app.callback()
def about() -> None:
    """Check the notebooks of the course."""


app.command()(check)


def main() -> None:
    """Run the command of a student's kit; print a user's error as one line."""
    try:
        app()
    except UserError as error:
        typer.echo(f"vaelab: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()

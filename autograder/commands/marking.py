"""The command `vaelab mark`: a person marks the written answers in a browser."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from autograder.commands.options import CourseDir, Graded, login


def mark(
    out: Annotated[Path, typer.Argument(help="The output folder of `vaelab grade`.")],
    submissions: Graded = None,
    port: Annotated[int, typer.Option(help="The port; 0 for any free one.", min=0, max=65535)] = 0,
    names: Annotated[
        bool, typer.Option("--names", help="Show the students' names. They are hidden by default.")
    ] = False,
    author: Annotated[
        str,
        typer.Option(help="Who marks. Default: your name in Git's settings, else your login."),
    ] = "",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    course: CourseDir = None,
) -> None:
    """Mark the written answers in a browser: each answer beside the rubric and a model answer.

    The page is served on this machine only. Names are hidden, and the answers of each question have
    an order of their own. Points and comments are kept at once, in the log `OUT/overrides.jsonl`.
    They hold when submissions are graded again. End with Ctrl-C: scores and pages are then written.
    """
    from autograder.marking.app import serve
    from autograder.marking.kept import desk_of
    from autograder.reports.overriding import refresh

    desk = desk_of(out, submissions or out.resolve().parent / "submissions", author or login())

    def started(address: str) -> None:
        typer.echo(f"Open {address}")
        typer.echo("End with Ctrl-C.")
        if browser:
            import webbrowser

            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(address)

    with contextlib.suppress(KeyboardInterrupt):
        serve(desk, port, started, names=names)
    results = refresh(out)
    open_ = sum(task.pending for result in results for task in result.tasks)
    typer.echo(f"\nAnswers left to mark: {open_}. Scores: {out / 'scores.csv'}")

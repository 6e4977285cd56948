"""The commands `vaelab export …`: finished results in the form of other systems."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autograder.commands.options import CourseDir

if TYPE_CHECKING:
    from autograder.records.results import Result

export = typer.Typer(
    no_args_is_help=True, help="Write finished results in the form of other systems."
)
Out = Annotated[Path, typer.Argument(help="The output folder of `vaelab grade`.")]


@export.command()
def gradebook(
    out: Out,
    to: Annotated[
        Path, typer.Option("--to", metavar="FILE", help="The gradebook, COURSE/gradebook.db.")
    ],
    submissions: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the graded submissions. Default: `submissions` beside OUT."
        ),
    ] = None,
    course: CourseDir = None,
) -> None:
    """Write points and comments into nbgrader's gradebook.

    formgrader, late penalties, feedback and `nbgrader export` work with them. Points and comments
    that a person gave are kept. You can repeat the command.
    """
    from autograder.exporting.finished import read_results

    to_gradebook(read_results(out), to, submissions or out.resolve().parent / "submissions")


def to_gradebook(results: "Sequence[Result]", database: Path, submissions: Path) -> None:
    """Write results into nbgrader's gradebook and print what was written."""
    from autograder.exporting.gradebook import write_gradebook

    written = write_gradebook(results, database, submissions)
    for problem in written.problems:
        typer.secho(problem, fg="yellow", err=True)
    nothing = f", {len(written.missing)} without a notebook" if written.missing else ""
    typer.echo(f"Gradebook: {len(written.students)} submissions{nothing} in {database}")

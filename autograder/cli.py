"""The `vaelab` command: lists the commands and prints a user's errors."""

import sys
from typing import Annotated

import typer

from autograder.commands import authoring, checking, exporting, grading, marking
from autograder.records.errors import UserError

HELP = """Build, verify and grade a course of notebooks on autoencoders and VAEs.

The typical order of the commands:

- `init` writes a copy of the course that you can edit.
- `build` builds the starter notebooks from the sources in `solutions/`.
- `release` writes the kit that you give to your students.
- `check` shows a student what a notebook earns in a fresh process.
- `verify` tests each assignment on its corpus of correct and incorrect submissions.
- `mutate` changes the references by small errors; each error must lose points.
- `compose` grades right submissions that are composed of many ways to write each part.
- `calibrate` measures how far each loss threshold is from the loss of the reference.
- `collect` puts downloaded submissions into the folders that `grade` reads.
- `grade` grades a folder of submissions.
- `merge` joins the results of parts of a class that were graded on several machines.
- `mark` shows the written answers in a browser, and takes points.
- `explain` shows what one check asked, what came back, and what was expected.
- `override` gives a task other points than the checks did, with a reason.
- `export` writes the results in the form of other systems.
- `similar` shows pairs of similar submissions.
- `gradescope` builds an autograder that runs in Gradescope.

`demo` grades a class of example submissions. It needs no other command before it.
"""
app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", help=HELP
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import version
    from platform import python_version

    from autograder.course.settings import course_file

    course = course_file()
    typer.echo(
        f"vaelab {version('vaelab')}, torch {version('torch')}, Python {python_version()}, "
        f"course {' '.join(filter(None, (course.title, course.version)))} in {course.path.parent}"
    )
    raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the versions and the course's folder.",
        ),
    ] = False,
) -> None:
    """Read the options before the command."""


for command in (
    authoring.init,
    authoring.build,
    authoring.release,
    checking.check,
    authoring.verify,
    authoring.mutate,
    authoring.compose,
    authoring.calibrate,
    grading.collect,
    grading.grade,
    grading.merge,
    grading.override,
    marking.mark,
    grading.explain,
    grading.demo,
    exporting.gradescope,
    exporting.similar,
):
    app.command()(command)
app.add_typer(exporting.export, name="export")


def main() -> None:
    """Run the command; print a user's error as one line without a traceback."""
    from autograder.sandbox.inside.system import SandboxError

    try:
        app()
    except SandboxError as error:
        typer.echo(
            f"vaelab: {error} Install bubblewrap (on Debian: apt install bubblewrap). If you trust "
            "the authors of all submissions, you can add --no-sandbox.",
            err=True,
        )
        sys.exit(2)
    except UserError as error:
        typer.echo(f"vaelab: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "autograder", "vae_utils"):
            raise
        typer.echo(
            f"vaelab: the package {package} is missing. This command needs more than a student's "
            "notebooks. Install the rest: pip install 'vaelab[grade]', or in a clone pip install "
            "'.[grade]'.",
            err=True,
        )
        sys.exit(2)

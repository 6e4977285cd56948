"""The commands `vaelab export …`: finished results in the form of other systems."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autograder.commands.options import CourseDir, Graded

if TYPE_CHECKING:
    from autograder.exporting.tables import Paired
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
    submissions: Graded = None,
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


Roster = Annotated[
    Path,
    typer.Option(help="The students, as the CSV file that the platform exports."),
]
To = Annotated[Path, typer.Option("--to", metavar="FILE", help="The file to write.")]


@export.command()
def canvas(
    out: Out,
    roster: Roster,
    to: To,
    column: Annotated[
        str,
        typer.Option(
            help="The assignment's column in Canvas, such as 'VAE (4711)'. Default: the column of "
            "the roster with the assignment's name or title."
        ),
    ] = "",
    course: CourseDir = None,
) -> None:
    """Write the scores as Canvas imports them: Grades, Import.

    The roster is the gradebook that Canvas exports. Cells of students without a result stay empty,
    so Canvas keeps what it has.
    """
    from autograder.exporting import tables

    results, paired = _paired(out, roster)
    _write(to, tables.canvas(paired, results[0].assignment, column), results, paired)


@export.command()
def moodle(out: Out, roster: Roster, to: To, course: CourseDir = None) -> None:
    """Write the scores and comments as Moodle imports them.

    If the roster is the grading worksheet of the assignment, the file is one too: upload it with
    "Upload grading worksheet". Otherwise it is a table for "Import grades" with e-mail addresses.
    """
    from autograder.exporting import tables

    results, paired = _paired(out, roster)
    _write(to, tables.moodle(paired), results, paired)


@export.command(name="csv")
def plain_csv(
    out: Out,
    to: To,
    roster: Annotated[
        Path | None, typer.Option(help="The students; the table begins with the columns of it.")
    ] = None,
    course: CourseDir = None,
) -> None:
    """Write the scores as plain CSV, with the columns of the roster."""
    from autograder.exporting import tables
    from autograder.exporting.finished import read_results

    if roster:
        results, paired = _paired(out, roster)
        _write(to, tables.plain_table(results, paired), results, paired)
    else:
        found = read_results(out)
        _write(to, tables.plain_table(found, None), found, None)


def _paired(out: Path, roster: Path) -> "tuple[list[Result], Paired]":
    from autograder.collecting.roster import read_roster
    from autograder.exporting.finished import read_results
    from autograder.exporting.tables import pair

    results = read_results(out)
    return results, pair(results, read_roster(roster))


def _write(to: Path, text: str, results: "Sequence[Result]", paired: "Paired | None") -> None:
    """Write a table; print whom it does not have."""
    from autograder.records.results import write_text
    from autograder.records.text import printable

    write_text(to, text)

    def tell(what: str, names: Sequence[str]) -> None:
        if names:
            shown = printable(", ".join(names))
            typer.secho(f"{what} ({len(names)}): {shown}", fg="yellow", err=True)

    if paired:
        tell("Left out, because they are not on the roster", paired.unmatched)
        tell("Students without a result", [s.key for s, result in paired.rows if result is None])
    tell("Results that are not complete", [r.student for r in results if not r.is_complete])
    waiting = sum(bool(one.pending) for one in results if one.status != "missing")
    if waiting:
        typer.echo(f"Results with written answers that nobody has marked yet: {waiting}")
    typer.echo(f"Wrote {to}")


@export.command()
def feedback(
    out: Out,
    to: To,
    submissions: Annotated[
        Path | None,
        typer.Option(
            help="The folder that `vaelab collect` wrote. Default: `submissions` beside OUT."
        ),
    ] = None,
    course: CourseDir = None,
) -> None:
    """Write the feedback of the class into one ZIP archive, as Canvas and Moodle take it back.

    The table of `vaelab collect` says how each student's file was called in the download. In
    Moodle, choose "Upload multiple feedback files in a zip"; in Canvas, "Re-upload submissions".
    """
    from autograder.collecting.collected import read_collected
    from autograder.exporting.feedback import pack_feedback
    from autograder.exporting.finished import read_results
    from autograder.records.results import write_bytes
    from autograder.records.text import printable

    results = read_results(out)
    folder = submissions or out.resolve().parent / "submissions"
    packed = pack_feedback(results, read_collected(folder, results[0].assignment))
    write_bytes(to, packed.content)
    if packed.left_out:
        typer.secho(
            f"Students without a file on the platform ({len(packed.left_out)}): "
            f"{printable(', '.join(packed.left_out))}",
            fg="yellow",
            err=True,
        )
    typer.echo(f"Wrote {len(packed.files)} files to {to}")


def gradescope(
    assignment: Annotated[str, typer.Argument(help="The assignment's name, such as 03_fc_vae.")],
    to: Annotated[Path, typer.Option("--to", metavar="ZIP", help="The archive to write.")],
    visibility: Annotated[
        str,
        typer.Option(
            help="When students see the tasks: visible, after_due_date, after_published, hidden."
        ),
    ] = "visible",
    no_sandbox: Annotated[
        bool,
        typer.Option(
            "--no-sandbox",
            help="Grade without a sandbox where none works. A submission could read the answers.",
        ),
    ] = False,
    course: CourseDir = None,
) -> None:
    """Build the autograder of an assignment for Gradescope.

    Upload the archive in Gradescope: Configure Autograder, Zip file upload.
    """
    from autograder.exporting.gradescope import VISIBILITIES, build_autograder
    from autograder.records.errors import UserError
    from autograder.records.results import write_bytes

    if visibility not in VISIBILITIES:
        raise UserError(
            f"The visibility {visibility!r} is unknown. Expected: {', '.join(VISIBILITIES)}."
        )
    content = build_autograder(assignment, visibility, no_sandbox=no_sandbox)
    write_bytes(to, content)
    typer.echo(f"Wrote {to} ({len(content) / 1e6:.1f} MB)")


def similar(
    submissions: Annotated[Path, typer.Argument(help="The folder of the submissions.")],
    assignment: Annotated[str, typer.Option(help="The assignment's name, such as 03_fc_vae.")],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The page to write, .html.")],
    most: Annotated[int, typer.Option(help="The largest number of pairs to show.", min=1)] = 50,
    course: CourseDir = None,
) -> None:
    """Show pairs of submissions with passages of code in common, side by side.

    The page is no verdict: two programs can be similar for many reasons. It has names and work of
    students, so keep it private. Nothing is sent to anyone.
    """
    from autograder.exporting.similarity import compare, page
    from autograder.grading.batch import find_submissions
    from autograder.records.results import write_text
    from autograder.records.text import counted

    compared = compare(find_submissions(submissions, assignment), assignment, most)
    write_text(to, page(compared, assignment))
    found = f"{counted(len(compared.groups), 'group')} with the same code, "
    found += f"{counted(len(compared.pairs), 'pair')} with passages in common"
    typer.echo(f"Compared {counted(compared.count, 'submission')}: {found}. Wrote {to}")
    if compared.left_out:
        number = counted(len(compared.left_out), "submission")
        typer.echo(f"{number} could not be compared; the page says why.")

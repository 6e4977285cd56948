"""The `vaelab` command: parses, calls, prints."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from autograder.course.locate import CourseError, use_course

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
NoSandbox = Annotated[
    bool,
    typer.Option("--no-sandbox", help="Run submissions unconfined. Only for people you trust."),
]
Names = Annotated[list[str] | None, typer.Argument(help="Assignments; all of them by default.")]
Jobs = Annotated[int, typer.Option(help="Submissions at a time.", min=1)]
CORES = os.cpu_count() or 1


def _use(folder: Path | None) -> None:
    if folder:
        use_course(folder)


CourseDir = Annotated[
    Path | None,
    typer.Option(
        "--course",
        metavar="DIR",
        callback=_use,
        is_eager=True,
        help="The course's folder. Default: the course around the current folder, else the "
        "installed one.",
    ),
]


@app.command()
def build(
    names: Names = None,
    check: Annotated[bool, typer.Option("--check", help="Only say what is out of step.")] = False,
    nbgrader: Annotated[
        Path | None, typer.Option(help="Lay out an nbgrader course directory here instead.")
    ] = None,
    solved: Annotated[
        Path | None, typer.Option(help="Write the filled-in notebooks into this folder instead.")
    ] = None,
    course: CourseDir = None,
) -> None:
    """Build the starter notebooks from their sources."""
    from autograder.build import notebooks as builder

    if solved:
        for path in builder.write_solved(solved, names):
            typer.echo(f"wrote {path}")
    elif nbgrader:
        for path in builder.build_nbgrader(nbgrader, names):
            typer.echo(f"wrote {path}")
    elif check:
        wrong = builder.out_of_date(names)
        for line in wrong:
            typer.echo(line, err=True)
        if wrong:
            typer.echo("Run `vaelab build` and commit what it writes.", err=True)
            raise typer.Exit(1)
        typer.echo("Every notebook is what its source builds.")
    else:
        changed = builder.build(names)
        for path in changed:
            typer.echo(f"wrote {path}")
        if not changed:
            typer.echo("Every notebook was up to date.")


@app.command()
def grade(
    submissions: Annotated[Path, typer.Argument(help="<student>/<assignment>/<assignment>.ipynb")],
    assignment: Annotated[str, typer.Option(help="The assignment's name.")],
    out: Annotated[Path, typer.Option(help="Where scores, results and pages go.")],
    jobs: Jobs = CORES,
    timeout: Annotated[float, typer.Option(help="Seconds for one submission.", min=1)] = 300.0,
    call_timeout: Annotated[float, typer.Option(help="Seconds for one call.", min=1)] = 30.0,
    memory: Annotated[int, typer.Option(help="MiB for one submission.", min=256)] = 2048,
    again: Annotated[
        bool, typer.Option("--again", help="Grade all anew, not only what is new or changed.")
    ] = False,
    no_sandbox: NoSandbox = False,
    course: CourseDir = None,
) -> None:
    """Grade a folder of submissions; the exit code speaks of the grader, not of the class.

    Results are written as they come. Started again, after a kill or with new submissions, it
    grades only those whose results are not there yet or that have changed since.
    """
    from autograder.sandbox.limits import Limits

    limits = Limits(seconds=timeout, call_seconds=call_timeout, memory_mib=memory)
    _grade(submissions, assignment, out, jobs, limits, _sandbox(no_sandbox), again)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the class and its report go.")] = Path(
        "out/demo"
    ),
    jobs: Jobs = CORES,
    course: CourseDir = None,
) -> None:
    """Grade a demo class of real submissions to 03_fc_vae."""
    from autograder.quality import demo as demo_class
    from autograder.sandbox.limits import Limits

    folder = demo_class.make_class(out / "submissions")
    limits = Limits(call_seconds=15.0)
    sandbox = _sandbox(own=True)
    _grade(folder, demo_class.ASSIGNMENT, out / "report", jobs, limits, sandbox, again=True)


@app.command()
def verify(
    names: Names = None,
    jobs: Jobs = CORES,
    quick: Annotated[bool, typer.Option("--quick", help="Train only where it must be.")] = False,
    twice: Annotated[
        bool, typer.Option("--twice", help="Grade again with cold workers: the same bytes?")
    ] = False,
    course: CourseDir = None,
) -> None:
    """Hold each assignment against its bank: reference, starter, right and wrong submissions.

    With `--quick` most of the bank is not trained: the reference is, one right submission, and
    those wrong ones whose faults show in training alone.
    """
    from autograder.course.sources import assignments
    from autograder.quality.verify import verify_from_scratch
    from autograder.sandbox.limits import Limits

    console = Console()
    sandbox = _sandbox(own=True)
    table = Table("assignment", "in step", "reference", "starter", "right ones", "wrong ones")
    table.columns[0].no_wrap = True
    failed = False
    for name in names or assignments():
        with console.status(f"Grading the bank of {name} …"):
            found = verify_from_scratch(
                name, jobs, Limits(call_seconds=20.0), sandbox, thorough=not quick, twice=twice
            )
        table.add_row(
            name,
            "yes" if found.up_to_date else "NO",
            f"{found.reference.score:g} / {found.reference.max_score:g}",
            f"{found.starter.score:g}",
            f"{found.right[0]} of {found.right[1]} earn all",
            f"{found.wrong[0]} of {found.wrong[1]} lose theirs alone",
        )
        for problem in found.problems:
            failed = True
            console.print(Text(f"{name}: {problem}", style="red"))
    console.print(table)
    if failed:
        raise typer.Exit(1)


@app.command()
def calibrate(
    names: Names = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each.", min=1)] = 3,
    source: Annotated[str, typer.Option(help="full or embedded")] = "full",
    out: Annotated[Path, typer.Option(help="Where the table and the runs go.")] = Path("docs"),
    course: CourseDir = None,
) -> None:
    """Train each reference for its whole budget and write how far its threshold is."""
    from autograder.course.sources import assignments
    from autograder.quality import calibrate as calibration
    from autograder.records.results import write_text

    found = {name: calibration.plan_of(name) for name in assignments()}
    plans = {name: plan for name, plan in found.items() if plan}
    for name in names or assignments():
        plan = plans.get(name)
        if plan is None:
            typer.echo(f"{name} has no threshold.")
            continue
        for seed in range(seeds):
            run = calibration.train(name, plan, seed, source, typer.echo)
            runs = calibration.keep(run, out / "calibration.json")
            write_text(out / "calibration.md", calibration.as_markdown(runs, plans))
    typer.echo(f"Table: {out / 'calibration.md'}")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    course: CourseDir = None,
) -> None:
    """Write an editable copy of the course: sources, starters, checks, submission corpora."""
    from autograder.build.copy import copy_course

    made = copy_course(folder)
    typer.echo(f"wrote {made}")
    typer.echo(f"Edit {made / 'solutions'} and {made / 'checks'}, then run there: vaelab build")


def _sandbox(unconfined: bool = False, *, own: bool = False):  # type: ignore[no-untyped-def]
    """Choose how to confine submissions, and say so; the course's `own` may run in any case."""
    from autograder.sandbox.inside.system import SandboxError
    from autograder.sandbox.tiers import TIERS, Sandbox

    try:
        chosen = Sandbox("C" if unconfined else "").resolved()
    except SandboxError as reason:
        if not own:
            raise
        typer.echo(str(reason), err=True)
        chosen = Sandbox("C")
    if chosen.tier == "C":
        typer.secho(
            "WARNING: submissions are NOT SANDBOXED. Each can do whatever you can do: read and "
            "delete your files,\nchange grades, use the network, and stay when grading is over.",
            fg="red",
            bold=True,
            err=True,
        )
    else:
        typer.echo(f"Submissions are {TIERS[chosen.tier]} (tier {chosen.tier}).")
    return chosen


def _grade(  # type: ignore[no-untyped-def]
    submissions: Path, assignment: str, out: Path, jobs: int, limits, sandbox, again: bool
) -> None:
    from autograder.course.sources import load_source
    from autograder.grading.batch import find_submissions, grade_all
    from autograder.records.text import shown
    from autograder.reports.output_folder import OutputFolder, grader_digest

    console = Console()
    load_source(assignment)
    entries = find_submissions(submissions, assignment)
    report = OutputFolder(out, grader_digest(assignment, limits, sandbox))
    with report.alone():
        due = entries if again else report.keep(entries, assignment)
        if len(due) < len(entries):
            kept = len(entries) - len(due)
            console.print(
                f"Kept {kept} of {len(entries)} results: neither the work nor its checks changed."
            )
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task(f"Grading {assignment}", total=len(due))
            for result in grade_all(due, assignment, min(jobs, len(due)), limits, sandbox):
                report.add(result)
                progress.advance(bar)
                if not console.is_terminal:
                    console.print(
                        f"{shown(result.student)}: {result.status}, {result.score:g} points",
                        markup=False,
                        highlight=False,
                    )
        results = report.finish()
    console.print(_table(results))
    console.print(f"Scores: {out / 'scores.csv'}", soft_wrap=True)
    console.print(f"Report: {(out / 'index.html').resolve()}", soft_wrap=True)
    if any(result.status == "not_graded" for result in results):
        raise typer.Exit(1)


def _table(results) -> Table:  # type: ignore[no-untyped-def]
    from autograder.records.text import shown

    table = Table(title=results[0].assignment, title_justify="left")
    table.add_column("student")
    table.add_column("status")
    table.add_column("score", justify="right")
    table.add_column("lost, and why", overflow="fold")
    for result in results:
        lost = [t.task for t in result.tasks if not t.pending and t.points < t.max_points]
        why = sorted({c.mistake for c in result.checks if c.mistake})
        text = ", ".join(lost) if len(lost) < 4 else f"{len(lost)} tasks"
        score = f"{result.score:g} / {result.max_score:g}"
        style = "" if result.status == "graded" else "yellow"
        note = text + (f" ({', '.join(why)})" if why else "")
        table.add_row(
            Text(shown(result.student)), Text(result.status, style=style), Text(score), Text(note)
        )
    return table


def main() -> None:
    """Run the command; a user's mistake is one line, not a traceback."""
    from autograder.grading.batch import BatchError
    from autograder.sandbox.inside.system import SandboxError

    try:
        app()
    except SandboxError as error:
        typer.echo(
            f"vaelab: {error} Install bubblewrap (on Debian: apt install bubblewrap); or, if you "
            "trust everyone whose work you grade, add --no-sandbox.",
            err=True,
        )
        sys.exit(2)
    except (CourseError, BatchError) as error:
        typer.echo(f"vaelab: {error}", err=True)
        sys.exit(2)

"""The `vaelab` command: parses arguments, calls the grader, prints results."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from autograder.course.locate import CourseError, use_course

HELP = """Build, verify and grade a course of notebooks on autoencoders and VAEs.

The typical order of the commands:

- `init` writes a copy of the course that you can edit.
- `build` builds the starter notebooks from the sources in `solutions/`.
- `verify` tests each assignment on its corpus of correct and incorrect submissions.
- `compose` grades right submissions that are composed of many ways to write each part.
- `calibrate` measures how far each loss threshold is from the loss of the reference.
- `collect` puts downloaded submissions into the folders that `grade` reads.
- `grade` grades a folder of submissions.

`demo` grades a class of example submissions. It needs no other command before it.
"""
app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", help=HELP
)
NoSandbox = Annotated[
    bool,
    typer.Option(
        "--no-sandbox", help="Run submissions without a sandbox. Only for authors whom you trust."
    ),
]
Names = Annotated[list[str] | None, typer.Argument(help="Assignments. Default: all.")]
Jobs = Annotated[int, typer.Option(help="Number of submissions graded at the same time.", min=1)]
CORES = os.cpu_count() or 1


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import version
    from platform import python_version

    from autograder.course.locate import current_course

    typer.echo(
        f"vaelab {version('vaelab')}, torch {version('torch')}, Python {python_version()}, "
        f"course in {current_course().root}"
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
        help="The course's folder. Default: the course that contains the current folder, else the "
        "installed course.",
    ),
]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    course: CourseDir = None,
) -> None:
    """Write an editable copy of the course: sources, starters, checks and submission corpora."""
    from autograder.build.copy import copy_course

    written = copy_course(folder)
    typer.echo(f"Wrote {written}")
    typer.echo(
        f"Next: edit the sources in {written / 'solutions'} and the checks in "
        f"{written / 'checks'}. Then run `vaelab build` in {written}."
    )


@app.command()
def build(
    names: Names = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; list the notebooks that are out of date."),
    ] = False,
    nbgrader: Annotated[
        Path | None,
        typer.Option(help="Write an nbgrader course directory to this folder instead."),
    ] = None,
    solved: Annotated[
        Path | None,
        typer.Option(help="Write the notebooks with their solutions to this folder instead."),
    ] = None,
    course: CourseDir = None,
) -> None:
    """Build the starter notebooks from their sources."""
    from autograder.build import notebooks as builder

    if solved:
        for path in builder.write_solved(solved, names):
            typer.echo(f"Wrote {path}")
    elif nbgrader:
        for path in builder.build_nbgrader(nbgrader, names):
            typer.echo(f"Wrote {path}")
    elif check:
        problems = builder.out_of_date(names)
        for line in problems:
            typer.echo(line, err=True)
        if problems:
            typer.echo("Run `vaelab build` and commit the notebooks that it writes.", err=True)
            raise typer.Exit(1)
        typer.echo("All notebooks are up to date.")
    else:
        changed = builder.build(names)
        for path in changed:
            typer.echo(f"Wrote {path}")
        if not changed:
            typer.echo("All notebooks are up to date. Nothing was written.")


@app.command()
def verify(
    names: Names = None,
    jobs: Jobs = CORES,
    quick: Annotated[
        bool, typer.Option("--quick", help="Train only the submissions that need it.")
    ] = False,
    twice: Annotated[
        bool,
        typer.Option(
            "--twice", help="Grade again with cold workers, and compare the results byte by byte."
        ),
    ] = False,
    course: CourseDir = None,
) -> None:
    """Test each assignment on its reference, its starter and its submission corpus.

    The command fails if a notebook is out of date, if the reference does not earn all points, if
    the starter earns points, or if a corpus submission does not get its expected result.

    With `--quick`, only these submissions are trained: the reference, one correct submission, and
    each submission whose result without training is not the expected one.
    """
    from autograder.course.sources import assignments
    from autograder.grading.batch import Judges
    from autograder.quality.verify import verify_from_scratch
    from autograder.sandbox.limits import Limits

    console = Console()
    judges = Judges(jobs, Limits(call_seconds=20.0), _sandbox(own=True))
    table = Table(
        "assignment",
        "up to date",
        "reference: points",
        "starter: points",
        "correct submissions: full points",
        "incorrect submissions: expected loss",
    )
    table.columns[0].no_wrap = True
    failed = False
    with judges:
        for name in names or assignments():
            with console.status(f"Grading the submission corpus of {name} …"):
                found = verify_from_scratch(name, judges, thorough=not quick, twice=twice)
            table.add_row(
                name,
                "yes" if found.up_to_date else "NO",
                f"{found.reference.score:g} of {found.reference.max_score:g}",
                f"{found.starter.score:g}",
                "{} of {}".format(*found.correct),
                "{} of {}".format(*found.incorrect),
            )
            for problem in found.problems:
                failed = True
                console.print(Text(f"{name}: {problem}", style="red"))
    console.print(table)
    if failed:
        raise typer.Exit(1)


@app.command()
def mutate(
    names: Names = None,
    jobs: Jobs = CORES,
    train: Annotated[
        bool, typer.Option("--train", help="Train the mutants that lose nothing without training.")
    ] = False,
    count: Annotated[
        int | None,
        typer.Option("--sample", help="Grade this many mutants, chosen at random.", min=1),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the report to this file, in Markdown.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            help="Store each assignment's verdicts here; the report includes earlier ones.",
        ),
    ] = None,
    course: CourseDir = None,
) -> None:
    """Test the checks: change each reference by small errors and expect that each error is found.

    The command fails if a changed reference, a mutant, keeps all points and is not in the list of
    equivalents, or if it loses a task that the changed line does not belong to.
    """
    from autograder.course.sources import assignments
    from autograder.grading.batch import Judges
    from autograder.quality import mutate as mutation
    from autograder.sandbox.limits import Limits

    console = Console()
    verdicts: list[mutation.Verdict] = []
    chosen = mutation.sample(names or assignments(), count) if count else None
    with Judges(jobs, Limits(call_seconds=20.0), _sandbox(own=True)) as judges:
        for name in names or assignments():
            some = None if chosen is None else [m for m in chosen if m.assignment == name]
            if some == []:
                continue
            for listed in mutation.unused(name):
                console.print(
                    f"{name}: no mutant is like the equivalent `{listed.line}`.", markup=False
                )
            with console.status(f"Grading the mutants of {name} …"):
                found = list(mutation.run(name, judges, train=train, chosen=some))
            for one in found:
                if one.is_problem:
                    console.print(Text(one.sentence(), style="red"))
            verdicts += found
            if keep and not count:
                mutation.store(keep, name, found)
            console.print(Text(f"{name}: {mutation.counted(found)}"))
    if report:
        every = assignments()
        shown = mutation.stored(keep, every) if keep and not count else verdicts
        missing = mutation.incomplete(shown, every)
        report.write_text(mutation.report(shown, missing), encoding="utf-8")
        console.print(f"Report: {report}", soft_wrap=True)
    if any(one.is_problem for one in verdicts):
        raise typer.Exit(1)


@app.command()
def compose(
    names: Names = None,
    count: Annotated[
        int | None,
        typer.Option(help="Compositions of each assignment. Default: what its file says.", min=1),
    ] = None,
    seed: Annotated[int, typer.Option(help="The first composition's seed.", min=0)] = 0,
    train: Annotated[
        int, typer.Option(help="How many compositions of all to train as well.", min=0)
    ] = 0,
    jobs: Jobs = CORES,
    out: Annotated[
        Path | None, typer.Option(help="Write the notebooks to this folder and keep them.")
    ] = None,
    course: CourseDir = None,
) -> None:
    """Grade right submissions that are composed of independent ways to write each part.

    Each composition must keep all points. The command reports each one that loses points with its
    parts, its messages and the command that makes it again, and then fails.
    """
    from autograder.course.sources import assignments
    from autograder.grading.batch import Judges
    from autograder.quality import compose as composing
    from autograder.sandbox.limits import Limits

    chosen = names or assignments()
    plan = composing.plan(chosen, count, seed, train)
    failed = False
    with Judges(jobs, Limits(call_seconds=20.0), _sandbox(own=True)) as judges:
        for name in chosen:
            report = composing.run(plan[name], judges, out)
            for line in report.lines():
                typer.echo(line)
            failed |= bool(report.failing)
    if failed:
        raise typer.Exit(1)


@app.command()
def calibrate(
    names: Names = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds for each reference.", min=1)] = 3,
    source: Annotated[str, typer.Option(help="The data set: full or embedded.")] = "full",
    out: Annotated[Path, typer.Option(help="Folder for the table and the saved runs.")] = Path(
        "docs"
    ),
    course: CourseDir = None,
) -> None:
    """Train each reference for all of its epochs; compare its loss with the threshold."""
    from autograder.course.sources import assignments
    from autograder.quality import calibrate as calibration
    from autograder.quality import new_images
    from autograder.records.results import write_text

    found = {name: calibration.training_spec(name) for name in assignments()}
    specs = {name: spec for name, spec in found.items() if spec}
    for name in names or assignments():
        spec = specs.get(name)
        if spec is None:
            typer.echo(f"{name}: skipped, because it has no loss threshold.")
            continue
        for seed in range(seeds):
            run = calibration.train(name, spec, seed, source, typer.echo)
            runs = calibration.save_run(run, out / "calibration.json")
            more = new_images.section(out / "new_images.json")
            write_text(out / "calibration.md", calibration.as_markdown(runs, specs) + more)
    typer.echo(f"Table: {out / 'calibration.md'}")


@app.command()
def collect(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder or a ZIP archive, as Canvas, Moodle, Gradescope or nbgrader delivers it."
        ),
    ],
    assignment: Annotated[str, typer.Option(help="The assignment's name, such as 03_fc_vae.")],
    into: Annotated[Path, typer.Option(help="The folder of the submissions.")],
    roster: Annotated[
        Path | None,
        typer.Option(help="The students, as a CSV file of Canvas, Moodle or nbgrader."),
    ] = None,
    course: CourseDir = None,
) -> None:
    """Collect submissions into `<student>/<assignment>/<assignment>.ipynb`, the form for `grade`.

    The latest attempt of each student is taken. Earlier ones are kept beside it, each with its
    time. A notebook with another name, in a deeper folder or in an archive is found by its content.
    The command lists who handed in nothing, notebooks of other assignments, empty archives, and
    names that are not on the roster. Nothing that is already in the folder is lost.
    """
    from autograder.collecting.collect import MISSING
    from autograder.collecting.collect import collect as run
    from autograder.collecting.roster import read_roster
    from autograder.records.text import printable

    report = run(source, assignment, into, read_roster(roster) if roster else None)
    console = Console()
    table = Table("student", "state", "time (UTC)", "late", "attempts", "notes")
    for one in report.students:
        if one.notes or one.state == MISSING or one.late:
            time = one.time.strftime("%Y-%m-%d %H:%M") if one.time else ""
            cells = (one.student, one.state, time, "late" if one.late else "", str(one.attempts))
            notes = printable(" ".join(one.notes))
            table.add_row(*(Text(printable(cell)) for cell in cells), Text(notes))
    if table.row_count:
        console.print(table)
    for where, problem in report.problems:
        console.print(Text(f"{printable(where)}: {printable(problem)}", style="yellow"))
    missing = sum(one.state == MISSING for one in report.students)
    typer.echo(
        f"{len(report.students) - missing} of {len(report.students)} students have a notebook, "
        f"{len(report.problems)} problems. Table: {report.table}"
    )


@app.command()
def grade(
    submissions: Annotated[
        Path,
        typer.Argument(
            help="The folder that contains `<student>/<assignment>/<assignment>.ipynb`."
        ),
    ],
    assignment: Annotated[str, typer.Option(help="The assignment's name, such as 03_fc_vae.")],
    out: Annotated[Path, typer.Option(help="Output folder for scores, results and pages.")],
    jobs: Jobs = CORES,
    timeout: Annotated[
        float, typer.Option(help="Time limit of one submission, in seconds.", min=1)
    ] = 300.0,
    call_timeout: Annotated[
        float,
        typer.Option(help="Time limit of one call of the student's code, in seconds.", min=1),
    ] = 30.0,
    memory: Annotated[
        int, typer.Option(help="Memory limit of one submission, in MiB.", min=256)
    ] = 2048,
    again: Annotated[
        bool, typer.Option("--again", help="Grade all submissions again, also unchanged ones.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="STUDENT",
            help="Grade this student again and keep all other results. Can be repeated.",
        ),
    ] = None,
    no_sandbox: NoSandbox = False,
    course: CourseDir = None,
) -> None:
    """Grade a folder of submissions.

    Each result is written as soon as it is there. You can interrupt the command and start it
    again: it then grades only submissions that are new, changed or not graded yet.

    The exit code is 0 if all submissions were graded, 1 if the grader failed for a submission or
    for one of its tasks, and 2 for an error in the command. Scores do not change the exit code.
    """
    from autograder.sandbox.limits import Limits

    limits = Limits(seconds=timeout, call_seconds=call_timeout, memory_mib=memory)
    _grade(submissions, assignment, out, jobs, limits, _sandbox(no_sandbox), again, only or ())


@app.command()
def explain(
    result: Annotated[Path, typer.Argument(help="The result: OUT/results/<student>.json.")],
    check: Annotated[
        str, typer.Argument(help="The check's name in the result, or <task>.<check>.")
    ],
    submission: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The notebook that was graded. Default: the student's notebook in a folder "
            "`submissions` beside OUT.",
        ),
    ] = None,
    script: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the script to this file.")
    ] = None,
    no_sandbox: NoSandbox = False,
    course: CourseDir = None,
) -> None:
    """Explain a check of a result: what was asked, what came back, what was expected.

    The check runs again on the submission, with the same inputs. With `--script`, the command also
    writes a script that reproduces the check by hand. The script needs PyTorch only.

    The exit code is 1 if the check has another outcome or message than in the result.
    """
    from autograder.grading.explain import ExplainError, read_result
    from autograder.grading.explain import explain as explain_check
    from autograder.records.results import write_text
    from autograder.reports.output_folder import SECRET, OutputFolder

    found, out = read_result(result), result.resolve().parent.parent
    if not (out / SECRET).exists():
        raise ExplainError(
            f"{out / SECRET} does not exist. The inputs of a check depend on this file, so the "
            "result must be in its output folder."
        )
    name = found.assignment
    default = out.parent / "submissions" / found.student / name / f"{name}.ipynb"
    secret, sandbox = OutputFolder(out).secret(), _sandbox(no_sandbox)
    explained = explain_check(found, check, submission or default, sandbox=sandbox, secret=secret)
    for line in explained.lines:
        typer.echo(line)
    if script and explained.script:
        write_text(script, explained.script)
        typer.echo(f"Script: {script}")
        typer.echo("It runs the student's code without a sandbox. Read it before you run it.")
    if not explained.same:
        raise typer.Exit(1)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="Output folder for the submissions and results.")
    ] = Path("out/demo"),
    jobs: Jobs = CORES,
    course: CourseDir = None,
) -> None:
    """Grade a demo class: fifteen correct and incorrect submissions to 03_fc_vae."""
    from autograder.quality import demo as demo_class
    from autograder.sandbox.limits import Limits

    folder = demo_class.make_class(out / "submissions")
    limits = Limits(call_seconds=15.0)
    sandbox = _sandbox(own=True)
    _grade(folder, demo_class.ASSIGNMENT, out / "report", jobs, limits, sandbox, again=True)


def _sandbox(unconfined: bool = False, *, own: bool = False):  # type: ignore[no-untyped-def]
    """Choose the sandbox of the submissions and print its tier.

    Args:
        unconfined: True to run without a sandbox.
        own: True for the course's own submissions. They also run if no sandbox works here.

    Raises:
        SandboxError: If no sandbox works here and the submissions are not the course's own.
    """
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
            "WARNING: submissions run WITHOUT A SANDBOX (tier C). Each one can do what you can do: "
            "read and\ndelete your files, change grades, use the network, and leave processes "
            "running after grading.",
            fg="red",
            bold=True,
            err=True,
        )
    else:
        typer.echo(f"Submissions are {TIERS[chosen.tier]} (tier {chosen.tier}).")
    return chosen


def _grade(  # type: ignore[no-untyped-def]
    submissions: Path,
    assignment: str,
    out: Path,
    jobs: int,
    limits,
    sandbox,
    again: bool,
    only: Sequence[str] = (),
) -> None:
    from autograder.course.sources import load_source
    from autograder.grading.batch import (
        chosen,
        expect_apart,
        expect_hidden,
        find_submissions,
        grade_all,
    )
    from autograder.records.text import printable
    from autograder.reports.output_folder import OutputFolder, grader_digest

    console = Console()
    load_source(assignment)
    entries = find_submissions(submissions, assignment)
    expect_apart(submissions, out)
    output = OutputFolder(out, grader_digest(assignment, limits, sandbox))
    with output.locked():
        output.claim(assignment)
        expect_hidden(sandbox, [submissions, out])
        secret = output.secret()
        entries = [replace(entry, secret=secret) for entry in entries]
        if only:
            to_grade = chosen(entries, only)
            output.keep_others(entries, only, assignment)
        else:
            to_grade = entries if again else output.keep_valid(entries, assignment)
        earlier = {entry.student: output.earlier(entry, assignment) for entry in to_grade}
        if len(to_grade) < len(entries):
            kept = len(entries) - len(to_grade)
            console.print(
                f"Kept {kept} of {len(entries)} results: their submissions and the checks did not "
                "change."
            )
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task(f"Grading {assignment}", total=len(to_grade))
            for result in grade_all(
                to_grade, assignment, min(jobs, len(to_grade)), limits, sandbox
            ):
                output.add(result)
                progress.advance(bar)
                if not console.is_terminal:
                    console.print(
                        f"{printable(result.student)}: {result.status}, "
                        f"{result.score:g} of {result.max_score:g} points",
                        markup=False,
                        highlight=False,
                    )
        results = output.finish()
    for result in results:
        before = earlier.get(result.student)
        if before and (before.score, before.status) != (result.score, result.status):
            console.print(
                f"{printable(result.student)}: before {before.status}, {before.score:g}; now "
                f"{result.status}, {result.score:g} of {result.max_score:g} points",
                markup=False,
                highlight=False,
            )
    console.print(_table(results))
    console.print(f"Scores: {out / 'scores.csv'}", soft_wrap=True)
    console.print(f"Report: {(out / 'index.html').resolve()}", soft_wrap=True)
    failed = sum(not result.is_complete for result in results)
    if failed:
        typer.echo(
            f"The grader failed for {failed} of {len(results)} submissions, or for some of their "
            "tasks. Run the same command again to grade them.",
            err=True,
        )
        raise typer.Exit(1)


def _table(results) -> Table:  # type: ignore[no-untyped-def]
    from autograder.records.text import printable

    table = Table(title=results[0].assignment, title_justify="left")
    table.add_column("student")
    table.add_column("status")
    table.add_column("points", justify="right")
    table.add_column("lost tasks (known mistakes)", overflow="fold")
    for result in results:
        lost = [
            t.task
            for t in result.tasks
            if not t.pending and not t.not_graded and t.points < t.max_points
        ]
        mistakes = sorted({c.mistake for c in result.checks if c.mistake})
        text = ", ".join(lost) if len(lost) < 4 else f"{len(lost)} tasks"
        points = f"{result.score:g} / {result.max_score:g}"
        style = "" if result.status == "graded" else "yellow"
        note = text + (f" ({', '.join(mistakes)})" if mistakes else "")
        table.add_row(
            Text(printable(result.student)),
            Text(result.status, style=style),
            Text(points),
            Text(note),
        )
    return table


def main() -> None:
    """Run the command; print a user's error as one line without a traceback."""
    from autograder.collecting.arrivals import CollectError
    from autograder.grading.batch import BatchError
    from autograder.grading.explain import ExplainError
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
    except (CourseError, BatchError, CollectError, ExplainError) as error:
        typer.echo(f"vaelab: {error}", err=True)
        sys.exit(2)

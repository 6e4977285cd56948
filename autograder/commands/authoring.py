"""The commands of who writes a course: copy, build, test and calibrate it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder.commands.options import CORES, CourseDir, Jobs, Names, sandbox_for


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


def release(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    names: Names = None,
    url: Annotated[
        str,
        typer.Option(
            help="The web address of the folder in which you put the wheel. In Google Colab, the "
            "notebooks install it from there. Default: students upload the wheel to Colab."
        ),
    ] = "",
    course: CourseDir = None,
) -> None:
    """Write the kit for students: starters, a wheel of what they need, and how to install it.

    The kit has no solutions, rubrics or model answers. The checks, which contain right formulas,
    are in a compressed file that nobody reads by accident. The wheel has the checks of all
    assignments: students install it once.
    """
    from autograder.build.kit import write_kit

    wheel = write_kit(folder, names, url)
    typer.echo(f"Wrote {folder}")
    if url:
        typer.echo(f"Next: put {wheel} into the folder of {url}.")
    typer.echo("Give the whole folder to your students. Its README.md says how to install it.")


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

    With `--quick`, only these submissions are trained: the reference, and each submission whose
    result without training is not the expected one.
    """
    from autograder.course.sources import assignments
    from autograder.grading.batch import Judges
    from autograder.quality.verify import verify_from_scratch
    from autograder.sandbox.limits import Limits

    console = Console()
    judges = Judges(jobs, Limits(call_seconds=20.0), sandbox_for(own=True))
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
    with Judges(jobs, Limits(call_seconds=20.0), sandbox_for(own=True)) as judges:
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
    with Judges(jobs, Limits(call_seconds=20.0), sandbox_for(own=True)) as judges:
        for name in chosen:
            report = composing.run(plan[name], judges, out)
            for line in report.lines():
                typer.echo(line)
            failed |= bool(report.failing)
    if failed:
        raise typer.Exit(1)


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

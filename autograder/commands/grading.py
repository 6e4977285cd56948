"""The commands of who grades: collect, grade, override, explain, and the demo."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from autograder.commands.exporting import to_gradebook
from autograder.commands.options import CORES, CourseDir, Jobs, NoSandbox, login, sandbox_for

if TYPE_CHECKING:
    from autograder.records.results import Result
    from autograder.sandbox.limits import Limits
    from autograder.sandbox.tiers import Sandbox


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
    from autograder.records.text import counted, printable

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
        f"{counted(len(report.problems), 'problem')}. Table: {report.table}"
    )


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
        float | None,
        typer.Option(help="Time limit of one submission, in seconds. [default: 300]", min=1),
    ] = None,
    call_timeout: Annotated[
        float | None,
        typer.Option(
            help="Time limit of one call of the student's code, in seconds. [default: 30]", min=1
        ),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(help="Memory limit of one submission, in MiB. [default: 2048]", min=256),
    ] = None,
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
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Grade part I of N of the students, for a job array. See `vaelab merge`.",
        ),
    ] = "",
    dask: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Grade on the Dask cluster of this scheduler, such as tcp://node7:8786. It counts "
            "instead of --jobs.",
        ),
    ] = "",
    gradebook: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the results into this gradebook of nbgrader as well: COURSE/gradebook.db.",
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
    from autograder.course.settings import course_file
    from autograder.sandbox.limits import limits_with

    given = {"seconds": timeout, "call_seconds": call_timeout, "memory_mib": memory}
    set_here = {name: value for name, value in given.items() if value is not None}
    limits = limits_with({**course_file().of(assignment).limits, **set_here})
    if gradebook:
        from autograder.exporting.gradebook import expect_gradebook

        expect_gradebook(gradebook, assignment)
    sandbox = sandbox_for(no_sandbox)
    results = _grade(
        submissions, assignment, out, jobs, limits, sandbox, again, only or (), _part(shard), dask
    )
    if gradebook:
        to_gradebook(results, gradebook, submissions)
    _expect_complete(results)


def _part(text: str) -> tuple[int, int]:
    """Return I and N of the option `--shard I/N`; (1, 1) if it is empty."""
    if not text:
        return 1, 1
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    number, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= parts:
        raise typer.BadParameter(f"--shard {text}: expected I/N with 1 ≤ I ≤ N, such as 3/10.")
    return number, parts


def merge(
    parts: Annotated[
        list[Path], typer.Argument(help="The output folders of `vaelab grade --shard`.")
    ],
    into: Annotated[Path, typer.Option(help="The output folder that gets all results.")],
    course: CourseDir = None,
) -> None:
    """Merge the output folders of the parts of a class.

    The parts stay as they are. Of two results of one student, the later one is taken. Then
    `vaelab grade --out INTO` grades who is still missing.
    """
    from autograder.reports.merging import merge as run

    results = run(parts, into)
    typer.echo(f"{len(results)} results of {results[0].assignment}. Scores: {into / 'scores.csv'}")


def override(
    out: Annotated[Path, typer.Argument(help="The output folder of `vaelab grade`.")],
    student: Annotated[str, typer.Argument(help="The student's name: that of the folder.")],
    task: Annotated[str, typer.Argument(help="The task's id, such as kl_divergence.")],
    points: Annotated[
        float | None, typer.Argument(help="The points of the task. Not with --remove.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why. Instructors see it.")] = "",
    tell: Annotated[
        bool, typer.Option("--tell", help="Show the reason to the student as well.")
    ] = False,
    author: Annotated[
        str,
        typer.Option(help="Who decides. Default: your name in Git's settings, else your login."),
    ] = "",
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the override back; it stays in the log.")
    ] = False,
    course: CourseDir = None,
) -> None:
    """Give a task other points than the checks did, with a reason.

    Every decision stays in the log `OUT/overrides.jsonl`. It holds when the submission is graded
    again. Scores and pages are written again; nothing is graded.
    """
    from autograder.records.overrides import OverrideError
    from autograder.records.text import printable
    from autograder.reports.overriding import decide

    if remove == (points is not None):
        raise OverrideError("Write the points of the task, or --remove to take them back.")
    if not remove and not reason.strip():
        raise OverrideError('An override needs a reason: --reason "…".')
    before, after = decide(
        out, student, task, points, reason=reason.strip(), author=author or login(), tell=tell
    )
    typer.echo(
        f"{printable(student)}: {before.score:g} of {before.max_score:g} points before, now "
        f"{after.score:g} of {after.max_score:g}"
        + (f", {after.final:g} after the penalty for lateness" if after.penalty else "")
    )
    typer.echo(f"Scores: {out / 'scores.csv'}")


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
    secret, sandbox = OutputFolder(out).secret(), sandbox_for(no_sandbox)
    explained = explain_check(found, check, submission or default, sandbox=sandbox, secret=secret)
    for line in explained.lines:
        typer.echo(line)
    if script and explained.script:
        write_text(script, explained.script)
        typer.echo(f"Script: {script}")
        typer.echo("It runs the student's code without a sandbox. Read it before you run it.")
    if not explained.same:
        raise typer.Exit(1)


def demo(
    out: Annotated[
        Path, typer.Option(help="Output folder for the submissions and results.")
    ] = Path("out/demo"),
    few: Annotated[bool, typer.Option("--few", help="Grade five submissions only.")] = False,
    jobs: Jobs = CORES,
    course: CourseDir = None,
) -> None:
    """Grade a demo class: fifteen correct and incorrect submissions to 03_fc_vae."""
    from autograder.quality import demo as demo_class
    from autograder.sandbox.limits import Limits

    folder = demo_class.make_class(out / "submissions", few)
    limits = Limits(call_seconds=15.0)
    sandbox = sandbox_for(own=True)
    report = out / "report"
    _expect_complete(
        _grade(folder, demo_class.ASSIGNMENT, report, jobs, limits, sandbox, again=True)
    )


def _expect_complete(results: "Sequence[Result]") -> None:
    failed = sum(not result.is_complete for result in results)
    if failed:
        typer.echo(
            f"The grader failed for {failed} of {len(results)} submissions, or for some of their "
            "tasks. Run the same command again to grade them.",
            err=True,
        )
        raise typer.Exit(1)


def _grade(
    submissions: Path,
    assignment: str,
    out: Path,
    jobs: int,
    limits: "Limits",
    sandbox: "Sandbox",
    again: bool,
    only: Sequence[str] = (),
    part: tuple[int, int] = (1, 1),
    cluster: str = "",
) -> "list[Result]":
    from autograder.checks.registry import load_checks
    from autograder.collecting.collected import read_collected, submission_times
    from autograder.course.additions import expect_additions
    from autograder.course.settings import course_file
    from autograder.course.sources import load_source
    from autograder.grading.batch import (
        BatchError,
        chosen,
        expect_apart,
        expect_hidden,
        find_submissions,
        grade_all,
    )
    from autograder.grading.cluster import grade_on
    from autograder.grading.late import lateness
    from autograder.grading.versions import versions
    from autograder.records.overrides import active, read_log, with_overrides
    from autograder.records.text import printable
    from autograder.reports.output_folder import OutputFolder, grader_digest
    from autograder.reports.overriding import expect_allowed

    console = Console()
    load_source(assignment)
    entries = find_submissions(submissions, assignment)
    expect_apart(submissions, out)
    load_checks(assignment)  # stop here if the course file does not fit them
    expect_additions()
    of_term = course_file().secret
    number, parts = part
    if parts > 1 and not of_term:
        raise BatchError(
            "The parts of a class must get the same random inputs. Set `secret` in the section "
            "[course] of vaelab.toml, and use this course file for all parts."
        )
    everyone = {entry.student for entry in entries}
    entries = entries[number - 1 :: parts]
    output = OutputFolder(out)
    collected = read_collected(submissions, assignment)
    output.handed_in = {student: one.sentence for student, one in collected.items()}
    with output.locked():
        output.claim(assignment)
        expect_hidden(sandbox, [submissions, out, *([of_term] if of_term else [])])
        secret = output.secret(of_term)
        output.grader = grader_digest(assignment, limits, sandbox, secret)
        output.versions = versions(limits, secret)
        settings, when = course_file().of(assignment), submission_times(submissions, assignment)
        decided = active(read_log(out))
        expect_allowed(out, decided, assignment)

        def adjust(result: "Result") -> "Result":
            student = result.student
            late = lateness(settings.late, settings.due_for(student), when(student))
            late = None if result.status == "missing" else late
            return with_overrides(replace(result, late=late), decided.get(student, {}))

        output.adjust = adjust
        named = {*decided, *settings.extensions} - everyone
        for student in sorted(named):
            console.print(
                f"{printable(student)} has an override or an extension, but no folder in "
                f"{submissions}.",
                style="yellow",
                markup=False,
            )
        entries = [replace(entry, secret=secret) for entry in entries]
        earlier = [one for entry in entries if (one := output.earlier(entry, assignment))]
        if only:
            to_grade = chosen(entries, only)
            output.keep_others(entries, only, assignment)
        else:
            to_grade = entries if again else output.keep_valid(entries, assignment)
        waiting = {entry.student for entry in to_grade}
        output.waiting = {one.student: adjust(one) for one in earlier if one.student in waiting}
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
            try:
                for result in (
                    grade_on(cluster, to_grade, assignment, limits, sandbox)
                    if cluster and to_grade
                    else grade_all(to_grade, assignment, min(jobs, len(to_grade)), limits, sandbox)
                ):
                    output.add(result)
                    result = adjust(result)
                    progress.advance(bar)
                    if not console.is_terminal:
                        console.print(
                            f"{printable(result.student)}: {result.status}, "
                            f"{result.score:g} of {result.max_score:g} points",
                            markup=False,
                            highlight=False,
                        )
            finally:  # also if it is interrupted
                results = output.finish()
    points_before = {one.student: one for one in earlier}
    for result in results:
        before = points_before.get(result.student)
        if before and (before.final, before.status) != (result.final, result.status):
            console.print(
                f"{printable(result.student)}: before {before.status}, {before.final:g} of "
                f"{before.max_score:g} points; now {result.status}, {result.final:g} of "
                f"{result.max_score:g} points",
                markup=False,
                highlight=False,
            )
    console.print(_table(results))
    to_mark = [(one.student, task.task) for one in results for task in one.tasks if task.pending]
    changed = sum(task in decided.get(student, {}) for student, task in to_mark)
    if to_mark:
        console.print(
            f"Written answers that a person has not marked: {len(to_mark)}"
            + f", of which {changed} changed after they were marked" * bool(changed)
            + f". Mark them with: vaelab mark {shlex.quote(str(out))}",
            style="yellow" if changed else "",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"Scores: {(out / 'scores.csv').resolve()}", soft_wrap=True)
    console.print(f"Report: {(out / 'index.html').resolve()}", soft_wrap=True)
    return results


def _table(results: "Sequence[Result]") -> Table:
    from autograder.records.text import printable

    table = Table(title=results[0].assignment, title_justify="left")
    table.add_column("student")
    table.add_column("status")
    table.add_column("points", justify="right")
    table.add_column("lost tasks (known mistakes)", overflow="fold")
    for result in results:
        lost = result.lost_tasks
        mistakes = sorted({c.mistake for c in result.checks if c.mistake})
        text = ", ".join(lost) if len(lost) < 4 else f"{len(lost)} tasks"
        points = f"{result.final:g} / {result.max_score:g}"
        style = "" if result.status == "graded" else "yellow"
        note = text + (f" ({', '.join(mistakes)})" if mistakes else "")
        note += f" (late: −{result.penalty:g})" * bool(result.penalty)
        changed = [one.task for one in result.overrides if one.before.answer is None]
        note += f" (override: {', '.join(changed)})" * bool(changed)
        table.add_row(
            Text(printable(result.student)),
            Text(result.status, style=style),
            Text(points),
            Text(note),
        )
    return table

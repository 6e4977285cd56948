"""The HTML pages: feedback for each student, and one page for the class.

No page loads anything from the network.
"""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from autograder.course.settings import course_file
from autograder.course.sources import load_source
from autograder.records.causes import grouped
from autograder.records.results import GRADER_ERROR, STATUSES, Override, Result, Versions
from autograder.records.text import SIGNS, file_name, marked, printable
from autograder.sandbox.tiers import TIERS

BINS = 10
NAMES_SHOWN = 6  # more names than these are folded


@dataclass(frozen=True)
class Bar:
    """One bar of a chart.

    Attributes:
        label: What it counts.
        count: How many.
        share: Its length, from 0 to 1: the count over the largest count or over all.
    """

    label: str
    count: int
    share: float


@dataclass(frozen=True)
class RecognisedMistake:
    """A known mistake that checks recognised.

    Attributes:
        name: The mistake's name.
        message: The sentence that explains it.
        students: The students whose submissions contain it.
    """

    name: str
    message: str
    students: tuple[str, ...]


@dataclass(frozen=True)
class CheckRate:
    """How often a check passed.

    Attributes:
        task: The id of the check's task.
        sentence: What the check expects.
        passed: The graded submissions that passed it.
        run: The graded submissions that it was run on.
        unexplained: Those that failed it without a known mistake.
    """

    task: str
    sentence: str
    passed: int
    run: int
    unexplained: int


def feedback_page(result: Result, handed_in: str = "") -> str:
    """Return a student's feedback page as HTML.

    Args:
        result: The result.
        handed_in: A sentence about the graded file: when it was handed in, and which attempt it is.
    """
    losses = result.facts.get("training_losses") or []
    return _render(
        "feedback.html",
        result=result,
        title=load_source(result.assignment).title,
        handed_in=handed_in,
        groups=grouped(result),
        # Nothing was checked: the reason is said once, and not for each check.
        unchecked=all(check.outcome in ("not_run", GRADER_ERROR) for check in result.checks),
        tools=tools(result.versions) if result.versions else "",
        curve=curve(losses, result.facts.get("below"), result.facts.get("unit", "")),
    )


def late_line(result: Result) -> str:
    """Return what a late submission loses and what remains, for the student; "" without a date."""
    late = result.late
    if not late:
        return ""
    loses = (
        f"Late submission: −{result.penalty:g} points. Final: {result.final:g} of "
        f"{result.max_score:g} points. "
    )
    handed_in = f", handed in {local(late.handed_in)}" if late.handed_in else ""
    return f"{loses if result.penalty else ''}Due {local(late.due)}{handed_in}. {late.note}"


def local(time: str) -> str:
    """Return a time in UTC, such as "2026-11-30 21:05:12", in the course's time zone."""
    zone = course_file().zone
    if zone is None:
        return f"{time} UTC"
    moment = datetime.fromisoformat(time).replace(tzinfo=UTC).astimezone(zone)
    return f"{moment:%Y-%m-%d %H:%M:%S} ({zone.key})"


def class_page(results: Sequence[Result]) -> str:
    """Return the class page as HTML: scores, pass rate of each task, most frequent mistakes."""
    # A submission without a decided task has no share.
    decided = [r for r in results if r.status == "graded" and r.max_score]
    shares = [100 * r.final / r.max_score for r in decided]
    columns = decided_tasks(results)
    return _render(
        "class.html",
        results=results,
        title=load_source(results[0].assignment).title,
        assignment=results[0].assignment,
        columns=columns,
        tasks=[results[0].tasks[number] for number in columns],
        overridden=[r for r in results if any(one.before.answer is None for one in r.overrides)],
        pending=max(r.pending for r in results),
        histogram=score_bars(shares),
        pass_rates=pass_bars(results),
        mistakes=recognised_mistakes(results),
        median=statistics.median(shares) if shares else None,
        graded=len(shares),
        others=[r for r in results if r.status != "graded"],
        open=sum(1 for r in results if r.not_graded),
        look=[r for r in results if r.look],
        graded_with=graded_with(results),
        check_rates=check_rates(results),
        names_shown=NAMES_SHOWN,
    )


def graded_with(results: Sequence[Result]) -> list[str]:
    """Return, for each set of versions that was used, a sentence with its dates.

    Results of an older grader, which have no versions, are left out.
    """
    dates: dict[Versions, list[str]] = defaultdict(list)
    for result in results:
        if result.versions:
            dates[replace(result.versions, date="")].append(result.versions.date)
    return [
        f"{len(when)} graded {' to '.join(dict.fromkeys((min(when), max(when))))} UTC with "
        f"{tools(used)}; limits: {used.limits}; secret of the random inputs: {used.inputs}."
        for used, when in dates.items()
    ]


def tools(used: Versions) -> str:
    """Return the versions of the course and of the programs, in words."""
    return (
        f"{used.course}, vaelab {used.vaelab}, PyTorch {used.torch} and Python {used.python}"
    ).removeprefix(", ")


def override_of(result: Result, task: str) -> Override | None:
    """Return what a person decided about a task, or None."""
    return next((one for one in result.overrides if one.task == task), None)


def decided_tasks(results: Sequence[Result]) -> list[int]:
    """Return the places of the tasks that are decided for at least one submission."""
    places = range(len(results[0].tasks))
    return [number for number in places if not all(r.tasks[number].pending for r in results)]


def score_bars(shares: Sequence[float]) -> list[Bar]:
    """Count scores, in percent, in ten bins of equal width; 100 counts in the last bin."""
    counts = [0] * BINS
    for share in shares:
        counts[min(int(share * BINS / 100), BINS - 1)] += 1
    most = max([*counts, 1])
    width = 100 // BINS
    return [
        Bar(f"{i * width}–{(i + 1) * width}", count, count / most) for i, count in enumerate(counts)
    ]


def pass_bars(results: Sequence[Result]) -> list[Bar]:
    """Count, for each task that checks decide, the submissions that earned its points."""
    graded = [result for result in results if result.status == "graded"]
    bars = []
    for number in decided_tasks(results):
        task = results[0].tasks[number]
        if task.answer is not None:
            continue
        passed = sum(r.tasks[number].points == r.tasks[number].max_points for r in graded)
        bars.append(Bar(task.title, passed, passed / max(len(graded), 1)))
    return bars


def check_rates(results: Sequence[Result]) -> list[CheckRate]:
    """Count how often each check passed, the lowest pass rate first.

    Checks that were not run count neither as passed nor as failed.
    """
    graded = [result for result in results if result.status == "graded"]
    rates = []
    for checks in zip(*(result.checks for result in graded), strict=True):
        run = [check for check in checks if check.outcome in ("passed", "failed", "todo")]
        passed = sum(check.outcome == "passed" for check in run)
        unexplained = sum(check.outcome == "failed" and not check.mistake for check in run)
        rates.append(CheckRate(checks[0].task, checks[0].sentence, passed, len(run), unexplained))
    return sorted(rates, key=lambda rate: rate.passed / max(rate.run, 1))


def recognised_mistakes(results: Sequence[Result]) -> list[RecognisedMistake]:
    """List the recognised mistakes, the most frequent first; each student counts once."""
    students: dict[str, list[str]] = defaultdict(list)
    messages: dict[str, str] = {}
    for result in results:
        for check in result.checks:
            if check.mistake and result.student not in students[check.mistake]:
                students[check.mistake].append(result.student)
                messages.setdefault(check.mistake, check.message.split(" Expected ")[0])
    order = sorted(students, key=lambda name: (-len(students[name]), name))
    return [RecognisedMistake(name, messages[name], tuple(students[name])) for name in order]


def curve(losses: Sequence[float], below: float | None, unit: str) -> Markup | None:
    """Plot training losses over epochs as an SVG line, with the threshold.

    Args:
        losses: The training loss of each epoch.
        below: The threshold, or None.
        unit: The loss's unit, for the axis.

    Returns:
        The SVG element, or None if no loss is finite.
    """
    values = [loss for loss in losses if loss == loss and abs(loss) < 1e6]
    if not values:
        return None
    low = min([*values, below or values[0]]) * 0.97
    high = max([*values, below or values[0]]) * 1.02
    left, right, top, bottom = 56, 508, 14, 164
    wide = max(len(values) - 1, 1)

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    def x(number: int) -> float:
        return left + (right - left) * number / wide

    points = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(values))
    dots = "".join(
        f'<circle cx="{x(i):.1f}" cy="{y(v):.1f}" r="3.5"><title>epoch {i + 1}: {v:.1f}</title>'
        "</circle>"
        f'<text class="tick" x="{x(i):.1f}" y="{bottom + 18}" text-anchor="middle">{i + 1}</text>'
        for i, v in enumerate(values)
    )
    line = ""
    if below is not None:
        line = (
            f'<line class="limit" x1="{left}" x2="{right}" '
            f'y1="{y(below):.1f}" y2="{y(below):.1f}"/>'
            f'<text class="tick" x="{left + 8}" y="{y(below) - 6:.1f}">'
            f"threshold {below:g}</text>"
        )
    ends = "".join(
        f'<text class="tick" x="{left - 8}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.0f}</text>'
        for v in (values[0], values[-1])
    )
    return Markup(
        f'<svg viewBox="0 0 540 206" role="img" aria-label="Training loss by epoch">'
        f'<polyline points="{points}"/>{line}{dots}{ends}'
        f'<text class="tick" x="{(left + right) / 2}" y="200" text-anchor="middle">epoch</text>'
        f'<text class="tick" transform="translate(14,{(top + bottom) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(unit)}</text></svg>'
    )


def _render(template: str, **values: object) -> str:
    environment = Environment(
        loader=PackageLoader("autograder.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["marked"] = lambda text: Markup(marked(printable(text, keep="\n")))
    environment.filters["link"] = lambda name: quote(file_name(name), errors="backslashreplace")
    environment.filters["printable"] = printable
    environment.globals.update(
        late_line=late_line, override_of=override_of, statuses=STATUSES, signs=SIGNS, tiers=TIERS
    )
    return environment.get_template(template).render(**values) + "\n"

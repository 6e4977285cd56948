"""Right submissions, composed of independent ways to write each part.

A composition is one way for each part of an assignment, in one or more styles. All of it is right,
so each composition must keep all points. What it is made of depends on the assignment and on one
number, its seed, so a composition that loses points can be made again.
"""

import contextlib
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.grading import batch
from autograder.quality import corpus
from autograder.quality.corpus import CorpusSubmission
from autograder.quality.styles import STYLES
from autograder.quality.verify import problems_with
from autograder.quality.ways import Ways, load_ways, pairs, seeded_pick
from autograder.quality.written import chosen_ways, parts_of, write
from autograder.records.results import Result

# How often a style is used beside the one that a composition always tries.
STYLE_SHARE = 0.12
STYLE = "style."
# How many ways a report names that may be the reason of lost points.
SUSPECTS = 12
# How many ways a report names that no composition has.
SHOWN = 8


@dataclass(frozen=True)
class Composition:
    """One right submission, made of ways.

    Attributes:
        assignment: The assignment's name.
        seed: What it is made from.
        parts: The ways and styles, each `slot.way` or `style.name`.
        submission: What it changes in the reference.
    """

    assignment: str
    seed: int
    parts: tuple[str, ...]
    submission: CorpusSubmission


@dataclass(frozen=True)
class Graded:
    """A composition and its result.

    Attributes:
        composition: The composition.
        result: Its result.
        problems: One sentence for each difference from full points; () if there is none.
    """

    composition: Composition
    result: Result
    problems: tuple[str, ...]


def compose(assignment: str, seed: int) -> Composition:
    """Make one composition.

    Raises:
        CourseError: If a file of ways does not have the expected form.
    """
    found = write(assignment, seeded_pick(seed), _styles(load_ways(assignment), seed), seed)
    parts = (*found.ways, *(STYLE + name for name in found.styles))
    submission = CorpusSubmission(
        name=f"seed_{seed}",
        about="composed of " + ", ".join(parts),
        cells=found.cells,
        before=found.before,
        after=found.after,
    )
    return Composition(assignment, seed, parts, submission)


def _styles(ways: Ways, seed: int) -> list[str]:
    """Choose the styles of a composition: each one in turn, and some more by chance."""
    allowed = tuple(name for name in STYLES if name not in ways.without_styles)
    chance = random.Random(f"styles {seed}")
    more = [name for name in allowed if chance.random() < STYLE_SHARE]
    return [seeded_pick(seed)("style", allowed), *more]


def uncovered(assignment: str, seeds: Iterable[int]) -> set[str]:
    """Return the ways that no composition of these seeds has."""
    every = load_ways(assignment).reached()
    picks = (seeded_pick(seed) for seed in seeds)
    return every.difference(*(parts_of(chosen_ways(assignment, pick)[0]) for pick in picks))


def pairs_covered(compositions: Iterable[Composition]) -> int:
    """Return how many pairs of ways occur together in at least one composition."""
    return len({pair for one in compositions for pair in pairs(one.parts)})


@dataclass(frozen=True)
class Plan:
    """Which compositions of an assignment to grade.

    Attributes:
        assignment: The assignment's name.
        seeds: Their seeds.
        trained: The seeds of those to train; the checks that train are skipped for the others.
    """

    assignment: str
    seeds: range
    trained: frozenset[int] = frozenset()


def plan(names: Sequence[str], count: int | None, seed: int, train: int) -> dict[str, Plan]:
    """Plan a run over several assignments.

    Args:
        names: The assignments.
        count: Compositions of each assignment; None for the numbers that their files state.
        seed: The first seed.
        train: How many compositions to train, all assignments together. They are spread evenly.

    Returns:
        The plan of each assignment, by its name.
    """
    plans = {}
    for place, name in enumerate(names):
        number = count or load_ways(name).count
        share = train // len(names) + (place < train % len(names))
        step = max(1, number // max(1, share))
        seeds = range(seed, seed + number)
        plans[name] = Plan(name, seeds, frozenset(seeds[::step][:share]))
    return plans


def grade(
    compositions: Sequence[Composition],
    folder: Path,
    judges: batch.Judges,
    trained: Iterable[int] = (),
) -> Iterator[Graded]:
    """Grade compositions of one assignment.

    Args:
        compositions: The compositions.
        folder: The folder that the notebooks are written to.
        judges: The judges that grade them.
        trained: The seeds of those to train.

    Yields:
        One result for each composition, as soon as it is there.
    """
    assignment = compositions[0].assignment
    made = {one.submission.name: one for one in compositions}
    train = set(trained)
    entries = [
        batch.Entry(
            name,
            corpus.write(corpus.make(assignment, one.submission), folder, name, assignment),
            train=one.seed in train,
        )
        for name, one in made.items()
    ]
    for result in judges.grade_all(entries, assignment):
        one = made[result.student]
        yield Graded(one, result, tuple(problems_with(one.submission, result)))


@dataclass(frozen=True)
class Report:
    """What a run over one assignment found.

    Attributes:
        plan: What was graded.
        graded: The results.
        uncovered: The ways that no composition of the plan has.
        seconds: How long it took by the clock.
    """

    plan: Plan
    graded: tuple[Graded, ...]
    uncovered: tuple[str, ...]
    seconds: float

    @property
    def failing(self) -> tuple[Graded, ...]:
        """The compositions that lost points."""
        return tuple(one for one in self.graded if one.problems)

    def lines(self) -> list[str]:
        """Return the report as text, line by line."""
        name = self.plan.assignment
        parts = {part for one in self.graded for part in one.composition.parts}
        found = [
            f"{name}: {len(self.graded)} compositions of {len(parts)} ways and styles, "
            f"{pairs_covered(one.composition for one in self.graded):,} pairs of them, "
            f"{len(self.plan.trained)} trained: {len(self.failing)} lose points. "
            f"{self.seconds:.0f} s."
        ]
        if self.uncovered:
            more = ", …" if len(self.uncovered) > SHOWN else ""
            shown = ", ".join(self.uncovered[:SHOWN])
            found.append(f"  {len(self.uncovered)} ways are not covered: {shown}{more}")
        for one in sorted(self.failing, key=lambda one: one.composition.seed):
            seed = one.composition.seed
            trains = " --train 1" if seed in self.plan.trained else ""
            found += [
                f"  vaelab compose {name} --seed {seed} --count 1{trains} --out FOLDER",
                f"    parts: {', '.join(one.composition.parts)}",
                *(f"    {problem}" for problem in one.problems),
            ]
        if self.failing:
            found.append("  the ways that lose points most often (lost, of all):")
            worst = list(suspects(self.graded).items())[:SUSPECTS]
            found += [f"    {part}: {lost} of {every}" for part, (lost, every) in worst]
        return found


def run(what: Plan, judges: batch.Judges, out: Path | None = None) -> Report:
    """Make and grade the compositions of a plan.

    Args:
        what: The plan.
        judges: The judges that grade them.
        out: A folder that keeps the notebooks; None for a temporary one.
    """
    started = time.monotonic()
    compositions = [compose(what.assignment, seed) for seed in what.seeds]
    with contextlib.ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vaelab-")))
        graded = tuple(grade(compositions, folder, judges, what.trained))
    missing = tuple(sorted(uncovered(what.assignment, what.seeds)))
    return Report(what, graded, missing, time.monotonic() - started)


def suspects(graded: Sequence[Graded]) -> dict[str, tuple[int, int]]:
    """Count for each way how many of the compositions that have it fail, and how many there are.

    Returns:
        For each way with at least one failure the pair (failing, all), the worst share first.
    """
    counts: dict[str, tuple[int, int]] = {}
    for one in graded:
        for part in one.composition.parts:
            failing, every = counts.get(part, (0, 0))
            counts[part] = failing + bool(one.problems), every + 1
    found = {part: count for part, count in counts.items() if count[0]}
    return dict(sorted(found.items(), key=lambda item: (-item[1][0] / item[1][1], -item[1][0])))

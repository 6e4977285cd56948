"""Mutation testing of the checks: every small change of a reference must lose points.

`mutants` makes the changes. Each mutant is graded like a submission. It must lose a task that its
changed line belongs to, and no other task. A mutant that is right too stands in the assignment's
list of equivalents, with a reason. The lists are in `checks/a<assignment>/mutants.toml`.
"""

import json
import random
import tempfile
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.checks.registry import load_checks
from autograder.course.locate import CourseError, current_course
from autograder.grading import batch
from autograder.quality import corpus
from autograder.quality.corpus import CorpusSubmission
from autograder.quality.mutants import Mutant, mutants_of
from autograder.quality.verify import lost
from autograder.records.causes import RAISED as RAISED_BY
from autograder.records.causes import cause
from autograder.records.results import SKIPPED, Result, write_text

KILLED, RAISED, STOPPED, TRAINED = "killed", "raised", "stopped", "killed when trained"
EQUIVALENT, ELSEWHERE, SURVIVED, FAILED = (
    "equivalent",
    "lost elsewhere",
    "survived",
    "not graded",
)
# Statuses of a submission that used more than it may.
LIMITS = ("timeout", "memory", "cpu")
VERDICTS = (KILLED, RAISED, STOPPED, TRAINED, EQUIVALENT, ELSEWHERE, SURVIVED, FAILED)


@dataclass(frozen=True)
class Equivalent:
    """A change that is right too, or a matter of taste.

    Attributes:
        line: The text of the changed line, without its indentation.
        operator: The operator; "" for all operators.
        change: The change as the report shows it; "" for every change of this line and operator.
        reason: Why nothing needs to be lost.
    """

    line: str
    operator: str
    change: str
    reason: str

    def covers(self, mutant: Mutant) -> bool:
        """Return whether this entry is about a mutant."""
        return (
            self.line == mutant.line
            and self.operator in ("", mutant.operator)
            and self.change in ("", mutant.change)
        )


@dataclass(frozen=True)
class Verdict:
    """What the grader did with one mutant.

    Attributes:
        mutant: The mutant.
        kind: One of `VERDICTS`.
        expected: The tasks that it may lose.
        lost: The tasks that it has lost.
        note: The reason of an equivalent, or the first message of the result.
    """

    mutant: Mutant
    kind: str
    expected: tuple[str, ...]
    lost: tuple[str, ...]
    note: str

    @property
    def is_problem(self) -> bool:
        """True if the checks, or the lists, need work."""
        return self.kind in (ELSEWHERE, SURVIVED, FAILED)

    def sentence(self) -> str:
        """Return the verdict and the change in one line."""
        mutant = self.mutant
        tasks = f"lost {_list(self.lost)}, expected {_list(self.expected)}"
        return (
            f"{mutant.assignment}: {self.kind}: {mutant.operator} in `{mutant.line}`: "
            f"{mutant.change} ({tasks})"
        )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def counted(verdicts: Sequence[Verdict]) -> str:
    """Return how many verdicts of each kind there are, in words."""
    counts = Counter(verdict.kind for verdict in verdicts)
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in VERDICTS if counts[kind])
    return f"{len(verdicts)} mutants: {kinds or 'none'}"


@dataclass(frozen=True)
class Lists:
    """The data file of an assignment: which code belongs to which tasks, and the equivalents.

    Attributes:
        tasks: Tasks by place: a line's text, "operator function:target", "function:target",
            "function" or "class".
        equivalents: The changes that need not lose points.
        broken: Tasks that a change may lose as well if the class cannot be made any more.
    """

    tasks: Mapping[str, tuple[str, ...]]
    equivalents: tuple[Equivalent, ...]
    broken: Mapping[str, tuple[str, ...]]


def load_lists(assignment: str) -> Lists:
    """Read `mutants.toml` of an assignment.

    Raises:
        CourseError: If the file does not exist.
    """
    path = current_course().checks / f"a{assignment}" / "mutants.toml"
    if not path.is_file():
        raise CourseError(
            f"{assignment} has no list of mutants: the file {path} does not exist. Create it; the "
            "files of the other assignments are examples."
        )
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Lists(
        {place: tuple(tasks) for place, tasks in data.get("tasks", {}).items()},
        tuple(
            Equivalent(e["line"], e.get("operator", ""), e.get("change", ""), e["reason"])
            for e in data.get("equivalent", ())
        ),
        {place: tuple(tasks) for place, tasks in data.get("broken", {}).items()},
    )


def expected_tasks(mutant: Mutant, lists: Lists) -> tuple[str, ...]:
    """Return the tasks that the changed line belongs to.

    The data file names them by place. Without an entry, they are the tasks whose parts or names
    include the function or what the line is assigned to.

    Raises:
        CourseError: If there are none.
    """
    target = mutant.target.removeprefix("self.")
    for place in _places(mutant):
        if place in lists.tasks:
            return lists.tasks[place]
    tasks = load_checks(mutant.assignment).tasks
    for name in (target, mutant.function.rpartition(".")[2], mutant.function.partition(".")[0]):
        found = tuple(t.id for t in tasks if name in (t.id, *t.parts, *t.names))
        if found:
            return found
    raise CourseError(
        f"{mutant.assignment}: the change of `{mutant.line}` in `{_places(mutant)[2]}` belongs to "
        "no task. Name its tasks in mutants.toml."
    )


def _places(mutant: Mutant) -> tuple[str, ...]:
    function = mutant.function
    place = f"{function}:{mutant.target}"
    return mutant.line, f"{mutant.operator} {place}", place, function, function.partition(".")[0]


def judge(mutant: Mutant, result: Result, lists: Lists, *, trained: bool = False) -> Verdict:
    """Compare the result of a mutant with what is expected of it.

    Args:
        mutant: The mutant.
        result: Its result.
        lists: The data file of its assignment.
        trained: Whether its result includes training, after one without training.
    """
    expected, found = expected_tasks(mutant, lists), lost(result)
    reasons = [e.reason for e in lists.equivalents if e.covers(mutant)]
    message = next((c.message for c in result.checks if c.task in found and c.message), "")

    def verdict(kind: str, note: str = message) -> Verdict:
        return Verdict(mutant, kind, expected, found, note)

    if result.status in LIMITS and set(found) & set(expected):
        return verdict(STOPPED, result.message)
    if result.status != "graded":
        return verdict(FAILED, result.message)
    if not found:
        return verdict(EQUIVALENT, reasons[0]) if reasons else verdict(SURVIVED)
    if trained:
        return verdict(TRAINED)
    also = {task for place in _places(mutant) for task in lists.broken.get(place, ())}
    if not set(found) & set(expected) or not set(found) <= {*expected, *also}:
        if set(found) & set(expected) and _one_exception(result, expected):
            return verdict(RAISED)
        return verdict(EQUIVALENT, reasons[0]) if reasons else verdict(ELSEWHERE)
    return verdict(KILLED)


def _one_exception(result: Result, expected: Collection[str]) -> bool:
    """Return whether all other tasks failed only by an exception that an expected task shows."""
    failed = [c for c in result.checks if c.outcome not in ("passed", SKIPPED)]
    shown = {cause(c) for c in failed if c.task in expected and RAISED_BY.search(c.message)}
    return all(cause(c) in shown for c in failed if c.task not in expected)


def run(
    assignment: str,
    judges: batch.Judges,
    *,
    train: bool = False,
    chosen: Sequence[Mutant] | None = None,
) -> Iterator[Verdict]:
    """Grade the mutants of an assignment.

    Args:
        assignment: The assignment's name.
        judges: The judges that grade them.
        train: Whether to train the survivors as well.
        chosen: The mutants to grade; None for all.

    Yields:
        One verdict for each mutant.

    Raises:
        CourseError: If the assignment has no data file, or if a mutant belongs to no task.
    """
    lists = load_lists(assignment)
    mutants = {m.name: m for m in (mutants_of(assignment) if chosen is None else chosen)}
    for mutant in mutants.values():
        expected_tasks(mutant, lists)
    with tempfile.TemporaryDirectory(prefix="vaelab-mutate-") as folder:
        entries = {name: _entry(one, Path(folder)) for name, one in mutants.items()}
        again = []
        for result in judges.grade_all(list(entries.values()), assignment):
            found = judge(mutants[result.student], result, lists)
            if train and found.kind == SURVIVED:
                again.append(replace(entries[result.student], train=True))
            else:
                yield found
        for result in judges.grade_all(again, assignment):
            yield judge(mutants[result.student], result, lists, trained=True)


def _entry(mutant: Mutant, folder: Path) -> batch.Entry:
    submission = CorpusSubmission(mutant.name, mutant.change, cells=((mutant.cell, mutant.source),))
    notebook = corpus.make(mutant.assignment, submission)
    path = corpus.write(notebook, folder, mutant.name, mutant.assignment)
    return batch.Entry(mutant.name, path, train=False)


def sample(assignments: Iterable[str], count: int, seed: int = 0) -> list[Mutant]:
    """Choose mutants at random, the same ones each time; equivalents are not among them."""
    every = [
        mutant
        for assignment in assignments
        for mutant in mutants_of(assignment)
        if not any(e.covers(mutant) for e in load_lists(assignment).equivalents)
    ]
    return random.Random(seed).sample(every, min(count, len(every)))


def unused(assignment: str) -> list[Equivalent]:
    """Return the equivalents that are about no mutant any more."""
    mutants = mutants_of(assignment)
    listed = load_lists(assignment).equivalents
    return [e for e in listed if not any(e.covers(mutant) for mutant in mutants)]


# Verdicts of earlier runs.


def store(folder: Path, assignment: str, verdicts: Sequence[Verdict]) -> None:
    """Store the verdicts of one assignment in a folder, in the place of earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [
        {
            "name": v.mutant.name,
            "kind": v.kind,
            "expected": v.expected,
            "lost": v.lost,
            "note": v.note,
        }
        for v in verdicts
    ]
    write_text(folder / f"{assignment}.json", json.dumps(found, indent=1, ensure_ascii=False))


def stored(folder: Path, assignments: Iterable[str]) -> list[Verdict]:
    """Return the stored verdicts of those assignments whose mutants are still the same."""
    verdicts = []
    for assignment in assignments:
        path = folder / f"{assignment}.json"
        if not path.is_file():
            continue
        mutants = {mutant.name: mutant for mutant in mutants_of(assignment)}
        found = json.loads(path.read_text(encoding="utf-8"))
        if {one["name"] for one in found} <= set(mutants):
            verdicts += [
                Verdict(
                    mutants[one["name"]],
                    one["kind"],
                    tuple(one["expected"]),
                    tuple(one["lost"]),
                    one["note"],
                )
                for one in found
            ]
    return verdicts


def incomplete(verdicts: Sequence[Verdict], assignments: Iterable[str]) -> list[str]:
    """Return the assignments of which not every mutant has a verdict."""
    counts = Counter(verdict.mutant.assignment for verdict in verdicts)
    return [one for one in assignments if counts[one] < len(mutants_of(one))]


# The report.


def report(verdicts: Sequence[Verdict], missing: Sequence[str] = ()) -> str:
    """Return the report by assignment and by operator, in Markdown.

    Args:
        verdicts: The verdicts.
        missing: The assignments of which not every mutant has been graded.
    """
    warning = [
        '!!! warning "Not complete"',
        f"    Not every mutant of these assignments has been graded: {_list(missing)}.",
        "",
    ]
    lines = [
        "# Mutation testing",
        "",
        *(warning if missing else ()),
        "`vaelab mutate` changes the reference solutions by small errors and grades each changed "
        "solution, a *mutant*. Each mutant must lose a task that the changed line belongs to, and "
        "no other one. This page is the command's report: `vaelab mutate --report "
        "docs/mutation.md` writes it. Do not edit it.",
        "",
        "- *killed*: the mutant loses its task, without training.",
        "- *stopped*: it uses more memory or time than a submission may. It loses its task and "
        "others that make or call the changed part.",
        "- *raised*: it raises an exception, which other tasks that call the changed function show "
        "too. They lose their points as well.",
        "- *killed when trained*: it loses points only after training.",
        "- *equivalent*: the change is right too, or a matter of taste. Each has a reason below.",
        "- *lost elsewhere*: it loses a task that the changed line does not belong to.",
        "- *survived*: it loses nothing.",
        "",
    ]
    lines += _table("assignment", verdicts, [v.mutant.assignment for v in verdicts])
    lines += _table("operator", verdicts, [v.mutant.operator for v in verdicts])
    for kind, title in (
        (SURVIVED, "Survivors"),
        (ELSEWHERE, "Lost elsewhere"),
        (FAILED, "Not graded"),
        (EQUIVALENT, "Equivalents"),
    ):
        chosen = [v for v in verdicts if v.kind == kind]
        if chosen:
            lines += [f"## {title}", "", "| assignment | line | operator: change | note |"]
            lines += ["| --- | --- | --- | --- |", *map(_row, chosen), ""]
    return "\n".join(lines)


def _table(name: str, verdicts: Sequence[Verdict], keys: Sequence[str]) -> list[str]:
    counts = Counter((key, v.kind) for key, v in zip(keys, verdicts, strict=True))
    lines = [
        f"| {name} | mutants | {' | '.join(VERDICTS)} |",
        "| --- |" + " --: |" * (1 + len(VERDICTS)),
    ]
    for key in [*sorted(set(keys)), ""]:
        row = [
            sum(n for (k, v), n in counts.items() if v == kind and k == (key or k))
            for kind in VERDICTS
        ]
        cells = " | ".join(map(str, (sum(row), *row)))
        lines.append(f"| {key or '**all**'} | {cells} |")
    return [*lines, ""]


def _row(verdict: Verdict) -> str:
    mutant = verdict.mutant
    note = verdict.note
    if verdict.kind == ELSEWHERE:
        note = f"lost {_list(verdict.lost)}; expected {_list(verdict.expected)}"
    change = f"{mutant.operator}: `{_cell(mutant.change)}`"
    return f"| {mutant.assignment} | `{_cell(mutant.line)}` | {change} | {_cell(note)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "ˋ").replace("\n", " ")

"""Chooses the notebook of an assignment among the files of one attempt."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autograder.collecting.arrivals import CollectError
from autograder.collecting.owners import Owned
from autograder.course.sources import assignments, load_source
from autograder.grading.helpers import used_modules
from autograder.grading.notebook import claimed_assignment, grade_id, read_json

FOLDERS = {"submitted", "source", "release"}


@dataclass(frozen=True)
class Chosen:
    """The notebook of an attempt.

    Attributes:
        owned: The file; None if there is none.
        content: Its bytes; b"" if there is none.
        notes: What an instructor may want to know about the choice.
        problem: Why there is no notebook; "" if there is one.
        helpers: The Python files that the notebook names, by their names.
    """

    owned: Owned | None
    content: bytes
    notes: tuple[str, ...]
    problem: str = ""
    helpers: Mapping[str, bytes] = field(default_factory=dict)


def choose(files: Sequence[Owned], assignment: str) -> Chosen:
    """Choose the notebook of an assignment.

    A notebook says in its metadata, or by the names of its cells, which assignment it is. Of
    several, the one with the assignment's name is taken, then the newest. A file that is no
    readable notebook is taken if it is the only one: the grader then says what is wrong.

    Args:
        files: All files of one attempt.
        assignment: The assignment's name.
    """
    candidates, notes = [], []
    for one in files:
        if not one.file.name.lower().endswith(".ipynb"):
            continue
        try:
            content = one.file.read()
        except CollectError as error:
            notes.append(f"{_shown(one)}: {error}")
            continue
        candidates.append((one, content, assignment_of(content)))
    right = [c for c in candidates if c[2] == assignment]
    unknown = [c for c in candidates if not c[2]]
    named = [c for c in unknown if assignment in c[0].file.name]
    taken = right or named or (unknown if len(unknown) == 1 else [])
    if not taken:
        return Chosen(None, b"", tuple(notes), _why_none(files, candidates))
    wanted = f"{assignment}.ipynb"
    taken.sort(key=lambda c: (c[0].file.name == wanted, c[0].time, len(c[1])), reverse=True)
    one, content, _ = taken[0]
    if len(taken) > 1 and any(other != content for _, other, _ in taken[1:]):
        others = ", ".join(_shown(other) for other, _, _ in taken[1:])
        notes.append(f"There are {len(taken)} notebooks; {_shown(one)} was taken, not {others}.")
    elif one.file.name != wanted and one.inside[-1] != wanted:
        notes.append(f"The notebook has another name: {_shown(one)}.")
    folders = [part for part in one.inside[:-1] if part not in (assignment, *FOLDERS)]
    if folders and not notes:
        notes.append(f"The notebook was deeper: {_shown(one)}.")
    return Chosen(one, content, tuple(notes), helpers=_helpers(files, content))


def _helpers(files: Sequence[Owned], content: bytes) -> dict[str, bytes]:
    """Return the Python files of an attempt that its notebook imports, by their names."""
    modules: dict[str, bytes] = {}
    for one in files:
        stem, _, kind = one.inside[-1].rpartition(".")
        if kind == "py" and stem.isidentifier():
            with contextlib.suppress(CollectError):
                modules[stem] = one.file.read()
    texts = {stem: text.decode("utf-8", "ignore") for stem, text in modules.items()}
    used = used_modules(content.decode("utf-8", "ignore"), texts)
    return {f"{stem}.py": modules[stem] for stem in used}


def assignment_of(content: bytes) -> str:
    """Return the assignment that a notebook belongs to; "" if it does not say it."""
    try:
        body = read_json(content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    if name := claimed_assignment(body):
        return name
    found = _cell_ids(body)
    shares = {name: len(found & _solution_ids(name)) for name in assignments()}
    best = max(shares, key=lambda name: shares[name])
    # Names such as `my_vae` occur in several assignments: the best one must be the only one.
    return best if shares[best] and list(shares.values()).count(shares[best]) == 1 else ""


def _solution_ids(assignment: str) -> frozenset[str]:
    return frozenset(c.id for c in load_source(assignment).of("solution", "test"))


def _cell_ids(body: dict[str, Any]) -> set[str]:
    cells = body.get("cells")
    every = cells if isinstance(cells, list) else []
    return {grade_id(cell) for cell in every if isinstance(cell, dict)}


def _why_none(files: Sequence[Owned], candidates: Sequence[tuple[Owned, bytes, str]]) -> str:
    others = sorted({name for _, _, name in candidates if name})
    if others:
        return f"The notebook belongs to another assignment: {', '.join(others)}."
    if candidates:
        names = ", ".join(_shown(one) for one, _, _ in candidates)
        return f"None of the {len(candidates)} notebooks says which assignment it is: {names}."
    names = ", ".join(_shown(one) for one in files[:5])
    return f"There is no notebook among the files: {names}."


def _shown(one: Owned) -> str:
    return "/".join(one.inside)

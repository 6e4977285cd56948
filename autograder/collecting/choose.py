"""Chooses the notebook of an assignment among the files of one attempt."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autograder.collecting.arrivals import Arrival, CollectError
from autograder.collecting.owners import Owned
from autograder.course.sources import assignments, load_source
from autograder.grading.helpers import MAX_HELPERS, used_modules
from autograder.grading.notebook import MAX_SOURCE, claimed_assignment, grade_id, read_json
from autograder.records.text import counted

FOLDERS = {"submitted", "source", "release"}
# Of one student: how many notebooks are read, and how many bytes of them.
MAX_NOTEBOOKS = 200
MAX_NOTEBOOK_BYTES = 512 << 20
MAX_SHOWN = 10
WORD = re.compile(r"\w+")


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


@dataclass
class Budget:
    """How much of one student's notebooks is still read, over all attempts.

    Attributes:
        files: How many files.
        size: How many bytes.
        refused: How many files were not read.
    """

    files: int = field(default_factory=lambda: MAX_NOTEBOOKS)
    size: int = field(default_factory=lambda: MAX_NOTEBOOK_BYTES)
    refused: int = 0

    @property
    def limit(self) -> str:
        """A sentence that says how much is read."""
        size = MAX_NOTEBOOK_BYTES >> 20
        return f"At most {MAX_NOTEBOOKS} notebooks with {size} MiB are read of each student."

    def read(self, file: Arrival) -> bytes:
        """Return a file's bytes; raise a `CollectError` if it cannot be read or is too much."""
        if self.files <= 0 or self.size <= 0:
            self.refused += 1
            raise CollectError(self.limit)
        self.files -= 1
        content = file.read()
        self.size -= len(content)
        return content


@dataclass(frozen=True)
class _Candidate:
    """A notebook that was read, without its content."""

    owned: Owned
    digest: bytes
    size: int
    assignment: str


def choose(files: Sequence[Owned], assignment: str, budget: Budget | None = None) -> Chosen:
    """Choose the notebook of an assignment.

    A notebook says in its metadata, or by the names of its cells, which assignment it is. Of
    several, the one with the assignment's name is taken, then the newest. A file that is no
    readable notebook is taken if it is the only one: the grader then says what is wrong.

    Args:
        files: All files of one attempt.
        assignment: The assignment's name.
        budget: How much is read; None for as much as one student may have.
    """
    budget = budget or Budget()
    wanted = f"{assignment}.ipynb"
    notebooks = [one for one in files if one.file.name.lower().endswith(".ipynb")]
    # If not all are read, these are the right ones most often.
    notebooks.sort(key=lambda one: (one.inside[-1] != wanted, assignment not in one.file.name))
    candidates, notes, refused = [], [], 0
    for one in notebooks:
        before = budget.refused
        try:
            content = budget.read(one.file)
        except CollectError as error:
            if budget.refused > before:
                refused += 1
            else:
                notes.append(f"{_shown(one)}: {error}")
            continue
        digest, name = hashlib.sha256(content).digest(), assignment_of(content)
        candidates.append(_Candidate(one, digest, len(content), name))
    if refused:
        notes.append(f"{counted(refused, 'notebook')} could not be read. {budget.limit}")
    right = [c for c in candidates if c.assignment == assignment]
    unknown = [c for c in candidates if not c.assignment]
    named = [c for c in unknown if assignment in c.owned.file.name]
    taken = right or named or (unknown if len(unknown) == 1 else [])
    if not taken:
        return Chosen(None, b"", _few(notes), _why_none(files, candidates))
    taken.sort(key=lambda c: (c.owned.file.name == wanted, c.owned.time, c.size), reverse=True)
    one = taken[0].owned
    if len(taken) > 1 and any(other.digest != taken[0].digest for other in taken[1:]):
        others = _listed([other.owned for other in taken[1:]])
        notes.append(f"There are {len(taken)} notebooks; {_shown(one)} was taken, not {others}.")
    elif one.file.name != wanted and one.inside[-1] != wanted:
        notes.append(f"The notebook has another name: {_shown(one)}.")
    folders = [part for part in one.inside[:-1] if part not in (assignment, *FOLDERS)]
    if folders and not notes:
        notes.append(f"The notebook was deeper: {_shown(one)}.")
    try:
        content = one.file.read()
    except CollectError as error:
        return Chosen(None, b"", _few(notes), f"{_shown(one)}: {error}")
    helpers, about = _helpers(files, content)
    return Chosen(one, content, _few([*notes, *about]), helpers=helpers)


def _helpers(files: Sequence[Owned], content: bytes) -> tuple[dict[str, bytes], list[str]]:
    """Return the Python files that a notebook imports, by their names; and notes.

    Only files that are imported are read, and only as many and as large ones as the grader reads.
    """
    there: dict[str, Owned] = {}
    for one in files:
        stem, _, kind = one.inside[-1].rpartition(".")
        if kind == "py" and stem.isidentifier():
            there[stem] = one
    if not there:
        return {}, []
    names = dict.fromkeys(there, "")
    # The notebook can be large: it is searched once, and only for names that occur in it.
    body = content.decode("utf-8", "ignore")
    words = {word for found in WORD.finditer(body) if (word := found[0]) in names}
    first = used_modules(body, {name: "" for name in names if name in words}) if words else []
    del body
    modules: dict[str, bytes] = {}
    texts: dict[str, str] = {}
    notes: list[str] = []
    waiting, seen, reads = list(first), set(first), 0
    while waiting and len(texts) < MAX_HELPERS and reads < 5 * MAX_HELPERS:
        stem, reads = waiting.pop(0), reads + 1
        try:
            # A character has at most four bytes.
            modules[stem] = there[stem].file.read(4 * MAX_SOURCE + 4)
            text = modules[stem].decode("utf-8", "ignore")
            if len(text) > MAX_SOURCE:
                raise CollectError(f"The file has more than {MAX_SOURCE:,} characters.")
        except CollectError as error:
            notes.append(f"{_shown(there[stem])} was not taken: {error}")
            continue
        texts[stem] = text
        inner = [name for name in used_modules(text, names) if name not in seen]
        waiting += inner
        seen.update(inner)
    if waiting:
        notes.append(f"At most {MAX_HELPERS} Python files are taken with the notebook.")
    root = "".join(f"import {stem}\n" for stem in first if stem in texts)
    return {f"{stem}.py": modules[stem] for stem in used_modules(root, texts)}, notes


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


def _why_none(files: Sequence[Owned], candidates: Sequence[_Candidate]) -> str:
    others = sorted({one.assignment for one in candidates if one.assignment})
    if others:
        return f"The notebook belongs to another assignment: {', '.join(others)}."
    if candidates:
        names = _listed([one.owned for one in candidates])
        return f"None of the {len(candidates)} notebooks says which assignment it is: {names}."
    unread = [one for one in files if one.file.name.lower().endswith(".ipynb")]
    if unread:
        return f"No notebook could be read: {_listed(unread)}."
    names = ", ".join(_shown(one) for one in files[:5])
    return f"There is no notebook among the files: {names}."


def _shown(one: Owned) -> str:
    return "/".join(one.inside)


def _listed(several: Sequence[Owned]) -> str:
    """Return the paths of some files in words, at most `MAX_SHOWN`."""
    names = ", ".join(_shown(one) for one in several[:MAX_SHOWN])
    more = len(several) - MAX_SHOWN
    return f"{names} and {more} more" if more > 0 else names


def _few(notes: Sequence[str]) -> tuple[str, ...]:
    """Return at most `MAX_SHOWN` notes."""
    more = len(notes) - MAX_SHOWN
    return (*notes[:MAX_SHOWN], f"There are {more} more notes.") if more > 0 else tuple(notes)

"""Ways to write each part of an assignment, and one choice among them.

`checks/a<assignment>/ways.toml` is data. `[cells]` has a template for each solution cell that is
written in several ways. A template has slots, `{{slot}}`. `[ways.<slot>]` has the ways to fill a
slot: a text, or a table of named pieces. `{{slot}}` is the text, `{{slot.piece}}` a piece; a piece
that a way does not have is empty. The piece `before` becomes a cell of its own before the solution
cell. A text may have slots again. Slots that several assignments use are in
`checks/shared/ways.toml`; an assignment's own slot of the same name replaces them.

A slot that stands alone in its line keeps its indentation. Two places with the same slot get the
same way; `{{slot#2}}` is chosen apart from `{{slot}}`.

`count` is how many compositions to make by default. `without_styles` names styles that the
assignment does not allow. A way that has one of the texts of `without_text` is left out.
"""

import functools
import random
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.checks import shared
from autograder.course.locate import CourseError, current_course

FILE = "ways.toml"
SHARED = Path(str(shared.__file__)).parent / FILE
SLOT = re.compile(r"\{\{(\w+)(#\w+)?(?:\.(\w+))?\}\}")
OWN_LINE = re.compile(r"^( *)\{\{(\w+)(#\w+)?(?:\.(\w+))?\}\} *(\n|\Z)", re.MULTILINE)
TEXT, BEFORE = "text", "before"
DEEPEST = 12
# The entries of a file, and the compositions of an assignment that does not state a number.
ENTRIES = {"cells", "ways", "count", "without_styles", "without_text"}
COUNT = 160
# From a slot and its ways' names to the way that a composition uses.
Pick = Callable[[str, tuple[str, ...]], str]


@dataclass(frozen=True)
class Ways:
    """The ways to write an assignment.

    Attributes:
        cells: The template of each solution cell, by the cell's id.
        slots: For each slot its ways; for each way its pieces.
        count: How many compositions to make, unless a command says another number.
        without_styles: Names of styles that the assignment does not allow.
        own: The slots of the assignment's own file.
    """

    cells: Mapping[str, str]
    slots: Mapping[str, Mapping[str, Mapping[str, str]]]
    count: int = COUNT
    without_styles: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()

    def of(self, slot: str) -> Mapping[str, Mapping[str, str]]:
        """Return the ways of a slot.

        Raises:
            CourseError: If no file has this slot.
        """
        if slot not in self.slots:
            raise CourseError(f"A template has the slot {{{{{slot}}}}}, but no file has its ways.")
        return self.slots[slot]

    def reached(self) -> set[str]:
        """Return every `slot.way` that a composition can have."""
        found: set[str] = set()
        waiting = [match[1] for text in self.cells.values() for match in SLOT.finditer(text)]
        while waiting:
            slot = waiting.pop()
            for name, pieces in self.of(slot).items():
                if f"{slot}.{name}" not in found:
                    found.add(f"{slot}.{name}")
                    waiting += [m[1] for text in pieces.values() for m in SLOT.finditer(text)]
        return found


def load_ways(assignment: str) -> Ways:
    """Read the ways of an assignment, with the shared ones. Without a file there are none.

    Raises:
        CourseError: If a file does not have the expected form.
    """
    # A copy of the course has no shared families of its own: it uses the installed ones.
    return _load(current_course().checks / f"a{assignment}" / FILE, SHARED)


@functools.cache
def _load(own: Path, common: Path) -> Ways:
    slots: dict[str, dict[str, dict[str, str]]] = {}
    found: dict[str, Any] = {}
    for path in (common, own):
        found = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        unknown = set(found) - ENTRIES
        if unknown:
            raise CourseError(f"{path}: unknown entries: {', '.join(sorted(unknown))}.")
        for slot, ways in found.get("ways", {}).items():
            slots[slot] = {name: _pieces(way) for name, way in ways.items()}
    for ways in slots.values():
        for name in [name for name, way in ways.items() if _has(way, found)]:
            del ways[name]
    return Ways(
        {name: text.strip("\n") + "\n" for name, text in found.get("cells", {}).items()},
        slots,
        found.get("count", COUNT),
        frozenset(found.get("without_styles", ())),
        frozenset(found.get("ways", ())),
    )


def _has(way: Mapping[str, str], found: Mapping[str, Any]) -> bool:
    """Return whether a way has a text that the assignment does not allow."""
    return any(text in piece for text in found.get("without_text", ()) for piece in way.values())


def _pieces(way: str | Mapping[str, str]) -> dict[str, str]:
    pieces = {TEXT: way} if isinstance(way, str) else dict(way)
    return {name: textwrap.dedent(text).strip("\n") for name, text in pieces.items()}


@dataclass
class Filled:
    """A composition while its templates are filled.

    Attributes:
        ways: The assignment's ways.
        pick: Chooses the way of a slot.
        chosen: The way of each slot, in the order of the choices.
    """

    ways: Ways
    pick: Pick
    chosen: dict[str, str] = field(default_factory=dict)
    _before: list[str] = field(default_factory=list)

    def cell(self, template: str) -> tuple[str, list[str]]:
        """Fill a cell's template; return its source and the sources of the cells before it."""
        self._before = []
        source = self._fill(template, 0)
        return source, list(dict.fromkeys(self._before))

    def _fill(self, text: str, depth: int) -> str:
        if depth > DEEPEST:
            raise CourseError(f"The slots are nested more than {DEEPEST} deep: {text[:100]!r}.")
        whole = OWN_LINE.sub(lambda match: self._line(match, depth), text)
        return SLOT.sub(lambda match: self._piece(match[1], match[2], match[3], depth), whole)

    def _line(self, match: re.Match[str], depth: int) -> str:
        filled = self._piece(match[2], match[3], match[4], depth)
        return textwrap.indent(filled, match[1]) + match[5] if filled.strip() else ""

    def _piece(self, slot: str, which: str | None, piece: str | None, depth: int) -> str:
        key = slot + (which or "")
        ways = self.ways.of(slot)
        first = key not in self.chosen
        if first:
            self.chosen[key] = self.pick(key, tuple(ways))
        pieces = ways[self.chosen[key]]
        if BEFORE in pieces and first:
            self._before.append(self._fill(pieces[BEFORE], depth + 1) + "\n")
        return self._fill(pieces.get(piece or TEXT, ""), depth + 1)


def seeded_pick(seed: int) -> Pick:
    """Return a choice that depends on a seed and on the slot's name only.

    Seeds that follow each other use all ways of a slot in turn, in an order that is drawn anew for
    each round. So as many compositions as a slot has ways cover it.
    """

    def pick(slot: str, names: tuple[str, ...]) -> str:
        number, place = divmod(seed, len(names))
        order = list(names)
        random.Random(f"{slot} {number}").shuffle(order)
        return order[place]

    return pick


def pairs(chosen: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Return each pair of ways that occurs in one composition."""
    names = sorted(chosen)
    return ((a, b) for place, a in enumerate(names) for b in names[place + 1 :])

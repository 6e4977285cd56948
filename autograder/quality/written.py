"""Writes the cells of a submission from ways and styles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autograder.course.locate import CourseError
from autograder.course.sources import load_source
from autograder.quality.styles import STYLES, restyled
from autograder.quality.ways import Filled, Pick, load_ways

Cells = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Written:
    """The cells of a submission.

    Attributes:
        ways: The ways that it has, each `slot.way`.
        styles: The styles that had something to rewrite.
        cells: Pairs (id, source) of the solution cells.
        before: Pairs (id, source) of the student's own cells before them.
        after: Pairs (id, source) of the student's own cells after them.
    """

    ways: tuple[str, ...]
    styles: tuple[str, ...]
    cells: Cells
    before: Cells
    after: Cells


def chosen_ways(assignment: str, pick: Pick) -> tuple[dict[str, str], dict[str, list[str]], Cells]:
    """Fill the templates of an assignment. A cell without a template is the reference's.

    Returns:
        The tuple (chosen, before, cells): the way of each slot; for each cell the sources of the
        cells before it; the solution cells.

    Raises:
        CourseError: If a file of ways does not have the expected form.
    """
    ways = load_ways(assignment)
    filled = Filled(ways, pick)
    before, cells = {}, []
    for cell in load_source(assignment).of("solution"):
        source, before[cell.id] = filled.cell(ways.cells.get(cell.id, cell.source))
        cells.append((cell.id, source))
    return filled.chosen, before, tuple(cells)


def write(assignment: str, pick: Pick, styles: Sequence[str], seed: int) -> Written:
    """Write the cells of a submission.

    Args:
        assignment: The assignment's name.
        pick: Chooses the way of each slot.
        styles: The styles to apply, in any order.
        seed: Decides the choices that a style has.

    Raises:
        CourseError: If a file of ways does not have the expected form.
    """
    chosen, before, filled = chosen_ways(assignment, pick)
    given = {cell.id: cell.source for cell in load_source(assignment).of("solution")}
    cells, own_before, own_after = [], [], []
    applied: set[str] = set()
    for name, plain in filled:
        choices = f"{assignment} {name} {seed}"
        source, more, last, used = restyled(plain, list(styles), choices, given[name])
        applied |= set(used)
        cells.append((name, source))
        own_before.append((name, "\n\n".join([*before[name], *more])))
        own_after.append((name, "\n\n".join(last)))
    return Written(
        parts_of(chosen),
        tuple(name for name in STYLES if name in applied),
        tuple(cells),
        tuple(one for one in own_before if one[1]),
        tuple(one for one in own_after if one[1]),
    )


def parts_of(chosen: Mapping[str, str]) -> tuple[str, ...]:
    """Return `slot.way` for each chosen way, each once."""
    return tuple(dict.fromkeys(f"{key.partition('#')[0]}.{way}" for key, way in chosen.items()))


def write_named(assignment: str, ways: Mapping[str, str], styles: Sequence[str]) -> Written:
    """Write a submission of named ways. A slot that is not named has the first of its ways.

    Raises:
        CourseError: If a way or a style does not exist, or if a named slot is not used.
    """

    def pick(slot: str, names: tuple[str, ...]) -> str:
        way = ways.get(slot, ways.get(slot.partition("#")[0], names[0]))
        if way not in names:
            raise CourseError(f"{assignment}: the slot '{slot}' has no way '{way}'.")
        return way

    found = write(assignment, pick, styles, 0)
    used = {part.partition(".")[0] for part in found.ways}
    unused = [slot for slot in ways if slot.partition("#")[0] not in used]
    unused += [style for style in styles if style not in found.styles]
    if unused:
        raise CourseError(f"{assignment}: nothing uses {', '.join(unused)}.")
    return found

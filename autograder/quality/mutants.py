"""Mutants: copies of a reference solution with one small change each.

A change is made by an operator, such as "reduction" (`sum` becomes `mean`). Operators work on the
syntax tree of a solution cell and replace the text of one node. Only the student's part of a cell
is changed: the lines between the solution marks.
"""

import ast
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from autograder.course.regions import BEGIN, END, solved
from autograder.course.sources import Cell, load_source
from autograder.quality.operators import changes

# The student's choice of sizes and of the optimizer: every other choice is right too.
SETTINGS = "settings"


@dataclass(frozen=True)
class Mutant:
    """A reference with one change.

    Attributes:
        assignment: The assignment's name.
        cell: The id of the changed cell.
        function: The qualified name of the function or class that the change is in; "" for none.
        target: What the changed statement of the function assigns to, such as "self.encoder"; the
            first word of other statements.
        line: The text of the changed line, without its indentation.
        operator: The operator's name.
        change: What is replaced by what, as text.
        source: The text of the changed cell.
        name: A name that depends on the change only.
    """

    assignment: str
    cell: str
    function: str
    target: str
    line: str
    operator: str
    change: str
    source: str = field(repr=False)
    name: str = ""


def mutants_of(assignment: str) -> list[Mutant]:
    """Return all mutants of an assignment, in the order of its cells; no text occurs twice.

    If one change is possible at several places with the same line, all but the first have a number.
    """
    found: dict[tuple[str, str], Mutant] = {}
    times: Counter[tuple[str, ...]] = Counter()
    for cell in load_source(assignment).of("solution"):
        if cell.id == SETTINGS:
            continue
        original = ast.dump(ast.parse(solved(cell)))
        for mutant in _of_cell(assignment, cell):
            try:
                changed = ast.dump(ast.parse(mutant.source))
            except SyntaxError:
                continue
            if changed == original or (cell.id, changed) in found:
                continue
            key = (mutant.line, mutant.operator, mutant.change)
            times[key] += 1
            if times[key] > 1:
                mutant = replace(mutant, change=f"{mutant.change} [{times[key]}]")
            found[cell.id, changed] = mutant
    return list(found.values())


def _of_cell(assignment: str, cell: Cell) -> Iterator[Mutant]:
    text, own = solved(cell), student_lines(cell)
    lines, data, starts = text.splitlines(), text.encode(), _line_starts(text)

    def place(node: ast.AST) -> tuple[int, int]:
        first = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return first, starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    for node, parents in _walk(ast.parse(text)):
        if getattr(node, "lineno", 0) not in own:
            continue
        for operator, target, new, says in changes(node, parents):
            start, end = place(target)
            old = data[start:end].decode()
            source = (data[:start] + new.encode() + data[end:]).decode()
            name = f"{operator}-{zlib.crc32((cell.id + source).encode()):08x}"
            yield Mutant(
                assignment,
                cell.id,
                _qualified(parents),
                _target(node, parents),
                lines[target.lineno - 1].strip(),  # type: ignore[attr-defined]
                operator,
                says or f"{_short(old)} → {_short(new)}",
                source,
                name,
            )


def student_lines(cell: Cell) -> set[int]:
    """Return the numbers of the student's lines in a solved cell; the first line is 1."""
    found, number, inside = set(), 0, False
    for line in cell.source.splitlines():
        if line.strip() in (BEGIN, END):
            inside = line.strip() == BEGIN
            continue
        number += 1
        if inside:
            found.add(number)
    return found


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _walk(
    tree: ast.AST, parents: tuple[ast.AST, ...] = ()
) -> Iterator[tuple[ast.AST, tuple[ast.AST, ...]]]:
    for child in ast.iter_child_nodes(tree):
        yield child, (*parents, tree)
        yield from _walk(child, (*parents, tree))


def _qualified(parents: Sequence[ast.AST]) -> str:
    return ".".join(p.name for p in parents if isinstance(p, ast.FunctionDef | ast.ClassDef))


def _target(node: ast.AST, parents: Sequence[ast.AST]) -> str:
    """Return what the outermost statement of the function, or of the cell, is about."""
    path = [*parents, node]
    homes = [i for i, p in enumerate(path) if isinstance(p, ast.FunctionDef | ast.ClassDef)]
    statement = path[homes[-1] + 1 if homes else 1] if len(path) > 1 else node
    if isinstance(statement, ast.Assign | ast.AugAssign):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        return ast.unparse(target)
    return ast.unparse(statement).split(maxsplit=1)[0].rstrip(":")


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 70 else f"{flat[:69]}…"

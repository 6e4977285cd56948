"""Reads an assignment's source.

A source is a Python file in percent format. The header of a cell names its role and its id:

    # %% setup="imports"             given; the judge runs it
    # %% solution="my_vae"           the student's work; the reference is between the markers
    # %% test="kl_divergence"        shows the checks of a task; its points are the task's points
    # %% run="train"                 given; figures and training; the judge does not run it
    # %% [markdown] answer="why" points=10     a written answer, graded by a person
"""

import ast
import functools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# jupytext's schemas use this package, if it is there, to check web addresses, of which sources have
# none. Its import takes a second.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
import jupytext  # noqa: E402

from autograder.course.locate import CourseError, current_course  # noqa: E402
from autograder.course.settings import course_file  # noqa: E402

ROLES = ("setup", "solution", "test", "run", "answer")
# The id of the first cell of a starter in a student's kit. No source has it, and no judge runs it.
KIT_CELL = "colab"


@dataclass(frozen=True)
class Cell:
    """One cell of a source.

    Attributes:
        kind: "markdown" or "code".
        source: The cell's text, including solutions.
        role: One of `ROLES`, or "text".
        id: The cell's id. A cell with the role "text" has the id `text-<number>`.
        points: The points of a written answer; 0 for other cells.
    """

    kind: str
    source: str
    role: str
    id: str
    points: float = 0.0

    @property
    def title(self) -> str:
        """The id in words."""
        return self.id.replace("_", " ").capitalize()


@dataclass(frozen=True)
class Source:
    """An assignment as its author wrote it.

    Attributes:
        assignment: The assignment's name.
        cells: All cells, in order.
    """

    assignment: str
    cells: tuple[Cell, ...]

    def of(self, *roles: str) -> tuple[Cell, ...]:
        """Return the cells with one of these roles, in order."""
        return tuple(cell for cell in self.cells if cell.role in roles)

    @property
    def title(self) -> str:
        """The notebook's first heading."""
        return self.cells[0].source.splitlines()[0].lstrip("# ")


def assignments() -> list[str]:
    """Return the names of the course's assignments, in order.

    Raises:
        CourseError: If the course has no assignment.
    """
    folder = current_course().solutions
    names = sorted(path.stem for path in folder.glob("[0-9]*.py"))
    if not names:
        raise CourseError(f"No assignment found: {folder} contains no file such as 03_fc_vae.py.")
    return names


def load_source(assignment: str) -> Source:
    """Read an assignment's source.

    Raises:
        CourseError: If the assignment does not exist, if a cell has two roles, or if two cells with
            the same role have the same id.
    """
    points = course_file().of(assignment).points
    return _load(current_course().solutions / f"{assignment}.py", tuple(points.items()))


@functools.cache
def _load(path: Path, of_course: tuple[tuple[str, float], ...]) -> Source:
    """Read a source; `of_course` has the points of the course file, which come first."""
    if not path.is_file():
        known = ", ".join(assignments())
        raise CourseError(
            f"There is no assignment '{path.stem}' in {path.parent}. Choose one of: {known}."
        )
    notebook = jupytext.read(path, fmt="py:percent")
    cells: list[Cell] = []
    for number, cell in enumerate(notebook.cells):
        roles = [role for role in ROLES if role in cell.metadata]
        if len(roles) > 1:
            raise CourseError(
                f"{path}: cell {number} has the roles {' and '.join(roles)}, expected at most one."
            )
        role = roles[0] if roles else "text"
        name = cell.metadata[role] if roles else f"text-{number}"
        if any(name == earlier.id and role == earlier.role for earlier in cells):
            raise CourseError(f"{path}: two {role} cells have the id '{name}'. Rename one of them.")
        points = float(cell.metadata.get("points", 0))
        if role == "answer":
            points = dict(of_course).get(name, points)
        cells.append(Cell(cell.cell_type, cell.source, role, name, points))
    return Source(path.stem, tuple(cells))


def imported(sources: Iterable[str]) -> list[str]:
    """Return the top-level packages that these cells import, sorted."""
    names: set[str] = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return sorted(names)


def definitions(source: Source) -> dict[str, str]:
    """Return the names that `run` cells before the last solution define, such as the data sets.

    Cells with a loop are left out: they train or draw.

    Returns:
        For each name, the text of the first cell that defines it, without statements that only
        show something.
    """
    cells = list(source.cells)
    last = max((n for n, cell in enumerate(cells) if cell.role == "solution"), default=0)
    found: dict[str, str] = {}
    for cell in cells[:last]:
        body = ast.parse(cell.source).body if cell.role == "run" else []
        if not any(isinstance(node, ast.For | ast.While) for node in body):
            kept = [node for node in body if not isinstance(node, ast.Expr)]
            text = "\n".join(ast.unparse(node) for node in kept)
            for node in (node for statement in kept for node in ast.walk(statement)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.setdefault(node.id, text)
    return found

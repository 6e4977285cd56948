"""Submissions made from the reference by small edits, with what each should earn.

They are data in `autograder/checks/a<assignment>/corpus.toml`. A wrong one names the tasks that it
loses and the mistake that its feedback must name; a right one, however unusual, loses nothing.
"""

import copy
import tomllib
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from autograder.build.notebooks import reference, to_text
from autograder.course.locate import CourseError, current_course


@dataclass(frozen=True)
class Edit:
    """Replace `find`, which must stand exactly once in the cell, by `replace`."""

    cell: str
    find: str
    replace: str


@dataclass(frozen=True)
class Banked:
    """One submission of the bank.

    Attributes:
        name: Its one name.
        about: What is special about it.
        loses: The tasks that it loses; () for a right one.
        mistake: The mistake that must be named, or None.
        edits: What to change in the reference.
        cells: Whole cells that replace the reference's, by id.
        status: The status it must end with.
    """

    name: str
    about: str
    loses: tuple[str, ...] = ()
    mistake: str | None = None
    edits: tuple[Edit, ...] = ()
    cells: tuple[tuple[str, str], ...] = ()
    status: str = "graded"


def load_bank(assignment: str) -> dict[str, Banked]:
    """Read an assignment's bank, by name.

    Raises:
        CourseError: If there is no bank, or a name stands twice in it.
    """
    path = current_course().checks / f"a{assignment}" / "corpus.toml"
    if not path.is_file():
        raise CourseError(f"There is no bank of submissions at {path}.")
    bank: dict[str, Banked] = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["submission"]:
        if entry["name"] in bank:
            raise CourseError(f"{path}: two submissions are called '{entry['name']}'.")
        bank[entry["name"]] = Banked(
            name=entry["name"],
            about=entry["about"],
            loses=tuple(entry.get("loses", ())),
            mistake=entry.get("mistake"),
            edits=tuple(Edit(**edit) for edit in entry.get("edit", ())),
            cells=tuple(entry.get("cells", {}).items()),
            status=entry.get("status", "graded"),
        )
    return bank


def make(assignment: str, banked: Banked) -> NotebookNode:
    """Build a banked submission's notebook.

    Raises:
        CourseError: If an edit does not fit the reference any more.
    """
    notebook = copy.deepcopy(reference(assignment))
    cells = {c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata}
    for name, source in banked.cells:
        cells[name].source = source.rstrip("\n")
    for edit in banked.edits:
        found = cells[edit.cell].source.count(edit.find)
        if found != 1:
            raise CourseError(
                f"{banked.name}: the text to edit stands {found} times in the cell {edit.cell}, "
                f"not once: {edit.find!r}"
            )
        cells[edit.cell].source = cells[edit.cell].source.replace(edit.find, edit.replace)
    return notebook


def without_cell(notebook: NotebookNode, name: str) -> NotebookNode:
    """Delete a cell, as a student may by accident."""
    return _with_cells(notebook, name, 0)


def with_cell_twice(notebook: NotebookNode, name: str) -> NotebookNode:
    """Duplicate a cell, ids and all, as copy and paste does."""
    return _with_cells(notebook, name, 2)


def _with_cells(notebook: NotebookNode, name: str, times: int) -> NotebookNode:
    made = copy.deepcopy(notebook)
    made.cells = []
    for cell in notebook.cells:
        here = cell.metadata.get("nbgrader", {}).get("grade_id") == name
        made.cells += [copy.deepcopy(cell) for _ in range(times if here else 1)]
    return made


def write(notebook: NotebookNode, folder: Path, student: str, assignment: str) -> Path:
    """Put a notebook where nbgrader would have collected it."""
    path = folder / student / assignment / f"{assignment}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_text(notebook), encoding="utf-8")
    return path

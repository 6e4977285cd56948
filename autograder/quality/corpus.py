"""The submission corpus: correct and incorrect submissions of an assignment.

Each corpus is data: `checks/a<assignment>/corpus.toml`. A submission is made from the reference
by small edits, or it is written in named ways of `ways.toml`. An incorrect submission names the
tasks that must lose their points and the known mistake that the grader must recognise. A correct
submission, even an unusual one, keeps all points.
"""

import copy
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.build.notebooks import reference, to_text
from autograder.course.locate import CourseError, current_course
from autograder.quality.written import write_named


@dataclass(frozen=True)
class Edit:
    """A replacement in one cell.

    Attributes:
        cell: The cell's id.
        find: The text to replace. It must occur exactly once in the cell.
        replace: The new text.
    """

    cell: str
    find: str
    replace: str


@dataclass(frozen=True)
class CorpusSubmission:
    """One submission of a corpus.

    Attributes:
        name: Its name, unique in the corpus.
        about: What is special about it.
        loses: The tasks that must lose their points; () for a correct submission.
        mistake: The known mistake that the grader must recognise, or None.
        note: Words of a note that costs no points and must be in the result, or None.
        edits: The edits of the reference.
        cells: Pairs (id, source) of cells that replace cells of the reference.
        before: Pairs (id, source) of the student's own cells before cells of the reference.
        after: Pairs (id, source) of the student's own cells after cells of the reference.
        ways: Pairs (slot, way) of `ways.toml`; None if the reference's text is used.
        styles: The styles that the ways are written in.
        status: The expected status.
    """

    name: str
    about: str
    loses: tuple[str, ...] = ()
    mistake: str | None = None
    edits: tuple[Edit, ...] = ()
    cells: tuple[tuple[str, str], ...] = ()
    before: tuple[tuple[str, str], ...] = ()
    after: tuple[tuple[str, str], ...] = ()
    ways: tuple[tuple[str, str], ...] | None = None
    styles: tuple[str, ...] = ()
    status: str = "graded"
    note: str | None = None


def load_corpus(assignment: str) -> dict[str, CorpusSubmission]:
    """Load an assignment's submission corpus.

    Args:
        assignment: The assignment's name.

    Returns:
        The submissions by name, in the order of the file.

    Raises:
        CourseError: If the corpus does not exist, or if two submissions have the same name.
    """
    path = current_course().checks / f"a{assignment}" / "corpus.toml"
    if not path.is_file():
        raise CourseError(
            f"{assignment} has no submission corpus: the file {path} does not exist. Create it; "
            "the files of the other assignments are examples."
        )
    corpus: dict[str, CorpusSubmission] = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["submission"]:
        if entry["name"] in corpus:
            raise CourseError(
                f"{path}: two submissions have the name '{entry['name']}'. Rename one of them."
            )
        corpus[entry["name"]] = CorpusSubmission(
            name=entry["name"],
            about=entry["about"],
            loses=tuple(entry.get("loses", ())),
            mistake=entry.get("mistake"),
            edits=tuple(Edit(**edit) for edit in entry.get("edit", ())),
            cells=tuple(entry.get("cells", {}).items()),
            before=tuple(entry.get("before", {}).items()),
            after=tuple(entry.get("after", {}).items()),
            ways=tuple(entry["ways"].items()) if "ways" in entry else None,
            styles=tuple(entry.get("styles", ())),
            status=entry.get("status", "graded"),
            note=entry.get("note"),
        )
    return corpus


def make(assignment: str, submission: CorpusSubmission) -> NotebookNode:
    """Return the notebook of a corpus submission.

    Raises:
        CourseError: If the text of an edit does not occur exactly once in its cell, or if a way
            or a style does not exist.
    """
    if submission.ways is not None:
        made = write_named(assignment, dict(submission.ways), submission.styles)
        submission = replace(
            submission,
            ways=None,
            cells=made.cells + submission.cells,
            before=made.before + submission.before,
            after=made.after + submission.after,
        )
    notebook = copy.deepcopy(reference(assignment))
    cells = {c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata}
    for name, source in submission.cells:
        cells[name].source = source.rstrip("\n")
    for edit in submission.edits:
        found = cells[edit.cell].source.count(edit.find)
        if found != 1:
            raise CourseError(
                f"{assignment}: the edit of the corpus submission '{submission.name}' does not fit "
                f"the reference. Its text occurs {found} times in the cell `{edit.cell}`, expected "
                f"once: {edit.find!r}. Change `find` in corpus.toml."
            )
        cells[edit.cell].source = cells[edit.cell].source.replace(edit.find, edit.replace)
    for place, own in ((0, submission.before), (1, submission.after)):
        for name, source in own:
            where = notebook.cells.index(cells[name]) + place
            own_id = f"own-{name}-{place}".replace("_", "-")
            notebook.cells.insert(where, new_code_cell(source.rstrip("\n"), id=own_id))
    return notebook


def without_cell(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return a copy without one cell, as if a student had deleted it by accident."""
    return _with_cells(notebook, name, 0)


def with_cell_twice(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return a copy with one cell twice, including its id, as copy and paste leaves it."""
    return _with_cells(notebook, name, 2)


def _with_cells(notebook: NotebookNode, name: str, times: int) -> NotebookNode:
    made = copy.deepcopy(notebook)
    made.cells = []
    for cell in notebook.cells:
        here = cell.metadata.get("nbgrader", {}).get("grade_id") == name
        made.cells += [copy.deepcopy(cell) for _ in range(times if here else 1)]
    return made


def write(notebook: NotebookNode, folder: Path, student: str, assignment: str) -> Path:
    """Write a notebook to the path where nbgrader collects it; return the path."""
    path = folder / student / assignment / f"{assignment}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_text(notebook), encoding="utf-8")
    return path

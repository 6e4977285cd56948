"""Builds notebooks from a source: starter, filled-in reference, nbgrader source."""

import base64
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.checks.registry import CheckSet, load_checks
from autograder.course.locate import CourseError, current_course
from autograder.course.regions import left_to_do, solved
from autograder.course.sources import (
    Cell,
    Source,
    assignments,
    load_source,
)
from autograder.records.results import write_text

TOTAL_POINTS = 100.0
SETTINGS = """\
# How nbgrader runs this course; written by `vaelab build --nbgrader`.
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "vaelab"
c.Execute.timeout = 600
c.OverwriteCells.add_missing_cells = True
c.ClearSolutions.begin_solution_delimeter = "BEGIN SOLUTION"
c.ClearSolutions.end_solution_delimeter = "END SOLUTION"
c.IgnorePattern.pattern = r".*"
"""


def starter(assignment: str) -> NotebookNode:
    """Build the notebook that a student opens; below each figure's cell, what is expected."""
    notebook = _notebook(assignment, left_to_do)
    for place, cell in reversed(list(enumerate(notebook.cells, 1))):
        picture = current_course().expected / assignment / f"{cell.id.removeprefix('run-')}.png"
        if cell.id.startswith("run-") and picture.is_file():
            notebook.cells.insert(place, _expected(picture))
    return notebook


def reference(assignment: str) -> NotebookNode:
    """Build the notebook with every solution in its place."""
    return _notebook(assignment, solved)


def _expected(picture: Path) -> NotebookNode:
    """Show a small figure of the reference's, folded away, inside the notebook's own file."""
    cell = nbformat.v4.new_markdown_cell(
        "<details><summary>What it should look like</summary>\n\n"
        f"![The reference's figure](attachment:{picture.name})\n\n</details>"
    )
    cell.id = f"expected-{picture.stem}"
    data = base64.b64encode(picture.read_bytes()).decode()
    cell.attachments = {picture.name: {"image/png": data}}
    return cell


def write_solved(folder: Path, names: list[str] | None = None) -> list[Path]:
    """Write the filled-in notebooks, `<folder>/<assignment>.ipynb`; returns their paths."""
    paths = []
    for name in names or assignments():
        paths.append(folder / f"{name}.ipynb")
        write_text(paths[-1], to_text(reference(name)))
    return paths


def nbgrader_source(assignment: str) -> NotebookNode:
    """Build the notebook that nbgrader's `generate_assignment` takes, solution marks included."""
    return _notebook(assignment, lambda cell: cell.source)


def to_text(notebook: NotebookNode) -> str:
    """Write a notebook the way it lies on disk."""
    # Not `nbformat.writes`: it would mend what a banked submission has broken on purpose.
    return nbformat.v4.writes(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def build(names: list[str] | None = None) -> list[Path]:
    """Write starters to `notebooks/`; returns the files that changed."""
    changed = []
    for path, text in _built(names):
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            changed.append(path)
    return changed


def out_of_date(names: list[str] | None = None) -> list[str]:
    """Name what in `notebooks/` isn't what its source builds."""
    wrong = []
    for path, text in _built(names):
        if not path.is_file():
            wrong.append(f"{path} is missing")
        elif path.read_text(encoding="utf-8") != text:
            wrong.append(f"{path} differs from what its source builds")
    if names is None:
        sources = set(assignments())
        strays = (
            p for p in sorted(current_course().notebooks.glob("*.ipynb")) if p.stem not in sources
        )
        wrong += [f"{path} has no source" for path in strays]
    return wrong


def build_nbgrader(course: Path, names: list[str] | None = None) -> list[Path]:
    """Lay out an nbgrader course: `source/<assignment>/<assignment>.ipynb` and settings."""
    paths = []
    for name in names or assignments():
        path = course / "source" / name / f"{name}.ipynb"
        write_text(path, to_text(nbgrader_source(name)))
        paths.append(path)
    settings = course / "nbgrader_config.py"
    if not settings.exists():
        write_text(settings, SETTINGS)
    return paths


def _built(names: list[str] | None) -> Iterator[tuple[Path, str]]:
    for name in names or assignments():
        yield current_course().notebooks / f"{name}.ipynb", to_text(starter(name))


def _notebook(assignment: str, text_of) -> NotebookNode:  # type: ignore[no-untyped-def]
    source, checks = load_source(assignment), load_checks(assignment)
    _check_points(source, checks)
    notebook = nbformat.v4.new_notebook()
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        vaelab={"assignment": assignment, "built_from": f"solutions/{assignment}.py"},
    )
    for cell in source.cells:
        make = nbformat.v4.new_code_cell
        if cell.kind == "markdown":
            make = nbformat.v4.new_markdown_cell
        made = make(text_of(cell))
        made.id = cell.id if cell.role == "text" else f"{cell.role}-{cell.id}"
        if cell.role != "text":
            made.metadata["nbgrader"] = _nbgrader(cell, made, checks)
        notebook.cells.append(made)
    nbformat.validate(notebook)
    return notebook


def _nbgrader(cell: Cell, made: NotebookNode, checks: CheckSet) -> NotebookNode:
    """Write a cell's nbgrader metadata, schema version 3."""
    from nbgrader.utils import compute_checksum

    graded = cell.role in ("test", "answer")
    own = cell.role in ("solution", "answer")
    metadata = NotebookNode(
        schema_version=3,
        grade_id=cell.id,
        grade=graded,
        solution=own,
        locked=not own,
        task=False,
        cell_type=cell.kind,
    )
    if graded:
        points = checks.task(cell.id).points if cell.role == "test" else cell.points
        metadata.points = int(points) if points == int(points) else points
    made.metadata["nbgrader"] = metadata
    metadata.checksum = compute_checksum(made)
    return metadata


def _check_points(source: Source, checks: CheckSet) -> None:
    visible = {cell.id for cell in source.of("test")}
    if visible != {task.id for task in checks.tasks}:
        odd = visible ^ {task.id for task in checks.tasks}
        raise CourseError(f"{source.assignment}: {odd} have a test cell or checks, but not both.")
    ids = [cell.id for cell in source.cells if cell.role != "text"]
    if doubled := {name for name in ids if ids.count(name) > 1}:
        raise CourseError(f"{source.assignment}: the ids {doubled} are used twice.")
    total = sum(task.points for task in checks.tasks) + sum(c.points for c in source.of("answer"))
    due = getattr(checks.module, "TOTAL_POINTS", TOTAL_POINTS)
    if total != due:
        raise CourseError(f"{source.assignment}: its points add up to {total:g}, not to {due:g}.")

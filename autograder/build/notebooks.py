"""Builds notebooks from a source: the starter, the reference, and nbgrader's source notebook."""

import base64
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.checks.bounds import in_words
from autograder.checks.registry import CheckSet, load_checks
from autograder.course.additions import added_files
from autograder.course.locate import MARKER, CourseError, current_course
from autograder.course.regions import solved, without_solution
from autograder.course.settings import EMBEDDED, course_file
from autograder.course.sources import KIT_CELL, Cell, Source, assignments, load_source
from autograder.records.results import write_bytes, write_text

TOTAL_POINTS = 100.0
ALT = "alt.toml"
STUDENTS_FILE = "For students, beside the notebooks. Written by `vaelab build`; do not edit it."
# The place of a value of the course: {{below}} in a text. In code, `# {{below}}` at the end of a
# line marks the line's last number.
PLACE = re.compile(r"\{\{([a-z_]+(?:\.\w+)?)\}\}")
NUMBER_PLACE = re.compile(r"^(.*[^\d.])(\d+(?:\.\d+)?)([^\d\n]*?)  # \{\{(\w+)\}\}$", re.M)
SETTINGS = """\
# Settings of nbgrader for this course. Written by `vaelab build --nbgrader`.
import os
from pathlib import Path

from nbgrader import preprocessors as steps

import autograder.exporting
from autograder.build.nbgrader_cells import RestoreCells

# One thread for each kernel: with more, nbgrader takes several times the processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
root = Path(__file__).resolve().parent

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "vaelab"
c.CourseDirectory.root = str(root)
# On a JupyterHub, name a folder that all users can reach.
c.Exchange.root = str(root / "exchange")
c.Execute.timeout = 600
c.OverwriteCells.add_missing_cells = True
# nbgrader's own steps, and one that restores cells without which OverwriteCells stops.
c.Autograde.sanitize_preprocessors = [
    steps.ClearOutput,
    steps.DeduplicateIds,
    RestoreCells,
    steps.OverwriteKernelspec,
    steps.OverwriteCells,
    steps.CheckCellMetadata,
]
c.ClearSolutions.begin_solution_delimeter = "BEGIN SOLUTION"
c.ClearSolutions.end_solution_delimeter = "END SOLUTION"
c.IgnorePattern.pattern = r".*"
# formgrader shows the rubric below each written answer, and loads MathJax from its own server.
c.HTMLExporter.preprocessors = ["autograder.exporting.formgrader.ShowRubrics"]
paths = Path(autograder.exporting.__file__).parent / "formgrader_paths"
os.environ["JUPYTER_PATH"] = os.pathsep.join([str(paths), os.environ.get("JUPYTER_PATH", "")])
"""


def starter(assignment: str) -> NotebookNode:
    """Return the starter. Below each cell that plots a figure, it shows the expected figure."""
    notebook = _notebook(assignment, without_solution)
    for place, cell in reversed(list(enumerate(notebook.cells, 1))):
        picture = current_course().expected / assignment / f"{cell.id.removeprefix('run-')}.png"
        if cell.id.startswith("run-") and picture.is_file():
            notebook.cells.insert(place, _expected(picture, _shown(picture)))
    return notebook


def with_first_cell(notebook: NotebookNode, text: str) -> NotebookNode:
    """Return a starter of a student's kit: with a code cell before all others, that is not graded.

    Args:
        notebook: The starter.
        text: The text of the cell.
    """
    cell = nbformat.v4.new_code_cell(text)
    cell.id = f"run-{KIT_CELL}"
    # No mark of nbgrader, whose gradebook does not have this cell: nbgrader would stop.
    cell.metadata["vaelab"] = {"cell": KIT_CELL}
    notebook.cells.insert(0, cell)
    return notebook


def reference(assignment: str) -> NotebookNode:
    """Return the reference: the notebook that contains the solutions."""
    return _notebook(assignment, solved)


def _expected(picture: Path, shown: str) -> NotebookNode:
    """Return a folded cell with a small figure of the reference, attached to the notebook."""
    cell = nbformat.v4.new_markdown_cell(
        "<details><summary>What it should look like</summary>\n\n"
        f"![{shown}](attachment:{picture.name})\n\n</details>"
    )
    cell.id = f"expected-{picture.stem}"
    data = base64.b64encode(picture.read_bytes()).decode()
    cell.attachments = {picture.name: {"image/png": data}}
    return cell


def _shown(picture: Path) -> str:
    """Return the sentence that says what a picture shows, for students who cannot see it.

    Raises:
        CourseError: If `alt.toml` beside the folders of the pictures has none.
    """
    path = picture.parent.parent / ALT
    texts = tomllib.loads(_text_of(path))
    shown = texts.get(picture.parent.name, {}).get(picture.stem)
    if not shown:
        raise CourseError(
            f"{path}: there is no sentence {picture.stem} in [{picture.parent.name}]; expected one "
            f"for each picture. Add one that says what {picture} shows."
        )
    return shown


def write_solved(folder: Path, names: list[str] | None = None) -> list[Path]:
    """Write the references to `<folder>/<assignment>.ipynb`; return their paths."""
    paths = []
    for name in names or assignments():
        paths.append(folder / f"{name}.ipynb")
        write_text(paths[-1], to_text(reference(name)))
    return paths


def nbgrader_source(assignment: str) -> NotebookNode:
    """Return nbgrader's source notebook. It contains the solutions and their markers."""
    return _notebook(assignment, lambda cell: cell.source)


def to_text(notebook: NotebookNode) -> str:
    """Return a notebook as the text of its file."""
    # Not `nbformat.writes`: it would repair what a corpus submission breaks on purpose.
    return nbformat.v4.writes(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def build(names: list[str] | None = None) -> list[Path]:
    """Write the starters to `notebooks/`; return the files that changed.

    The files that the course adds, and the course file for students, come beside them.
    """
    changed = []
    for path, text in _built(names):
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            changed.append(path)
    for path, raw in _added():
        if not path.is_file() or path.read_bytes() != raw:
            write_bytes(path, raw)
            changed.append(path)
    path, text = current_course().notebooks / MARKER, student_course_file()
    if text != _text_of(path):
        if text:
            write_text(path, text)
        else:
            path.unlink()
        changed.append(path)
    return changed


def student_course_file() -> str:
    """Return the course file for students, with what their checks depend on; "" for nothing.

    It lies beside the starters. So a check in a notebook has the points and bounds of the course,
    `vaelab check` knows what the course adds, and students do not see extensions and the place of
    the secret.
    """
    course = course_file()
    lines = []
    if course.packages or course.files:
        lines += ["", "[course]", f"packages = {json.dumps(course.packages)}"]
        lines += [f"files = {json.dumps([path.name for path in course.files])}"]
    for name, settings in sorted(course.assignments.items()):
        tables = {"points": settings.points, "bounds": settings.bounds}
        if settings.data != EMBEDDED:
            lines += ["", f"[assignment.{name}]", f'data = "{settings.data}"']
        for table, values in tables.items():
            if values:
                lines += ["", f"[assignment.{name}.{table}]"]
                lines += [f"{key} = {value!r}" for key, value in values.items()]
    return "\n".join([f"# {STUDENTS_FILE}", *lines, ""]) if lines else ""


def _added() -> Iterator[tuple[Path, bytes]]:
    """Yield the path beside the starters and the bytes of each file that the course adds."""
    for name, raw in added_files().items():
        yield current_course().notebooks / name, raw


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def out_of_date(names: list[str] | None = None) -> list[str]:
    """Return one sentence for each notebook in `notebooks/` that is out of date.

    Args:
        names: The assignments to compare with their sources. None compares all, and also reports
            notebooks without a source.
    """
    problems = []
    for path, text in _built(names):
        if not path.is_file():
            problems.append(f"{path} does not exist.")
        elif path.read_text(encoding="utf-8") != text:
            problems.append(f"{path} is out of date: its source builds a different notebook.")
    for path, raw in _added():
        if not path.is_file() or path.read_bytes() != raw:
            problems.append(f"{path} is not the file of the course: run `vaelab build`.")
    path = current_course().notebooks / MARKER
    if _text_of(path) != student_course_file():
        problems.append(f"{path} is out of date: the course file has other points or bounds.")
    if names is None:
        sources = set(assignments())
        folder = current_course().notebooks
        strays = (path for path in sorted(folder.glob("*.ipynb")) if path.stem not in sources)
        problems += [f"{path} has no source in solutions/." for path in strays]
    return problems


def build_nbgrader(course: Path, names: list[str] | None = None) -> list[Path]:
    """Write an nbgrader course directory: the source notebooks and the settings.

    Args:
        course: The directory. Settings that exist in it are kept.
        names: The assignments; None for all.

    Returns:
        The paths of the notebooks, `source/<assignment>/<assignment>.ipynb`.
    """
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
    texts, numbers = _values(source, checks)
    notebook = nbformat.v4.new_notebook()
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        vaelab={"assignment": assignment, "built_from": f"solutions/{assignment}.py"},
    )
    for cell in source.cells:
        new_cell = nbformat.v4.new_code_cell
        if cell.kind == "markdown":
            new_cell = nbformat.v4.new_markdown_cell
        built = new_cell(_filled(text_of(cell), cell, texts, numbers, source))
        built.id = cell.id if cell.role == "text" else f"{cell.role}-{cell.id}"
        if cell.role != "text":
            built.metadata["nbgrader"] = _nbgrader(cell, built, checks)
        notebook.cells.append(built)
    nbformat.validate(notebook)
    return notebook


def _values(source: Source, checks: CheckSet) -> tuple[dict[str, str], dict[str, str]]:
    """Return what the places stand for, by name: in texts, and in code."""
    answers = {cell.id: cell.points for cell in source.of("answer")}
    points = {task.id: task.points for task in checks.tasks} | answers
    sums = {"total": sum(points.values()), "answers": sum(answers.values())}
    texts = {f"points.{name}": f"{value:g}" for name, value in points.items()}
    texts |= {name: f"{value:g}" for name, value in sums.items()}
    texts |= {name: in_words(value) for name, value in checks.bounds.items()}
    return texts, {name: f"{value:.15g}" for name, value in checks.bounds.items()}


def _filled(
    text: str, cell: Cell, texts: dict[str, str], numbers: dict[str, str], source: Source
) -> str:
    """Return a cell's text with the course's values in their places.

    Raises:
        CourseError: If there is no such value, or if the judge runs the cell: it compares it with
            the source.
    """
    where = f"solutions/{source.assignment}.py, cell {cell.id}"
    known = texts if cell.kind == "markdown" else numbers

    def value(name: str) -> str:
        if name not in known:
            raise CourseError(
                f"{where}: there is no value {{{{{name}}}}}; expected one of {', '.join(known)}."
            )
        return known[name]

    if cell.role in ("setup", "solution", "test") and PLACE.search(text):
        raise CourseError(f"{where}: only text cells and `run` cells may have a place in {{{{}}}}.")
    if cell.kind == "markdown":
        return PLACE.sub(lambda place: value(place[1]), text)
    return NUMBER_PLACE.sub(lambda place: f"{place[1]}{value(place[4])}{place[3]}", text)


def _nbgrader(cell: Cell, built: NotebookNode, checks: CheckSet) -> NotebookNode:
    """Add nbgrader's metadata, schema version 3, to a built cell; return it."""
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
    built.metadata["nbgrader"] = metadata
    metadata.checksum = compute_checksum(built)
    return metadata


def _check_points(source: Source, checks: CheckSet) -> None:
    """Check that the source and the checks have the same tasks, and that the points add up.

    Raises:
        CourseError: If they do not.
    """
    path = f"solutions/{source.assignment}.py"
    with_cell = {cell.id for cell in source.of("test")}
    with_checks = {task.id for task in checks.tasks}
    if with_cell != with_checks:
        raise CourseError(
            f"{path}: each task needs a test cell and checks. Without checks: "
            f"{_list(with_cell - with_checks)}. Without a test cell: "
            f"{_list(with_checks - with_cell)}."
        )
    ids = [cell.id for cell in source.cells if cell.role != "text"]
    if repeated := {name for name in ids if ids.count(name) > 1}:
        raise CourseError(
            f"{path}: more than one cell has the id {_list(repeated)}. Each id must be unique."
        )
    total = sum(task.points for task in checks.tasks) + sum(c.points for c in source.of("answer"))
    expected = getattr(checks.module, "TOTAL_POINTS", TOTAL_POINTS)
    if total != expected and not course_file().of(source.assignment).points:
        raise CourseError(
            f"{source.assignment}: the points of its tasks add up to {total:g}, not to "
            f"{expected:g}. Change the points in {path} or in the checks."
        )


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"

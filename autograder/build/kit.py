"""Writes the kit for students: starters, a wheel of what they need, and how to install it.

The wheel has `vae_utils` and that part of `autograder` that checks in a notebook and `vaelab check`
need. It has no reference solution, no rubric, no model answer and no submission corpus: its sources
are those of the starters, and no check that a student sees needs the reference.

The checks contain right formulas. They are in one compressed file, `checks.packed`, which Python
imports as a ZIP archive. So nobody reads a formula by accident, and no text search finds it. The
file hides nothing from somebody who unpacks it: nothing that runs on a student's computer can be
hidden from the student.
"""

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import jupytext
import nbformat
from packaging.requirements import Requirement

from autograder.build.copy import new_folder
from autograder.build.notebooks import starter, student_course_file, to_text, with_first_cell
from autograder.course.additions import added_files, added_requirements
from autograder.course.locate import INSTALLED, MARKER, PACKAGE, current_course
from autograder.course.regions import without_solution
from autograder.course.settings import course_file
from autograder.course.sources import Source, assignments, load_source
from autograder.records.results import write_bytes, write_text

NAME = "vaelab-student"
PACKED = Path("autograder/checks/checks.packed")
# What the wheel has of `autograder`, besides the packed checks.
PLAIN = (
    "__init__.py",
    "records/*.py",
    "protocol/*.py",
    "worker/*.py",
    "course/*.py",
    "checks/*.py",
    "student/*.py",
    "grading/__init__.py",
    "grading/cells.py",
    "grading/files.py",
    "grading/fresh.py",
    "grading/helpers.py",
    "grading/notebook.py",
    "commands/__init__.py",
    "commands/checking.py",
)
# The archive begins with it. Readers of ZIP archives look at the end.
NOT_FOR_READING = (
    b"The checks of the course, compressed. They contain right formulas: this file is not meant "
    b"for reading.\n"
)
DATE = (2020, 1, 1, 0, 0, 0)
HERE = Path(__file__).parent
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = {name}
version = {version}
description = "What a student's notebooks of the course need: vae_utils and the checks."
requires-python = {python}
dependencies = {dependencies}

[project.scripts]
vaelab = "autograder.commands.checking:main"

[tool.hatch.build.targets.wheel]
packages = ["vae_utils", "autograder"]
"""
UPLOAD = (
    "Upload the notebook and `{wheel}` to Colab: open the folder symbol on the left, and drop the "
    "wheel there."
)
FROM_URL = "Upload the notebook to Colab. The course's code comes from {url}."
FILES = " The course also has these files for you, which Colab needs beside the notebook: {}."


def write_kit(target: Path, names: list[str] | None = None, url: str = "") -> Path:
    """Write the kit; return the path of its wheel.

    The wheel has the checks of all assignments, so that students install it once.

    Args:
        target: The folder. An existing folder must be empty.
        names: The assignments whose starters it has; None for all.
        url: The web address of the wheel, or of the folder in which it is, for Colab; "" if
            students upload the wheel.

    Raises:
        CourseError: If the folder is not empty, or an assignment does not exist.
    """
    chosen = names or assignments()
    with new_folder(target, "the kit") as folder:
        wheel = _build_wheel(folder)
        where = url if url.endswith(".whl") else f"{url.rstrip('/')}/{wheel}" if url else wheel
        first = (HERE / "colab_cell.txt").read_text(encoding="utf-8").rstrip("\n")
        first = first.replace("{{wheel}}", where)
        for name in chosen:
            text = to_text(with_first_cell(starter(name), first))
            write_text(folder / "notebooks" / f"{name}.ipynb", text)
        if text := student_course_file():
            write_text(folder / "notebooks" / MARKER, text)
        for name, raw in added_files().items():
            write_bytes(folder / "notebooks" / name, raw)
        write_text(folder / "requirements.txt", "\n".join(_pins()) + "\n")
        readme = (HERE / "kit_readme.md").read_text(encoding="utf-8")
        files = ", ".join(f"`{name}`" for name in added_files())
        write_text(
            folder / "README.md",
            readme.format(
                title=course_file().title or "The course",
                wheel=wheel,
                first=chosen[0],
                colab=(FROM_URL if url else UPLOAD).format(url=where, wheel=wheel),
                files=FILES.format(files) if files else "",
            ),
        )
    return target / wheel


def _build_wheel(folder: Path) -> str:
    """Build the wheel in a folder; return its name."""
    from hatchling.builders.wheel import WheelBuilder

    import vae_utils

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(Path(vae_utils.__file__).parent, root / "vae_utils", ignore=ignored)
        for path in (path for pattern in PLAIN for path in sorted(PACKAGE.glob(pattern))):
            write_bytes(root / "autograder" / path.relative_to(PACKAGE), path.read_bytes())
        write_bytes(root / PACKED, _packed_checks())
        course = root / "autograder" / INSTALLED.relative_to(PACKAGE)
        write_text(course / MARKER, student_course_file())
        for name, raw in added_files().items():
            write_bytes(course / name, raw)
        for name in assignments():
            write_text(course / "solutions" / f"{name}.py", student_source(load_source(name)))
        about = distribution("vaelab")
        values = {
            "name": NAME,
            "version": about.version,
            "python": about.metadata["Requires-Python"],
            "dependencies": [*map(str, _core()), *_added_names()],
        }
        settings = PYPROJECT.format(**{key: json.dumps(value) for key, value in values.items()})
        write_text(root / "pyproject.toml", settings)
        (built,) = WheelBuilder(str(root)).build(directory=str(folder), versions=["standard"])
    return Path(built).name


def _packed_checks() -> bytes:
    """Return an archive with the checks that assignments share and those of each assignment."""
    memory = io.BytesIO()
    roots = ((PACKAGE / "checks", "shared"), (current_course().checks, "a[0-9]*"))
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for root, pattern in roots:
            for path in sorted(root.glob(f"{pattern}/**/*.py")):
                info = zipfile.ZipInfo(path.relative_to(root).as_posix(), DATE)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, path.read_bytes())
    return NOT_FOR_READING + memory.getvalue()


def student_source(source: Source) -> str:
    """Return an assignment's source as students may have it: without solutions and rubrics."""
    notebook = nbformat.v4.new_notebook()
    for cell in source.cells:
        make = nbformat.v4.new_markdown_cell
        if cell.kind == "code":
            make = nbformat.v4.new_code_cell
        marks = {cell.role: cell.id} if cell.role != "text" else {}
        points = {"points": cell.points} if cell.role == "answer" else {}
        notebook.cells.append(make(without_solution(cell), metadata=marks | points))
    return jupytext.writes(notebook, fmt="py:percent")


def _core() -> Iterator[Requirement]:
    """Yield the packages that a student's notebook needs, with their bounds."""
    for text in distribution("vaelab").requires or ():
        one = Requirement(text)
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            yield one


def _added_names() -> list[str]:
    return [text.partition("==")[0] for text in added_requirements()]


def _pins() -> Iterator[str]:
    """Yield the packages to install, with the versions that are installed here."""
    yield "# The versions with which the course was tested. Written by `vaelab release`."
    for name in (*(one.name for one in _core()), "jupyterlab"):
        try:
            # Without a suffix such as +cpu, which is not on PyPI.
            yield f"{name}=={version(name).partition('+')[0]}"
        except PackageNotFoundError:
            yield name
    yield from added_requirements()

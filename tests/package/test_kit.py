"""The kit for students: it works where only the kit is installed, and it has no solution."""

import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from own_environment import install, make_environment
from test_course_file import course  # noqa: F401

from autograder.build.kit import PACKED, student_source, write_kit
from autograder.build.notebooks import reference, starter, to_text
from autograder.checks.registry import load_checks
from autograder.course import sources
from autograder.course.locate import CourseError, current_course
from autograder.course.regions import REGION, solved, without_solution
from autograder.course.sources import KIT_CELL, assignments, load_source
from autograder.grading.judge import grade
from autograder.grading.notebook import grade_id

A = "00_reparameterization"
# Lines of solutions that are shorter are no evidence: text may contain them.
SHORTEST = 20
Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit of the whole course."""
    folder = tmp_path_factory.mktemp("kit") / "kit"
    write_kit(folder)
    return folder


def wheel_of(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


# What the kit must not have


def words(text: str) -> str:
    return " ".join(text.split())


def texts_of(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file, also of those inside archives."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    yield name, words(archive.read(name).decode("utf-8", "replace"))
        elif path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            yield path.name, words("\n".join("".join(cell["source"]) for cell in cells))
        else:
            yield path.name, words(path.read_text(encoding="utf-8"))


def secrets() -> dict[str, list[str]]:
    """Return the characteristic lines of each rubric with its model answer, and of each solution.

    Lines that a starter has are left out, and the settings, of which no line is characteristic.
    """
    every = [(name, cell) for name in assignments() for cell in load_source(name).cells]
    given = words("\n".join(without_solution(cell) for _, cell in every))
    found = {}
    for name, cell in every:
        parts = (
            [cell.source] if cell.role == "answer" else [m[2] for m in REGION.finditer(cell.source)]
        )
        for number, part in enumerate(parts):
            lines = [words(line.strip("-* ")) for line in part.splitlines()]
            kept = [line for line in lines if len(line) >= SHORTEST and line not in given]
            if kept:
                found[f"{name} {cell.id} {number}"] = kept
    return found


def found_in(texts: Iterable[tuple[str, str]]) -> set[str]:
    """Return which secrets are in texts, with the file of each."""
    every = list(texts)
    return {
        f"{secret} in {name}: {line}"
        for secret, lines in secrets().items()
        for line in lines
        for name, text in every
        if line in text
    }


def test_no_file_has_a_solution_a_rubric_or_a_model_answer(kit):
    """Neither the files of the kit nor those inside the wheel, with notebooks as they are shown."""
    assert found_in(texts_of(kit)) == set()


def test_the_search_finds_every_rubric_and_every_solution_where_they_are():
    """Settings, such as `n_epochs = 10`, have no characteristic line."""
    every = secrets()
    answers = {(name, c.id) for name in assignments() for c in load_source(name).of("answer")}
    assert answers <= {tuple(secret.split()[:2]) for secret in every}
    assert len(every) > len(answers) + 70
    folder = current_course().solutions
    texts = [(name, words((folder / f"{name}.py").read_text())) for name in assignments()]
    assert {hit.partition(" in ")[0] for hit in found_in(texts)} == set(every)


def test_the_wheel_has_no_corpus_and_its_checks_are_packed(kit):
    with zipfile.ZipFile(wheel_of(kit)) as archive:
        names = archive.namelist()
        packed = archive.read(PACKED.as_posix())
    assert not [name for name in names if re.search(r"corpus|mutants|ways|checks/a\d|shared", name)]
    assert packed.startswith(b"The checks of the course, compressed.")
    inside = zipfile.ZipFile(io.BytesIO(packed)).namelist()
    assert all(name.endswith(".py") for name in inside)
    assert {name.partition("/")[0] for name in inside} == {f"a{name}" for name in assignments()} | {
        "shared"
    }


@pytest.mark.parametrize("assignment", assignments())
def test_the_sources_of_the_wheel_are_those_of_the_starters(assignment, tmp_path):
    path = tmp_path / f"{assignment}.py"
    path.write_text(student_source(load_source(assignment)), encoding="utf-8")
    wanted = [
        replace(cell, source=without_solution(cell)) for cell in load_source(assignment).cells
    ]
    assert list(sources._load(path, ()).cells) == wanted


# The kit where nothing else of the course is


@pytest.fixture(scope="module")
def installed(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a command of an environment that has the kit's wheel, in a copy of the kit."""
    environment = tmp_path_factory.mktemp("environment")
    make_environment(environment)
    install(wheel_of(kit), environment)
    folder = tmp_path_factory.mktemp("student") / "kit"
    shutil.copytree(kit, folder)

    def run(*command: object, cwd: Path = folder) -> subprocess.CompletedProcess:
        program, *more = map(str, command)
        left = ("PYTHONPATH", "VAELAB_COURSE", "VIRTUAL_ENV")
        variables = {key: value for key, value in os.environ.items() if key not in left}
        return subprocess.run(
            [environment / "bin" / program, *more],
            cwd=cwd,
            env=variables | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=600,
        )

    run.folder = folder  # type: ignore[attr-defined]
    return run


def passed(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def fill_in(path: Path) -> Path:
    """Write the solutions into a starter of the kit."""
    notebook = nbformat.read(path, as_version=4)
    solutions = {f"solution-{cell.id}": solved(cell) for cell in load_source(A).of("solution")}
    for cell in notebook.cells:
        cell.source = solutions.get(cell.id, cell.source)
    nbformat.write(notebook, path)
    return path


RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


def test_the_course_is_not_importable_but_for_the_kit(installed):
    where = passed(installed("python", "-c", "import autograder; print(autograder.__file__)"))
    assert "environment" in where
    assert installed("python", "-c", "import autograder.quality").returncode == 1


def test_a_filled_in_starter_passes_all_checks_in_a_kernel_and_in_the_command(installed):
    path = fill_in(installed.folder / "notebooks" / f"{A}.ipynb")
    passed(installed("python", "-c", RUN, path.name, cwd=path.parent))
    notebook = nbformat.read(path, as_version=4)
    checks = [cell for cell in notebook.cells if cell.id.startswith("test-")]
    assert len(checks) == len(load_checks(A).tasks)
    for cell in checks:
        assert "all checks passed" in cell.outputs[0].data["text/plain"]
    assert notebook.cells[0].outputs == []
    said = passed(installed("vaelab", "check", f"notebooks/{A}.ipynb"))
    assert said.count("All checks passed") == len(checks)
    assert "saved notebook" not in said


def test_the_command_fails_for_a_starter(installed):
    done = installed("vaelab", "check", "notebooks/08_elbo_vae.ipynb")
    assert done.returncode == 1, done.stderr
    assert "Not started" in done.stdout


EACH = """
import json, sys
for assignment, (task, cells) in json.load(open(sys.argv[1])).items():
    names = {"__name__": "__main__", "task": task}
    for cell in cells:
        exec(cell, names)
    print(assignment, eval("check(task)", names), "points")
"""


def test_a_check_of_every_assignment_works(installed, tmp_path):
    solutions = {
        name: (
            load_checks(name).tasks[0].id,
            [solved(cell) for cell in load_source(name).of("setup", "solution")],
        )
        for name in assignments()
    }
    (tmp_path / "solutions.json").write_text(json.dumps(solutions))
    said = passed(installed("python", "-c", EACH, tmp_path / "solutions.json"))
    for name in assignments():
        assert f"{name} {float(load_checks(name).tasks[0].points)} points" in said


# The first cell


def first_cell(folder: Path) -> str:
    notebook = nbformat.read(folder / "notebooks" / f"{A}.ipynb", as_version=4)
    assert grade_id(notebook.cells[0]) == KIT_CELL
    return notebook.cells[0].source


def test_the_starters_of_the_kit_have_one_more_cell(kit):
    for name in assignments():
        cells = nbformat.read(kit / "notebooks" / f"{name}.ipynb", as_version=4).cells
        assert cells[1:] == nbformat.from_dict(starter(name)).cells


def test_the_grader_ignores_the_first_cell(kit, tmp_path):
    (tmp_path / "plain").mkdir()
    plain = tmp_path / "plain" / f"{A}.ipynb"
    plain.write_text(to_text(reference(A)), encoding="utf-8")
    (tmp_path / "kit").mkdir()
    own = fill_in(Path(shutil.copy(kit / "notebooks" / f"{A}.ipynb", tmp_path / "kit")))
    own.write_text(own.read_text(encoding="utf-8").replace("import sys", "raise 1/0", 1))
    wanted, found = (grade(path, A, "ada") for path in (plain, own))
    assert (found.score, found.notes, found.look) == (wanted.score, wanted.notes, wanted.look)
    assert found.score == 90


IN_COLAB = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')\n"


def test_in_colab_the_first_cell_installs_the_wheel(kit, tmp_path):
    """Without a network: all other packages are there. Outside Colab nothing happens."""
    environment = tmp_path / "environment"
    packages = make_environment(environment)
    work = tmp_path / "work"
    work.mkdir()

    def run(text: str) -> subprocess.CompletedProcess:
        left = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run(
            [environment / "bin" / "python", "-c", text],
            cwd=work,
            env=left | {"PIP_NO_INDEX": "1"},
            capture_output=True,
            text=True,
        )

    text = first_cell(kit)
    assert passed(run(text)) == ""
    assert "Upload vaelab_student" in run(IN_COLAB + text).stderr
    shutil.copy(wheel_of(kit), work)
    assert "GPU: " in passed(run(IN_COLAB + text + "\nimport autograder, vae_utils"))
    assert (packages / "autograder" / "student" / "check.py").is_file()
    wheel_of(work).unlink()
    assert "GPU: " in passed(run(IN_COLAB + text))


# Options, errors, the course's own settings


def test_some_assignments_and_an_address(tmp_path):
    wheel = write_kit(tmp_path / "kit", [A], "https://example.org/course/")
    assert [path.name for path in (tmp_path / "kit/notebooks").iterdir()] == [f"{A}.ipynb"]
    address = f"https://example.org/course/{wheel.name}"
    assert f'WHEEL = "{address}"' in first_cell(tmp_path / "kit")
    readme = (tmp_path / "kit/README.md").read_text(encoding="utf-8")
    assert address in readme
    assert "Upload the notebook to Colab." in readme
    with zipfile.ZipFile(wheel) as archive:  # it is the same for every kit of the term
        held = [name for name in archive.namelist() if "installed/solutions/" in name]
    assert len(held) == len(assignments())


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CourseError, match="is not empty"):
        write_kit(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_unknown_assignment_leaves_nothing(tmp_path):
    with pytest.raises(CourseError, match="no assignment"):
        write_kit(tmp_path / "kit", ["99_x"])
    assert list(tmp_path.iterdir()) == []


def test_points_and_files_of_the_course_are_in_the_kit(course, tmp_path):  # noqa: F811
    root = course(
        '[course]\nfiles = ["more/halves.py"]\npackages = ["packaging"]\n'
        f"[assignment.{A}]\ndue = 2026-12-01T23:59:00Z\npoints = {{kl_divergence = 7}}\n"
    )
    (root / "more").mkdir()
    (root / "more" / "halves.py").write_text("half = 0.5\n")
    kit = tmp_path / "out" / "kit"
    write_kit(kit)
    settings = (kit / "notebooks" / "vaelab.toml").read_text()
    assert "kl_divergence = 7" in settings
    assert 'files = ["halves.py"]' in settings
    assert "due" not in settings
    assert (kit / "notebooks" / "halves.py").read_text() == "half = 0.5\n"
    assert "\npackaging==" in (kit / "requirements.txt").read_text()
    assert "`halves.py`" in (kit / "README.md").read_text()
    with zipfile.ZipFile(wheel_of(kit)) as archive:
        inside = "autograder/course/installed/"
        assert archive.read(f"{inside}vaelab.toml").decode() == settings
        assert archive.read(f"{inside}halves.py") == b"half = 0.5\n"
        (about,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        assert "Requires-Dist: packaging\n" in archive.read(about).decode()


def test_the_readme_of_the_kit_names_its_own_files_and_is_one_page(kit):
    text = (kit / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 500
    assert wheel_of(kit).name in text
    assert "{" not in text
    pins = (kit / "requirements.txt").read_text().splitlines()
    assert {"torch", "jupyterlab", "typer"} <= {line.partition("==")[0] for line in pins}
    assert not [line for line in pins if "+" in line]

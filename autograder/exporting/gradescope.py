"""Builds the autograder that Gradescope runs: a ZIP archive with the grader and the course.

The format is documented at https://gradescope-autograders.readthedocs.io. The archive holds:

setup.sh                installs Python, PyTorch for CPUs and the other packages, once
run_autograder          grades one submission; see `gradescope_run`
requirements.txt        the packages without PyTorch
grader/                 the code of the grader, and the course: its file, sources and checks
secret                  of the checks' random inputs: a submission gets the same ones again
"""

import io
import secrets
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution, version
from pathlib import Path

from packaging.requirements import Requirement

from autograder.checks.seeds import SECRET_BYTES
from autograder.course.additions import added_requirements
from autograder.course.locate import MARKER, PACKAGE, current_course
from autograder.course.settings import course_file
from autograder.course.sources import load_source
from autograder.reports.output_folder import read_secret

VISIBILITIES = ("visible", "after_due_date", "after_published", "hidden")
TORCH = ("torch", "torchvision")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# No judge needs these; nbgrader brings JupyterLab.
NOT_NEEDED = ("nbgrader", "jupyter-server-mathjax", "ipywidgets", "copydetect", "hatchling")

SETUP = """\
#!/usr/bin/env bash
# Written by `vaelab gradescope`. Gradescope runs it once, when it builds the image.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y python3.12-venv || apt-get install -y python3.11-venv
python=$(command -v python3.12 || command -v python3.11)
"$python" -m venv /autograder/venv
pip() {{ /autograder/venv/bin/python -m pip install --no-cache-dir "$@"; }}
pip --index-url {index} {torch}
pip -r /autograder/source/requirements.txt
# Compiled code starts faster; Gradescope discards what a run compiles.
/autograder/venv/bin/python -m compileall -q /autograder/source/grader
"""
RUN = """\
#!/usr/bin/env bash
# Written by `vaelab gradescope`. Gradescope runs it for each submission, in the folder /autograder.
root=${{AUTOGRADER_ROOT:-/autograder}}
export PYTHONPATH="$root/source/grader" VAELAB_COURSE="$root/source/grader"
exec "$root/venv/bin/python" -m autograder.exporting.gradescope_run \\
  {assignment} --root "$root" --visibility {visibility}{more}
"""


def build_autograder(
    assignment: str, visibility: str = "visible", *, no_sandbox: bool = False
) -> bytes:
    """Return the archive for an assignment of the current course.

    Args:
        assignment: The assignment's name.
        visibility: When students see the tasks; one of `VISIBILITIES`.
        no_sandbox: Whether submissions may run without a sandbox, if none works there.

    Raises:
        CourseError: If the assignment does not exist.
    """
    load_source(assignment)
    more = " --no-sandbox" if no_sandbox else ""
    torch = " ".join(f'"{name}=={version(name).partition("+")[0]}"' for name in TORCH)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        _program(archive, "setup.sh", SETUP.format(index=CPU_INDEX, torch=torch))
        run = RUN.format(assignment=assignment, visibility=visibility, more=more)
        _program(archive, "run_autograder", run)
        archive.writestr("requirements.txt", "\n".join(_requirements()) + "\n")
        of_term = course_file().secret
        secret = read_secret(of_term) if of_term else secrets.token_bytes(SECRET_BYTES)
        archive.writestr("secret", secret)
        for name, path in _files():
            archive.write(path, name)
        # Without it, the grader does not know its own version.
        metadata = distribution("vaelab").read_text("METADATA") or ""
        folder = f"grader/vaelab-{version('vaelab')}.dist-info"
        archive.writestr(f"{folder}/METADATA", metadata)
    return memory.getvalue()


def _program(archive: zipfile.ZipFile, name: str, text: str) -> None:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o755 << 16
    archive.writestr(info, text)


def _requirements() -> Iterator[str]:
    """Yield the packages that grading needs, with their bounds."""
    for text in distribution("vaelab").requires or ():
        one = Requirement(text)
        needed = one.marker is None or one.marker.evaluate({"extra": "grade"})
        if needed and one.name not in (*TORCH, *NOT_NEEDED):
            yield f"{one.name}{one.specifier}"
    yield from added_requirements()


def _files() -> Iterator[tuple[str, Path]]:
    """Yield the name in the archive and the path of each file of the grader and the course."""
    import vae_utils

    course = current_course()
    inside = course.checks.resolve().is_relative_to(PACKAGE)
    for package in (PACKAGE, Path(vae_utils.__file__).resolve().parent):
        for path in _of(package):
            if "installed" not in path.relative_to(package).parts:  # the course of a wheel
                yield f"grader/{package.name}/{path.relative_to(package)}", path
    yield f"grader/{MARKER}", course.root / MARKER
    for path in course_file().files:
        yield f"grader/{path.relative_to(course.root)}", path
    for path in sorted(course.solutions.glob("*.py")):
        yield f"grader/solutions/{path.name}", path
    for path in () if inside else _of(course.checks):
        yield f"grader/checks/{path.relative_to(course.checks)}", path


def _of(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            yield path

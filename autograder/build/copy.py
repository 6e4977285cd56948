"""Writes an editable copy of a course: sources, starters, checks and submission corpora."""

import shutil
import tempfile
from pathlib import Path

from autograder.course.locate import MARKER, CourseError, current_course

LEFT_OUT = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")


def copy_course(target: Path) -> Path:
    """Write a copy of the current course that its owner may edit.

    Args:
        target: The new folder; it may exist if it is empty.

    Returns:
        The folder.

    Raises:
        CourseError: If there is something in the folder already.
    """
    if target.is_dir() and any(target.iterdir()):
        raise CourseError(f"{target} is not empty. Name a new folder for the copy of the course.")
    if target.exists() and not target.is_dir():
        raise CourseError(f"{target} is a file. Name a new folder for the copy of the course.")
    course = current_course()
    target.parent.mkdir(parents=True, exist_ok=True)
    # An interrupted copy must not look like a course: the folder gets its name when it is whole.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as made:
        whole = Path(made, "course")
        shutil.copytree(course.solutions, whole / "solutions", ignore=LEFT_OUT)
        shutil.copytree(course.notebooks, whole / "notebooks", ignore=LEFT_OUT)
        for folder in sorted(course.checks.glob("a[0-9]*")):
            shutil.copytree(folder, whole / "checks" / folder.name, ignore=LEFT_OUT)
        shutil.copy(course.root / MARKER, whole / MARKER)
        whole.chmod(0o755)
        if target.is_dir():
            target.rmdir()
        whole.rename(target)
    return target

"""Writes an editable copy of a course: sources, starters, checks and submission corpora."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from autograder.course.additions import added_files
from autograder.course.locate import MARKER, CourseError, current_course
from autograder.course.settings import read_course_file

NOT_COPIED = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")


@contextlib.contextmanager
def new_folder(target: Path, what: str) -> Iterator[Path]:
    """Give a folder to write to; it gets its place when it is complete.

    So an interrupted command leaves nothing that looks complete.

    Args:
        target: The place. An existing folder must be empty.
        what: What is written, for messages.

    Raises:
        CourseError: If the folder is not empty, or if `target` is a file.
    """
    if target.is_dir() and any(target.iterdir()):
        raise CourseError(f"{target} is not empty. Name a new folder for {what}.")
    if target.exists() and not target.is_dir():
        raise CourseError(f"{target} is a file. Name a new folder for {what}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        folder = Path(temporary, "new")
        folder.mkdir()
        folder.chmod(0o755)
        yield folder
        if target.is_dir():
            target.rmdir()
        folder.rename(target)


def copy_course(target: Path) -> Path:
    """Write a copy of the current course that you can edit.

    Args:
        target: The new folder. An existing folder must be empty.

    Returns:
        The folder.

    Raises:
        CourseError: If the folder is not empty, or if `target` is a file.
    """
    course = current_course()
    with new_folder(target, "the copy of the course") as copy:
        added_files()  # stop here if one of them cannot be read
        shutil.copytree(course.solutions, copy / "solutions", ignore=NOT_COPIED)
        if course.notebooks.is_dir():
            shutil.copytree(course.notebooks, copy / "notebooks", ignore=NOT_COPIED)
        for folder in sorted(course.checks.glob("a[0-9]*")):
            shutil.copytree(folder, copy / "checks" / folder.name, ignore=NOT_COPIED)
        shutil.copy(course.root / MARKER, copy / MARKER)
        for path in read_course_file(course).files:
            (copy / path.relative_to(course.root)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy / path.relative_to(course.root))
    return target

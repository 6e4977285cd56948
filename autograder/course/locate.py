"""Finds the course: the folder with the sources, notebooks, checks and submission corpora.

The option `--course DIR` comes first, then the course around the current folder, then the one that
is installed with the package. A folder is a course if it contains the file `vaelab.toml`. If it has
no `solutions/`, it uses the sources and checks of the next course that has some.
"""

import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.records.errors import UserError

MARKER = "vaelab.toml"
VARIABLE = "VAELAB_COURSE"
PACKAGE = Path(__file__).resolve().parent.parent
INSTALLED = PACKAGE / "course" / "installed"


class CourseError(UserError):
    """An error in the course itself, not in a submission."""


@dataclass(frozen=True)
class Course:
    """A course on disk.

    Attributes:
        root: Its folder.
        checks: The folder with one folder `a<assignment>` for each assignment. That folder contains
            the assignment's checks and corpus.
        base: The folder of the course whose sources and checks it uses.
    """

    root: Path
    checks: Path
    base: Path

    @property
    def solutions(self) -> Path:
        """The folder of the sources."""
        return self.base / "solutions"

    @property
    def expected(self) -> Path:
        """The folder of the figures that starters show as expected."""
        return self.solutions / "expected"

    @property
    def notebooks(self) -> Path:
        """The folder of the starters."""
        return self.root / "notebooks"

    @property
    def code(self) -> list[Path]:
        """The folders of the code that grades submissions."""
        import vae_utils

        folders = {PACKAGE, Path(vae_utils.__file__).resolve().parent, self.checks}
        return sorted(f for f in folders if not any(f.is_relative_to(o) for o in folders - {f}))


def use_course(folder: Path) -> None:
    """Make `folder` the course of this process and of the processes that it starts.

    Raises:
        CourseError: If it is not a course.
    """
    _course_at(folder.resolve())
    os.environ[VARIABLE] = str(folder.resolve())
    current_course.cache_clear()


@functools.cache
def current_course() -> Course:
    """Return the course of this process.

    Raises:
        CourseError: If there is no course. The message lists the folders that were searched.
    """
    if named := os.environ.get(VARIABLE):
        return _course_at(Path(named))
    here = Path.cwd()
    places = [here, *here.parents, PACKAGE.parent, INSTALLED]
    for place in places:
        if (place / MARKER).is_file():
            return _course_at(place)
    raise CourseError(
        f"No course found. These folders do not contain the file {MARKER}: "
        f"{', '.join(map(str, places))}. Name the course's folder with --course DIR."
    )


def _course_at(root: Path) -> Course:
    if not (root / MARKER).is_file():
        raise CourseError(f"{root} is not a course: it does not contain the file {MARKER}.")
    if root == INSTALLED:
        return Course(root, PACKAGE / "checks", root)
    if not (root / "solutions").is_dir():
        for place in (*root.parents, PACKAGE.parent, INSTALLED):
            if (place / MARKER).is_file() and (place / "solutions").is_dir():
                return replace(_course_at(place), root=root)
        raise CourseError(f"{root} has no folder solutions, and no course around it has one.")
    own, inside = root / "checks", root / "autograder" / "checks"
    return Course(root, own if own.is_dir() else inside, root)

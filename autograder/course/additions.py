"""What a course adds for its students: packages that they may import, files beside the notebooks.

The course file names them: `packages` and `files` of the section [course].
"""

import functools
import hashlib
from collections.abc import Mapping
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from autograder.course.locate import CourseError
from autograder.course.settings import course_file

MOST_BYTES = 16 << 20


def added_files() -> Mapping[str, bytes]:
    """Return the bytes of each file that the course adds, by the file's name.

    Raises:
        CourseError: If a file cannot be read, two have one name, or all together are too large.
    """
    course = course_file()
    return _read(course.path, course.files)


@functools.cache
def _read(course: Path, files: tuple[Path, ...]) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for path in files:
        if path.name in found:
            raise CourseError(f"{course}: two files of `course.files` have the name {path.name}.")
        try:
            found[path.name] = path.read_bytes()
        except OSError as error:
            raise CourseError(f"{course}: `course.files`: {path}: {error.strerror}.") from error
    if (size := sum(map(len, found.values()))) > MOST_BYTES:
        raise CourseError(
            f"{course}: the files of `course.files` have {size >> 20} MiB; expected at most "
            f"{MOST_BYTES >> 20} MiB."
        )
    return MappingProxyType(found)


def added_modules() -> dict[str, str]:
    """Return the text of each Python file that the course adds, by the name of its module.

    Raises:
        CourseError: If a file cannot be read, is not Python, or its name is not that of a module.
    """
    found = {}
    for name, raw in added_files().items():
        if not name.endswith(".py"):
            continue
        stem = name.removesuffix(".py")
        try:
            found[stem] = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CourseError(f"{name} of `course.files` is not UTF-8.") from error
        if not stem.isidentifier():
            raise CourseError(f"{name} of `course.files`: no module can have this name.")
        try:
            compile(found[stem], name, "exec")
        except (SyntaxError, ValueError) as error:
            raise CourseError(f"{name} of `course.files` is no Python: {error}.") from error
    return found


def added_data() -> dict[str, bytes]:
    """Return the bytes of each other file that the course adds, by its name."""
    return {name: raw for name, raw in added_files().items() if not name.endswith(".py")}


def expect_additions() -> None:
    """Expect that everything that the course adds is there.

    Raises:
        CourseError: If a package is not installed, or a file is not right.
    """
    added_modules()
    course = course_file()
    for package in course.packages:
        if find_spec(package) is None:
            raise CourseError(
                f"{course.path}: `course.packages` names {package}, which is not installed here. "
                "Install it in the environment of the grader."
            )


def added_requirements() -> list[str]:
    """Return what pip must install for the packages that the course adds, each with its version."""
    known = packages_distributions()
    names = {known.get(package, [package])[0] for package in course_file().packages}
    return [f"{name}=={version(name)}" for name in sorted(names)]


def additions_digest() -> str:
    """Return a digest of everything that the course adds; "" if it adds nothing."""
    course = course_file()
    if not course.packages and not course.files:
        return ""
    digest = hashlib.sha256(" ".join(course.packages).encode())
    for name, raw in added_files().items():
        digest.update(f"\0{name}\0{len(raw)}\0".encode() + raw)
    return digest.hexdigest()

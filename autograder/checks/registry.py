"""Find an assignment's tasks and checks: `autograder/checks/a<assignment>/test_<assignment>.py`.

Such a module contains `TASKS` and its own checks. It may also contain `FAMILIES` (checks that a
shared module made for it), `IMPORTS` (its rule on imports) and `BOUNDS` (see `checks.bounds`). The
points of a task are those of the course file, if it has some.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType

from autograder import checks
from autograder.checks.training import TrainingSpec, expect_useful_thresholds
from autograder.checks.vocabulary import ImportRule, Task, info
from autograder.course.locate import Course, CourseError, current_course
from autograder.course.settings import read_course_file, unknown
from autograder.course.sources import load_source


@dataclass(frozen=True)
class CheckSet:
    """The tasks and checks of an assignment, in the order in which the judge runs them."""

    assignment: str
    module: ModuleType
    tasks: tuple[Task, ...]
    functions: tuple[Callable[..., None], ...]
    imports: ImportRule
    bounds: Mapping[str, float] = field(default_factory=dict)

    @property
    def device_counts(self) -> bool:
        """Return whether a tensor on another device than the input costs points.

        An assignment whose text demands it sets `DEVICE_COUNTS = True` beside its tasks.
        """
        return bool(getattr(self.module, "DEVICE_COUNTS", False))

    def task(self, task_id: str) -> Task:
        """Find a task by its id.

        Raises:
            CourseError: If no task has this id.
        """
        for task in self.tasks:
            if task.id == task_id:
                return task
        known = ", ".join(task.id for task in self.tasks)
        raise CourseError(f"There is no task '{task_id}' here. The tasks are: {known}.")

    def of(self, task_id: str) -> tuple[Callable[..., None], ...]:
        """Return the checks of a task."""
        self.task(task_id)
        return tuple(f for f in self.functions if info(f).task == task_id)


def load_checks(assignment: str) -> CheckSet:
    """Load an assignment's tasks and checks.

    Raises:
        CourseError: If it has no checks, a check belongs to no task, a task has no check, or the
            course file names a task or a bound that does not exist, or sets a useless threshold.
    """
    return _load(current_course(), assignment)


@functools.cache
def _load(course: Course, assignment: str) -> CheckSet:
    folder = course.checks
    # Another course has checks of its own for its assignments; shared checks come from here.
    if str(folder) not in checks.__path__:
        checks.__path__.insert(0, str(folder))
    name = f"autograder.checks.a{assignment}.test_{assignment}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, name.rpartition(".")[0]):
            raise
        missing = folder / f"a{assignment}" / f"test_{assignment}.py"
        message = f"'{assignment}' has no checks: the file {missing} is missing."
        raise CourseError(message) from error
    bounds: Mapping[str, float] = getattr(module, "BOUNDS", {})
    specs = [value for value in vars(module).values() if isinstance(value, TrainingSpec)]
    expect_useful_thresholds(specs, read_course_file(course).path)
    tasks = _with_points(course, assignment, module.TASKS, bounds)
    functions = [f for family in getattr(module, "FAMILIES", ()) for f in family]
    functions += [f for f in vars(module).values() if callable(f) and hasattr(f, "check")]
    order = [task.id for task in tasks]
    for function in functions:
        if info(function).task not in order:
            raise CourseError(f"{name}.{function.__name__} belongs to no task of this assignment.")
    for task in tasks:
        if not any(info(f).task == task.id for f in functions):
            raise CourseError(f"{name}: the task '{task.id}' has no check.")
    # The order within a task: first the checks of its families, then its own checks.
    functions.sort(key=lambda f: order.index(info(f).task))
    rule = getattr(module, "IMPORTS", ImportRule())
    return CheckSet(assignment, module, tasks, tuple(functions), rule, bounds)


def _with_points(
    course: Course, assignment: str, tasks: tuple[Task, ...], bounds: Mapping[str, float]
) -> tuple[Task, ...]:
    """Return the tasks with the points of the course file; expect that it names existing ones."""
    file = read_course_file(course)
    settings, where = file.of(assignment), f"assignment.{assignment}"
    if settings.points:
        known = [task.id for task in tasks]
        known += [cell.id for cell in load_source(assignment).of("answer")]
        for name in settings.points:
            if name not in known:
                raise unknown(file.path, f"{where}.points.{name}", f"one of {', '.join(known)}")
    if settings.bounds and not bounds:
        raise unknown(file.path, f"{where}.bounds", "no bounds: this assignment has none")
    return tuple(replace(task, points=settings.points.get(task.id, task.points)) for task in tasks)

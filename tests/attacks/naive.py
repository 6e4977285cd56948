"""Naive graders without defences: they run the checks in the submission's own process.

Each runs the notebook's cells, then the same checks on the live objects, and writes a result. An
attack must succeed here. Otherwise, its failure in the real judge proves nothing.
"""

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attacks import disabled_defences
from attacks.catalog import A
from autograder.checks import registry as checks
from autograder.checks.evaluate import evaluate
from autograder.grading import judge
from autograder.grading.notebook import open_notebook
from autograder.protocol.frames import Frame
from autograder.protocol.remote import Submission
from autograder.records.results import to_json
from autograder.sandbox import limits as sandbox_limits
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox


class LiveSubmission(Submission):
    """A submission whose objects are live objects of this process."""

    def __init__(self, names: dict[str, Any]):
        super().__init__(_no_worker, A)
        self.names = names

    def run(
        self, source: str, name: str, seconds: float | None = None, given: str | None = None
    ) -> None:
        exec(source, self.names)

    def object(self, name: str) -> Any:
        return LiveObject(self.names[name])

    def new(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return LiveObject(self.object(name)(*args))

    def hold(self, value: Any, *, as_array: bool = False) -> Any:
        return LiveObject(value.detach().clone())


def _no_worker(request: Frame, seconds: float | None) -> Iterator[Frame]:
    raise AssertionError(f"a live object has no worker that could answer {request.body['do']}")


class LiveObject:
    """A live object with the interface of `RemoteObject`."""

    def __init__(self, value: Any):
        self.value_ = value

    def __call__(self, *args: Any) -> Any:
        got = self.value_(*(a.value_ if isinstance(a, LiveObject) else a for a in args))
        return tuple(got) if isinstance(got, list) else got

    def value(self) -> Any:
        return self.value_


def grade(path: Path, out: Path) -> None:
    """Grade a notebook in this process; if it ends the process, there is no result."""
    os.chdir(path.parent)
    sys.path.insert(0, "")
    names: dict[str, Any] = {"__name__": "__main__", "display": print}
    for cell in open_notebook(path, A).cells:
        if cell.name == "imports":
            continue  # it imports the course's packages; the other cells use only torch
        with contextlib.suppress(Exception):
            exec("import torch\n" + cell.source, names)
    live, outcomes = LiveSubmission(names), []
    found = _load_late()
    for function in found.functions:
        outcomes.append(evaluate(function, found.task(checks.info(function).task), live))
    tasks, every = judge._scores(A, outcomes, "", {})
    result = judge.Result(A, "mallory", "graded", "", tasks, every, (), {}, 0.0)
    out.write_text(to_json(result), encoding="utf-8")


def _load_late() -> checks.CheckSet:
    """Import the checks as pytest does: after the cells, with their folder on the path."""
    with contextlib.suppress(ImportError):
        importlib.import_module("conftest")
    checks._load.cache_clear()
    for name in [name for name in sys.modules if name.startswith("autograder.checks.")]:
        del sys.modules[name]
    return checks.load_checks(A)


def grade_in_ipython(path: Path, out: Path) -> None:
    """Run cells and checks in one IPython; the first displayed value is a task's points."""
    from IPython.core.interactiveshell import InteractiveShell

    shell, shown = InteractiveShell.instance(), []
    shell.displayhook.write_format_data = lambda *_: None
    shell.displayhook.log_output = lambda *_: None
    shell.displayhook.update_user_ns = shown.append
    for cell in open_notebook(path, A).cells:
        if cell.name != "imports":
            shell.run_cell("import torch\n" + cell.source)
    live, total = LiveSubmission(shell.user_ns), 0.0
    found = checks.load_checks(A)

    def check(task: str) -> float:
        every = [evaluate(f, found.task(task), live) for f in found.of(task)]
        return found.task(task).points if all(o.outcome == "passed" for o in every) else 0.0

    shell.user_ns["check"] = check
    for task in found.tasks:
        shown.clear()
        shell.run_cell(f'check("{task.id}")')
        total += float(shown[0]) if shown else 0.0
    body = {"score": total, "status": "graded", "checks": []}
    out.write_text(json.dumps(body), encoding="utf-8")


def grade_cell_by_cell(path: Path, out: Path) -> None:
    """Run the file's own cells, including tests; a test that does not raise earns its points.

    As in nbconvert, a cell with the tag `skip-execution` is not run.
    """
    names: dict[str, Any] = {"__name__": "__main__", "display": print}
    live, total = LiveSubmission(names), 0.0
    found = checks.load_checks(A)

    def check(task: str) -> None:
        for function in found.of(task):
            outcome = evaluate(function, found.task(task), live)
            assert outcome.outcome == "passed", outcome.message

    for cell in json.loads(path.read_bytes())["cells"]:
        marks = cell["metadata"].get("nbgrader", {})
        runs = cell["cell_type"] == "code" and marks.get("grade_id") != "imports"
        raised = False
        if runs and "skip-execution" not in cell["metadata"].get("tags", ()):
            names["check"] = check
            try:
                exec("import torch\n" + "".join(cell["source"]), names)
            except Exception:
                raised = True
        if runs and marks.get("grade") and not raised:
            total += marks["points"]
    body = {"score": total, "status": "graded", "checks": []}
    out.write_text(json.dumps(body), encoding="utf-8")


def grade_with_disabled_defence(
    path: Path, out: Path, student: str, limits: Limits, sandbox: Sandbox, disabled: str
) -> None:
    """Grade with the real judge; `disabled` names the function that is replaced, or is ""."""
    if sandbox.off:  # without a sandbox, the machine's files are counted too
        sandbox_limits.MOST_FILES = 1 << 60
    with disabled_defences.DISABLED_DEFENCES[disabled]() if disabled else contextlib.nullcontext():
        result = judge.grade(path, A, student, limits, sandbox)
        disabled_defences.write_report(result, out.parent / "report")
        out.write_text(to_json(result), encoding="utf-8")


def score(out: Path) -> dict[str, Any] | None:
    """Return the result that a grader wrote; None if it wrote none."""
    try:
        return json.loads(out.read_text(encoding="utf-8", errors="replace"))  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return None

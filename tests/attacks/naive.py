"""The defence switched off: a grader of the common kind, in the submission's own process.

It runs a notebook's cells, then the same checks on the live objects that the cells have left, and
writes a result. This is what an attack must beat, or it proves nothing.
"""

import contextlib
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from attacks import disabled_defences
from attacks.catalog import A
from autograder.checks import registry as checks
from autograder.checks.evaluate import evaluate
from autograder.grading import judge
from autograder.grading.notebook import open_notebook
from autograder.records.results import to_json
from autograder.sandbox import limits as sandbox_limits
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox


class Live:
    """Looks like a `Submission` to a check, and hands over live objects."""

    in_notebook = False
    salt = b""
    assignment = A

    def __init__(self, names: dict[str, Any]):
        self.names = names
        self.failed: set[str] = set()
        self.cell_errors: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}

    def run(self, source: str, name: str) -> None:
        exec(source, self.names)

    def object(self, name: str) -> "Held":
        return Held(self.names[name])

    def new(self, name: str, *args: Any) -> "Held":
        return Held(self.object(name)(*args))

    def hold(self, value: Any) -> "Held":
        return Held(value.detach().clone())


class Held:
    """A live object."""

    def __init__(self, what: Any):
        self.what = what

    def __call__(self, *args: Any) -> Any:
        got = self.what(*(a.what if isinstance(a, Held) else a for a in args))
        return tuple(got) if isinstance(got, list) else got

    def value(self) -> Any:
        return self.what


def grade(path: Path, out: Path) -> None:
    """Grade a notebook here and now; if it ends this process, there is no result."""
    os.chdir(path.parent)
    sys.path.insert(0, "")
    names: dict[str, Any] = {"__name__": "__main__", "display": print}
    for cell in open_notebook(path, A).cells:
        if cell.name == "imports":
            continue  # its figures need the course's packages: `torch` is all that the cells use
        with contextlib.suppress(Exception):
            exec("import torch\n" + cell.source, names)
    live, outcomes = Live(names), []
    found = _load_late()
    for function in found.functions:
        outcomes.append(evaluate(function, found.task(checks.info(function).task), live))  # type: ignore[arg-type]
    tasks, every = judge._scores(A, outcomes, "", {})
    result = judge.Result(A, "mallory", "graded", "", tasks, every, (), {}, 0.0)
    out.write_text(to_json(result), encoding="utf-8")


def _load_late() -> checks.CheckSet:
    """Import the checks as pytest would: after the work has run, from the folder it lies in."""
    with contextlib.suppress(ImportError):
        importlib.import_module("conftest")
    checks.load_checks.cache_clear()
    for name in [name for name in sys.modules if name.startswith("autograder.checks.")]:
        del sys.modules[name]
    return checks.load_checks(A)


def grade_in_ipython(path: Path, out: Path) -> None:
    """Run cells and checks in one IPython; a check earns the first value that it displays."""
    from IPython.core.interactiveshell import InteractiveShell

    shell, shown = InteractiveShell.instance(), []
    shell.displayhook.write_format_data = lambda *_: None
    shell.displayhook.log_output = lambda *_: None
    shell.displayhook.update_user_ns = shown.append
    for cell in open_notebook(path, A).cells:
        if cell.name != "imports":
            shell.run_cell("import torch\n" + cell.source)
    live, total = Live(shell.user_ns), 0.0
    found = checks.load_checks(A)

    def check(task: str) -> float:
        every = [evaluate(f, found.task(task), live) for f in found.of(task)]  # type: ignore[arg-type]
        return found.task(task).points if all(o.outcome == "passed" for o in every) else 0.0

    shell.user_ns["check"] = check
    for task in found.tasks:
        shown.clear()
        shell.run_cell(f'check("{task.id}")')
        total += float(shown[0]) if shown else 0.0
    body = {"score": total, "status": "graded", "checks": []}
    out.write_text(json.dumps(body), encoding="utf-8")


def grade_cell_by_cell(path: Path, out: Path) -> None:
    """Run the file's own cells, tests included; a test that does not raise has earned its points.

    A cell with the tag `skip-execution` is not run, as in nbconvert.
    """
    names: dict[str, Any] = {"__name__": "__main__", "display": print}
    live, total = Live(names), 0.0
    found = checks.load_checks(A)

    def check(task: str) -> None:
        for function in found.of(task):
            outcome = evaluate(function, found.task(task), live)  # type: ignore[arg-type]
            assert outcome.outcome == "passed", outcome.message

    for cell in json.loads(path.read_bytes())["cells"]:
        told = cell["metadata"].get("nbgrader", {})
        runs = cell["cell_type"] == "code" and told.get("grade_id") != "imports"
        raised = False
        if runs and "skip-execution" not in cell["metadata"].get("tags", ()):
            names["check"] = check
            try:
                exec("import torch\n" + "".join(cell["source"]), names)
            except Exception:
                raised = True
        if runs and told.get("grade") and not raised:
            total += told["points"]
    body = {"score": total, "status": "graded", "checks": []}
    out.write_text(json.dumps(body), encoding="utf-8")


def grade_with_disabled_defence(
    path: Path, out: Path, student: str, limits: Limits, sandbox: Sandbox, hole: str
) -> None:
    """Grade with the real judge, one function of which may be replaced."""
    if sandbox.off:  # the machine's own files are counted as the submission's
        sandbox_limits.MOST_FILES = 1 << 60
    with disabled_defences.DISABLED_DEFENCES[hole]() if hole else contextlib.nullcontext():
        result = judge.grade(path, A, student, limits, sandbox)
        disabled_defences.write_report(result, out.parent / "report")
        out.write_text(to_json(result), encoding="utf-8")


def score(out: Path) -> dict[str, Any] | None:
    """Read what a grader wrote; None if it was stopped before."""
    try:
        return json.loads(out.read_text(encoding="utf-8", errors="replace"))  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return None

"""Lets pytest run the checks on a submission: `pytest autograder/checks --submission FILE`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.checks.registry import load_checks
from autograder.grading.judge import Judging, judging


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options `--submission` and `--assignment`."""
    parser.addoption("--submission", type=Path, help="the notebook to check")
    parser.addoption("--assignment", help="the assignment; default: the notebook's file name")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    """Collect only the checks of the submission's assignment, in the order of grading."""
    module: pytest.Module = AssignmentChecks.from_parent(parent, path=module_path)
    return module


class AssignmentChecks(pytest.Module):
    """A module of checks, including those that shared check families define for it."""

    def collect(self) -> Iterator[pytest.Function]:
        """Yield one test for each check of the submission's assignment."""
        checks = load_checks(_assignment(self.config))
        if str(self.path) == checks.module.__file__:
            for function in checks.functions:
                yield pytest.Function.from_parent(self, name=function.__name__, callobj=function)


@pytest.fixture(scope="session")
def submission(request: pytest.FixtureRequest) -> Iterator[Judging]:
    """Return the submission, loaded in its worker."""
    path = request.config.getoption("--submission")
    with judging(path, _assignment(request.config)) as opened:
        yield opened


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a check as the judge does, so that it is evaluated in the same way."""
    if not hasattr(pyfuncitem.function, "check"):
        return None
    current = pyfuncitem.funcargs["submission"]
    assert isinstance(current, Judging)
    outcome = current.evaluate(pyfuncitem.function)
    if outcome.outcome != "passed":
        pytest.fail(f"{outcome.outcome}: {outcome.message}", pytrace=False)
    return True


def _assignment(config: pytest.Config) -> str:
    path = config.getoption("--submission")
    if path is None:
        raise pytest.UsageError("No submission. Name the notebook to check: --submission FILE")
    return config.getoption("--assignment") or path.stem

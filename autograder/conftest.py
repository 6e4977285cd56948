"""Lets pytest run the checks against a submission: `pytest autograder/checks --submission FILE`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.checks.registry import load_checks
from autograder.grading.judge import Judging, judging


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that name the submission."""
    parser.addoption("--submission", type=Path, help="the notebook to judge")
    parser.addoption("--assignment", help="its assignment; by default the notebook's file name")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep one assignment's checks, parts before what is built from them."""
    checks = load_checks(_assignment(config))
    order = checks.functions
    # Assignments share checks: the function alone does not say whose it is.
    kept = [
        item
        for item in items
        if getattr(item, "function", None) in order and str(item.path) == checks.module.__file__
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = sorted(kept, key=lambda item: order.index(item.function))  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def submission(request: pytest.FixtureRequest) -> Iterator[Judging]:
    """The submission under judgement, in its worker."""
    path = request.config.getoption("--submission")
    with judging(path, _assignment(request.config)) as opened:
        yield opened


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a check through the judge, so that every outcome is recorded the same way."""
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
        raise pytest.UsageError("Say which notebook to judge: --submission FILE")
    return config.getoption("--assignment") or path.stem

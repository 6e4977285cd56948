"""How the tests run side by side (pytest-xdist): in which order, and which share a worker."""

import os
from pathlib import Path

import pytest

# Every test process computes on one thread: several of them share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TESTS = Path(__file__).parent

# Processor seconds of what is slow, by the start of a test's id. Everything else is quick.
SLOW = {
    "autograder/test_bank.py": 600,
    "autograder/test_batch.py": 60,
    "autograder/test_calibrate.py": 30,
    "autograder/test_cli.py": 30,
    "autograder/test_demo.py": 60,
    "autograder/test_host.py": 60,
    "autograder/test_nbgrader.py": 100,
    "autograder/test_reference_notebooks.py": 400,
    "autograder/test_sandbox.py": 100,
    "attacks/": 400,
}


def slow_part(item: pytest.Item) -> str:
    """Return the entry of `SLOW` that a test belongs to, or "" for a quick test."""
    name = item.path.relative_to(TESTS).as_posix() + item.nodeid.partition(".py")[2]
    return next((start for start in SLOW if name.startswith(start)), "")


def group_of(item: pytest.Item) -> str:
    """Return the name of the tests that must share one worker with this one, or ""."""
    fixtures = getattr(item, "fixturenames", ())
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if "graded" in fixtures:  # a corpus is graded once, by the worker that needs it
        return f"corpus-{parameters.get('assignment', '03_fc_vae')}"
    if "court" in fixtures:
        return f"attacks-{parameters['court']}"
    for module_fixture in ("special", "scores", "executed", "folder"):
        if module_fixture in fixtures:
            return item.path.stem
    return ""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, name the groups, and put the quick tests first."""
    for item in items:
        if slow_part(item):
            item.add_marker("slow")
        if group := group_of(item):
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: SLOW.get(slow_part(item), 0))

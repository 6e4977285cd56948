"""How the tests run side by side (pytest-xdist): in which order, and which share a worker."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Every test process computes on one thread: several of them share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hypothesis measures time by the clock, which says little while other tests use the cores.
settings.register_profile("any-load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-load")

TESTS = Path(__file__).parent

# Processor seconds of what is slow, by the start of a test's id, and of all the other tests.
QUICK = 150
SLOW = {
    "autograder/test_corpus.py": 400,
    "autograder/test_reference_notebooks.py": 250,
    "attacks/": 250,
    "package/test_wheel.py": 150,
    "autograder/test_contributing.py": 100,
    "autograder/test_batch.py": 100,
    "autograder/test_sandbox.py": 100,
    "autograder/test_cli.py": 60,
    "autograder/test_demo.py": 60,
    "autograder/test_nbgrader.py": 50,
    "autograder/test_host.py": 30,
}


def pytest_configure() -> None:
    """Stop if a slow part has been moved: its tests would count as quick."""
    if missing := [part for part in SLOW if not (TESTS / part.partition("::")[0]).exists()]:
        raise pytest.UsageError(f"tests/conftest.py: SLOW names {missing}, which do not exist")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say at the start how long the whole suite takes."""
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(config, "workerinput") or config.args_source is not config.ArgsSource.TESTPATHS:
        return
    seconds = QUICK + (0 if config.option.markexpr == "not slow" else sum(SLOW.values()))
    minutes = round(seconds / 60 / (2 * 0.85))  # two cores, not always busy
    reporter.write_line(f"This takes about {minutes} minutes on two cores. Quick tests run first.")


def slow_part(item: pytest.Item) -> str:
    """Return the entry of `SLOW` that a test belongs to, or "" for a quick test."""
    name = item.path.relative_to(TESTS).as_posix() + item.nodeid.partition(".py")[2]
    return next((start for start in SLOW if name.startswith(start)), "")


def group_of(item: pytest.Item) -> str:
    """Return the name of the tests that must share one worker with this one, or ""."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    fixtures = item._fixtureinfo.name2fixturedefs if hasattr(item, "_fixtureinfo") else {}
    if "graded" in fixtures:  # a corpus is graded once
        return f"corpus-{parameters.get('assignment', '03_fc_vae')}"
    if "court" in parameters:  # a tier has one judge for all attacks
        return f"attacks-{parameters['court']}"
    if any(found[-1].scope == "module" for found in fixtures.values()):
        return item.path.stem
    return ""


@pytest.hookimpl(tryfirst=True)  # before pytest applies -m and pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, name the groups, and order: quick tests, then the longest part first."""
    for item in items:
        if slow_part(item):
            item.add_marker("slow")
        if not item.get_closest_marker("xdist_group") and (group := group_of(item)):
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: -SLOW.get(part, 0) if (part := slow_part(item)) else -1e9)

"""How the tests run side by side (pytest-xdist): in which order, and which share a worker."""

import os
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Every test process computes on one thread: several of them share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hypothesis measures time by the clock, which says little while other tests use the cores.
settings.register_profile("any-load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-load")

TESTS = Path(__file__).parent

# Processor seconds of what is slow, by the start of a test's id. It runs in this order: what takes
# one worker long comes first.
QUICK = 150
SLOW = {
    "package/test_wheel.py": 180,
    "package/test_kit.py": 80,
    "autograder/test_fresh.py": 90,
    "autograder/test_corpus.py": 650,
    "autograder/test_contributing.py": 90,
    "autograder/test_reference_notebooks.py": 130,
    "attacks/": 230,
    "autograder/test_nbgrader.py": 40,
    "autograder/test_batch.py": 80,
    "autograder/test_sandbox.py": 90,
    "autograder/test_term.py": 55,
    "autograder/test_cli.py": 60,
    "autograder/test_host.py": 60,
    "autograder/test_messy.py": 45,
    "autograder/test_compose.py": 40,
    "autograder/test_notebook.py": 30,
    "autograder/test_collect.py": 30,
    "autograder/test_explain.py": 25,
    "autograder/test_gradescope.py": 20,
    "autograder/test_cluster.py": 20,
    "browser/": 30,
}


# What tests share, as a pattern of their ids; without it, each worker would compute it again.
SHARED = (
    r"attacks/test_attacks\.py.*\[([AB])-",  # the judge of one tier
    r"autograder/test_corpus\.py::\w+(?:\[(\d\d_[a-z_]+).*)?$",  # a graded corpus
    r"autograder/test_batch\.py::test_a_result_does_not_depend()",
    r"(browser)/test_",  # the browser
    # a module fixture
    r"(test_cluster|test_contributing|test_explain|test_gradebook|test_gradescope|test_messy|test_nbgrader|test_term|test_wheel|test_kit|test_gallery)\.py",
)
FIRST_CORPUS = "03_fc_vae"  # the corpus of the tests that name none in their id


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


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Seed what tests draw without a generator: a test that fails must fail again."""
    import torch  # after OMP_NUM_THREADS is set

    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)  # torch.manual_seed also seeds GPUs, which is slow


def slow_part(item: pytest.Item) -> str:
    """Return the entry of `SLOW` that a test belongs to, or "" for a quick test."""
    name = item.path.relative_to(TESTS).as_posix() + item.nodeid.partition(".py")[2]
    return next((start for start in SLOW if name.startswith(start)), "")


@pytest.hookimpl(tryfirst=True)  # before pytest applies -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, and order: quick tests, then the slow ones as in `SLOW`."""
    for item in items:
        if slow_part(item):
            item.add_marker("slow")
    order = ["", *SLOW]
    items.sort(key=lambda item: order.index(slow_part(item)))


def group(test: str) -> str:
    """Return a name that is the same for all tests that must share a worker.

    Args:
        test: The id of a test.

    Returns:
        The part of the id that names what the tests share, or the id if they share nothing.
    """
    found = next(filter(None, (re.search(pattern, test) for pattern in SHARED)), None)
    return found[1] or FIRST_CORPUS if found else test


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each group to one worker, in the order above.

    pytest-xdist's own `--dist loadgroup` does not find the groups with pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    config.option.loadscopereorder = False
    return Scheduler(config, log)

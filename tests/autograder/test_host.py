"""Limits are the judge's: time, memory, and what a worker that dies leaves behind."""

import os
import tempfile
from dataclasses import replace

import psutil
import pytest

from autograder.host import BEST, Ended, Limits, Sandbox, WorkerProcess
from autograder.submission import Raised, Submission

QUICK = Limits(seconds=60.0, call_seconds=3.0, memory_mib=1500)


def run(source: str, limits: Limits = QUICK) -> WorkerProcess:
    with WorkerProcess(limits) as worker:
        Submission(worker.ask, "none").run(source, "cell")
    return worker


@pytest.mark.parametrize(
    ("source", "status", "says"),
    [
        ("while True: pass", "timeout", "still running"),
        ("import time; time.sleep(600)", "timeout", "still running"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", "timeout", "still running"),
        (
            "try:\n  while True: pass\nexcept BaseException:\n  while True: pass",
            "timeout",
            "still running",
        ),
        ("import os; os._exit(0)", "crashed", "exit code 0"),
        ("import os; os.kill(os.getpid(), 11)", "crashed", "SIGSEGV"),
        ("import os; os.closerange(3, 50)\nwhile True: pass", "crashed", "closed its pipe"),
        (
            "import os\nfor fd in range(3, 20):\n  try: os.write(fd, b'{\"ok\": 1}' * 9)\n"
            "  except OSError: pass",
            "crashed",
            "no answer",
        ),
        ("import numpy as np\nhog = [np.ones(2**24) for _ in range(60)]", "memory", "1500 MiB"),
    ],
)
def test_each_end_has_its_name(source, status, says):
    # Only what never ends may meet the clock: on a busy machine the others take their time.
    seconds = 3.0 if status == "timeout" else 60.0
    with pytest.raises(Ended, match=says) as ended:
        run(source, replace(QUICK, call_seconds=seconds))
    assert ended.value.status == status


def test_the_whole_submission_has_a_limit_too():
    with (
        pytest.raises(Ended, match="the limit for one submission"),
        WorkerProcess(Limits(seconds=2.0, call_seconds=30.0)) as worker,
    ):
        Submission(worker.ask, "none").run("while True: pass", "cell")


def test_nothing_of_a_worker_is_left(tmp_path, monkeypatch):
    """Its folder and its processes are gone; that a daemon's are too is seen with the attacks."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cold = Sandbox(BEST.resolved().tier, warm=False)
    before = set(psutil.Process().children(recursive=True))
    source = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()"
    with WorkerProcess(QUICK, cold) as worker:
        assert set(psutil.Process().children(recursive=True)) > before
        Submission(worker.ask, "none").run(source, "cell")
    assert set(psutil.Process().children(recursive=True)) <= before
    assert list(tmp_path.iterdir()) == []


def test_output_is_kept_short_and_stops_nobody():
    worker = run("for _ in range(3000): print('x' * 1000)")
    assert len(worker.text) <= 1 << 20


def test_what_a_cell_raises_is_an_answer():
    for source, kind in (
        ("import sys; sys.exit(1)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("def f(:", "SyntaxError"),
        ("x = " + "-" * 100_000 + "1", None),
        ("1 / 0", "ZeroDivisionError"),
    ):
        with pytest.raises((Raised, Ended)) as caught:
            run(source)
        if kind:
            assert caught.value.kind == kind


def test_a_worker_has_no_grader_in_it():
    source = """
import sys, autograder, os
held = [name for name in sys.modules if name.startswith("autograder")]
assert held == ["autograder"], held
assert autograder.notebook_checks("x")("encoder") == 0.0
try:
    import autograder.checks
except ImportError:
    pass
else:
    raise AssertionError("the checks can be imported")
assert not [n for n in os.environ if "VAELAB" in n or "SECRET" in n]
"""
    os.environ["MY_SECRET"] = "1"
    try:
        run(source)
    finally:
        del os.environ["MY_SECRET"]

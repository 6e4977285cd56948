"""The judge enforces the limits, and nothing of a worker is left after its end."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from autograder.protocol.ended import Ended
from autograder.protocol.remote import Raised, Submission
from autograder.sandbox import usage
from autograder.sandbox.host import WorkerProcess
from autograder.sandbox.limits import Limits
from autograder.sandbox.usage import tree
from autograder.sandbox.watcher import Watcher

QUICK = Limits(seconds=120.0, call_seconds=10.0, memory_mib=1500)


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
        ("import os; os.closerange(3, 50)\nwhile True: pass", "crashed", "closed the pipe"),
        (
            "import os\nfor fd in range(3, 20):\n  try: os.write(fd, b'{\"ok\": 1}' * 9)\n"
            "  except OSError: pass",
            "crashed",
            "invalid answer",
        ),
        ("hog = bytearray(1 << 31)", "memory", "1500 MiB"),
        (
            "import os\nfor _ in range(3): os.fork()\nx = bytearray(1 << 28)\nwhile True: pass",
            "memory",
            "1500 MiB",
        ),
        (
            "open('/dev/shm/x', 'wb').write(bytes(300 << 20)); import time; time.sleep(9)",
            "disk",
            "256 MiB of files",
        ),
        (
            "for n in range(9): open(f'/tmp/{n}', 'wb').write(bytes(30 << 20))\nwhile True: pass",
            "disk",
            "256 MiB of files",
        ),
        ("for i in range(20000): open(f'/tmp/{i}', 'w').close()", "disk", "10000 files"),
        ("while True: print('x' * 10000)", "output", "64 MiB of text"),
        (
            "import threading\nstop = threading.Event()\n"
            "for _ in range(70): threading.Thread(target=stop.wait).start()\nstop.wait()",
            "processes",
            "64 processes",
        ),
    ],
)
def test_each_limit_has_its_status_and_message(source, status, says):
    # Only endless code may reach the time limit; the others can be slow on a busy machine.
    seconds = 3.0 if status == "timeout" else 60.0
    with pytest.raises(Ended, match=says) as ended:
        run(source, replace(QUICK, call_seconds=seconds))
    assert ended.value.status == status


def test_cpu_time_is_summed_over_all_processes():
    source = "import os\nfor _ in range(2): os.fork()\nwhile True: pass"
    with pytest.raises(Ended, match="2 seconds of CPU time") as ended:
        run(source, Limits(call_seconds=60.0, cpu_seconds=2.0))
    assert ended.value.status == "cpu"


GROWS = """
import threading, time
def grow():
    time.sleep(0.2)
    kept.append(bytearray(1 << 30))
    time.sleep(60)
kept = []
threading.Thread(target=grow, daemon=True).start()
"""


def test_limits_are_enforced_while_the_judge_computes():
    """A thread of the worker allocates after the answer; the judge asks nothing meanwhile."""
    for memory, status in ((1000, "memory"), (4000, None)):
        with WorkerProcess(replace(QUICK, memory_mib=memory)) as worker:
            submission = Submission(worker.ask, "none")
            submission.run(GROWS, "cell")
            until = time.monotonic() + 20.0
            while worker.ended is None and worker.peak_mib < 1000 and time.monotonic() < until:
                sum(range(100_000))
            time.sleep(0.2)
            assert (worker.ended.status if worker.ended else None) == status
            if status:
                with pytest.raises(Ended, match="1000 MiB"):
                    submission.run("x = 1", "cell")


def test_without_the_thread_a_worker_exceeds_its_memory_limit(monkeypatch):
    monkeypatch.setattr(Watcher, "_run", lambda self: None)
    with WorkerProcess(replace(QUICK, memory_mib=1000)) as worker:
        Submission(worker.ask, "none").run(GROWS, "cell")
        until = time.monotonic() + 20.0
        while worker._process.usage(worker.limits).memory < 1 << 30 and time.monotonic() < until:
            time.sleep(0.1)
        assert worker._process.usage(worker.limits).memory > 1 << 30
        assert worker.ended is None


def test_the_time_limit_is_enforced_while_the_judge_computes():
    with WorkerProcess(Limits(seconds=0.5)) as worker:
        submission = Submission(worker.ask, "none")
        until = time.monotonic() + 20.0
        while worker.ended is None and time.monotonic() < until:
            sum(range(100_000))
        with pytest.raises(Ended, match="the time limit for one submission"):
            submission.run("x = 1", "cell")


STOPPED = """
import sys
from autograder.protocol.ended import Ended
from autograder.protocol.remote import Submission
from autograder.sandbox import clock
from autograder.sandbox.host import WorkerProcess
from autograder.sandbox.limits import Limits
clock.MAX_GAP = float(sys.argv[1])
with WorkerProcess(Limits(seconds=8.0, call_seconds=8.0)) as worker:
    print("ready", flush=True)
    try:
        Submission(worker.ask, "none").run("import time; time.sleep(3)", "cell")
        print("graded")
    except Ended as end:
        print(end.status)
"""


@pytest.mark.parametrize(("gap", "outcome"), [("2", "graded"), ("1e9", "timeout")])
def test_a_judge_that_was_stopped_gives_the_submission_its_time(gap, outcome):
    """The judge is stopped for 10 seconds, longer than the limit of 8 seconds."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    judge = subprocess.Popen(
        [sys.executable, "-c", STOPPED, gap], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert judge.stdout
    assert judge.stdout.readline() == "ready\n"
    time.sleep(0.5)
    judge.send_signal(signal.SIGSTOP)
    time.sleep(10)
    judge.send_signal(signal.SIGCONT)
    assert judge.communicate(timeout=60)[0] == f"{outcome}\n"


@pytest.mark.parametrize("counted", [True, False], ids=["on", "off"])
def test_time_in_which_a_worker_waits_for_a_core_does_not_count(counted, monkeypatch):
    """Six other programs use the worker's core; it computes for a second, with a limit of three."""
    if not counted:
        monkeypatch.setattr(usage, "_waited", lambda pid: 0.0)
    core = min(os.sched_getaffinity(0))
    loop = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    # Some kernels share a core between sessions, and not between processes.
    how = {"stdout": subprocess.PIPE, "start_new_session": True}
    busy = [subprocess.Popen(loop, **how) for _ in range(6)]
    try:
        for one in busy:
            assert one.stdout
            one.stdout.readline()
            os.sched_setaffinity(one.pid, {core})
        with WorkerProcess(Limits(call_seconds=3.0)) as worker:
            for pid in tree(worker._process.pid):
                os.sched_setaffinity(pid, {core})
            compute = "import time\nwhile time.process_time() < start + 1: pass"
            source = f"import time\nstart = time.process_time()\n{compute}"
            with contextlib.nullcontext() if counted else pytest.raises(Ended, match="one call"):
                Submission(worker.ask, "none").run(source, "cell")
    finally:
        for one in busy:
            one.kill()
            one.wait()


def test_the_whole_submission_has_a_time_limit():
    with (
        pytest.raises(Ended, match="the time limit for one submission"),
        WorkerProcess(Limits(seconds=2.0, call_seconds=30.0)) as worker,
    ):
        Submission(worker.ask, "none").run("while True: pass", "cell")


def test_no_process_of_a_worker_survives():
    """Also not a daemon in its own session that blocks signals."""
    source = (
        "import os, signal, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "    while True: time.sleep(9)\n"
        "time.sleep(0.5)"
    )
    with WorkerProcess(QUICK) as worker:
        Submission(worker.ask, "none").run(source, "cell")
        inside = [psutil.Process(pid) for pid in tree(worker._process.pid)]
        assert len(inside) >= 3
    assert not any(process.is_running() for process in inside)


def test_a_fork_bomb_is_stopped_and_the_next_run_is_normal():
    bomb = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    for _ in range(2):
        with pytest.raises(Ended, match="64 processes") as ended:
            run(bomb, Limits(call_seconds=60.0))
        assert ended.value.status == "processes"
        run("import os, threading; os.fork() or os._exit(0)")


def test_the_same_code_passes_under_higher_limits():
    """So in the tests above, the limit stops the code."""
    higher = Limits(call_seconds=60.0, memory_mib=8000, disk_mib=1024, output_mib=1024)
    for source in (
        "x = bytearray(1 << 31)",
        "open('/dev/shm/x', 'wb').write(bytes(300 << 20))",
        "for i in range(70000): print('x' * 1000)",
    ):
        run(source, higher)


def test_only_the_first_mib_of_the_output_is_kept():
    worker = run("for _ in range(3000): print('x' * 1000)")
    assert len(worker.text) <= 1 << 20


def test_an_exception_in_a_cell_is_an_answer():
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


def test_a_worker_does_not_contain_the_grader():
    source = """
import sys, autograder, os
loaded = [name for name in sys.modules if name.startswith("autograder")]
assert loaded == ["autograder"], loaded
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

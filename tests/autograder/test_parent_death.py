"""A process ends when its parent is killed, even while it loads its modules."""

import subprocess
import sys
import time

import psutil
import pytest

PARENT = """
import multiprocessing, sys, time
from autograder.grading.parent_death import EndWithParent, run_with_parent

class SlowToLoad:
    def __reduce__(self):
        return time.sleep, (60,)

first = EndWithParent() if sys.argv[1] == "with EndWithParent" else None
context = multiprocessing.get_context("spawn")
process = context.Process(target=run_with_parent, args=(first, print, SlowToLoad()))
process.start()
print(process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has parent-death signals")
@pytest.mark.parametrize("how", ["with EndWithParent", "without"])
def test_a_process_ends_with_its_parent_while_it_loads(how):
    command = [sys.executable, "-c", PARENT, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        until = time.monotonic() + 20
        while child.cpu_times().user == 0 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1.0)  # it now waits in SlowToLoad
        parent.kill()
    try:
        gone = _gone(child, 10.0 if how == "with EndWithParent" else 1.0)
        assert gone == (how == "with EndWithParent")
    finally:
        if not _gone(child, 0.0):
            child.kill()


def _gone(process: psutil.Process, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while True:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.05)

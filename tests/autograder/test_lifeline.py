"""A process ends with a parent that is killed, even while it still loads what it needs."""

import subprocess
import sys
import time

import psutil
import pytest

PARENT = """
import multiprocessing, sys, time
from autograder.lifeline import Lifeline, run_tied

class LoadsForLong:
    def __reduce__(self):
        return time.sleep, (60,)

first = Lifeline() if sys.argv[1] == "tied" else None
context = multiprocessing.get_context("spawn")
process = context.Process(target=run_tied, args=(first, print, LoadsForLong()))
process.start()
print(process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can tie a process to its parent")
@pytest.mark.parametrize("how", ["tied", "loose"])
def test_a_process_that_is_still_loading_ends_with_its_parent(how):
    command = [sys.executable, "-c", PARENT, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        until = time.monotonic() + 20
        while child.cpu_times().user == 0 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1.0)  # it has begun, and waits in what it loads
        parent.kill()
    try:
        gone = _gone(child, 10.0 if how == "tied" else 1.0)
        assert gone == (how == "tied")
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

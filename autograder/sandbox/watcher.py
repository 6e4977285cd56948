"""Watches the limits of a worker from a thread of its own, also while the judge computes."""

import threading

from autograder.protocol.ended import Ended
from autograder.sandbox.clock import Clock
from autograder.sandbox.limits import MIB, Limits
from autograder.sandbox.process import PlainProcess, SandboxedProcess

POLL_SECONDS = 0.05


class Watcher:
    """Measures a worker every `POLL_SECONDS`, and ends it when it exceeds a limit.

    Args:
        process: The worker's processes.
        limits: What the worker may use.

    Attributes:
        clock: The clock of all time limits of this worker.
        deadline: The reading of `clock` at which the submission's time is used up.
        ended: How the worker was ended; None while it runs.
        peak_mib: Largest measured memory, in MiB.
        cpu_seconds: CPU seconds of all its processes.
    """

    def __init__(self, process: SandboxedProcess | PlainProcess, limits: Limits):
        self.process, self.limits = process, limits
        self.clock = Clock()
        self.deadline = float("inf")
        self.ended: Ended | None = None
        self.peak_mib = 0.0
        self.cpu_seconds = 0.0
        self._failure: Exception | None = None
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, measure a last time, and end the worker."""
        self._closed.set()
        if self._thread.ident:
            self._thread.join()
        with self._lock:
            if not self.ended:
                self._measure()
            self.process.end()

    def check(self) -> None:
        """Raise how the worker was ended, if it was.

        Raises:
            Ended: If the worker was ended.
            Exception: If the thread failed.
        """
        if self._failure:
            raise self._failure
        if self.ended:
            raise self.ended

    def enforce(self) -> None:
        """Measure the resources in use; end the worker if a limit is exceeded."""
        with self._lock:
            if self.ended:
                return
            if exceeded := self._measure():
                self.stop(*exceeded)
            elif self.clock() >= self.deadline:
                self.stop(
                    "timeout",
                    f"The submission was still running after {self.limits.seconds:g} seconds, the "
                    "time limit for one submission.",
                )

    def stop(self, status: str, message: str) -> Ended:
        """End the worker; return how it was ended, which is the first reason if there are two."""
        with self._lock:
            if self.ended is None:
                self.ended = Ended(status, message)
                self.process.end()
            return self.ended

    def _measure(self) -> tuple[str, str] | None:
        used = self.process.usage(self.limits)
        self.cpu_seconds = used.seconds
        self.clock.leave_out(used.waited)
        self.peak_mib = max(self.peak_mib, used.memory / MIB)
        return self.limits.exceeded(used)

    def _run(self) -> None:
        while not self._closed.wait(POLL_SECONDS) and not self.ended:
            try:
                self.enforce()
            except MemoryError:  # of the judge: the thread that computes gets one too
                continue
            except Exception as error:  # raised again by `check`, in the judge's main thread
                self._failure = error
                return

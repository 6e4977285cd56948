"""The judge's end of a worker process: starts it, talks to it, watches its limits, ends it.

The only ways out of a wait are an answer or an `Ended`: too late, too large, or gone.
"""

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import psutil

from autograder.frames import PREFIX, Frame, FrameError, lengths, pack, unpack

POLL_SECONDS = 0.05
TEXT_LIMIT = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: Wall clock for the whole submission, counted by the judge from the moment that
            the worker is ready.
        call_seconds: Wall clock for one call that is not training.
        start_seconds: Wall clock for the worker to start and import torch.
        memory_mib: Resident memory of the worker and its children together, in MiB.
    """

    seconds: float = 300.0
    call_seconds: float = 30.0
    start_seconds: float = 120.0
    memory_mib: int = 2048


class Ended(Exception):  # noqa: N818 - an outcome of the submission, not an error of ours
    """The worker is no more.

    Attributes:
        status: "timeout", "memory" or "crashed".
    """

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status


class WorkerProcess:
    """A worker in a process of its own; use it as a context manager.

    Args:
        limits: What it may use.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.ended: Ended | None = None
        self.peak_mib = 0.0
        self.text = bytearray()
        self._received = bytearray()

    def __enter__(self) -> "WorkerProcess":
        self.folder = tempfile.mkdtemp(prefix="vaelab-worker-")
        there_in, self._send = os.pipe()
        self._receive, there_out = os.pipe()
        text_in, text_out = os.pipe()
        self._text = text_in
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-m", "autograder.worker", str(there_in), str(there_out)],
                stdin=subprocess.DEVNULL,
                stdout=text_out,
                stderr=text_out,
                pass_fds=(there_in, there_out),
                cwd=self.folder,
                env=_environment(self.folder),
                start_new_session=True,
            )
        finally:
            for descriptor in (there_in, there_out, text_out):
                os.close(descriptor)
        for descriptor in (self._send, self._receive, self._text):
            os.set_blocking(descriptor, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._receive, selectors.EVENT_READ)
        self._selector.register(self._text, selectors.EVENT_READ)
        self.deadline = float("inf")
        try:
            self._frame(time.monotonic() + self.limits.start_seconds)
        except Ended:
            self._close()
            raise
        self.deadline = time.monotonic() + self.limits.seconds
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def ask(self, request: Frame, seconds: float | None = None) -> Iterator[Frame]:
        """Send a request and yield the frames that come back; the last has `ok` or `error`.

        Args:
            request: What to do.
            seconds: Wall clock for each frame; `limits.call_seconds` if None.

        Raises:
            Ended: If the worker is gone, or goes.
        """
        if self.ended:
            raise self.ended
        until = time.monotonic() + (seconds or self.limits.call_seconds)
        self._write(request, until)
        while True:
            until = time.monotonic() + (seconds or self.limits.call_seconds)
            frame = self._frame(until)
            yield frame
            if not isinstance(frame.body, dict) or "item" not in frame.body:
                return

    # The wire.

    def _write(self, request: Frame, until: float) -> None:
        self._selector.register(self._send, selectors.EVENT_WRITE)
        try:
            for buffer in pack(request):
                view = memoryview(buffer)
                while view:
                    self._wait(until)
                    with contextlib.suppress(BlockingIOError):
                        view = view[os.write(self._send, view) :]
        except BrokenPipeError:
            self._end("crashed", self._how_it_went())
        finally:
            self._selector.unregister(self._send)

    def _frame(self, until: float) -> Frame:
        try:
            head, data = lengths(self._exactly(PREFIX.size, until))
            return unpack(self._exactly(head, until), self._exactly(data, until))
        except FrameError as error:
            self._end("crashed", f"It sent something that is no answer: {error}.")
            raise AssertionError from error

    def _exactly(self, size: int, until: float) -> bytes:
        while len(self._received) < size:
            self._wait(until)
            with contextlib.suppress(BlockingIOError):
                chunk = os.read(self._receive, 1 << 20)
                if not chunk:
                    self._end("crashed", self._how_it_went())
                self._received += chunk
        part = bytes(self._received[:size])
        del self._received[:size]
        return part

    def _wait(self, until: float) -> None:
        """Return when something can be read or written; end the worker at a limit."""
        while True:
            now = time.monotonic()
            if now >= min(until, self.deadline):
                if now >= self.deadline:
                    spent = f"{self.limits.seconds:g} seconds, the limit for one submission"
                else:
                    spent = "the time that one call may take"
                self._end("timeout", f"It was still running after {spent}.")
            ready = {key.fd for key, _ in self._selector.select(POLL_SECONDS)}
            self._watch_memory(now)
            if self._text in ready:
                self._take_text()
                ready.discard(self._text)
            if ready:
                return

    def _take_text(self) -> None:
        chunk = os.read(self._text, 1 << 16)
        self.text += chunk[: max(0, TEXT_LIMIT - len(self.text))]
        if not chunk:
            self._selector.unregister(self._text)

    # Limits and the end.

    _looked = 0.0

    def _watch_memory(self, now: float) -> None:
        if now - self._looked < POLL_SECONDS:
            return
        self._looked = now
        used = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.process.pid)
            for one in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    used += one.memory_info().rss
        self.peak_mib = max(self.peak_mib, used / 2**20)
        if self.peak_mib > self.limits.memory_mib:
            self._end("memory", f"It used more than {self.limits.memory_mib} MiB of memory.")

    def _how_it_went(self) -> str:
        try:
            code = self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "It closed its pipe and gave no answer."
        if code < 0:
            return f"Its process was ended by {signal.Signals(-code).name} before it answered."
        return f"Its process ended with exit code {code} before it answered."

    def _end(self, status: str, message: str) -> None:
        self.ended = Ended(status, message)
        self._kill()
        raise self.ended

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _close(self) -> None:
        self._kill()
        self._selector.close()
        for descriptor in (self._send, self._receive, self._text):
            os.close(descriptor)
        shutil.rmtree(self.folder, ignore_errors=True)


def _environment(folder: str) -> dict[str, str]:
    """A worker's environment: nothing of the judge's but where programs and libraries are."""
    kept = {k: os.environ[k] for k in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if k in os.environ}
    return kept | {
        "HOME": folder,
        "TMPDIR": folder,
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }

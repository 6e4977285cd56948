"""The judge's end of a worker process: starts it, talks to it, watches its limits, ends it.

The only ways out of a wait are an answer or an `Ended`: too late, too large, or gone.
"""

import contextlib
import os
import select
import selectors
import signal
import time
from collections.abc import Iterator
from types import TracebackType

from autograder.protocol.ended import Ended
from autograder.protocol.frames import PREFIX, Frame, FrameError, lengths, pack, unpack
from autograder.sandbox.box import Pipes
from autograder.sandbox.limits import MIB, Limits
from autograder.sandbox.tiers import BEST, Sandbox, start

POLL_SECONDS = 0.05
TEXT_LIMIT = 1 << 20


class WorkerProcess:
    """A worker in a sandbox of its own; use it as a context manager.

    Args:
        limits: What it may use.
        sandbox: How it is confined.

    Raises:
        SandboxError: If no sandbox holds here and none was named.
    """

    def __init__(self, limits: Limits, sandbox: Sandbox = BEST):
        self.limits = limits
        self.sandbox = sandbox.resolved()
        self.ended: Ended | None = None
        self.peak_mib = 0.0
        self.cpu_seconds = 0.0
        self.text = bytearray()
        self._printed = 0
        self._received = bytearray()

    def __enter__(self) -> "WorkerProcess":
        there_in, self._send = os.pipe()
        self._receive, there_out = os.pipe()
        self._text, text_out = os.pipe()
        self._status, status_out = os.pipe()
        pipes = Pipes(there_in, there_out, text_out, status_out)
        try:
            self._box = start(self.sandbox, pipes, self.limits)
        except BaseException:
            for descriptor in self._own:
                os.close(descriptor)
            raise
        finally:
            for descriptor in pipes:
                os.close(descriptor)
        for descriptor in self._own:
            os.set_blocking(descriptor, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._receive, selectors.EVENT_READ)
        self._selector.register(self._text, selectors.EVENT_READ)
        self.deadline = float("inf")
        try:
            self._frame(time.monotonic() + self.limits.start_seconds)
        except BaseException:
            self._close()
            raise
        self.deadline = time.monotonic() + self.limits.seconds
        return self

    @property
    def _own(self) -> tuple[int, ...]:
        return self._send, self._receive, self._text, self._status

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
                self._look()  # a fork bomb may have kept us from looking: name it, not the clock
                if now >= self.deadline:
                    spent = f"{self.limits.seconds:g} seconds, the limit for one submission"
                else:
                    spent = "the time that one call may take"
                self._end("timeout", f"It was still running after {spent}.")
            ready = {key.fd for key, _ in self._selector.select(POLL_SECONDS)}
            self._watch(now)
            if self._text in ready:
                self._take_text()
                ready.discard(self._text)
            if ready:
                return

    def _take_text(self) -> None:
        chunk = os.read(self._text, 1 << 16)
        self.text += chunk[: max(0, TEXT_LIMIT - len(self.text))]
        self._printed += len(chunk)
        if not chunk:
            self._selector.unregister(self._text)
        if self._printed > self.limits.output_mib * MIB:
            self._end("output", f"It printed more than {self.limits.output_mib} MiB of text.")

    # Limits and the end.

    _looked = 0.0

    def _watch(self, now: float) -> None:
        if now - self._looked >= POLL_SECONDS:
            self._looked = now
            self._look()

    def _look(self) -> None:
        """Measure what it uses; end it if that is too much."""
        used = self._box.usage(self.limits)
        self.cpu_seconds = used.seconds
        self.peak_mib = max(self.peak_mib, used.memory / MIB)
        if broken := self.limits.broken(used):
            self._end(*broken)

    def _how_it_went(self) -> str:
        """Say how a worker ended that is gone, or about to be."""
        select.select([self._status], [], [], 1.0)
        said = b""
        with contextlib.suppress(BlockingIOError):
            said = os.read(self._status, 16)
        code = int(said) if said else self._box.exit_code()
        if code is None:
            return "It closed its pipe and gave no answer."
        if code < 0:
            known = {number.value: number.name for number in signal.Signals}
            name = known.get(-code, f"signal {-code}")
            return f"Its process was ended by {name} before it answered."
        return f"Its process ended with exit code {code} before it answered."

    def _end(self, status: str, message: str) -> None:
        self.ended = Ended(status, message)
        self._box.end()
        raise self.ended

    def _close(self) -> None:
        if not self.ended:
            self.cpu_seconds = self._box.usage(self.limits).seconds
        self._box.end()
        self._selector.close()
        for descriptor in self._own:
            os.close(descriptor)

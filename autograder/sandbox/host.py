"""The judge's connection to a worker: starts it, exchanges frames, ends it.

Every wait ends with an answer or with `Ended`: a time limit, another limit, or the worker's exit.
A thread enforces the limits also while the judge computes.
"""

import contextlib
import os
import select
import selectors
import signal
from collections.abc import Iterator
from types import TracebackType
from typing import NoReturn

from autograder.protocol.ended import Ended
from autograder.protocol.frames import PREFIX, Frame, FrameError, lengths, pack, unpack
from autograder.sandbox.limits import MIB, Limits
from autograder.sandbox.process import Pipes
from autograder.sandbox.tiers import BEST, Sandbox, start
from autograder.sandbox.watcher import POLL_SECONDS, Watcher

TEXT_LIMIT = 1 << 20
PIPE_BYTES = 1 << 16  # what a pipe holds


class WorkerProcess:
    """A worker in its own sandbox; use it as a context manager.

    Args:
        limits: What the worker may use.
        sandbox: The sandbox to start it in.
        first: The submission's first worker, if this is a further one. It gets the seconds that are
            left of the first one's.

    Attributes:
        text: The first MiB of the printed text.

    Raises:
        SandboxError: If no tier was named and neither A nor B works on this machine.
    """

    def __init__(
        self, limits: Limits, sandbox: Sandbox = BEST, first: "WorkerProcess | None" = None
    ):
        self.limits = limits
        self.first = first
        self.sandbox = sandbox.resolved()
        self.text = bytearray()
        self._printed_bytes = 0
        self._received = bytearray()

    def __enter__(self) -> "WorkerProcess":
        worker_receive, self._send = os.pipe()
        self._receive, worker_send = os.pipe()
        self._text, text_out = os.pipe()
        self._status, status_out = os.pipe()
        pipes = Pipes(worker_receive, worker_send, text_out, status_out)
        try:
            self._process = start(self.sandbox, pipes, self.limits)
        except BaseException:
            for descriptor in self._descriptors:
                os.close(descriptor)
            raise
        finally:
            for descriptor in pipes:
                os.close(descriptor)
        for descriptor in self._descriptors:
            os.set_blocking(descriptor, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._receive, selectors.EVENT_READ)
        self._selector.register(self._text, selectors.EVENT_READ)
        self._watcher = Watcher(self._process, self.limits)
        try:
            self._watcher.start()
            self._read_frame(self._watcher.clock() + self.limits.start_seconds)
        except BaseException:
            self._close()
            raise
        seconds = self.first.seconds_left if self.first else self.limits.seconds
        self._watcher.deadline = self._watcher.clock() + seconds
        return self

    @property
    def ended(self) -> Ended | None:
        """How the worker ended before its time; None if it did not."""
        return self._watcher.ended

    @property
    def seconds_left(self) -> float:
        """The wall-clock seconds that the submission has left."""
        return self._watcher.deadline - self._watcher.clock()

    @property
    def peak_mib(self) -> float:
        """Largest measured memory, in MiB."""
        return self._watcher.peak_mib

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of all its processes."""
        return self._watcher.cpu_seconds

    @property
    def _descriptors(self) -> tuple[int, ...]:
        return self._send, self._receive, self._text, self._status

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def ask(self, request: Frame, seconds: float | None = None) -> Iterator[Frame]:
        """Send a request and yield the answering frames; the last one has `ok` or `error`.

        Args:
            request: The request.
            seconds: Wall-clock seconds for each frame; `limits.call_seconds` if None.

        Raises:
            Ended: If the worker has ended, or ends during the request.
        """
        self._watcher.check()
        seconds = seconds or self.limits.call_seconds
        self._write(request, self._watcher.clock() + seconds)
        while True:
            frame = self._read_frame(self._watcher.clock() + seconds)
            if isinstance(frame.body, dict) and "error" in frame.body:
                # An exceeded limit may have caused the exception: then the limit is named.
                self._watcher.enforce()
                self._watcher.check()
            yield frame
            if not isinstance(frame.body, dict) or "item" not in frame.body:
                return

    def end(self, reason: Ended) -> None:
        """End it because a further worker of its submission has ended."""
        self._watcher.stop(reason.status, str(reason))

    # Frames.

    def _write(self, request: Frame, until: float) -> None:
        """Send a request; `until` is the time limit, on the watcher's clock."""
        try:
            for buffer in pack(request):
                view = memoryview(buffer)
                while view:
                    try:
                        view = view[os.write(self._send, view) :]
                    except BlockingIOError:
                        self._wait_to_write(until)
        except BrokenPipeError:
            self._stop("crashed", self._exit_message())

    def _wait_to_write(self, until: float) -> None:
        self._selector.register(self._send, selectors.EVENT_WRITE)
        try:
            self._wait(until)
        finally:
            self._selector.unregister(self._send)

    def _read_frame(self, until: float) -> Frame:
        """Read one frame; stop the worker if it is invalid."""
        try:
            head, data = lengths(self._read_exactly(PREFIX.size, until))
            return unpack(self._read_exactly(head, until), self._read_exactly(data, until))
        except FrameError as error:
            self._stop("crashed", f"The worker sent an invalid answer: {error}.")

    def _read_exactly(self, size: int, until: float) -> bytes:
        while len(self._received) < size:
            self._wait(until)
            with contextlib.suppress(BlockingIOError):
                chunk = os.read(self._receive, PIPE_BYTES)
                if not chunk:
                    self._stop("crashed", self._exit_message())
                self._received += chunk
        with memoryview(self._received) as view:
            part = bytes(view[:size])
        del self._received[:size]
        return part

    def _wait(self, until: float) -> None:
        """Return when a pipe can be read or written; stop the worker at a limit."""
        while True:
            self._watcher.check()
            if self._watcher.clock() >= until:
                self._watcher.enforce()  # a fork bomb can delay it: name that limit first
                self._stop(
                    "timeout", "The submission was still running at the time limit for one call."
                )
            ready = {key.fd for key, _ in self._selector.select(POLL_SECONDS)}
            if self._text in ready:
                self._read_text()
                ready.discard(self._text)
            if ready:
                return

    def _read_text(self) -> None:
        chunk = os.read(self._text, 1 << 16)
        self.text += chunk[: max(0, TEXT_LIMIT - len(self.text))]
        self._printed_bytes += len(chunk)
        if not chunk:
            self._selector.unregister(self._text)
        if self._printed_bytes > self.limits.output_mib * MIB:
            self._stop(
                "output", f"The submission printed more than {self.limits.output_mib} MiB of text."
            )

    # The end.

    def _exit_message(self) -> str:
        """Return a message that says how the worker ended."""
        select.select([self._status], [], [], 1.0)
        reported = b""
        with contextlib.suppress(BlockingIOError):
            reported = os.read(self._status, 16)
        code = int(reported) if reported else self._process.exit_code()
        if code is None:
            return "The submission closed the pipe to the judge and sent no answer."
        if code < 0:
            known = {number.value: number.name for number in signal.Signals}
            name = known.get(-code, f"signal {-code}")
            return f"The submission's process was ended by the signal {name} before it answered."
        return f"The submission's process ended with exit code {code} before it answered."

    def _stop(self, status: str, message: str) -> NoReturn:
        """End the worker and raise `Ended`."""
        raise self._watcher.stop(status, message)

    def _close(self) -> None:
        self._watcher.close()
        self._selector.close()
        for descriptor in self._descriptors:
            os.close(descriptor)

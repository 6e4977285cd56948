"""A worker in a new process without a sandbox, on any system: for a student's own notebook."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from autograder.protocol.ended import Ended
from autograder.protocol.frames import Frame, FrameError
from autograder.records.errors import UserError
from autograder.worker.worker import hide_autograder, read_frame, serve, write_frame

LIBRARY = str(Path(__file__).resolve().parents[2])
# The packages of this process, wherever they are; standard modules are found as usual.
START = (
    f"import sys; sys.path.insert(0, {LIBRARY!r}); import autograder, vae_utils; del sys.path[0]; "
    "from autograder.worker.fresh import main; main()"
)
END_SECONDS = 5.0
NOT_STARTED = "It did not start. Is there enough memory, and does `import torch` work?"


class FreshWorker:
    """A worker; use it as a context manager. Its code can do what its user can do.

    Its working folder is new and empty, as in the grader.

    Raises:
        UserError: If the process cannot start.
    """

    def __enter__(self) -> "FreshWorker":
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", START],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env=os.environ | {"MPLBACKEND": "Agg"},
        )
        try:
            self._answer()
        except Ended as end:
            self.__exit__(None, None, None)
            raise UserError(f"{end} {NOT_STARTED}") from end
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def ask(self, request: Frame, seconds: float | None = None) -> Iterator[Frame]:
        """Send a request and yield the answering frames; the last one has `ok` or `error`.

        Args:
            request: The request.
            seconds: Not used: the student can stop the command.

        Raises:
            Ended: If the process has ended, or ends during the request.
        """
        assert self._process.stdin
        try:
            write_frame(self._process.stdin, request)  # type: ignore[arg-type]
        except OSError as error:
            raise self._ended() from error
        while True:
            frame = self._answer()
            yield frame
            if not isinstance(frame.body, dict) or "item" not in frame.body:
                return

    def _answer(self) -> Frame:
        assert self._process.stdout
        try:
            frame = read_frame(self._process.stdout)  # type: ignore[arg-type]
        except (FrameError, OSError) as error:
            raise self._ended() from error
        if frame is None:
            raise self._ended()
        return frame

    def _ended(self) -> Ended:
        try:
            code = f" with exit code {self._process.wait(END_SECONDS)}"
        except subprocess.TimeoutExpired:
            code = ""
        return Ended("crashed", f"The process that runs your notebook ended{code}.")


def main() -> None:
    """Be the worker; what the cells print goes nowhere, and they can read no input."""
    receive, send = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    hide_autograder()
    serve(receive, send)

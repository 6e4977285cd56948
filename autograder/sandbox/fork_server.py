"""The fork server: a process that has imported PyTorch and forks one worker for each submission.

It runs inside bubblewrap and holds no secret. Each fork has its own namespaces. A fork cannot see
the fork server or another fork, and the files that it writes are deleted when it ends.
"""

import atexit
import json
import os
import select
import socket
import tempfile
from collections.abc import Callable
from typing import Any

from autograder.sandbox import bubblewrap
from autograder.sandbox.inside.start import READY
from autograder.sandbox.inside.system import SandboxError
from autograder.sandbox.limits import Limits
from autograder.sandbox.process import Pipes, SandboxedProcess, orders, start_in_bubblewrap

FORK_SECONDS = 30.0
MAX_REPLY_BYTES = 1000


class ForkServer:
    """A fork server in a sandbox.

    Args:
        limits: Only `start_seconds` and the size of the writable folders are used.

    Raises:
        SandboxError: If the fork server does not start.
    """

    def __init__(self, limits: Limits):
        program = bubblewrap.find()
        if program is None:
            raise SandboxError("The program bwrap (bubblewrap) was not found.")
        self.control, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with tempfile.TemporaryFile() as text, server_end:
            options = orders(None, limits) | {"control": server_end.fileno(), "rlimits": {}}
            self.process = start_in_bubblewrap(
                program, options, limits, text=text.fileno(), keep=(server_end.fileno(),)
            )
            server_end.close()
            try:
                self._receive_reply(limits.start_seconds)
            except SandboxError as error:
                self.close()
                text.seek(0)
                lines = text.read().decode(errors="replace").strip().splitlines() or [str(error)]
                raise SandboxError(f"The fork server did not start: {lines[-1]}") from None

    def fork(self, options: dict[str, Any], pipes: Pipes) -> SandboxedProcess:
        """Start a job in a fork.

        Args:
            options: The job's start options; see `process.orders`.
            pipes: The job's ends of its pipes.

        Returns:
            The first process of the fork's namespaces.

        Raises:
            SandboxError: If the fork server has ended, does not reply, or cannot fork.
        """
        try:
            socket.send_fds(self.control, [json.dumps(options).encode()], list(pipes))
        except OSError as error:
            raise SandboxError(f"The fork server has ended: {error}") from error
        (handle,) = self._receive_reply(FORK_SECONDS, handles=1)
        return SandboxedProcess(handle, _pid_of(handle))

    def _receive_reply(self, seconds: float, handles: int = 0) -> list[int]:
        """Wait for the reply "ready"; return the file descriptors that come with it."""
        if not select.select([self.control], [], [], seconds)[0]:
            raise SandboxError(f"The fork server did not reply within {seconds:g} seconds.")
        try:
            message, received, _, _ = socket.recv_fds(self.control, MAX_REPLY_BYTES, 1)
        except OSError as error:
            raise SandboxError(f"The fork server has ended: {error}") from error
        if message != READY or len(received) != handles:
            raise SandboxError(message.decode(errors="replace") or "The fork server has ended.")
        return received

    def close(self) -> None:
        """End the fork server and all its forks."""
        self.control.close()
        self.process.end()


_server: tuple[int, ForkServer] | None = None


def fork_server(limits: Limits, check: Callable[[ForkServer], None]) -> ForkServer:
    """Return the fork server of this process; start it at the first call.

    Args:
        limits: Only `start_seconds` and the size of the writable folders are used.
        check: Called with a new fork server; raises a SandboxError if its forks are not safe.

    Raises:
        SandboxError: If the fork server does not start, or `check` rejects it.
    """
    global _server
    if _server is None or _server[0] != os.getpid():
        _server = os.getpid(), ForkServer(limits)
        atexit.register(close)
        check(_server[1])
    return _server[1]


def close() -> None:
    """End the fork server of this process, if there is one."""
    global _server
    if _server and _server[0] == os.getpid():
        _server[1].close()
    _server = None


def _pid_of(handle: int) -> int:
    """Read the process id of a pidfd."""
    with open(f"/proc/self/fdinfo/{handle}") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line.split()[1])
    raise SandboxError(f"/proc/self/fdinfo/{handle} has no line `Pid:`.")

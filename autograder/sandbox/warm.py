"""A process that is warmed up once and forked for each submission, all inside bubblewrap.

It has imported torch and holds nothing secret. Each fork gets namespaces of its own: it sees
neither the warm process nor another fork, and what it writes is gone with it.
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
from autograder.sandbox.box import Box, Pipes, orders, start_in_bubblewrap
from autograder.sandbox.inside.start import READY
from autograder.sandbox.inside.system import SandboxError
from autograder.sandbox.limits import Limits

FORK_SECONDS = 30.0
MAX_REPLY = 1000


class Nursery:
    """A warm process, in a sandbox.

    Args:
        limits: Of which the seconds for the start count here.

    Raises:
        SandboxError: If it does not get warm.
    """

    def __init__(self, limits: Limits):
        program = bubblewrap.find()
        if program is None:
            raise SandboxError("there is no bubblewrap")
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with tempfile.TemporaryFile() as text, theirs:
            said = orders(None, limits) | {"control": theirs.fileno(), "rlimits": {}}
            self.box = start_in_bubblewrap(
                program, said, limits, text=text.fileno(), keep=(theirs.fileno(),)
            )
            theirs.close()
            try:
                self._hear(limits.start_seconds)
            except SandboxError as error:
                self.close()
                text.seek(0)
                lines = text.read().decode(errors="replace").strip().splitlines() or [str(error)]
                raise SandboxError(f"the warm process did not start: {lines[-1]}") from None

    def fork(self, said: dict[str, Any], pipes: Pipes) -> Box:
        """Start a job in a fork.

        Args:
            said: The job's orders.
            pipes: Its ends of its pipes.

        Raises:
            SandboxError: If that fails.
        """
        try:
            socket.send_fds(self.control, [json.dumps(said).encode()], list(pipes))
        except OSError as error:
            raise SandboxError(f"the warm process is gone: {error}") from error
        (handle,) = self._hear(FORK_SECONDS, handles=1)
        return Box(handle, _pid_of(handle))

    def _hear(self, seconds: float, handles: int = 0) -> list[int]:
        """Wait for the word that all is well, and what comes with it."""
        if not select.select([self.control], [], [], seconds)[0]:
            raise SandboxError("the warm process does not answer")
        try:
            message, got, _, _ = socket.recv_fds(self.control, MAX_REPLY, 1)
        except OSError as error:
            raise SandboxError(f"the warm process is gone: {error}") from error
        if message != READY or len(got) != handles:
            raise SandboxError(message.decode(errors="replace") or "the warm process is gone")
        return got

    def close(self) -> None:
        """End it, and with it every fork."""
        self.control.close()
        self.box.end()


_nursery: tuple[int, Nursery] | None = None


def nursery(limits: Limits, accept: Callable[[Nursery], None]) -> Nursery:
    """Give this process's warm process, started when it is first asked for.

    Args:
        limits: Of which the seconds for the start count here.
        accept: Looks at a new one, and raises a SandboxError if it will not do.

    Raises:
        SandboxError: If it does not get warm or is not accepted.
    """
    global _nursery
    if _nursery is None or _nursery[0] != os.getpid():
        _nursery = os.getpid(), Nursery(limits)
        atexit.register(close)
        accept(_nursery[1])
    return _nursery[1]


def close() -> None:
    """End this process's warm process, if it has one."""
    global _nursery
    if _nursery and _nursery[0] == os.getpid():
        _nursery[1].close()
    _nursery = None


def _pid_of(handle: int) -> int:
    with open(f"/proc/self/fdinfo/{handle}") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line.split()[1])
    raise SandboxError("the kernel does not say whose handle it gave")

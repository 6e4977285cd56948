"""A started sandbox, as the judge holds it."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from autograder.sandbox import bubblewrap
from autograder.sandbox.inside import WRITABLE
from autograder.sandbox.limits import MOST_FILES, Limits
from autograder.sandbox.system import SandboxError
from autograder.sandbox.usage import Usage, of_namespace

START = "import sys; sys.path.insert(0, {!r}); from autograder.sandbox.inside import main; main()"
TEARDOWN_SECONDS = 60.0
FIRST_UID = 0x7000_0000


@dataclass
class Box:
    """Processes that live and end together.

    Attributes:
        handle: A pidfd of the first of them; when it ends, the kernel has ended all.
        pid: Its process id, here.
        parent: The process to wait for afterwards, or None.
    """

    handle: int
    pid: int
    parent: subprocess.Popen | None = None

    def usage(self, enough: int) -> Usage:
        """Measure it; `enough` is the memory above which it pays to be exact."""
        return of_namespace(self.pid, WRITABLE, enough)

    def end(self) -> None:
        """Kill everything in it and return when nothing is left.

        Raises:
            SandboxError: If something is left after a minute.
        """
        if self.handle < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        gone, _, _ = select.select([self.handle], [], [], TEARDOWN_SECONDS)
        if not gone:
            raise SandboxError(f"process {self.pid} is still there a minute after it was killed")
        os.close(self.handle)
        self.handle = -1
        if self.parent:
            self.parent.wait(TEARDOWN_SECONDS)


@dataclass(frozen=True)
class Pipes:
    """The worker's ends of its pipes."""

    receive: int
    send: int
    text: int
    status: int

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter((self.receive, self.send, self.text, self.status))


def orders(
    pipes: Pipes | None,
    limits: Limits,
    *,
    job: str = "worker",
    off: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Write what `inside` is to do."""
    said = {
        "job": job,
        "namespaces": True,
        "seccomp": "seccomp" not in off,
        "rlimits": {} if "rlimits" in off else limits.rlimits,
        "tmpfs": f"mode=1777,size={limits.folder_bytes},nr_inodes={2 * MOST_FILES}",
        "uid": stranger() if os.getuid() == 0 and "uid" not in off else None,
    }
    return said | (vars(pipes) if pipes else {})


def stranger() -> int:
    """Make up a user id that nobody has, so that root's submissions own nothing."""
    return FIRST_UID + int.from_bytes(os.urandom(3), "little")


def start_in_bubblewrap(
    program: str,
    orders: dict[str, Any],
    limits: Limits,
    *,
    text: int,
    keep: tuple[int, ...],
    off: frozenset[str] = frozenset(),
) -> Box:
    """Start `inside` in bubblewrap.

    Args:
        program: bwrap's path.
        orders: What it is to do.
        limits: What it may use.
        text: Where it and bubblewrap complain to.
        keep: More file descriptors that it gets.
        off: Defences left off.

    Raises:
        SandboxError: If bubblewrap does not start.
    """
    library = str(bubblewrap.PACKAGE.parent) if "files" in off else bubblewrap.LIBRARY
    info_out, info_in = os.pipe()
    block_out, block_in = os.pipe()
    walls = bubblewrap.command(program, info_in, block_out, limits.folder_bytes, off)
    python = [sys.executable, "-s", "-P", "-B", "-c", START.format(library), json.dumps(orders)]
    try:
        process = subprocess.Popen(
            [*walls, *python],
            stdin=subprocess.DEVNULL,
            stdout=text,
            stderr=text,
            pass_fds=(info_in, block_out, *keep),
            env=environment(WRITABLE[0]),
            start_new_session=True,
        )
    finally:
        os.close(info_in)
        os.close(block_out)
    try:
        with open(info_out) as info:
            pid = json.loads(info.read() or "{}").get("child-pid")
        if pid is not None:
            # It waits until we hold it: its id can't be another's by then.
            return Box(os.pidfd_open(pid), pid, process)
        process.wait(TEARDOWN_SECONDS)
        raise SandboxError(f"bubblewrap ended with exit code {process.returncode}")
    finally:
        os.close(block_in)


def environment(folder: str) -> dict[str, str]:
    """A worker's environment: nothing of the judge's but where programs and libraries are."""
    kept = {k: os.environ[k] for k in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if k in os.environ}
    return kept | {
        "HOME": folder,
        "TMPDIR": folder,
        "USER": "student",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }

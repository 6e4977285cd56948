"""A started sandbox, as the judge holds it."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from autograder.sandbox import allowed, bubblewrap
from autograder.sandbox.inside.start import WRITABLE
from autograder.sandbox.inside.system import SandboxError
from autograder.sandbox.limits import MIB, MOST_FILES, Limits
from autograder.sandbox.usage import Usage, of_namespace, of_process

START = (
    "import sys; sys.path.insert(0, {!r}); from autograder.sandbox.inside.start import main; main()"
)
TEARDOWN_SECONDS = 60.0
FIRST_UID = 0x7000_0000
FOLDER = "vaelab-worker-"
STALE_SECONDS = 3600.0


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

    def usage(self, limits: Limits) -> Usage:
        """Measure it, the more exactly the nearer it comes to its limits."""
        return of_namespace(self.pid, WRITABLE, limits.memory_mib * MIB, limits.processes)

    def exit_code(self) -> int | None:
        """A namespace's first process says by a pipe how the worker ended, or not at all."""
        return None

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


@dataclass
class PlainBox:
    """A process without namespaces, and the folder that it works in.

    Attributes:
        process: The worker itself.
        folder: Its folder, deleted at its end.
        alone: True if it cannot start processes.
    """

    process: subprocess.Popen
    folder: str
    alone: bool

    def usage(self, limits: Limits) -> Usage:
        """Measure it."""
        return of_process(self.process, self.folder, alone=self.alone)

    def exit_code(self) -> int | None:
        """Give the worker's exit code, negative for a signal; None if it is still there."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(1.0)
        return None

    def end(self) -> None:
        """Kill the process, and as many of its descendants as can be found."""
        descendants = []
        with contextlib.suppress(psutil.Error):
            if not self.alone:
                descendants = psutil.Process(self.process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        for process in descendants:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait(TEARDOWN_SECONDS)
        _remove(self.folder)


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
    namespaces: bool = True,
    job: str = "worker",
    off: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Write what `inside` is to do; see there."""
    return {
        "job": job,
        "namespaces": namespaces,
        "seccomp": "seccomp" not in off,
        "rlimits": {} if "rlimits" in off else limits.rlimits,
        "tmpfs": f"mode=1777,size={limits.folder_bytes},nr_inodes={2 * MOST_FILES}",
        "uid": stranger() if os.getuid() == 0 and "uid" not in off else None,
        "landlock": None,
        "apart": "apart" not in off,
    } | (vars(pipes) if pipes else {})


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
        SandboxError: If bubblewrap does not start, or what it starts could not be measured.
    """
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        raise SandboxError("this kernel does not list a process's children")
    program_there, library = bubblewrap.shown_at(sys.executable), bubblewrap.LIBRARY
    if "files" in off:
        program_there, library = sys.executable, str(allowed.PACKAGE.parent)
    info_out, info_in = os.pipe()
    block_out, block_in = os.pipe()
    walls = bubblewrap.command(program, info_in, block_out, limits.folder_bytes, off)
    try:
        process = subprocess.Popen(
            [*walls, *python(library, program_there), json.dumps(orders)],
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


def start_plain(
    orders: dict[str, Any], *, text: int, keep: tuple[int, ...], confined: bool
) -> PlainBox:
    """Start `inside` as a plain process in a folder of its own.

    Args:
        orders: What it is to do.
        text: Where it complains to.
        keep: More file descriptors that it gets.
        confined: Show it only the files that are allowed, and let it start no process (tier B).
    """
    _sweep()
    folder = tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-")
    library = str(allowed.PACKAGE.parent)
    if confined:
        # What it may not list it cannot import from: links to the allowed files, and no more.
        library = os.path.join(folder, ".given")
        for given in allowed.GIVEN:
            link = os.path.join(library, given)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(allowed.PACKAGE.parent / given, link)
        orders = orders | {"landlock": (*allowed.readable(), [folder, "/dev/null"])}
    if orders["uid"] is not None:
        os.chown(folder, orders["uid"], orders["uid"])
    process = subprocess.Popen(
        [*python(library), json.dumps(orders)],
        stdin=subprocess.DEVNULL,
        stdout=text,
        stderr=text,
        pass_fds=keep,
        env=environment(folder),
        cwd=folder,
        start_new_session=True,
    )
    return PlainBox(process, folder, confined)


def _sweep() -> None:
    """Remove the folders of judges that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        judge = folder.name.removeprefix(FOLDER).partition("-")[0]
        with contextlib.suppress(OSError):
            # Old ones only: a judge in another container may share the folder and no process ids.
            old = time.time() - folder.lstat().st_mtime > STALE_SECONDS
            if old and judge.isdigit() and not psutil.pid_exists(int(judge)):
                _remove(str(folder))


def _remove(folder: str) -> None:
    """Delete a folder, subfolders that were made unreadable included."""
    for parent, folders, _ in os.walk(folder):
        for path in (os.path.join(parent, name) for name in folders):
            if not os.path.islink(path):
                with contextlib.suppress(OSError):
                    os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def python(library: str, program: str = sys.executable) -> list[str]:
    """Write the command that starts `inside` from a folder that holds the package."""
    return [program, "-s", "-P", "-B", "-c", START.format(library)]


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

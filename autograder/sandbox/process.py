"""Starts, measures and ends the processes of a sandbox; this code runs in the judge."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
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
from autograder.sandbox.usage import Usage, measure_namespace, measure_process

START = (
    "import sys; sys.path.insert(0, {!r}); from autograder.sandbox.inside.start import main; main()"
)
TEARDOWN_SECONDS = 60.0
FIRST_UID = 0x7000_0000
FOLDER = "vaelab-worker-"
STALE_SECONDS = 3600.0


@dataclass
class SandboxedProcess:
    """All processes of one PID namespace (tier A).

    Attributes:
        handle: A pidfd of the namespace's init process. When the init process ends, the kernel has
            ended all processes of the namespace.
        pid: Process id of the init process, as seen by the judge.
        parent: The bubblewrap process to wait for after the end, or None.
    """

    handle: int
    pid: int
    parent: subprocess.Popen | None = None

    def usage(self, limits: Limits) -> Usage:
        """Measure the resources in use; shared memory is divided only near the memory limit."""
        return measure_namespace(self.pid, WRITABLE, limits.memory_mib * MIB, limits.processes)

    def exit_code(self) -> int | None:
        """Return None: the namespace's init process reports the exit code through a pipe."""
        return None

    def end(self) -> None:
        """Kill all processes of the namespace and wait until they have ended.

        Raises:
            SandboxError: If a process is alive 60 seconds after it was killed.
        """
        if self.handle < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        ended, _, _ = select.select([self.handle], [], [], TEARDOWN_SECONDS)
        if not ended:
            raise SandboxError(
                f"Process {self.pid} is still alive {TEARDOWN_SECONDS:g} seconds after it was "
                "killed."
            )
        os.close(self.handle)
        self.handle = -1
        if self.parent:
            self.parent.wait(TEARDOWN_SECONDS)


@dataclass
class PlainProcess:
    """A process without namespaces (tiers B and C), and its working folder.

    Attributes:
        process: The worker.
        folder: Its working folder; deleted when the process ends.
        alone: True if the worker cannot start child processes.
    """

    process: subprocess.Popen
    folder: str
    alone: bool

    def usage(self, limits: Limits) -> Usage:
        """Measure the resources in use."""
        return measure_process(self.process, self.folder, alone=self.alone)

    def exit_code(self) -> int | None:
        """Return the worker's exit code, negative for a signal; None if it has not ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(1.0)
        return None

    def end(self) -> None:
        """Kill the process and all descendants that can be found; delete its folder."""
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
    """File descriptors of the worker's ends of its pipes.

    Attributes:
        receive: Requests from the judge.
        send: Answers to the judge.
        text: Printed text.
        status: The worker's exit code, written by the namespace's init process.
    """

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
    """Build the start options for `sandbox.inside.start`, which reads them as JSON.

    Args:
        pipes: The worker's ends of its pipes; None for the fork server.
        limits: What the worker may use.
        namespaces: True if the worker runs in namespaces of its own (tier A).
        job: "worker", or "probe" for the self-test.
        off: Defences that are switched off; see `tiers.DEFENCES`.
    """
    return {
        "job": job,
        "namespaces": namespaces,
        "seccomp": "seccomp" not in off,
        "rlimits": {} if "rlimits" in off else limits.rlimits,
        "tmpfs": f"mode=1777,size={limits.folder_bytes},nr_inodes={2 * MOST_FILES}",
        "uid": unused_uid() if os.getuid() == 0 and "uid" not in off else None,
        "landlock": None,
        "fork_namespaces": "fork_namespaces" not in off,
    } | (vars(pipes) if pipes else {})


def unused_uid() -> int:
    """Return a random user id that owns no file; submissions run under it if the judge is root."""
    return FIRST_UID + int.from_bytes(os.urandom(3), "little")


def start_in_bubblewrap(
    program: str,
    orders: dict[str, Any],
    limits: Limits,
    *,
    text: int,
    keep: tuple[int, ...],
    off: frozenset[str] = frozenset(),
) -> SandboxedProcess:
    """Start `sandbox.inside.start` in bubblewrap (tier A).

    Args:
        program: Path of the program bwrap.
        orders: The start options; see `orders`.
        limits: What the job may use.
        text: File descriptor for the error messages of bubblewrap and of the job.
        keep: Further file descriptors that the job inherits.
        off: Defences that are switched off; see `tiers.DEFENCES`.

    Raises:
        SandboxError: If bubblewrap does not start, or if this kernel does not list child processes.
    """
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        raise SandboxError(
            "This kernel does not list child processes: /proc/PID/task/TID/children is missing."
        )
    python_path, library = bubblewrap.shown_at(allowed.interpreter()), bubblewrap.LIBRARY
    if "files" in off:
        python_path, library = allowed.interpreter(), str(allowed.PACKAGE.parent)
    info_out, info_in = os.pipe()
    block_out, block_in = os.pipe()
    command = bubblewrap.command(program, info_in, block_out, limits.folder_bytes, off)
    try:
        process = subprocess.Popen(
            [*command, *python(library, python_path), json.dumps(orders)],
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
            # It waits on block_out until we hold the pidfd, so its id cannot have been reused.
            return SandboxedProcess(os.pidfd_open(pid), pid, process)
        process.wait(TEARDOWN_SECONDS)
        raise SandboxError(f"bubblewrap ended with exit code {process.returncode}.")
    finally:
        os.close(block_in)


def start_plain(
    orders: dict[str, Any], *, text: int, keep: tuple[int, ...], confined: bool
) -> PlainProcess:
    """Start `sandbox.inside.start` as a plain process in its own folder (tiers B and C).

    Args:
        orders: The start options; see `orders`.
        text: File descriptor for the job's error messages.
        keep: Further file descriptors that the job inherits.
        confined: True to allow only the files in `allowed` and no child process (tier B).
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
        [*python(library, allowed.interpreter()), json.dumps(orders)],
        stdin=subprocess.DEVNULL,
        stdout=text,
        stderr=text,
        pass_fds=keep,
        env=environment(folder),
        cwd=folder,
        start_new_session=True,
    )
    return PlainProcess(process, folder, confined)


def _sweep() -> None:
    """Delete old working folders of judges that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        judge = folder.name.removeprefix(FOLDER).partition("-")[0]
        with contextlib.suppress(OSError):
            # Only old ones: a judge in another container may share the folder, but not our pids.
            old = time.time() - folder.lstat().st_mtime > STALE_SECONDS
            if old and judge.isdigit() and not psutil.pid_exists(int(judge)):
                _remove(str(folder))


def _remove(folder: str) -> None:
    """Delete a folder, including subfolders without read permission."""
    for parent, folders, _ in os.walk(folder):
        for path in (os.path.join(parent, name) for name in folders):
            if not os.path.islink(path):
                with contextlib.suppress(OSError):
                    os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def python(library: str, program: str) -> list[str]:
    """Return the command that starts `sandbox.inside.start`.

    Args:
        library: The folder that contains the package `autograder`.
        program: Path of the Python interpreter.
    """
    return [program, "-s", "-P", "-B", "-c", START.format(library)]


def environment(folder: str) -> dict[str, str]:
    """Return the worker's environment: only the search paths are taken from the judge's.

    Args:
        folder: The worker's home folder and temporary folder.
    """
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

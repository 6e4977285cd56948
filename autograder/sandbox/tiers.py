"""Finds the best sandbox tier of this machine by running attacks inside each tier."""

import contextlib
import functools
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autograder.sandbox import bubblewrap, fork_server
from autograder.sandbox.allowed import image_folders
from autograder.sandbox.inside.system import SandboxError
from autograder.sandbox.limits import Limits
from autograder.sandbox.process import (
    Pipes,
    PlainProcess,
    SandboxedProcess,
    orders,
    start_in_bubblewrap,
    start_plain,
)

TIERS = {
    "A": "sandboxed by bubblewrap",
    "B": "confined by Landlock and a system-call filter",
    "C": "NOT SANDBOXED",
}
# Tests switch these off one at a time, to show that each is needed.
DEFENCES = frozenset(
    {
        "files",  # only allowed files can be read, and no file outside can be written
        "network",  # a network namespace (tier A)
        "processes",  # a PID namespace (tier A)
        "fork_namespaces",  # separate namespaces for each fork of the fork server (tier A)
        "seccomp",  # the system-call filter
        "rlimits",  # the kernel's limits for each process
        "uid",  # a user id that owns no file, if the judge is root
    }
)
PROBE_SECONDS = 60.0
PROBE_LIMITS = Limits(processes=24, disk_mib=4)


@dataclass(frozen=True)
class Sandbox:
    """The sandbox for a submission.

    Attributes:
        tier: A key of `TIERS`; "" for the best tier that works on this machine.
        off: Defences that are switched off, for tests; a subset of `DEFENCES`.
        use_fork_server: In tier A, fork each worker from the fork server if its forks pass the
            self-test. If False, start each worker cold.
    """

    tier: str = ""
    off: frozenset[str] = frozenset()
    use_fork_server: bool = True

    def resolved(self) -> "Sandbox":
        """Return this sandbox with its tier chosen.

        Raises:
            SandboxError: If no tier was named and neither A nor B works on this machine.
        """
        return self if self.tier else replace(self, tier=best())


BEST = Sandbox()


def start(
    sandbox: Sandbox, pipes: Pipes, limits: Limits, job: str = "worker"
) -> SandboxedProcess | PlainProcess:
    """Start a job in a sandbox.

    Args:
        sandbox: The sandbox; its tier is chosen.
        pipes: The job's ends of its pipes.
        limits: What the job may use.
        job: "worker", or "probe" for the self-test.

    Returns:
        The started processes.

    Raises:
        SandboxError: If the job does not start.
    """
    tier, off = sandbox.tier, sandbox.off
    assert tier in TIERS
    assert off <= DEFENCES
    options = orders(pipes, limits, namespaces=tier == "A", job=job, off=off)
    may_fork = (
        tier == "A" and sandbox.use_fork_server and off <= {"fork_namespaces"} and job == "worker"
    )
    if may_fork and (process := _forked(options, pipes, limits)):
        return process
    if tier == "A":
        program = bubblewrap.find()
        if program is None:
            raise SandboxError(
                "The program bwrap (bubblewrap) was found neither on the PATH nor in a package."
            )
        return start_in_bubblewrap(
            program, options, limits, text=pipes.text, keep=tuple(pipes), off=off
        )
    if options["uid"] is None or tier == "C":
        # RLIMIT_NPROC would count all processes of this user, including the judge's.
        options["rlimits"].pop("NPROC", None)
    if tier == "C":
        options |= {"seccomp": False, "uid": None}
    return start_plain(
        options, text=pipes.text, keep=tuple(pipes), confined=tier == "B" and "files" not in off
    )


_cold_reason = ""  # why the workers of this process start cold; "" if they do not


def _forked(options: dict[str, Any], pipes: Pipes, limits: Limits) -> SandboxedProcess | None:
    """Start a job in a fork of the fork server; return None, and warn once, if that fails."""
    global _cold_reason
    for _ in range(0 if _cold_reason else 2):
        try:
            return fork_server.fork_server(limits, _check_forks).fork(options, pipes)
        except SandboxError as error:
            reason = str(error)
            fork_server.close()
    if not _cold_reason:
        _cold_reason = reason
        warnings.warn(
            f"Workers start without the fork server, which is slower. Reason: {reason}",
            stacklevel=3,
        )
    return None


def _check_forks(server: fork_server.ForkServer) -> None:
    """Run the self-test in a fork.

    Raises:
        SandboxError: If an attack succeeds or normal work fails.
    """
    problems = _attack(lambda pipes: server.fork(orders(pipes, PROBE_LIMITS, job="probe"), pipes))
    if problems:
        raise SandboxError(f"A fork failed the self-test. {' '.join(problems)}")


@functools.cache
def best() -> str:
    """Return the best tier that passes its self-test on this machine.

    Raises:
        SandboxError: If tiers A and B both fail; the message gives the reasons.
    """
    reasons = []
    for tier in ("A", "B"):
        if not (problems := probe(tier)):
            return tier
        reasons.append(
            f"Tier {tier} ({TIERS[tier]}) does not work on this machine. {' '.join(problems)}"
        )
    raise SandboxError(" ".join(reasons))


def probe(tier: str, off: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Run the self-test of a tier; return its problems as sentences, () if it passes."""
    sandbox = Sandbox(tier, off)
    try:
        return tuple(_attack(lambda pipes: start(sandbox, pipes, PROBE_LIMITS, "probe")))
    except (SandboxError, OSError, subprocess.SubprocessError) as error:
        message = str(error)
        return (message if message.endswith(".") else f"{message}.",)


def start_probe(sandbox: Sandbox, targets: str) -> list[str]:
    """Run a probe in a sandbox; return the names that it reports.

    Args:
        sandbox: The sandbox; its tier is chosen.
        targets: What it does, as JSON; see `inside.probes.main`.

    Raises:
        SandboxError: If the probe does not run.
    """
    found = _run(lambda pipes: start(sandbox, pipes, PROBE_LIMITS, "probe"), targets)
    return found["succeeded"]


def _attack(start_job: Callable[[Pipes], SandboxedProcess | PlainProcess]) -> list[str]:
    """Create targets, run the attacks in a sandbox, and return what they achieved."""
    os.environ["VAELAB_SECRET"] = "1"
    with (
        _target_process() as (target, folder),
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as file_socket,
    ):
        os.chmod(folder, 0o777)
        secret, socket_path = Path(folder, "secret"), Path(folder, "socket")
        secret.write_text("secret")
        udp.bind(("127.0.0.1", 0))
        # With an empty name the kernel chooses an abstract name.
        abstract.bind("")
        file_socket.bind(str(socket_path))
        socket_path.chmod(0o777)
        for listener in (abstract, file_socket):
            listener.listen()
        try:
            targets = {
                "secret": str(secret),
                "checks": str(Path(bubblewrap.PACKAGE, "checks", "__init__.py")),
                "images": [*map(str, image_folders()), *bubblewrap.places_of_images()],
                "folder": folder,
                "tcp": tcp.getsockname()[1],
                "udp": udp.getsockname()[1],
                "abstract_socket": abstract.getsockname()[1:].decode(),
                "socket_file": str(socket_path),
                "process": target.pid,
                "processes": PROBE_LIMITS.processes + 16,
                "bytes": PROBE_LIMITS.folder_bytes,
            }
            report = _run(start_job, json.dumps(targets))
            problems = [f"An attack succeeded: {_words(name)}." for name in report["succeeded"]]
            problems += [f"Normal work failed: {_words(name)}." for name in report["failed"]]
            if target.poll() is not None:
                problems.append("A process outside the sandbox was killed.")
            if sorted(os.listdir(folder)) != ["secret", "socket"]:
                problems.append("A file was written outside the sandbox.")
            if select.select([tcp, udp, abstract, file_socket], [], [], 0)[0]:
                problems.append("A message left the sandbox through a socket.")
            return problems
        finally:
            del os.environ["VAELAB_SECRET"]


# It deletes its folder when its input ends: its parent has finished or was killed.
_TARGET_SOURCE = """
import shutil, sys, tempfile
# The path of a Unix socket in it may have at most 107 bytes.
long = len(tempfile.gettempdir().encode()) > 70
folder = tempfile.mkdtemp(prefix="vaelab-probe-", dir="/tmp" if long else None)
print(folder, flush=True)
sys.stdin.read()
shutil.rmtree(folder, ignore_errors=True)
"""


@contextlib.contextmanager
def _target_process() -> Iterator[tuple[subprocess.Popen, str]]:
    """Yield a process and a folder as targets of the attacks; both end with this process."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _TARGET_SOURCE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin
    assert process.stdout
    folder = process.stdout.readline().strip()
    try:
        if not folder:
            raise SandboxError("The target process of the self-test did not start.")
        yield process, folder
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(PROBE_SECONDS)
        except subprocess.TimeoutExpired:  # an attack sent SIGSTOP to it
            process.kill()
            process.wait()
        if folder:  # an attack may have killed the process before it deleted its folder
            shutil.rmtree(folder, ignore_errors=True)


def _run(
    start_job: Callable[[Pipes], SandboxedProcess | PlainProcess], targets: str
) -> dict[str, list[str]]:
    """Run the self-test; return the names of successful attacks and of failed normal work."""
    job_receive, send = os.pipe()
    receive, job_send = os.pipe()
    text, text_out = os.pipe()
    status, status_out = os.pipe()
    pipes = Pipes(job_receive, job_send, text_out, status_out)
    process = None
    try:
        try:
            process = start_job(pipes)
        finally:
            for descriptor in pipes:
                os.close(descriptor)
        with os.fdopen(send, "w") as file:
            send = -1
            file.write(targets)
        answer = b""
        while select.select([receive], [], [], PROBE_SECONDS)[0]:
            chunk = os.read(receive, 1 << 16)
            if not chunk:
                break
            answer += chunk
        try:
            report = json.loads(answer)
            return {key: [str(name) for name in report[key]] for key in ("succeeded", "failed")}
        except (ValueError, KeyError, TypeError):
            os.set_blocking(text, False)
            printed = os.read(text, 4000).decode(errors="replace") if _readable(text) else ""
            last = (printed.strip().splitlines() or ["it printed no error message"])[-1]
            raise SandboxError(f"The self-test did not run: {last}") from None
    finally:
        if process:
            process.end()
        for descriptor in (send, receive, text, status):
            if descriptor >= 0:
                os.close(descriptor)


def _readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _words(name: str) -> str:
    return name.replace("_", " ")

"""Which sandbox this machine can give: probed by running attacks in it, never assumed."""

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

from autograder.sandbox import bubblewrap, warm
from autograder.sandbox.box import Box, Pipes, PlainBox, orders, start_in_bubblewrap, start_plain
from autograder.sandbox.inside.system import SandboxError
from autograder.sandbox.limits import Limits

TIERS = {
    "A": "sandboxed by bubblewrap",
    "B": "confined by Landlock and a system-call filter",
    "C": "NOT SANDBOXED",
}
# Left off one by one in tests, to show that each is needed.
DEFENCES = frozenset(
    {
        "files",  # only what is allowed is there to be read, and nothing to be written
        "network",  # a network namespace (tier A)
        "processes",  # a process namespace (tier A)
        "apart",  # namespaces of its own for each fork of the warm process (tier A)
        "seccomp",  # the filter of system calls
        "rlimits",  # the kernel's limits for each process
        "uid",  # a user id that owns nothing, where the judge is root
    }
)
PROBE_SECONDS = 60.0
PROBE_LIMITS = Limits(processes=24, disk_mib=4)


@dataclass(frozen=True)
class Sandbox:
    """How a submission is to be confined.

    Attributes:
        tier: A key of `TIERS`; "" for the best that holds on this machine.
        off: Some of `DEFENCES` that are left off, in tests that show what each is for.
        warm: In tier A, fork from a warm process where that holds; otherwise start afresh.
    """

    tier: str = ""
    off: frozenset[str] = frozenset()
    warm: bool = True

    def resolved(self) -> "Sandbox":
        """Settle on a tier.

        Raises:
            SandboxError: If none was named and none holds.
        """
        return self if self.tier else replace(self, tier=best())


BEST = Sandbox()


def start(sandbox: Sandbox, pipes: Pipes, limits: Limits, job: str = "worker") -> Box | PlainBox:
    """Start a job in a sandbox.

    Args:
        sandbox: Which, resolved.
        pipes: The job's ends of its pipes.
        limits: What it may use.
        job: "worker", or "probe" for the self-test.

    Raises:
        SandboxError: If it does not start.
    """
    tier, off = sandbox.tier, sandbox.off
    assert tier in TIERS
    assert off <= DEFENCES
    said = orders(pipes, limits, namespaces=tier == "A", job=job, off=off)
    may_fork = tier == "A" and sandbox.warm and off <= {"apart"} and job == "worker"
    if may_fork and (box := _forked(said, pipes, limits)):
        return box
    if tier == "A":
        program = bubblewrap.find()
        if program is None:
            raise SandboxError("there is no bubblewrap: neither on the PATH nor from pip")
        return start_in_bubblewrap(
            program, said, limits, text=pipes.text, keep=tuple(pipes), off=off
        )
    if said["uid"] is None or tier == "C":
        # It would count all of this user's processes, the judge's too.
        said["rlimits"].pop("NPROC", None)
    if tier == "C":
        said |= {"seccomp": False, "uid": None}
    return start_plain(
        said, text=pipes.text, keep=tuple(pipes), confined=tier == "B" and "files" not in off
    )


_cold = ""  # why this process's workers start cold, once that is known


def _forked(said: dict[str, Any], pipes: Pipes, limits: Limits) -> Box | None:
    """Start a job in a fork of the warm process; None where that does not hold, said once."""
    global _cold
    for _ in range(0 if _cold else 2):
        try:
            return warm.nursery(limits, _must_hold).fork(said, pipes)
        except SandboxError as error:
            reason = str(error)
            warm.close()
    if not _cold:
        _cold = reason
        warnings.warn(f"Workers start cold, which is slower: {reason}", stacklevel=3)
    return None


def _must_hold(nursery: warm.Nursery) -> None:
    found = _attack(lambda pipes: nursery.fork(orders(pipes, PROBE_LIMITS, job="probe"), pipes))
    if found:
        raise SandboxError(f"a fork does not hold: {'; '.join(found)}")


@functools.cache
def best() -> str:
    """Find the best tier that holds here, by trying.

    Raises:
        SandboxError: If neither A nor B does; it says why.
    """
    reasons = []
    for tier in ("A", "B"):
        if not (found := probe(tier)):
            return tier
        reasons.append(f"Tier {tier} ({TIERS[tier]}) does not hold here: {'; '.join(found)}.")
    raise SandboxError(" ".join(reasons))


def probe(tier: str, off: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Attack from inside a tier; returns what is wrong with it, () if it holds."""
    sandbox = Sandbox(tier, off)
    try:
        return tuple(_attack(lambda pipes: start(sandbox, pipes, PROBE_LIMITS, "probe")))
    except (SandboxError, OSError, subprocess.SubprocessError) as error:
        return (str(error),)


def _attack(begin: Callable[[Pipes], Box | PlainBox]) -> list[str]:
    """Put targets up, run the attacks, and look at the targets."""
    os.environ["VAELAB_SECRET"] = "1"
    with (
        _neighbour() as (victim, folder),
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as path,
    ):
        os.chmod(folder, 0o777)
        secret, door = Path(folder, "secret"), Path(folder, "door")
        secret.write_text("secret")
        udp.bind(("127.0.0.1", 0))
        # An empty name makes the kernel choose an abstract one.
        named.bind("")
        path.bind(str(door))
        door.chmod(0o777)
        for listener in (named, path):
            listener.listen()
        try:
            targets = {
                "secret": str(secret),
                "checks": str(Path(bubblewrap.PACKAGE, "checks", "__init__.py")),
                "folder": folder,
                "tcp": tcp.getsockname()[1],
                "udp": udp.getsockname()[1],
                "name": named.getsockname()[1:].decode(),
                "path": str(door),
                "process": victim.pid,
                "processes": PROBE_LIMITS.processes + 16,
                "bytes": PROBE_LIMITS.folder_bytes,
            }
            report = _run(begin, json.dumps(targets))
            problems = [f"it could {_words(name)}" for name in report["succeeded"]]
            problems += [f"honest work could not {_words(name)}" for name in report["impossible"]]
            if victim.poll() is not None:
                problems.append("another process was killed")
            if sorted(os.listdir(folder)) != ["door", "secret"]:
                problems.append("a file was written outside")
            if select.select([tcp, udp, named, path], [], [], 0)[0]:
                problems.append("something came out of it")
            return problems
        finally:
            del os.environ["VAELAB_SECRET"]


# It takes the folder away itself, when its input ends: then its parent is done, or was killed.
_NEIGHBOUR = """
import shutil, sys, tempfile
folder = tempfile.mkdtemp(prefix="vaelab-probe-")
print(folder, flush=True)
sys.stdin.read()
shutil.rmtree(folder, ignore_errors=True)
"""


@contextlib.contextmanager
def _neighbour() -> Iterator[tuple[subprocess.Popen, str]]:
    """Give a process and a folder for attacks to aim at; neither outlives this process."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _NEIGHBOUR],
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
            raise SandboxError("no process can be started beside the judge")
        yield process, folder
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(PROBE_SECONDS)
        except subprocess.TimeoutExpired:  # an attack has stopped it
            process.kill()
            process.wait()
        if folder:  # an attack may have killed it
            shutil.rmtree(folder, ignore_errors=True)


def _run(begin: Callable[[Pipes], Box | PlainBox], targets: str) -> dict[str, list[str]]:
    there_in, send = os.pipe()
    receive, there_out = os.pipe()
    text, text_out = os.pipe()
    status, status_out = os.pipe()
    pipes = Pipes(there_in, there_out, text_out, status_out)
    box = None
    try:
        try:
            box = begin(pipes)
        finally:
            for descriptor in pipes:
                os.close(descriptor)
        with os.fdopen(send, "w") as file:
            send = -1
            file.write(targets)
        said = b""
        while select.select([receive], [], [], PROBE_SECONDS)[0]:
            chunk = os.read(receive, 1 << 16)
            if not chunk:
                break
            said += chunk
        try:
            report = json.loads(said)
            return {
                name: [str(one) for one in report[name]] for name in ("succeeded", "impossible")
            }
        except (ValueError, KeyError, TypeError):
            os.set_blocking(text, False)
            complaint = os.read(text, 4000).decode(errors="replace") if _readable(text) else ""
            last = (complaint.strip().splitlines() or ["it says nothing"])[-1]
            raise SandboxError(f"the self-test does not run: {last}") from None
    finally:
        if box:
            box.end()
        for descriptor in (send, receive, text, status):
            if descriptor >= 0:
                os.close(descriptor)


def _readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _words(name: str) -> str:
    return name.replace("_", " ")

"""The first code inside a sandbox: gives up what it holds, sets limits, starts the worker.

It runs as a script before anything of a submission's does, from orders in JSON. It imports no
more than it needs, for whatever is imported here lies in the submission's memory too.
"""

import contextlib
import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from typing import Any, NoReturn

from autograder.sandbox.inside import landlock, seccomp
from autograder.sandbox.inside.system import syscall

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
NEW_USER, NEW_PID, NEW_MOUNT, NEW_IPC = 0x10000000, 0x20000000, 0x00020000, 0x08000000
NEW_NETWORK = 0x40000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
READY, FAILED = b"ready", b"failed: "
MAX_ORDERS = 1 << 16
WRITABLE = ("/tmp", "/dev/shm")

Orders = dict[str, Any]


def main() -> None:
    """Carry out the orders in the first argument."""
    orders: Orders = json.loads(sys.argv[1])
    if orders["uid"] is not None:
        become(orders["uid"], own_proc=orders["namespaces"])
    if sys.platform == "linux":
        # After a change of uid, which forgets that the judge's death is to be this one's too.
        syscall("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if "control" in orders:
        serve_forks(socket.socket(fileno=orders["control"]))
    pipes = [orders[name] for name in ("receive", "send", "text", "status")]
    if orders["namespaces"]:
        guard(orders, *pipes)
    os.close(orders["status"])
    work(orders, *pipes[:3])


def become(uid: int, *, own_proc: bool) -> None:
    """Give up root for a uid that owns nothing."""
    if own_proc:
        # bubblewrap's own would be half covered, and then no namespace in here could have one.
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    drop_capabilities()  # what was inheritable still is


def drop_capabilities() -> None:
    """Give up every capability, in whichever set."""
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    syscall("capset", header, nothing)


def guard(orders: Orders, receive: int, send: int, text: int, status: int) -> NoReturn:
    """Be the first process of a namespace: start the work, bury orphans, say how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    syscall("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
    worker = os.fork()
    if not worker:
        os.close(status)
        syscall("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
        work(orders, receive, send, text)
    for descriptor in (0, 1, 2, receive, send, text):
        os.close(descriptor)
    while True:
        pid, how = os.wait()
        if pid == worker:
            os.write(status, str(os.waitstatus_to_exitcode(how)).encode())
            os._exit(0)


def work(orders: Orders, receive: int, send: int, text: int) -> NoReturn:
    """Be the worker, confined."""
    if orders["namespaces"]:
        os.setsid()  # signals to its group must not go to whoever started it
    # What is inherited open is shared, and a flag on it would be seen by another fork.
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    os.dup2(text, 1)
    os.dup2(text, 2)
    os.close(text)
    code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        confine(orders)
        if orders["job"] == "probe":
            from autograder.sandbox.inside import hostile

            hostile.main(receive, send)
        else:
            from autograder.worker import worker

            worker.main(receive, send)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    os._exit(code & 0xFF)


def confine(orders: Orders) -> None:
    """Set limits, then close the doors that no namespace closes."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # if the machine runs out of memory, this one goes first
    for name, value in orders["rlimits"].items():
        # Not every system has each of them, or lets it be lowered.
        with contextlib.suppress(AttributeError, ValueError):
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
    if orders["landlock"]:
        landlock.restrict(*orders["landlock"])
        syscall("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)  # its user's other processes can't look in
    if orders["seccomp"]:
        seccomp.install(namespaces=orders["namespaces"])


# A warm process, forked for each submission.


def serve_forks(control: socket.socket) -> NoReturn:
    """Warm up; then, for each order, start a guard and its worker in namespaces of their own."""
    warm()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children bury themselves
    control.send(READY)
    while True:
        message, pipes, _, _ = socket.recv_fds(control, MAX_ORDERS, 4)
        if not message:
            os._exit(0)
        if not os.fork():
            fork_apart(control, json.loads(message), pipes)
        for descriptor in pipes:
            os.close(descriptor)


def warm() -> None:
    """Import what workers need and do one training step, on one thread."""
    import torch

    torch.set_num_threads(1)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    import vae_utils
    from autograder.worker import devices, worker  # noqa: F401

    devices.warm_up()
    for name in vae_utils.__all__:
        getattr(vae_utils, name)  # each is imported when it is first asked for
    with open("/proc/self/stat", "rb") as file:
        threads = int(file.read().rpartition(b")")[2].split()[17])
    if threads != 1:
        raise RuntimeError(f"the warm process has {threads} threads; a fork would lose all but one")
    gc.collect()
    gc.freeze()


def fork_apart(control: socket.socket, orders: Orders, pipes: list[int]) -> NoReturn:
    """Start a guard in new namespaces and pass the judge a handle on it."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if orders["apart"]:
            separate(orders["tmpfs"])
        child = os.fork()
        if not child:
            control.close()
            if orders["apart"]:
                mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
                drop_capabilities()
            guard(orders, *pipes)
        socket.send_fds(control, [READY], [os.pidfd_open(child)])
    except BaseException as error:
        control.send(FAILED + str(error).encode()[:500])
    os._exit(0)


def separate(tmpfs: str) -> None:
    """Move into new namespaces, with empty writable folders; processes from the next fork on."""
    uid, gid = os.getuid(), os.getgid()
    syscall("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # or its maps are root's
    syscall("unshare", NEW_USER | NEW_PID | NEW_MOUNT | NEW_IPC | NEW_NETWORK)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    for folder in WRITABLE:
        mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, tmpfs)
    os.chdir(WRITABLE[0])


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount a file system."""
    kind_bytes = kind.encode() if kind else None
    syscall("mount", source.encode(), target.encode(), kind_bytes, flags, options.encode())


if __name__ == "__main__":
    main()

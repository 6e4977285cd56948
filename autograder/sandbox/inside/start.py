"""The first code inside a sandbox: drops privileges, sets limits, starts the worker.

It runs as a script before any code of the submission, with start options in JSON. It imports only
what it needs, because everything imported here is also in the submission's memory.
"""

import contextlib
import gc
import importlib
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
MAX_ORDERS_BYTES = 1 << 16
WRITABLE = ("/tmp", "/dev/shm")
# Packages of the course that take long to import: a submission that imports one need not wait.
SLOW_IMPORTS = ("scipy.stats", "torch.distributions", "torchvision")

Orders = dict[str, Any]


def main() -> None:
    """Start the job that the first argument describes; see `sandbox.process.orders`."""
    orders: Orders = json.loads(sys.argv[1])
    if orders["uid"] is not None:
        drop_root(orders["uid"], mount_proc=orders["namespaces"])
    if sys.platform == "linux":
        # After the change of uid, because that clears the parent-death signal.
        syscall("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if "control" in orders:
        serve_forks(socket.socket(fileno=orders["control"]))
    pipes = [orders[name] for name in ("receive", "send", "text", "status")]
    if orders["namespaces"]:
        run_init(orders, *pipes)
    os.close(orders["status"])
    run_worker(orders, *pipes[:3])


def drop_root(uid: int, *, mount_proc: bool) -> None:
    """Change from root to a user id that owns no file, and drop all capabilities.

    Args:
        uid: The new user and group id.
        mount_proc: True to mount /proc first.
    """
    if mount_proc:
        # bubblewrap's own /proc is partly covered; the kernel then allows no /proc in a namespace
        # inside this one.
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    drop_capabilities()  # inheritable capabilities survive the change of uid


def drop_capabilities() -> None:
    """Clear all capability sets of this process."""
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    syscall("capset", header, nothing)


def run_init(orders: Orders, receive: int, send: int, text: int, status: int) -> NoReturn:
    """Be the init process of a PID namespace: start the worker, reap orphans, report its exit code.

    Args:
        orders: The start options.
        receive: File descriptor of the judge's requests.
        send: File descriptor of the worker's answers.
        text: File descriptor of printed text.
        status: File descriptor to which the worker's exit code is written.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    syscall("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
    worker = os.fork()
    if not worker:
        os.close(status)
        syscall("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
        run_worker(orders, receive, send, text)
    for descriptor in (0, 1, 2, receive, send, text):
        os.close(descriptor)
    while True:
        pid, wait_status = os.wait()
        if pid == worker:
            os.write(status, str(os.waitstatus_to_exitcode(wait_status)).encode())
            os._exit(0)


def run_worker(orders: Orders, receive: int, send: int, text: int) -> NoReturn:
    """Be the worker: apply the restrictions, run the job, and exit."""
    if orders["namespaces"]:
        os.setsid()  # a signal to its process group must not reach the process that started it
    # Inherited open files are shared: another fork would see a flag that is set on them.
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    os.dup2(text, 1)
    os.dup2(text, 2)
    os.close(text)
    code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        apply_restrictions(orders)
        if orders["job"] == "probe":
            from autograder.sandbox.inside import probes

            probes.main(receive, send)
        else:
            from autograder.worker import worker

            worker.main(receive, send)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    os._exit(code & 0xFF)


def apply_restrictions(orders: Orders) -> None:
    """Set the resource limits, then install Landlock and the system-call filter."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # if the machine runs out of memory, the kernel kills this process first
    for name, value in orders["rlimits"].items():
        # Some systems lack a limit, or refuse to lower it.
        with contextlib.suppress(AttributeError, ValueError):
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
    if orders["landlock"]:
        landlock.restrict(*orders["landlock"])
        syscall("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)  # the user's other processes cannot read it
    if orders["seccomp"]:
        seccomp.install(namespaces=orders["namespaces"])


# The fork server: one fork for each submission.


def serve_forks(control: socket.socket) -> NoReturn:
    """Preload PyTorch; then, for each request, fork a worker with namespaces of its own.

    Args:
        control: The socket for requests and replies.
    """
    preload()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps ended children
    control.send(READY)
    while True:
        message, pipes, _, _ = socket.recv_fds(control, MAX_ORDERS_BYTES, 4)
        if not message:
            os._exit(0)
        if not os.fork():
            start_fork(control, json.loads(message), pipes)
        for descriptor in pipes:
            os.close(descriptor)


def preload() -> None:
    """Import what workers need and do one training step, on one thread.

    Raises:
        RuntimeError: If this process has more than one thread afterwards.
    """
    import torch

    torch.set_num_threads(1)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    import vae_utils
    from autograder.worker import devices, worker  # noqa: F401

    for name in SLOW_IMPORTS:
        # A course may have been installed without one of them.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    devices.preload()
    for name in vae_utils.__all__:
        getattr(vae_utils, name)  # each name is imported at its first use
    with open("/proc/self/stat", "rb") as file:
        threads = int(file.read().rpartition(b")")[2].split()[17])
    if threads != 1:
        raise RuntimeError(
            f"The fork server has {threads} threads, but it must have 1: a fork keeps only one."
        )
    gc.collect()
    gc.freeze()


def start_fork(control: socket.socket, orders: Orders, pipes: list[int]) -> NoReturn:
    """Start an init process and its worker in new namespaces; send the judge a pidfd of init."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if orders["fork_namespaces"]:
            create_namespaces(orders["tmpfs"])
        child = os.fork()
        if not child:
            control.close()
            if orders["fork_namespaces"]:
                mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
                drop_capabilities()
            run_init(orders, *pipes)
        socket.send_fds(control, [READY], [os.pidfd_open(child)])
    except BaseException as error:
        control.send(FAILED + str(error).encode()[:500])
    os._exit(0)


def create_namespaces(tmpfs: str) -> None:
    """Create user, PID, mount, IPC and network namespaces, with empty writable folders.

    Children of this process are in the new PID namespace; this process itself is not.

    Args:
        tmpfs: Mount options of the writable folders.
    """
    uid, gid = os.getuid(), os.getgid()
    syscall("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # otherwise root owns its uid_map and gid_map
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
    """Mount a file system, as the system call does."""
    kind_bytes = kind.encode() if kind else None
    syscall("mount", source.encode(), target.encode(), kind_bytes, flags, options.encode())


if __name__ == "__main__":
    main()

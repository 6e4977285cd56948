"""The attacks of the self-test: a tier is used only if every attack fails in it.

The code runs inside the sandbox. The targets (a secret file, a folder, listening sockets, a
process) are outside, and their addresses arrive as JSON. The names of successful attacks leave as
JSON. The judge also inspects the targets afterwards, so a forged report hides no damage to them.
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Targets = dict[str, Any]
CHUNK_BYTES = 1 << 20


def main(receive: int, send: int) -> None:
    """Run all attacks and the normal work, and report.

    If the targets contain `look`, only look for these paths, and report those that can be read.

    Args:
        receive: File descriptor from which the targets are read, as JSON.
        send: File descriptor to which the report is written, as JSON.
    """
    with os.fdopen(receive) as file:
        targets = json.load(file)
    if "look" in targets:
        seen = [path for path, file in targets["look"].items() if can_read(path, *file)]
        with os.fdopen(send, "w") as file:
            json.dump({"succeeded": seen, "failed": []}, file)
        return
    succeeded = [attack.__name__ for attack in ATTACKS if works(attack, targets)]
    failed = [work.__name__ for work in NORMAL_WORK if not works(work, targets)]
    with os.fdopen(send, "w") as file:
        json.dump({"succeeded": succeeded, "failed": failed}, file)


def can_read(path: str, device: int, inode: int) -> bool:
    """Return whether a path is this file or folder, not one that covers it, and can be read."""
    try:
        status = os.stat(path)
        if (status.st_dev, status.st_ino) != (device, inode):
            return False
        if stat.S_ISDIR(status.st_mode):
            os.listdir(path)
        else:
            with open(path, "rb") as file:
                file.read(1)
        return True
    except (OSError, ValueError):
        return False


def works(action: Callable[[Targets], Any], targets: Targets) -> bool:
    """Return whether an action succeeds: it raises no exception and does not return False."""
    try:
        return action(targets) is not False
    except Exception:
        return False


def read_outside_file(targets: Targets) -> None:
    """Read a file outside the sandbox."""
    Path(targets["secret"]).read_text()


def read_check_sources(targets: Targets) -> None:
    """Read the source code of the checks."""
    Path(targets["checks"]).read_text()


def read_images(targets: Targets) -> bool:
    """Read a file in a folder of images: the course's own, or those of scikit-learn."""

    def readable(path: Path) -> bool:
        return path.is_file() and works(lambda _: path.open("rb").close(), targets)

    return any(
        readable(path)
        for folder in targets["images"]
        if os.path.exists(folder)
        for path in Path(folder).iterdir()
    )


def write_outside_file(targets: Targets) -> None:
    """Write a file outside the sandbox."""
    Path(targets["folder"], "written").write_text("x")


def write_to_python_folder(targets: Targets) -> None:
    """Write a file into Python's installation folder."""
    with tempfile.TemporaryFile(dir=sys.prefix):
        pass


def read_judge_environment(targets: Targets) -> bool:
    """Look for an environment variable of the judge."""
    return "VAELAB_SECRET" in os.environ


def run_as_root(targets: Targets) -> bool:
    """Look for the user id 0."""
    return os.geteuid() == 0 or os.getuid() == 0


def hold_capability(targets: Targets) -> bool:
    """Look for a capability of this process."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    return libc.capget(header, data) == 0 and any(data)


def gain_privileges(targets: Targets) -> bool:
    """Look whether the flag no_new_privs is missing."""
    get_no_new_privileges = 39
    return ctypes.CDLL(None).prctl(get_no_new_privileges, 0, 0, 0, 0) != 1


def connect_by_tcp(targets: Targets) -> None:
    """Connect to a TCP port of the judge's host."""
    socket.create_connection(("127.0.0.1", targets["tcp"]), timeout=2).close()


def send_udp_datagram(targets: Targets) -> bool:
    """Send a UDP datagram; the judge looks whether it arrives."""
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", targets["udp"]))
    return False


def connect_to_abstract_socket(targets: Targets) -> None:
    """Connect to a Unix socket by its abstract name."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + targets["abstract_socket"])


def connect_to_socket_file(targets: Targets) -> None:
    """Connect to a Unix socket by its path."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(targets["socket_file"])


def kill_outside_process(targets: Targets) -> None:
    """Kill a process outside the sandbox."""
    os.kill(targets["process"], signal.SIGKILL)


def signal_all_processes(targets: Targets) -> None:
    """Send signal 0 to all processes that this one may signal."""
    os.kill(-1, 0)


def write_to_init_memory(targets: Targets) -> None:
    """Open the memory of process 1 for writing."""
    with open("/proc/1/mem", "r+b"):
        pass


def trace_outside_process(targets: Targets) -> bool:
    """Attach to a process outside the sandbox with ptrace."""
    attach = 16
    return ctypes.CDLL(None).ptrace(attach, ctypes.c_long(targets["process"]), None, None) == 0


def create_namespace(targets: Targets) -> bool:
    """Create a user namespace."""
    new_user = 0x10000000
    return ctypes.CDLL(None).unshare(new_user) == 0


def create_memory_file(targets: Targets) -> None:
    """Create a file in memory with memfd_create; it is charged to no process."""
    os.close(os.memfd_create("x"))


def create_shared_mapping(targets: Targets) -> None:
    """Create a shared anonymous mapping; it can be charged to no process."""
    mmap.mmap(-1, CHUNK_BYTES).close()


def move_memory_into_pipe(targets: Targets) -> bool:
    """Give memory to a pipe with vmsplice; it is charged to no process."""
    source, content = os.pipe()[1], ctypes.create_string_buffer(CHUNK_BYTES)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(content), mmap.PAGESIZE)
    return ctypes.CDLL(None).vmsplice(source, vector, 1, 0) > 0


def move_file_into_pipe(targets: Targets) -> bool:
    """Give a page of a deleted file to a pipe with splice; it is charged to no process."""
    with tempfile.TemporaryFile() as file:
        file.write(bytes(CHUNK_BYTES))
        file.seek(0)
        return os.splice(file.fileno(), os.pipe()[1], mmap.PAGESIZE) > 0


def enlarge_pipe(targets: Targets) -> None:
    """Enlarge a pipe; its content is charged to no process."""
    import fcntl

    fcntl.fcntl(os.pipe()[1], fcntl.F_SETPIPE_SZ, CHUNK_BYTES)


def lock_shared_file(targets: Targets) -> None:
    """Lock a file that all submissions can read; locks could carry messages between them."""
    import fcntl

    with open(os.__file__) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def wait_on_shared_page(targets: Targets) -> bool:
    """Wait on a page of a file that all submissions can map; each of them can count the waiters."""
    futex, waitv = (202, 449) if os.uname().machine == "x86_64" else (98, 449)
    wait, millisecond = 0, (ctypes.c_long * 2)(0, 1_000_000)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    with open(os.__file__, "rb") as file:
        how = mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno()
        page = ctypes.c_void_p(libc.mmap(None, *how, ctypes.c_long(0)))
    value = ctypes.c_uint32.from_address(page.value or 0)
    libc.syscall(futex, page, wait, value, millisecond, None, 0)
    waited = ctypes.get_errno() == errno.ETIMEDOUT
    libc.syscall(waitv, None, 0, 0, None, 0)
    return waited or ctypes.get_errno() != errno.ENOSYS


def exceed_process_limit(targets: Targets) -> bool:
    """Start more processes than allowed."""
    children = []
    try:
        for _ in range(targets["processes"] + 1):
            child = os.fork()
            if not child:
                signal.pause()
            children.append(child)
    except OSError:
        return False
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return True


def exceed_disk_limit(targets: Targets) -> None:
    """Write more bytes than allowed."""
    with tempfile.TemporaryFile() as file:
        for _ in range(0, targets["bytes"] + CHUNK_BYTES, CHUNK_BYTES):
            file.write(bytes(CHUNK_BYTES))
            file.flush()


def write_temporary_file(targets: Targets) -> None:
    """Write and delete a file in the working folder."""
    Path("honest").write_text("x")
    Path("honest").unlink()


def start_thread(targets: Targets) -> bool:
    """Start a thread and wait for it."""
    done = threading.Event()
    threading.Thread(target=done.set).start()
    return done.wait(10)


ATTACKS = (
    read_outside_file,
    read_check_sources,
    read_images,
    write_outside_file,
    write_to_python_folder,
    read_judge_environment,
    run_as_root,
    hold_capability,
    gain_privileges,
    connect_by_tcp,
    send_udp_datagram,
    connect_to_abstract_socket,
    connect_to_socket_file,
    signal_all_processes,
    write_to_init_memory,
    trace_outside_process,
    kill_outside_process,
    create_namespace,
    create_memory_file,
    create_shared_mapping,
    move_memory_into_pipe,
    move_file_into_pipe,
    enlarge_pipe,
    lock_shared_file,
    wait_on_shared_page,
    exceed_process_limit,
    exceed_disk_limit,
)
NORMAL_WORK = (write_temporary_file, start_thread)

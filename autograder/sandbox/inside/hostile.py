"""What a tier must withstand before it is claimed: run inside it, against targets put up outside.

The targets (a secret file, a folder, listeners, a process) come in as JSON; what succeeded goes
out as JSON. The one who put them up looks at them afterwards too, and believes no more than that.
"""

import ctypes
import json
import mmap
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Targets = dict[str, Any]
FILL = 1 << 20


def main(receive: int, send: int) -> None:
    """Attack, work honestly, and report."""
    with os.fdopen(receive) as file:
        targets = json.load(file)
    succeeded = [attack.__name__ for attack in ATTACKS if works(attack, targets)]
    impossible = [work.__name__ for work in HONEST if not works(work, targets)]
    with os.fdopen(send, "w") as file:
        json.dump({"succeeded": succeeded, "impossible": impossible}, file)


def works(deed: Callable[[Targets], Any], targets: Targets) -> bool:
    """Say whether a deed came off."""
    try:
        return deed(targets) is not False
    except Exception:
        return False


def read_a_secret(targets: Targets) -> None:
    Path(targets["secret"]).read_text()


def read_the_checks(targets: Targets) -> None:
    Path(targets["checks"]).read_text()


def write_beside_it(targets: Targets) -> None:
    Path(targets["folder"], "written").write_text("x")


def write_where_programs_are(targets: Targets) -> None:
    with tempfile.TemporaryFile(dir=sys.prefix):
        pass


def see_the_judges_environment(targets: Targets) -> bool:
    return "VAELAB_SECRET" in os.environ


def be_root(targets: Targets) -> bool:
    return os.geteuid() == 0 or os.getuid() == 0


def hold_a_capability(targets: Targets) -> bool:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    return libc.capget(header, data) == 0 and any(data)


def gain_privileges(targets: Targets) -> bool:
    get_no_new_privileges = 39
    return ctypes.CDLL(None).prctl(get_no_new_privileges, 0, 0, 0, 0) != 1


def connect(targets: Targets) -> None:
    socket.create_connection(("127.0.0.1", targets["tcp"]), timeout=2).close()


def send_a_datagram(targets: Targets) -> bool:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", targets["udp"]))
    return False  # sent is not arrived: the one outside looks


def reach_a_socket_by_name(targets: Targets) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.connect("\0" + targets["name"])


def reach_a_socket_by_path(targets: Targets) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.connect(targets["path"])


def kill_a_neighbour(targets: Targets) -> None:
    os.kill(targets["process"], signal.SIGKILL)


def signal_everyone(targets: Targets) -> None:
    os.kill(-1, 0)


def write_into_the_first_process(targets: Targets) -> None:
    with open("/proc/1/mem", "r+b"):
        pass


def trace_a_neighbour(targets: Targets) -> bool:
    attach = 16
    return ctypes.CDLL(None).ptrace(attach, ctypes.c_long(targets["process"]), None, None) == 0


def make_a_namespace(targets: Targets) -> bool:
    new_user = 0x10000000
    return ctypes.CDLL(None).unshare(new_user) == 0


def hide_memory_in_a_file(targets: Targets) -> None:
    os.close(os.memfd_create("x"))


def hide_memory_in_a_mapping(targets: Targets) -> None:
    mmap.mmap(-1, FILL).close()


def talk_by_locks(targets: Targets) -> None:
    import fcntl

    with open(os.__file__) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def multiply(targets: Targets) -> bool:
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


def fill_the_disk(targets: Targets) -> None:
    with tempfile.TemporaryFile() as file:
        for _ in range(0, targets["bytes"] + FILL, FILL):
            file.write(bytes(FILL))
            file.flush()


def write_a_file(targets: Targets) -> None:
    Path("honest").write_text("x")
    Path("honest").unlink()


def start_a_thread(targets: Targets) -> bool:
    done = threading.Event()
    threading.Thread(target=done.set).start()
    return done.wait(10)


ATTACKS = (
    read_a_secret,
    read_the_checks,
    write_beside_it,
    write_where_programs_are,
    see_the_judges_environment,
    be_root,
    hold_a_capability,
    gain_privileges,
    connect,
    send_a_datagram,
    reach_a_socket_by_name,
    reach_a_socket_by_path,
    signal_everyone,
    write_into_the_first_process,
    trace_a_neighbour,
    kill_a_neighbour,
    make_a_namespace,
    hide_memory_in_a_file,
    hide_memory_in_a_mapping,
    talk_by_locks,
    multiply,
    fill_the_disk,
)
HONEST = (write_a_file, start_a_thread)

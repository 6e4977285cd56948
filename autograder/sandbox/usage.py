"""Measures what a sandbox uses now, as counted by the kernel: memory, CPU, processes, disk."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

FILES_COUNTED = 20_000
# Default size of a socket's two buffers; the kernel charges it to no process.
SOCKET_BYTES = 2 * 212_992
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Resources used by a whole process tree.

    Attributes:
        memory: Bytes in memory, including the files in its writable folders.
        seconds: CPU seconds of its processes, including ended processes that were waited for.
        tasks: Number of processes and threads.
        disk: Bytes in its writable folders.
        files: Number of files in its writable folders.
        waited: Seconds in which its processes were ready to run and waited for a core.
    """

    memory: int = 0
    seconds: float = 0.0
    tasks: int = 0
    disk: int = 0
    files: int = 0
    waited: float = 0.0


def measure_namespace(
    first: int, folders: tuple[str, ...], memory_limit: int, task_limit: int
) -> Usage:
    """Measure all processes of a PID namespace.

    Args:
        first: The process id of the namespace's init process, as seen by the judge. The init
            process itself only waits.
        folders: The namespace's writable folders; each is a separate file system.
        memory_limit: Limit of memory, in bytes. Below it, a page that several processes share is
            counted once for each of them, which is fast. Above it, shared pages are divided among
            the processes that share them.
        task_limit: Limit of tasks. Above it, shared pages are not divided, because the submission
            is ended in any case.
    """
    memory, seconds, tasks, waited = 0, 0.0, 0, 0.0
    for pid in tree(first):
        with contextlib.suppress(OSError):
            rss, used, threads = _stat(pid)
            rss += _page_tables_and_swap(pid)
            # The CPU time of orphans is added to init; its pages are shared with the worker.
            seconds += used
            waited += _waited(pid)
            if pid != first:
                memory, tasks = memory + rss, tasks + threads
    disk, files = 0, 0
    for folder in folders:
        with contextlib.suppress(OSError):
            system = os.statvfs(f"/proc/{first}/root{folder}")
            disk += (system.f_blocks - system.f_bfree) * system.f_frsize
            files += system.f_files - system.f_ffree
    memory += SOCKET_BYTES * _sockets(first)
    if memory + disk > memory_limit and 1 < tasks <= task_limit:
        memory = sum(
            _proportional(pid) + _page_tables_and_swap(pid) for pid in tree(first) if pid != first
        )
        memory += SOCKET_BYTES * _sockets(first)
    return Usage(memory + disk, seconds, tasks, disk, files, waited)


def measure_process(process: subprocess.Popen, folder: str, *, alone: bool) -> Usage:
    """Measure a plain process and its folder.

    Args:
        process: The process.
        folder: The only folder that it may write to.
        alone: True if it cannot start child processes.
    """
    memory, seconds, tasks, waited = 0, 0.0, 0, 0.0
    with contextlib.suppress(psutil.Error):
        one = psutil.Process(process.pid)
        for each in [one, *([] if alone else one.children(recursive=True))]:
            with contextlib.suppress(psutil.Error):
                times = each.cpu_times()
                memory += each.memory_info().rss + _page_tables_and_swap(each.pid)
                seconds += times.user + times.system
                waited += _waited(each.pid)
                tasks += each.num_threads()
    disk, files = 0, 0
    for entry in _files(folder):
        with contextlib.suppress(OSError):
            disk += entry.stat(follow_symlinks=False).st_size
        files += 1
        if files > FILES_COUNTED:
            break
    return Usage(memory, seconds, tasks, disk, files, waited)


def _files(folder: str) -> Iterator[os.DirEntry]:
    """Yield every file and folder below a folder."""
    waiting = [folder]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def tree(first: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    waiting = [first]
    while waiting:
        pid = waiting.pop()
        yield pid
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as file:
                    waiting += map(int, file.read().split())


def _stat(pid: int) -> tuple[int, float, int]:
    """Return a process's resident bytes, CPU seconds and number of threads."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    seconds = sum(int(fields[number]) for number in (11, 12, 13, 14)) / TICKS
    return int(fields[21]) * PAGE, seconds, int(fields[17])


def _waited(pid: int) -> float:
    """Return the seconds in which a process's first thread waited for a core; 0 if not known."""
    try:
        with open(f"/proc/{pid}/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _page_tables_and_swap(pid: int) -> int:
    """Return the bytes of a process that its resident memory does not include."""
    total = 0
    with (
        contextlib.suppress(OSError, IndexError, ValueError),
        open(f"/proc/{pid}/status", "rb") as file,
    ):
        for line in file:
            if line.startswith((b"VmPTE:", b"VmSwap:")):
                total += int(line.split()[1]) << 10
    return total


def _sockets(pid: int) -> int:
    """Count the sockets of a process's network namespace."""
    try:
        with open(f"/proc/{pid}/net/sockstat") as file:
            return int(file.readline().split()[2])  # "sockets: used 3"
    except (OSError, IndexError, ValueError):
        return 0


def _proportional(pid: int) -> int:
    """Return a process's proportional set size: its bytes, with shared pages divided."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            lines = file.read().split("\n")
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    except (OSError, IndexError, ValueError):
        with contextlib.suppress(OSError):
            return _stat(pid)[0]
    return 0

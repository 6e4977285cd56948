"""What a sandbox uses right now, as the kernel counts it: memory, processor, processes, disk."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

FILES_COUNTED = 20_000
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a whole tree of processes uses.

    Attributes:
        memory: Bytes in memory, those in its writable folders included.
        seconds: Processor seconds of its processes, the ended ones that were waited for included.
        tasks: Processes and threads.
        disk: Bytes in its writable folders.
        files: Files in its writable folders.
    """

    memory: int = 0
    seconds: float = 0.0
    tasks: int = 0
    disk: int = 0
    files: int = 0


def of_namespace(first: int, folders: tuple[str, ...], enough: int, most: int) -> Usage:
    """Measure a namespace by its first process, which only waits.

    Args:
        first: That process's id, here.
        folders: The namespace's writable folders, each a file system of its own.
        enough: Bytes of memory above which pages that processes share are told apart from their
            own; below, they are counted once for each, which is quicker.
        most: Tasks above which it no longer matters.
    """
    memory, seconds, tasks = 0, 0.0, 0
    for pid in tree(first):
        with contextlib.suppress(OSError):
            rss, used, threads = _stat(pid)
            # Orphans' time is added to the first process's; its own pages are the worker's too.
            seconds += used
            if pid != first:
                memory, tasks = memory + rss, tasks + threads
    disk, files = 0, 0
    for folder in folders:
        with contextlib.suppress(OSError):
            system = os.statvfs(f"/proc/{first}/root{folder}")
            disk += (system.f_blocks - system.f_bfree) * system.f_frsize
            files += system.f_files - system.f_ffree
    if memory + disk > enough and 1 < tasks <= most:
        memory = sum(_proportional(pid) for pid in tree(first) if pid != first)
    return Usage(memory + disk, seconds, tasks, disk, files)


def of_process(process: subprocess.Popen, folder: str, *, alone: bool) -> Usage:
    """Measure a plain process and its folder.

    Args:
        process: The process.
        folder: The only place that it writes to.
        alone: True if it cannot have children.
    """
    memory, seconds, tasks = 0, 0.0, 0
    with contextlib.suppress(psutil.Error):
        one = psutil.Process(process.pid)
        for each in [one, *([] if alone else one.children(recursive=True))]:
            with contextlib.suppress(psutil.Error):
                times = each.cpu_times()
                memory += each.memory_info().rss
                seconds += times.user + times.system
                tasks += each.num_threads()
    disk, files = 0, 0
    for entry in _files(folder):
        with contextlib.suppress(OSError):
            disk += entry.stat(follow_symlinks=False).st_size
        files += 1
        if files > FILES_COUNTED:
            break
    return Usage(memory, seconds, tasks, disk, files)


def _files(folder: str) -> Iterator[os.DirEntry]:
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
    """Give a process's resident bytes, processor seconds and number of threads."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    seconds = sum(int(fields[number]) for number in (11, 12, 13, 14)) / TICKS
    return int(fields[21]) * PAGE, seconds, int(fields[17])


def _proportional(pid: int) -> int:
    """Give a process's bytes, each shared page divided among those who share it."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            lines = file.read().split("\n")
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    except (OSError, IndexError, ValueError):
        with contextlib.suppress(OSError):
            return _stat(pid)[0]
    return 0

"""What one submission may use, and the messages for limits that are exceeded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autograder.sandbox.usage import Usage

MIB = 1 << 20
# The kernel's limits are slightly above the judge's, so that the judge's limits are the ones named.
SPARE_TASKS, SPARE_BYTES, SPARE_SECONDS = 8, MIB, 5
MOST_FILES = 10_000
OPEN_FILES = 256


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: Wall-clock seconds for the whole submission. The judge counts them from the moment
            that the worker is ready, without those in which the worker waits for a core.
        call_seconds: The same for one call that is not training.
        start_seconds: Wall-clock seconds for the worker to start and import PyTorch.
        memory_mib: Memory of all its processes and writable folders together, in MiB.
        cpu_seconds: CPU seconds of all its processes together.
        processes: Number of processes and threads at one time.
        disk_mib: Size of the files that it writes, in MiB.
        output_mib: Size of the text that it prints, in MiB; the first MiB is kept.
    """

    seconds: float = 300.0
    call_seconds: float = 30.0
    start_seconds: float = 120.0
    memory_mib: int = 2048
    cpu_seconds: float = 600.0
    processes: int = 64
    disk_mib: int = 256
    output_mib: int = 64

    @property
    def folder_bytes(self) -> int:
        """Return the size of each writable folder, in bytes."""
        return self.disk_mib * MIB + SPARE_BYTES

    @property
    def rlimits(self) -> dict[str, int]:
        """Return the kernel's limits for each process, by their names in the module `resource`."""
        return {
            "NPROC": self.processes + SPARE_TASKS,
            "CPU": int(self.cpu_seconds) + SPARE_SECONDS,
            "FSIZE": self.folder_bytes,
            # The judge measures every 0.05 s. A sudden allocation between two measurements must
            # stop here.
            "AS": (2 * self.memory_mib + 4096) * MIB,
            # The same: a worker must not inherit the judge's own limit.
            "DATA": (2 * self.memory_mib + 4096) * MIB,
            "NOFILE": OPEN_FILES,
            "CORE": 0,
            "MSGQUEUE": 0,
        }

    def exceeded(self, used: Usage) -> tuple[str, str] | None:
        """Return the status and the message of the first exceeded limit; None if there is none."""
        if used.tasks > self.processes:
            return (
                "processes",
                f"The submission started more than {self.processes} processes and threads.",
            )
        if used.memory > self.memory_mib * MIB:
            return "memory", f"The submission used more than {self.memory_mib} MiB of memory."
        if used.seconds > self.cpu_seconds:
            return "cpu", f"The submission used more than {self.cpu_seconds:g} seconds of CPU time."
        if used.disk > self.disk_mib * MIB:
            return "disk", f"The submission wrote more than {self.disk_mib} MiB of files."
        if used.files > MOST_FILES:
            return "disk", f"The submission created more than {MOST_FILES} files."
        return None


def limits_with(values: Mapping[str, Any]) -> Limits:
    """Return the default limits with other values for some of them, by name."""
    return replace(Limits(), **values)

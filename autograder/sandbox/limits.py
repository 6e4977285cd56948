"""What one submission may use, and how it is told when that is used up."""

from dataclasses import dataclass

from autograder.sandbox.usage import Usage

MIB = 1 << 20
# The kernel's own limits lie a little above ours, so that ours are the ones that get named.
SPARE_TASKS, SPARE_BYTES, SPARE_SECONDS = 8, MIB, 5
MOST_FILES = 10_000
OPEN_FILES = 256


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: Wall clock for the whole submission, counted by the judge from the moment that
            the worker is ready.
        call_seconds: Wall clock for one call that is not training.
        start_seconds: Wall clock for the worker to start and import torch.
        memory_mib: Memory of all its processes and writable folders together, in MiB.
        cpu_seconds: Processor time of all its processes together.
        processes: Processes and threads at a time.
        disk_mib: Files that it writes, in MiB.
        output_mib: Text that it prints, in MiB; the first is kept.
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
        """Size of each writable folder."""
        return self.disk_mib * MIB + SPARE_BYTES

    @property
    def rlimits(self) -> dict[str, int]:
        """The kernel's limits for each process, by their names in `resource`."""
        return {
            "NPROC": self.processes + SPARE_TASKS,
            "CPU": int(self.cpu_seconds) + SPARE_SECONDS,
            "FSIZE": self.folder_bytes,
            # A sudden allocation must not outrun the judge, who looks every few hundredths.
            "AS": (2 * self.memory_mib + 4096) * MIB,
            "NOFILE": OPEN_FILES,
            "CORE": 0,
            "MSGQUEUE": 0,
        }

    def broken(self, used: Usage) -> tuple[str, str] | None:
        """Give the status and the sentence of a limit that is used up; None if there is none."""
        if used.tasks > self.processes:
            return "processes", f"It started more than {self.processes} processes and threads."
        if used.memory > self.memory_mib * MIB:
            return "memory", f"It used more than {self.memory_mib} MiB of memory."
        if used.seconds > self.cpu_seconds:
            return "cpu", f"It used more than {self.cpu_seconds:g} seconds of processor time."
        if used.disk > self.disk_mib * MIB:
            return "disk", f"It wrote more than {self.disk_mib} MiB of files."
        if used.files > MOST_FILES:
            return "disk", f"It made more than {MOST_FILES} files."
        return None

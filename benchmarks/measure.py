"""Functions for measurements: alternating calls, medians, and the table of results."""

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        what: What was measured.
        value: The measured value.
        unit: "×" (a ratio), "s" or "MiB".
        target: The target. None if there is no target.
        direction: Whether the value must be at least or at most the target.
        note: The two values of a ratio, or a remark.
    """

    what: str
    value: float
    unit: Literal["×", "s", "MiB"] = "×"
    target: float | None = None
    direction: Literal["at least", "at most"] = "at most"
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the target is met. True if there is none."""
        if self.target is None:
            return True
        if self.direction == "at least":
            return self.value >= self.target
        return self.value <= self.target


def in_turn(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Measure functions alternately, so that a change of the machine's load affects all of them.

    Args:
        functions: The functions by name. Each is called once before the measurement.
        rounds: How often each function is measured.

    Returns:
        Seconds of each call, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(numerators: list[float], denominators: list[float]) -> float:
    """Return the median ratio of two functions. A ratio is taken within one round."""
    pairs = zip(numerators, denominators, strict=True)
    return statistics.median(a / b for a, b in pairs)


def in_words(seconds: list[float]) -> str:
    """Return the median duration as text, with its unit.

    Example:
        >>> in_words([0.0012, 0.0011, 0.0013])
        '1.2 ms'
    """
    median = statistics.median(seconds)
    return f"{median:.2f} s" if median >= 1 else f"{median * 1e3:.3g} ms"


def machine() -> str:
    """Return processor, number of cores, load and system in one line."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{_processor()}, {os.cpu_count()} cores{load}, {platform.system()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def table(rows: list[Row]) -> str:
    """Format rows as a text table. Missed targets are marked.

    Args:
        rows: The rows, in the order of the table.

    Returns:
        Lines with aligned columns.
    """
    cells = [("", "measured", "target", "", "")]
    for row in rows:
        bound = "≥" if row.direction == "at least" else "≤"
        target = "" if row.target is None else f"{bound} {_number(row.target)} {row.unit}"
        verdict = "" if row.target is None else ("ok" if row.holds else "MISSED")
        cells.append((row.what, f"{_number(row.value)} {row.unit}", target, verdict, row.note))
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    return "\n".join(
        f"{what:<{widths[0]}}  {value:>{widths[1]}}  {target:>{widths[2]}}  "
        f"{verdict:<{widths[3]}}  {note}".rstrip()
        for what, value, target, verdict, note in cells
    )


def _number(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{value:.0f}" if value >= 20 else f"{value:.2f}"

"""How the benchmarks measure: competitors in turn, medians, one row of a table each."""

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
        what: what was measured.
        value: a ratio or seconds.
        unit: "×", "s" or "MiB".
        target: what it should be, None where there is no target.
        direction: whether the target is a floor or a ceiling.
        note: the figures behind a ratio, or a remark.
    """

    what: str
    value: float
    unit: Literal["×", "s", "MiB"] = "×"
    target: float | None = None
    direction: Literal["at least", "at most"] = "at most"
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the target is met; True where there is none."""
        if self.target is None:
            return True
        if self.direction == "at least":
            return self.value >= self.target
        return self.value <= self.target


def in_turn(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time functions alternately, so that a change in the machine's load meets all of them.

    Args:
        functions: what to time, by name; each is called once beforehand to warm up.
        rounds: how often each is timed.

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
    """Return the median of the ratios of calls that were made in the same round."""
    pairs = zip(numerators, denominators, strict=True)
    return statistics.median(a / b for a, b in pairs)


def in_words(seconds: list[float]) -> str:
    """Say a median duration with its unit.

    Example:
        >>> in_words([0.0012, 0.0011, 0.0013])
        '1.2 ms'
    """
    median = statistics.median(seconds)
    return f"{median:.2f} s" if median >= 1 else f"{median * 1e3:.3g} ms"


def machine() -> str:
    """Describe the machine in one line."""
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
    """Lay rows out as text, misses marked.

    Args:
        rows: in the order to print them.

    Returns:
        Lines of equal columns.
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

"""Runs all benchmarks and prints one table. The exit code is 1 if a target is missed."""

import sys
from importlib import import_module

import torch

from benchmarks.measure import machine, table

# Each module has a function measure() that returns rows of the table.
PARTS = ["loading", "training", "imports", "figures", "grading", "sandbox", "batches"]


def main(parts: list[str]) -> int:
    """Run some benchmarks, or all if none is named. Return the exit code."""
    torch.set_num_threads(1)
    print(f"{machine()}; torch {torch.__version__}, {torch.get_num_threads()} thread")
    rows = []
    for part in parts or PARTS:
        print(f"measuring {part} …", flush=True)
        rows += import_module(f"benchmarks.{part}").measure()
    print(table(rows))
    missed = [row.what for row in rows if not row.holds]
    print(f"{len(missed)} of {sum(row.target is not None for row in rows)} targets missed.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A process in which a test plays commands of `vaelab`, one after the other.

It starts once, so that each command costs what it computes and no import of PyTorch, and the course
that `--course` sets stays in it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from autograder.cli import main

ROOT = str(Path(main.__code__.co_filename).parents[1])
END = "\x00ended:"


class Commands:
    """The process; use it as a context manager."""

    def __init__(self) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A table is as wide as its texts: no line is broken.
            env=os.environ | {"COLUMNS": "500", "OMP_NUM_THREADS": "1", "PYTHONPATH": ROOT},
        )

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        assert self.process.stdin
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()

    def __call__(
        self, *words: object, code: int = 0, opened: Callable[[str], None] | None = None
    ) -> str:
        """Run a command.

        Args:
            words: The command.
            code: The expected exit code.
            opened: For `mark`: called with the address of the page. The command gets Ctrl-C
                afterwards.

        Returns:
            What it printed.
        """
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            before, ended, found = line.partition(END)
            lines.append(before)
            if ended:
                assert int(found) == code, f"{words}: exit code {found}{''.join(lines)}"
                return "".join(lines)
            if opened and line.startswith("Open "):
                try:
                    opened(line.removeprefix("Open ").strip())
                finally:
                    self.process.send_signal(signal.SIGINT)
        raise AssertionError(f"{words}: the process ended: {''.join(lines)}")


def run() -> None:
    """Run each command that comes; print its exit code after it."""
    for line in sys.stdin:
        sys.argv = ["vaelab", *json.loads(line)]
        code: object = 0
        try:
            main()
        except SystemExit as done:
            code = done.code or 0
        print(f"{END}{code}", flush=True)


if __name__ == "__main__":
    run()

"""Runs Python as root or as an ordinary user, to test the sandbox for both."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from autograder.sandbox.bubblewrap import find

ROOT = Path(__file__).resolve().parent.parent.parent
USER = 12345
WHO = ("root", "user") if os.getuid() == 0 else ("user",)


def python(source: str, *words: str, who: str) -> subprocess.CompletedProcess:
    """Run Python code as `who`, with the repository importable; `words` are its `sys.argv[1:]`."""
    environment = ["env", f"PYTHONPATH={ROOT}", "HOME=/tmp", "PYTHONDONTWRITEBYTECODE=1"]
    command = [*command_prefix(who), *environment, sys.executable, "-c", source, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd="/")


def answer(source: str, *words: str, who: str) -> Any:
    """Run Python code as `who`; return the value of the JSON in its last line."""
    done = python(source, *words, who=who)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def command_prefix(who: str) -> list[str]:
    """Return a command prefix that runs a program as `who`, who can read Python and the repository.

    If other users cannot enter a parent folder (such as root's home), that folder is replaced in a
    mount namespace by one with open permissions. All other files stay as they are.
    """
    if os.getuid() != 0:
        return []
    program = find()
    assert program, "bubblewrap is not installed"
    words = [program, "--dev-bind", "/", "/", "--cap-add", "ALL", "--die-with-parent"]
    needed = {str(ROOT), sys.prefix, sys.base_prefix}
    closed = {str(folder) for path in needed if (folder := _first_closed(Path(path)))}
    for folder in sorted(closed):
        words += ["--perms", "0755", "--tmpfs", folder]
    for path in sorted(needed):
        if above := [folder for folder in closed if Path(path).is_relative_to(folder)]:
            for parent in reversed(Path(path).parents):
                if parent.is_relative_to(above[0]) and str(parent) != above[0]:
                    words += ["--perms", "0755", "--dir", str(parent)]
            words += ["--ro-bind", path, path]
    if who == "user":
        words += ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        words += ["--inh-caps=-all", "--bounding-set=-all"]
    return words


def _first_closed(path: Path) -> Path | None:
    """Return the topmost parent folder that other users cannot enter; None if there is none."""
    for parent in reversed(path.parents):
        if not stat.S_IMODE(parent.stat().st_mode) & stat.S_IXOTH:
            return parent
    return None

"""Finds out whether a submission could read files that the grader must hide from it.

The sandbox shows the folders of Python. A course, the submissions or the results can lie inside
them, for example in a clone inside an environment. So a job inside the sandbox looks for exactly
these paths, at each place where a mount or a link can show them.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autograder.sandbox import bubblewrap
from autograder.sandbox.tiers import Sandbox, start_probe

MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Mount:
    """One mount of this machine.

    Attributes:
        device: The number of its file system.
        root: The folder of the file system that it shows.
        point: The folder at which it shows it.
    """

    device: str
    root: str
    point: str


def readable(sandbox: Sandbox, hidden: Iterable[Path]) -> list[str]:
    """Return which of these paths a job in the sandbox can read.

    Args:
        sandbox: The sandbox; its tier is chosen, and is not C.
        hidden: Existing files and folders.

    Raises:
        SandboxError: If the job does not run.
    """
    mounts = read_mounts(MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))
    look, paths = {}, defaultdict(set)
    for path in hidden:
        status = os.stat(path)
        for alias in aliases(path, mounts):
            for place in bubblewrap.places(alias) if sandbox.tier == "A" else [alias]:
                look[place] = status.st_dev, status.st_ino
                paths[place].add(str(path))
    seen = start_probe(sandbox, json.dumps({"look": look}))
    return sorted(set().union(*(paths[place] for place in seen if place in paths)))


def read_mounts(text: str) -> list[Mount]:
    """Read the mounts from the text of /proc/self/mountinfo."""
    found = []
    for line in text.splitlines():
        # Id, parent's id, device, root, mount point. A space in a path is written as \040.
        _, _, device, *paths = line.split(" ")[:5]
        root, point = (_unescaped(path) for path in paths)
        found.append(Mount(device, root, point))
    return found


def _unescaped(path: str) -> str:
    for code in (" ", "\t", "\n", "\\"):
        path = path.replace(f"\\{ord(code):03o}", code)
    return path


def aliases(path: Path, mounts: list[Mount]) -> set[str]:
    """Return all paths of a file or folder: another mount can show it at a second place."""
    real = os.path.realpath(path)
    found = {str(path), real}
    around = [mount for mount in mounts if Path(real).is_relative_to(mount.point)]
    if not around:
        return found
    # The longest mount point is the one that holds it; of equal ones the last.
    own = max(enumerate(around), key=lambda one: (len(one[1].point), one[0]))[1]
    inside = Path(own.root, os.path.relpath(real, own.point))
    for mount in mounts:
        if mount.device == own.device and inside.is_relative_to(mount.root):
            found.add(os.path.normpath(Path(mount.point, inside.relative_to(mount.root))))
    return found

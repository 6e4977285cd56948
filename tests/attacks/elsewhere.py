"""Runs a command as another user, or where Python lies in the open, for tests that need either."""

import os
import sys
from collections.abc import Sequence

from autograder.sandbox.bubblewrap import find

USER = 12345


def command(words: Sequence[str], *, root: bool) -> list[str]:
    """Wrap a command so that it runs as root or as a user, with an interpreter that all may read.

    A Python in root's home is shown again with its parents open, in a mount namespace of its own;
    everything else is the machine as it is.
    """
    if os.getuid() != 0:
        assert not root, "only root can test what root sees"
        return list(words)
    program = find()
    assert program
    wrapped = [program, "--dev-bind", "/", "/", "--perms", "0755", "--tmpfs", "/root"]
    inside_root = [p for p in {sys.prefix, sys.base_prefix} if p.startswith("/root/")]
    parents = {str(parent) for path in inside_root for parent in path_parents(path)}
    for parent in sorted(parents):
        wrapped += ["--perms", "0755", "--dir", parent]
    for path in inside_root:
        wrapped += ["--ro-bind", path, path]
    wrapped += ["--cap-add", "ALL", "--die-with-parent"]
    if not root:
        wrapped += ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        wrapped += ["--inh-caps=-all"]
    return [*wrapped, *words]


def path_parents(path: str) -> list[str]:
    """List a path's parents below /root."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(3, len(parts))]

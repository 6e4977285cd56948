"""What a process without namespaces may read and write, by Landlock: an allow-list of paths."""

import os
import struct
import sys
from collections.abc import Iterable

from autograder.sandbox.inside.system import SandboxError, syscall

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_FLAG, PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
TRUNCATE, IOCTL_DEVICE = 1 << 14, 1 << 15
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
# File rights known to each version of the interface; 1 to 5, and later ones alike.
FILE_RIGHTS = (0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)
NET_RIGHTS, SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals


def version() -> int:
    """Give the kernel's version of the interface; 0 where it has none."""
    if sys.platform != "linux":
        return 0
    try:
        return syscall("syscall", CREATE_RULESET, None, 0, VERSION_FLAG)
    except OSError:
        return 0


def restrict(readable: Iterable[str], listable: Iterable[str], writable: Iterable[str]) -> None:
    """Let this process, for good, read and write in some places only.

    Args:
        readable: Files and folders; what does not exist is skipped.
        listable: Folders whose entries it may list; it may not read the files in them.
        writable: Files and folders that it may do anything in but make devices and execute.

    Raises:
        SandboxError: If the kernel has no Landlock.
        OSError: If it refuses.
    """
    have = version()
    if not have:
        raise SandboxError("this kernel has no Landlock, or it is switched off")
    rights = FILE_RIGHTS[min(have, len(FILE_RIGHTS)) - 1]
    attributes = struct.pack("QQQ", rights, NET_RIGHTS, SCOPES)[
        : 8 if have < 4 else 16 if have < 6 else 24
    ]
    rules = syscall("syscall", CREATE_RULESET, attributes, len(attributes), 0)
    everything = rights & ~(EXECUTE | MAKE_CHAR | MAKE_BLOCK)
    rules_for = ((readable, READ_FILE | READ_DIR), (listable, READ_DIR), (writable, everything))
    for paths, allowed in rules_for:
        for path in paths:
            _allow(rules, path, allowed)
    no_new_privileges = 38
    syscall("prctl", no_new_privileges, 1, 0, 0, 0)
    syscall("syscall", RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow(rules: int, path: str, allowed: int) -> None:
    try:
        there = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            allowed &= ON_FILES
        rule = struct.pack("=Qi", allowed, there)
        syscall("syscall", ADD_RULE, rules, PATH_BENEATH, rule, 0)
    finally:
        os.close(there)

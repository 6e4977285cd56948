"""The system-call filter (seccomp): refuses calls that a submission must not make.

It is a deny-list, grouped by purpose. System calls newer than `NEWEST` are refused until someone
has reviewed them. Numbers are (x86_64, aarch64); None if an architecture lacks the call.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable

from autograder.sandbox.inside.system import SandboxError, syscall

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NEWEST = 462  # mseal; from 424 on, numbers are the same everywhere

Numbers = tuple[int | None, int | None]

# Read or change the memory and state of other processes.
OTHER_PROCESSES: dict[str, Numbers] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "perf_event_open": (298, 241),
}
# Namespaces and mounts: they reach kernel code that is tested less.
NAMESPACES: dict[str, Numbers] = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
}
# Memory that is charged to no process.
UNCHARGED_MEMORY: dict[str, Numbers] = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "vmsplice": (278, 75),
    "splice": (275, 76),
    "tee": (276, 77),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "io_setup": (206, 0),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
# Channels through which two submissions could exchange messages or observe each other.
CHANNELS: dict[str, Numbers] = {
    "flock": (73, 32),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
# Waiting on a page that processes share, such as one of a library, whose bytes no one can change:
# another process can count the waiters. A filter cannot read the flags of these calls.
SHARED_WAITS: dict[str, Numbers] = {
    "futex_waitv": (449, 449),
    "futex_wake": (454, 454),
    "futex_wait": (455, 455),
    "futex_requeue": (456, 456),
}
# Settings of the machine, and kernel features with many past vulnerabilities.
MACHINE: dict[str, Numbers] = {
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "personality": (135, 92),
    "vhangup": (153, 58),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
}
ALL_TIERS = OTHER_PROCESSES | NAMESPACES | UNCHARGED_MEMORY | CHANNELS | MACHINE

# Without namespaces (tier B), these calls reach the user's other processes and files.
WITHOUT_NAMESPACES: dict[str, Numbers] = {
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130),
    "pidfd_send_signal": (424, 424),
    "truncate": (76, 45),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}

CLONE, CLONE3, FCNTL, MMAP, SOCKET = (56, 220), (435, 435), (72, 25), (9, 222), (41, 198)
FUTEX = (202, 98)
KILL, TGKILL, PRLIMIT, PRCTL = (62, 129), (234, 131), (302, 261), (157, 167)
SET_PARENT_DEATH_SIGNAL = 1
NEW_NAMESPACE = 0x7E020000  # CLONE_NEW* without CLONE_NEWTIME, which clone() does not accept
CLONE_THREAD = 0x10000
SHARED_ANONYMOUS = 0x21  # MAP_SHARED | MAP_ANONYMOUS
AF_UNIX = 1
LOCKS = (6, 7, 37, 38, 1024, 1026)  # F_SETLK(W), F_OFD_SETLK(W), F_SETLEASE, F_NOTIFY
# FUTEX_WAIT, _LOCK_PI, _WAIT_BITSET, _WAIT_REQUEUE_PI and _LOCK_PI2 without FUTEX_PRIVATE_FLAG.
WAITS, ANY_CLOCK = (0, 6, 9, 11, 13), 0xFFFFFFFF - 0x100
PIPE_SIZE = (1031,)  # F_SETPIPE_SZ: the content of a pipe is charged to no process
OWNERS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: send signals to another process

LOAD, EQUAL, GREATER, AND, RETURN = 0x20, 0x15, 0x25, 0x54, 0x06
ALLOW, KILL_PROCESS, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000


def program(machine: str, *, namespaces: bool, pid: int = 0) -> bytes:
    """Build the filter program.

    Args:
        machine: A key of `ARCHITECTURES`.
        namespaces: True if the process has its own namespaces (tier A). If False, it cannot start
            a process, open a socket, or signal another process.
        pid: The process id, if the process has no namespaces.

    Returns:
        An array of `struct sock_filter`.
    """
    which = list(ARCHITECTURES).index(machine)
    code: list[tuple[int, int, int, int]] = [
        (LOAD, 0, 0, 4),  # seccomp_data.arch
        (EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, 0),  # seccomp_data.nr
        (GREATER, 0, 1, NEWEST),
        (RETURN, 0, 0, REFUSE | errno.ENOSYS),
    ]

    def refuse(numbers: Numbers, error: int = errno.EPERM) -> None:
        if (number := numbers[which]) is not None:
            code.extend([(EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE | error)])

    def refuse_if(
        numbers: Numbers,
        argument: int,
        values: Iterable[int],
        error: int = errno.EPERM,
        *,
        mask: int = 0xFFFFFFFF,
        unless: bool = False,
    ) -> None:
        """Refuse a call whose masked argument is (with `unless`: is not) one of `values`."""
        number = numbers[which]
        assert number is not None
        yes, no = (ALLOW, REFUSE | error) if unless else (REFUSE | error, ALLOW)
        body = [(LOAD, 0, 0, 16 + 8 * argument), (AND, 0, 0, mask)]
        for value in values:
            body += [(EQUAL, 0, 1, value), (RETURN, 0, 0, yes)]
        body.append((RETURN, 0, 0, no))
        code.append((EQUAL, 0, len(body), number))
        code.extend(body)

    # glibc then uses clone, whose flags a filter can read.
    refuse(CLONE3, errno.ENOSYS)
    for numbers in ALL_TIERS.values():
        refuse(numbers)
    for numbers in SHARED_WAITS.values():
        refuse(numbers, errno.ENOSYS)
    # Every program accepts this error, because a value can change at any moment: it tries again.
    refuse_if(FUTEX, 1, WAITS, errno.EAGAIN, mask=ANY_CLOCK)
    refuse_if(MMAP, 3, [SHARED_ANONYMOUS], mask=SHARED_ANONYMOUS)
    if namespaces:
        refuse_if(SOCKET, 0, [AF_UNIX], errno.EAFNOSUPPORT, unless=True)
        refuse_if(CLONE, 0, [0], mask=NEW_NAMESPACE, unless=True)
        refuse_if(FCNTL, 1, LOCKS + PIPE_SIZE, errno.ENOLCK)
    else:
        for numbers in WITHOUT_NAMESPACES.values():
            refuse(numbers)
        refuse_if(CLONE, 0, [CLONE_THREAD], mask=CLONE_THREAD, unless=True)
        refuse_if(FCNTL, 1, LOCKS + PIPE_SIZE + OWNERS, errno.ENOLCK)
        refuse_if(KILL, 0, [pid], unless=True)
        refuse_if(TGKILL, 0, [pid], unless=True)
        refuse_if(PRLIMIT, 0, [0, pid], unless=True)
        refuse_if(PRCTL, 0, [SET_PARENT_DEATH_SIGNAL])
    code.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in code)


def install(*, namespaces: bool) -> None:
    """Install the filter on this process, and forbid it to gain privileges; neither can be undone.

    Args:
        namespaces: See `program`.

    Raises:
        SandboxError: If this architecture has no filter.
        OSError: If the kernel rejects the filter.
    """
    if platform.machine() not in ARCHITECTURES:
        raise SandboxError(
            f"There is no system-call filter for the architecture {platform.machine()}; expected "
            f"one of {', '.join(ARCHITECTURES)}."
        )
    filters = program(platform.machine(), namespaces=namespaces, pid=os.getpid())
    buffer = ctypes.create_string_buffer(filters, len(filters))
    header = struct.pack("HxxxxxxP", len(filters) // 8, ctypes.addressof(buffer))
    no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    syscall("prctl", no_new_privileges, 1, 0, 0, 0)
    syscall("prctl", set_seccomp, filter_mode, header, 0, 0)

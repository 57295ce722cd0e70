"""The system calls that a trial may not make: a seccomp program for x86_64 and aarch64.

What torch, its compiler, its data loaders and its process groups need is allowed; the rest of what a program could ask
of the kernel to look into others, to change the machine or to reach little tested code is not. A refused call fails
with EPERM, and with ENOSYS where the C library then takes an older one. A call of another architecture ends the
program: its numbers mean other calls.

Only numbers and small values can be judged, never what a pointer leads to: that is why `clone3` and `openat2`, which
take their flags in memory, are refused as a whole. The numbers are those of the kernel's
`arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`, the instructions those of
`linux/filter.h` and `linux/seccomp.h`.

Not covered: a call that is allowed and has a flaw. `sandbox.lock` puts the program in force.
"""

import errno
import platform
import socket
import struct
from collections.abc import Collection

from sandbox.spec import SandboxError

NETLINK_ROUTE = 0  # of the protocols of netlink the only one that honest programs need: the list of interfaces
AF_NETLINK = 16  # for Python on other systems has no name for it, and must still be able to import this
NAMESPACE = frozenset({socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, AF_NETLINK})
UNIX_ONLY = frozenset({socket.AF_UNIX})

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # machine -> (column below, AUDIT_ARCH)
X32 = 0x40000000  # from here on, numbers on x86_64 are those of its 32-bit twin

DENIED: dict[str, tuple[int | None, int | None]] = {  # name -> (number on x86_64, on aarch64)
    # looks into other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # another file system, another root
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    # keys are the user's, not a namespace's
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # memory that nobody's process shows: that of torch and Python (POSIX shared memory) is something else
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semctl": (66, 191),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "msgctl": (71, 187),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    # large, little tested, or past this very filter
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    # the machine
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "iopl": (172, None),
    "ioperm": (173, None),
    "vhangup": (153, 58),
}
JUDGED: dict[str, tuple[int | None, int | None]] = {  # refused, or not, by an argument
    "clone": (56, 220),
    "clone3": (435, 435),
    "unshare": (272, 97),
    "ioctl": (16, 29),
    "personality": (135, 92),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "prlimit64": (302, 261),
    "open": (2, None),
    "openat": (257, 56),
    "openat2": (437, 437),
    "truncate": (76, 45),
    "fcntl": (72, 25),
}

NEW_NAMESPACE = 0x7E020080  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET and TIME (which is no signal's number)
TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX: types into the terminal of the user
PERSONALITIES = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, 32 bits, UNAME26, both, and the question
F_SETLEASE = 1024  # makes others wait who open a file that one may only read
SOCKET_TYPES = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)  # not raw, not packet
O_ACCMODE, O_TRUNC = 0x3, 0x200

LOAD, AND, RETURN, EQUAL, AT_LEAST, ANY_BIT = 0x20, 0x54, 0x06, 0x15, 0x35, 0x45  # BPF_LD|BPF_W|BPF_ABS and so on
NUMBER, ARCH, ARGUMENTS = 0, 4, 16  # offsets in `struct seccomp_data`; both machines keep the low half first
ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000

Code = list[tuple[int, int, int, int]]  # (operation, jump if true, jump if not, constant)


def program(families: Collection[int], *, deny_truncate: bool = False, machine: str | None = None) -> bytes:
    """The filter, as an array of `struct sock_filter`.

    Args:
        families: the socket families that may be used.
        deny_truncate: whether a file that may not be written must be kept from being cut short as well: Landlock
            knows of that from its third version on.
        machine: as `platform.machine()` calls it; None for this one.

    Raises:
        SandboxError: there is no such program for this machine.
    """
    name = platform.machine() if machine is None else machine
    if name not in MACHINES:
        known = " and ".join(MACHINES)
        raise SandboxError(f"no system call filter for the machine {name!r}, only for {known}: run trials there")
    column, arch = MACHINES[name]
    code: Code = [(LOAD, 0, 0, ARCH), *unless(arch, answer(KILL)), (LOAD, 0, 0, NUMBER)]
    if column == 0:
        code += [(AT_LEAST, 0, 1, X32), *fail(errno.ENOSYS)]
    rules = judgements(families, deny_truncate) | {call: fail(errno.EPERM) for call in DENIED}
    for call, rule in rules.items():
        number = (DENIED | JUDGED)[call][column]
        code += [] if number is None else when(number, rule)
    return b"".join(struct.pack("=HBBI", *step) for step in [*code, *answer(ALLOW)])


def judgements(families: Collection[int], deny_truncate: bool) -> dict[str, Code]:
    """What is done about the calls that are judged by their arguments. They come first: the kernel remembers what is
    always allowed, and asks the program about these only."""
    rules = {
        "ioctl": [argument(1), *one_of(TERMINAL_INPUT, fail(errno.EPERM)), *answer(ALLOW)],
        "fcntl": [argument(1), *when(F_SETLEASE, fail(errno.EPERM)), *answer(ALLOW)],
        "clone": [argument(0), (ANY_BIT, 0, 1, NEW_NAMESPACE), *fail(errno.EPERM), *answer(ALLOW)],
        "unshare": [argument(0), (ANY_BIT, 0, 1, NEW_NAMESPACE), *fail(errno.EPERM), *answer(ALLOW)],
        "clone3": fail(errno.ENOSYS),
        "personality": [argument(0), *one_of(PERSONALITIES, answer(ALLOW)), *fail(errno.EPERM)],
        "socket": sockets(families),
        "socketpair": sockets(families),
        # of itself only: a keeper of the same user would be killed by a limit of its processor time
        "prlimit64": [argument(0), *when(0, answer(ALLOW)), *fail(errno.EPERM)],
    }
    return rules | (cuts() if deny_truncate else {})


def sockets(families: Collection[int]) -> Code:
    """Sockets of the allowed families. Of netlink only that of routes, raw or not: its two types are the same."""
    code: Code = [argument(0)]
    if AF_NETLINK in families:
        routes = [argument(2), *when(NETLINK_ROUTE, answer(ALLOW)), *fail(errno.EPROTONOSUPPORT)]
        code += when(AF_NETLINK, routes)
    others = sorted(set(families) - {AF_NETLINK})
    kind: Code = [argument(1), (AND, 0, 0, 0xF), *one_of(SOCKET_TYPES, answer(ALLOW)), *fail(errno.EPERM)]
    return code + one_of(others, kind) + fail(errno.EAFNOSUPPORT)


def cuts() -> dict[str, Code]:
    """Every way to cut a file short other than through a descriptor that may write to it.

    `O_TRUNC` counts as writing for the owner's permissions, not for Landlock: it asks about what the descriptor can do,
    and that is nothing to write with O_RDONLY, and nothing at all with the access mode 3 (see open(2)).
    """
    hidden = when(O_TRUNC, fail(errno.EPERM)) + when(O_TRUNC | O_ACCMODE, fail(errno.EPERM))
    return {
        "truncate": fail(errno.EPERM),
        "openat2": fail(errno.ENOSYS),
        "open": [argument(1), (AND, 0, 0, O_TRUNC | O_ACCMODE), *hidden, *answer(ALLOW)],
        "openat": [argument(2), (AND, 0, 0, O_TRUNC | O_ACCMODE), *hidden, *answer(ALLOW)],
    }


def argument(at: int) -> tuple[int, int, int, int]:
    """Loads the low half of an argument: all that the kernel looks at where an argument is an `int`."""
    return (LOAD, 0, 0, ARGUMENTS + 8 * at)


def answer(action: int) -> Code:
    """Ends with an action."""
    return [(RETURN, 0, 0, action)]


def fail(number: int) -> Code:
    """Ends: the call fails with this error."""
    return answer(FAIL | number)


def when(value: int, code: Code) -> Code:
    """Runs `code` if what was loaded is `value`."""
    return [(EQUAL, 0, len(code), value), *code]


def unless(value: int, code: Code) -> Code:
    """Runs `code` if what was loaded is not `value`."""
    return [(EQUAL, len(code), 0, value), *code]


def one_of(values: Collection[int], code: Code) -> Code:
    """Runs `code` if what was loaded is one of `values`."""
    return [step for value in values for step in when(value, code)]

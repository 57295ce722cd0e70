"""A second filter of system calls for the landlock level: what Landlock does not judge, and a namespace would keep.

It refuses what leaves something behind or reaches others by a way that is not a path: watching folders that may not be
listed, extended attributes (access lists among them). Honest training uses none of these.

For a program that shares its user with others it also stops all that would change another process, its limits (one of
processor time kills), priority and processors, and all that would change another file, its mode, times, owner and
flags. The kernel asks there who owns a file, Landlock is not asked, and a filter cannot tell one path from another, nor
a descriptor that may write from one that may read: so it stops these for files of its own as well. What a program
notices of that:

* a change of mode or times does nothing and says that it is done: `shutil.copy`, `copytree`, `move` and archives would
  fail if it were refused. A file keeps the mode that it was made with, and the time of its last writing; a script or
  a linked program that gets its right to be started afterwards (gcc's, but no shared library) cannot be started;
* a change of times to now, by path, is refused: `Path.touch` then opens the file, which makes it if it is missing, and
  of one that is there the time stays;
* a change of owner is refused; flags of a file (`chattr`) and clones (`cp --reflink`) are not supported;
* a thread is a process to these calls: it can bind itself to processors, and not its threads one by one.

Not covered: see `sandbox.landlock`. The numbers are those of `sandbox.seccomp`'s sources.
"""

import errno
import platform
import struct

from sandbox import seccomp
from sandbox.spec import SandboxError

EPERM = errno.EPERM
DENIED: dict[str, tuple[int | None, int | None, int]] = {  # name -> (number on x86_64, on aarch64, error)
    "inotify_add_watch": (254, 27, EPERM),
    "setxattr": (188, 5, errno.ENOTSUP),
    "lsetxattr": (189, 6, errno.ENOTSUP),
    "fsetxattr": (190, 7, errno.ENOTSUP),
    "removexattr": (197, 14, errno.ENOTSUP),
    "lremovexattr": (198, 15, errno.ENOTSUP),
    "fremovexattr": (199, 16, errno.ENOTSUP),
    "setxattrat": (463, 463, errno.ENOTSUP),
    "removexattrat": (466, 466, errno.ENOTSUP),
    "file_setattr": (469, 469, errno.ENOTSUP),
}
BY_PROCESS: dict[str, tuple[int, int, int]] = {  # name -> (number on x86_64, on aarch64, which argument is the process)
    "prlimit64": (302, 261, 0),
    "sched_setparam": (142, 118, 0),
    "sched_setscheduler": (144, 119, 0),
    "sched_setaffinity": (203, 122, 0),
    "sched_setattr": (314, 274, 0),
    "setpriority": (141, 140, 1),
    "ioprio_set": (251, 30, 1),
}
DONE = 0  # the "error" of a call that does nothing and says that it is done
OF_OWNER: dict[str, tuple[int | None, int | None, int]] = {  # name -> (number on x86_64, on aarch64, error)
    "chmod": (90, None, DONE),
    "fchmod": (91, 52, DONE),
    "fchmodat": (268, 53, DONE),
    "fchmodat2": (452, 452, DONE),
    "chown": (92, None, EPERM),
    "fchown": (93, 55, EPERM),
    "lchown": (94, None, EPERM),
    "fchownat": (260, 54, EPERM),
}
TIMES: dict[str, tuple[int | None, int | None, int]] = {  # name -> (number on x86_64, on aarch64, which is the times)
    "utime": (132, None, 1),
    "utimes": (235, None, 1),
    "futimesat": (261, None, 2),
    "utimensat": (280, 88, 2),
}
IOCTL = (16, 29)
FILE_SYSTEMS = (0x58, 0x66, 0x76, 0x94, 0xF5)  # kinds of ioctl (_IOC_TYPE): generic, ext4, flags, btrfs, f2fs
KIND = 0xFF00  # where an ioctl's number has it
BY_KIND = {"setpriority": 0, "ioprio_set": 1}  # name -> first argument that means a process, and no group or user


def program(shared_user: bool, machine: str | None = None) -> bytes:
    """The filter, as an array of `struct sock_filter`; it goes with that of `sandbox.seccomp`, which it relies on.

    Args:
        shared_user: whether other processes are of the program's user.
        machine: as `platform.machine()` calls it; None for this one.

    Raises:
        SandboxError: there is no such program for this machine.
    """
    name = platform.machine() if machine is None else machine
    if name not in seccomp.MACHINES:
        raise SandboxError(f"no system call filter for the machine {name!r}: run trials on x86_64 or aarch64")
    column = seccomp.MACHINES[name][0]
    code: seccomp.Code = [(seccomp.LOAD, 0, 0, seccomp.NUMBER)]
    for call, numbers in BY_PROCESS.items() if shared_user else ():
        code += seccomp.when(numbers[column], on_itself(call, numbers[2]))
    if shared_user:
        code += seccomp.when(IOCTL[column], on_no_file())
        for timed in TIMES.values():
            code += judged(timed[column], on_times(timed[2]))
    for refused in (DENIED | OF_OWNER if shared_user else DENIED).values():
        code += judged(refused[column], seccomp.fail(refused[2]))
    return b"".join(struct.pack("=HBBI", *step) for step in [*code, *seccomp.answer(seccomp.ALLOW)])


def on_itself(call: str, at: int) -> seccomp.Code:
    """Allows a call with process 0, which means the caller."""
    code: seccomp.Code = [seccomp.argument(at), *seccomp.unless(0, seccomp.fail(EPERM))]
    if call in BY_KIND:
        code += [seccomp.argument(0), *seccomp.unless(BY_KIND[call], seccomp.fail(EPERM))]
    return [*code, *seccomp.answer(seccomp.ALLOW)]


def judged(number: int | None, rule: seccomp.Code) -> seccomp.Code:
    """The rule for a call, where this machine has it."""
    return [] if number is None else seccomp.when(number, rule)


def on_times(at: int) -> seccomp.Code:
    """Does nothing where times are given, or a descriptor; a path's time is not set to now (no times: a null pointer).

    A path, of the only call that can have none, is its argument 1.
    """
    refused = [*null(at, seccomp.fail(EPERM)), *seccomp.fail(DONE)]
    return [*null(1, seccomp.fail(DONE)), *refused] if at > 1 else refused


def null(at: int, code: seccomp.Code) -> seccomp.Code:
    """Runs `code` if an argument is a null pointer: both of its halves are 0."""
    low, high = seccomp.argument(at), (seccomp.LOAD, 0, 0, seccomp.ARGUMENTS + 8 * at + 4)
    return [low, *seccomp.when(0, [high, *seccomp.when(0, code)])]


def on_no_file() -> seccomp.Code:
    """Allows the calls of ioctl(2) that are not about a file on a disk."""
    kind: seccomp.Code = [seccomp.argument(1), (seccomp.AND, 0, 0, KIND)]
    refused = seccomp.one_of([one << 8 for one in FILE_SYSTEMS], seccomp.fail(errno.ENOTTY))
    return [*kind, *refused, *seccomp.answer(seccomp.ALLOW)]

"""Turns a freshly forked process into the untrusted program, with every lock shut before its first instruction.

Runs inside every jail, just before `exec`, and shares no code with it afterwards. In this order: out of the keeper's
session and reach, resource limits, no new privileges, the files it may touch (Landlock), its links, another user
without capabilities, the system calls it may make (seccomp). A lock that does not shut is no detail: the program is
then not started.

Flags, each as often as needed: `--limit RESOURCE VALUE` (`setrlimit`), `--user UID` (become this user, with no group
and no capability), `--search yes` (but keep the one to read and enter what the kernel's permissions close, within
what is allowed), `--abi N` (Landlock, to be used as far as this version of it goes), `--allow HOW PATH` (what it may
touch, see `ruleset.HOW`; `HOW-try` where the path may be missing), `--scope yes` (no signal to, and no abstract socket
of, a process outside), `--tcp no`, `--make PATH` (a folder of the program's), `--show SOURCE TARGET` (a link at TARGET
in place of what is there), `--alias TARGET LINK` (a short name elsewhere, until `leave`), `--filter HEX` (a seccomp
program), `--cwd PATH`, `--env NAME VALUE` (the complete environment).

Sources: `linux/prctl.h`, `linux/capability.h`, `linux/securebits.h`.
"""

# ruff: noqa: PTH103, PTH106, PTH108, PTH115, PTH116, PTH120, PTH123, PTH211
# (importing pathlib would double the start-up time)

import contextlib
import ctypes
import errno
import os
import resource
import signal
import stat
import struct

from sandbox.calls import control, system_call
from sandbox.ruleset import confine

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 8, 22, 24
PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 28, 38, 47
AMBIENT_RAISE, AMBIENT_CLEAR, SECCOMP_MODE_FILTER, CAPABILITIES_3 = 2, 4, 2, 0x20080522
SECURE = 0x3  # user 0 is not given capabilities by `exec`, locked
SECURE_ACCESS = 0xC  # access(2) answers with the capabilities that there are (gcc asks it), locked
CAP_DAC_READ_SEARCH, LAST_CAPABILITY = 2, 63
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CAPSET = {"x86_64": 126, "aarch64": 91}
ARITY = {"--limit": 2, "--user": 1, "--search": 1, "--abi": 1, "--allow": 2, "--scope": 1, "--tcp": 1, "--show": 2}
ARITY |= {"--make": 1, "--alias": 2, "--filter": 1, "--env": 2, "--cwd": 1}

Flags = dict[str, list[list[str]]]


def become(flags: Flags, argv: list[str], report: int) -> None:
    """Turns this process into the program; never returns.

    Args:
        flags: what the flags above say, by name.
        argv: the program and its arguments.
        report: descriptor that is closed by a successful `exec`; a lock that does not shut is told there.
    """
    status = 126
    try:
        prepare(flags, report)
        status = 127
        start(flags, argv)
    finally:
        os._exit(status)


def prepare(flags: Flags, report: int) -> None:
    """Leaves the keeper and shuts the locks; whatever goes wrong is told: it is no failure of the program."""
    try:
        begin(report)
        shut(flags)
    except BaseException as error:
        os.write(report, f"a lock does not shut: {error}".encode(errors="replace"))
        raise


def start(flags: Flags, argv: list[str]) -> None:
    """Starts the program in place of this one; returns where there is none."""
    try:
        os.execvpe(argv[0], argv, {name: value for name, value in flags["--env"]})
    except (OSError, ValueError) as error:
        os.write(2, f"{argv[0]} cannot be started: {error}\n".encode(errors="replace"))


def begin(report: int) -> None:
    """Leaves the keeper: a session of its own, its signals as they are by default, no descriptor but 0, 1 and 2."""
    os.setsid()
    for number in signal.valid_signals():  # what is ignored here, or was by our caller, would be inherited so
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.closerange(3, report)
    os.closerange(report + 1, 65536)


def shut(flags: Flags) -> None:
    """Shuts the locks one after the other: the next might not shut once the one after it has.

    Raises:
        OSError, ValueError: one does not shut.
    """
    for name, value in flags["--limit"]:
        hard = resource.getrlimit(int(name))[1]
        limit = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
        resource.setrlimit(int(name), (limit, limit))
    control("setting its death signal", PR_SET_PDEATHSIG, signal.SIGKILL)
    control("opening it to its own view", PR_SET_DUMPABLE, 1)  # else the file below is root's
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("800")  # the kernel shall take a trial first; a /proc that is read-only has no such file
    control("forbidding new privileges", PR_SET_NO_NEW_PRIVS, 1)
    for target, link in flags["--alias"]:
        os.symlink(target, link)
        for (user,) in flags["--user"]:
            os.chown(link, int(user), int(user), follow_symlinks=False)
    if flags["--allow"]:
        confine(flags)
    make(flags)
    show(flags)
    if flags["--user"] or flags["--allow"] or flags["--filter"]:
        surrender(flags)
    for (folder,) in flags["--cwd"]:
        os.chdir(folder)
    control("setting its death signal", PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user has undone both
    control("opening it to its own view", PR_SET_DUMPABLE, 1)
    for (program,) in flags["--filter"]:
        code = bytes.fromhex(program)
        buffer = ctypes.create_string_buffer(code, len(code))
        fprog = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
        control("filtering system calls", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(fprog))


def make(flags: Flags) -> None:
    """Makes folders below `--cwd`, confined already."""
    for (folder,) in flags["--make"]:
        place = opened(folder, flags["--cwd"][0][0])
        try:
            os.fchmod(place, 0o700)
            for (user,) in flags["--user"]:
                os.fchown(place, int(user), int(user))
        finally:
            os.close(place)


def opened(folder: str, top: str) -> int:
    """Descriptor of a folder below `top`, made where it is missing.

    An earlier program may have left anything on the way: Landlock lets a link lead nowhere, but does not judge a
    change of owner. So no link is followed, and what is no folder makes room for one.
    """
    place = os.open(top, FOLDER & ~os.O_NOFOLLOW)
    for name in filter(None, folder.removeprefix(top).split("/")):
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.lstat(name, dir_fd=place).st_mode):
                os.unlink(name, dir_fd=place)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=place)
        above, place = place, os.open(name, FOLDER, dir_fd=place)
        os.close(above)
    return place


def show(flags: Flags) -> None:
    """Makes links in place of what is there, confined as `make` is.

    Under root the links, and the folders that hold them, stay root's, and sticky: the user that we become can add
    files beside a link and cannot move or replace it.
    """
    for source, target in flags["--show"]:
        os.stat(source)  # a link to nothing would be made without a complaint
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(target).st_mode):
                os.rmdir(target)
            else:
                os.unlink(target)
        os.symlink(source, target)
        for (user,) in flags["--user"]:
            hold(os.path.dirname(target), flags["--cwd"][0][0], int(user))


def hold(folder: str, top: str, user: int) -> None:
    """Keeps what root owns in `folder` where it is, and every folder above it up to `top`.

    Raises:
        OSError: a link on the way leads out of `top`.
    """
    folder, top = os.path.realpath(folder), os.path.realpath(top)
    if os.path.commonpath([folder, top]) != top:
        raise OSError(errno.EXDEV, "a mount cannot be shown behind a link that leads out of the work folder", folder)
    while os.path.commonpath([folder, top]) == top:
        place = opened(folder, top)
        try:
            os.fchown(place, 0, user)
            os.fchmod(place, 0o1770)
        finally:
            os.close(place)
        folder = os.path.dirname(folder)


def surrender(flags: Flags) -> None:
    """Becomes the user, and gives up every capability but the one of `--search`, if that is told."""
    kept = 1 << CAP_DAC_READ_SEARCH if flags["--search"] else 0
    if kept:
        control("securing capabilities", PR_SET_SECUREBITS, SECURE | SECURE_ACCESS)
    else:
        with contextlib.suppress(OSError):  # not allowed to; there are no new privileges anyway
            control("securing user 0", PR_SET_SECUREBITS, SECURE)
    for capability in range(LAST_CAPABILITY + 1):
        if not kept >> capability & 1:
            with contextlib.suppress(OSError):  # not ours to drop, or unknown here
                control("dropping a capability", PR_CAPBSET_DROP, capability)
    control("keeping capabilities", PR_SET_KEEPCAPS, 1 if kept else 0)
    for (user,) in flags["--user"]:
        os.setgroups([])
        os.setresgid(int(user), int(user), int(user))
        os.setresuid(int(user), int(user), int(user))
    with contextlib.suppress(OSError):  # a kernel before 4.3 has none; Landlock came later
        control("clearing capabilities", PR_CAP_AMBIENT, AMBIENT_CLEAR)
    header = ctypes.c_char_p(struct.pack("=Ii", CAPABILITIES_3, 0))
    sets = ctypes.c_char_p(struct.pack("=6I", kept, kept, kept, 0, 0, 0))
    system_call("giving up capabilities", CAPSET[os.uname().machine], header, sets)
    if kept:
        control("keeping one capability", PR_CAP_AMBIENT, AMBIENT_RAISE, CAP_DAC_READ_SEARCH)


def leave(flags: Flags) -> None:
    """Removes the short names, when nobody of the program is alive. For the keeper; what else a user of its own has
    left, `sandbox.leftovers` removes, and the short names are that user's too.
    """
    for target, link in flags["--alias"]:
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(link) == target:
                os.unlink(link)

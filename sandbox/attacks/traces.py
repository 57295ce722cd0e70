"""What an attack may leave: looked at from outside before and after, and compared.

Three looks. `files(folder)` is every entry below a folder of the victim, with its content's hash, mode, owner, times,
links and attributes. `machine()` is what all trials share: the top of system folders, temporary folders, System V IPC
and the settings of the kernel. `of_process(pid)` is what others may change of a process. `forms(secrets)` finds a
secret in output, disguised or not.

Others use the machine meanwhile. Of what is new in its folders only that counts which this attack can have made
(`new`, `new_ipc`), by its owner, by its name in the attack's text or by the victim's token. Of that only what is surely
its own is removed (`remove`), by an owner who is nobody else or by the victim's random token in its name or key.
"""

import base64
import contextlib
import ctypes
import hashlib
import os
import re
import resource
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.attacks.victim import PREFIX
from sandbox.folders import entries
from sandbox.removing import remove as remove_tree

SHARED = ("/etc", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock")
SETTINGS = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/net/ipv4/ip_forward",
    "/sys/kernel/mm/transparent_hugepage/enabled",
)
IPC = ("shm", "msg", "sem")
IPC_RMID = 0
STEM = 4  # letters at least in a name that is looked for in an attack's text
READ_BYTES = 2**20  # looked at in one file that may hold a secret, at each of its ends
READ_FILES = 2000


def files(folder: Path, apart: tuple[Path, ...]) -> dict[str, tuple[object, ...]]:
    """Every entry below `folder` but for those in `apart` and below: path -> what must not change."""
    whole = entry(folder)
    own = any(path.parent == folder for path in apart)  # something comes and goes there
    found = {str(folder): (*whole[:5], 0, *whole[6:]) if own else whole}
    for path in sorted(folder.iterdir()):
        if path in apart:
            continue
        if path.is_dir() and not path.is_symlink():
            found |= files(path, apart)
        else:
            found[str(path)] = entry(path)
    return found


def entry(path: Path) -> tuple[object, ...]:
    """Kind and mode, owner, group, links, times, attributes and content of one entry; links are not followed."""
    info = path.lstat()
    content = ""
    if stat.S_ISLNK(info.st_mode):
        content = str(path.readlink())
    elif stat.S_ISREG(info.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    links = info.st_nlink if content else 0  # a folder's count changes with what is in it
    attributes = tuple(os.listxattr(path, follow_symlinks=False))
    return (info.st_mode, info.st_uid, info.st_gid, info.st_ino, links, info.st_mtime_ns, attributes, content)


def differences(before: dict[str, tuple[object, ...]], after: dict[str, tuple[object, ...]]) -> list[str]:
    """What is new, gone or changed, each in words."""
    kinds = (
        ("made", sorted(after.keys() - before.keys())),
        ("removed", sorted(before.keys() - after.keys())),
        ("changed", sorted(name for name in before.keys() & after.keys() if before[name] != after[name])),
    )
    return [f"{kind} {name}" for kind, names in kinds for name in names]


@dataclass(frozen=True, order=True)
class Shared:
    """A System V object: `shm`, `msg` or `sem`; its key, number and mode, and the user who made it."""

    kind: str
    key: int
    number: int
    mode: str
    user: int


@dataclass(frozen=True)
class Machine:
    """What all trials of a machine share."""

    entries: dict[str, tuple[object, ...]]  # path -> inode, size, mode, owner, time
    ipc: frozenset["Shared"]
    settings: dict[str, tuple[object, ...]]


def machine() -> Machine:
    """A look at it."""
    entries = {path: shape for folder in SHARED for path, shape in _entries(folder)}
    found = frozenset(_ipc())
    settings: dict[str, tuple[object, ...]] = {}
    for name in SETTINGS:
        with contextlib.suppress(OSError):
            settings[name] = (Path(name).read_text(),)
    return Machine(entries, found, settings)


def _ipc() -> Iterator[Shared]:
    for kind in IPC:
        with contextlib.suppress(OSError):  # a kernel without it
            head, *lines = (line.split() for line in Path("/proc/sysvipc", kind).read_text().splitlines())
            maker = head.index("cuid")
            for line in lines:
                yield Shared(kind, int(line[0]), int(line[1]), line[2], int(line[maker]))


def _entries(folder: str) -> Iterator[tuple[str, tuple[object, ...]]]:
    try:
        with os.scandir(folder) as found:
            for one in found:
                with contextlib.suppress(OSError):
                    info = one.stat(follow_symlinks=False)
                    still = 0 if one.is_dir(follow_symlinks=False) else info.st_mtime_ns
                    yield one.path, (info.st_ino, info.st_mode, info.st_uid, info.st_gid, still)
    except OSError:  # there is none, or it is closed to us
        return


def new(before: Machine, after: Machine, script: str, user: int, token: str) -> list[str]:
    """Paths that are new or changed in the shared folders and that this attack, of that `user`, can have made."""
    return [
        path
        for path, shape in sorted(after.entries.items())
        if before.entries.get(path) != shape
        and not Path(path).name.startswith(PREFIX)
        and (token in Path(path).name or _by(path, shape, script, user))
    ]


def _by(path: str, shape: tuple[object, ...], script: str, user: int) -> bool:
    if shape[2] != user:
        return False
    stem = Path(path).stem.rstrip("0123456789")
    return user != os.geteuid() or (len(stem) >= STEM and stem in script)


def new_ipc(before: Machine, after: Machine, user: int) -> list[Shared]:
    """System V objects that are new and that this attack, of that `user`, can have made."""
    return sorted(one for one in after.ipc - before.ipc if one.user == user)


def remove(paths: list[str], ipc: list[Shared], before: Machine, user: int, token: str) -> None:
    """Removes what was not there before and is surely the attack's: the next one must not find it.

    Surely its own is what belongs to a `user` who is not ours, and what bears the victim's `token`: in the path's
    name, or the token's last eight digits as the key. All else stays: others may have made it meanwhile.
    """
    for one in ipc:
        if one.user == user != os.geteuid() or one.key & 0xFFFFFFFF == key_of(token):
            arguments = (one.number, 0, IPC_RMID, None) if one.kind == "sem" else (one.number, IPC_RMID, None)
            getattr(ctypes.CDLL(None), f"{one.kind}ctl")(*arguments)
    for path in paths:
        if path not in before.entries and (token in Path(path).name or _owner(path) == user != os.geteuid()):
            with contextlib.suppress(OSError):
                if Path(path).is_dir() and not Path(path).is_symlink():
                    remove_tree(Path(path))
                else:
                    Path(path).unlink()


def key_of(token: str) -> int:
    """The key for a System V object of the victim with this token (hexadecimal digits)."""
    return int(token[-8:], 16)


def _owner(path: str) -> int | None:
    return Path(path).lstat().st_uid if os.path.lexists(path) else None


def of_process(pid: int) -> dict[str, tuple[object, ...]]:
    """What others may change of a process, what traces it, and whether it runs."""
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    found: dict[str, tuple[object, ...]] = {
        f"its {name}": resource.prlimit(pid, getattr(resource, name)) for name in names if name != "RLIMIT_OFILE"
    }
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    found["its state"] = ("stopped" if status["State"].strip()[0] in "tTZX" else "alive",)
    found["its tracer"] = (status["TracerPid"],)
    found["its name"] = (status["Name"],)
    found["its priority"] = (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid))
    found["its processors"] = tuple(sorted(os.sched_getaffinity(pid)))
    found["its place in the queue for a lack of memory"] = (Path(f"/proc/{pid}/oom_score_adj").read_text(),)
    return found


def forms(secrets: tuple[str, ...]) -> re.Pattern[str]:
    """Matches a secret as it is, backwards, in hexadecimal or in base64."""
    found = []
    for text in secrets:
        core = text.rpartition("-")[2]  # the random part
        found += [core, core[::-1], core.encode().hex()]
        for shift in range(3):  # where it begins in a group of three bytes
            whole = base64.b64encode(b"\0" * shift + core.encode()).decode()
            found.append(whole[4 * (shift > 0) : len(whole) - 4])
    return re.compile("|".join(map(re.escape, found)), re.IGNORECASE)


def leaked(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    """Regular files below `folder` that hold a secret, or whose names do."""
    found: list[str] = []
    seen = 0
    for entry in entries([folder]):
        if entry is None or entry.is_dir(follow_symlinks=False):
            continue
        seen += 1
        if seen > READ_FILES:
            return found
        with contextlib.suppress(OSError):
            if pattern.search(entry.name) or pattern.search(_ends(Path(entry.path)).decode("latin-1")):
                found.append(entry.path)
    return found


def _ends(path: Path) -> bytes:
    """The first and last bytes of a regular file; nothing of others."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            return b""
        head = file.read(READ_BYTES)
        file.seek(max(len(head), info.st_size - READ_BYTES))
        return head + file.read(READ_BYTES)

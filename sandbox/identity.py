"""A user of its own for each program that root runs, so that untrusted code is never the kernel's user 0.

`claimed()` picks a number that nobody has: no entry among the users, no process, nothing in the shared folders, and no
other run, which a lock shows that ends with its holder. What is left in those folders at the end is therefore the
program's, and is removed. `give` hands over the folders that the program writes to.

Not covered: a user that only another container of the same machine knows, and files with that number elsewhere on the
disk: the jail keeps the program from both.
"""

import contextlib
import grp
import os
import pwd
import random
import socket
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sandbox import leftovers
from sandbox.spec import SandboxError

USERS = range(50_000, 59_000)  # between the people and the ranges of systemd and of containers
NEEDED = (0, 1, 3, 5, 6, 7)  # CAP_CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID
DEPTH = 100  # folders deeper than this are nobody's honest work, and stay whose they are


def can_change() -> bool:
    """Whether this process can start programs as another user: root of the machine, or of a container that has the
    numbers in `USERS`."""
    status = Path("/proc/self/status").read_text()
    held = int(status.split("CapEff:")[1].split()[0], 16)
    if os.geteuid() != 0 or any(not held >> number & 1 for number in NEEDED):
        return False
    with contextlib.suppress(FileNotFoundError):
        if Path("/proc/self/setgroups").read_text().strip() != "allow":
            return False
    return all(mapped(Path("/proc/self") / name) for name in ("uid_map", "gid_map"))


def mapped(table: Path) -> bool:
    """Whether all of `USERS` exist in this process's user namespace."""
    lines = [[int(word) for word in line.split()] for line in table.read_text().splitlines()]
    return any(first <= USERS.start and USERS.stop <= first + size for first, _, size in lines)


@contextlib.contextmanager
def claimed() -> Iterator[int]:
    """The number of a user and of its group that nobody else has as long as this lasts; what it leaves is removed.

    Raises:
        SandboxError: none is free, or something that it left cannot be removed.
    """
    first = random.randrange(len(USERS))
    for user in (*USERS[first:], *USERS[:first]):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
            try:
                lock.bind(f"\0autoresearch-user-{user}")  # gone with its holder, however that ends
            except OSError:  # another run's
                continue
            if named(user) or user in in_use() or leftovers.traces(user):
                continue
            with swept(user):
                yield user
            return
    raise SandboxError(f"no free user between {USERS.start} and {USERS.stop - 1}: end what runs as one of them")


@contextlib.contextmanager
def swept(user: int) -> Iterator[None]:
    """Removes at the end what `user` left. An exception under way goes on, with a note of what cannot be removed."""
    try:
        yield
    except BaseException as error:
        if kept := leftovers.remove(user):
            error.add_note(unremoved(user, kept))
        raise
    if kept := leftovers.remove(user):
        raise SandboxError(unremoved(user, kept))


def unremoved(user: int, kept: list[str]) -> str:
    """What is told of that, with the next step."""
    return f"user {user} of a trial left {', '.join(kept[:5])}, which cannot be removed: do so by hand"


def named(user: int) -> bool:
    """Whether this machine knows a user or a group of this number."""
    with contextlib.suppress(KeyError):
        pwd.getpwuid(user)
        return True
    with contextlib.suppress(KeyError):
        grp.getgrgid(user)
        return True
    return False


def in_use() -> set[int]:
    """The users and groups of all processes: real, effective, saved and for files."""
    found: set[int] = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                status = Path(entry.path, "status").read_text(errors="replace")
                for name in ("\nUid:", "\nGid:"):
                    found.update(int(word) for word in status.split(name)[1].split("\n")[0].split())
    return found


class Entry(NamedTuple):
    """One name in an open folder, as found without following a link."""

    folder: int  # descriptor
    name: str
    status: os.stat_result


def give(user: int, folders: Iterable[Path]) -> None:
    """Makes `user` the owner of these folders (or files) and all that is in them, following no link.

    Devices, and other file systems mounted below, stay whose they are. Nothing of an earlier program may still run.

    Raises:
        SandboxError: one cannot be given, or has a further name elsewhere, where it would be given away as well.
    """
    roots = list(folders)
    try:
        refuse_shared(roots)
        for entry in walked(roots):
            if not stat.S_ISCHR(entry.status.st_mode) and not stat.S_ISBLK(entry.status.st_mode):
                os.chown(entry.name, user, user, dir_fd=entry.folder, follow_symlinks=False)
    except OSError as error:
        what = ", ".join(map(str, roots))
        raise SandboxError(f"a user of its own cannot be given {what} ({error}): keep runs elsewhere") from error


def refuse_shared(roots: list[Path]) -> None:
    """Raises if a file in `roots` has a name outside of them."""
    seen: Counter[tuple[int, int]] = Counter()
    names: dict[tuple[int, int], tuple[str, int]] = {}
    for _, name, status in walked(roots):
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            file = (status.st_dev, status.st_ino)
            seen[file] += 1
            names[file] = (name, status.st_nlink)
    for file, (name, links) in names.items():
        if seen[file] < links:
            raise SandboxError(f"{name!r} in the work folder is a hard link to a file outside: put a copy there")


def walked(roots: list[Path]) -> Iterator[Entry]:
    """`roots` and everything below them on the same file system."""
    for root in roots:
        folder = os.open(root.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            entry = Entry(folder, root.name, os.stat(root.name, dir_fd=folder, follow_symlinks=False))
            if stat.S_ISLNK(entry.status.st_mode):
                raise SandboxError(f"{root} is a symbolic link: name the folder it leads to")
            yield entry
            yield from below(entry, 0)
        finally:
            os.close(folder)


def below(top: Entry, depth: int) -> Iterator[Entry]:
    """Everything in `top` if that is a folder."""
    if not stat.S_ISDIR(top.status.st_mode) or depth > DEPTH:
        return
    folder = os.open(top.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top.folder)
    try:
        for name in os.listdir(folder):  # noqa: PTH208 (of a descriptor)
            entry = Entry(folder, name, os.stat(name, dir_fd=folder, follow_symlinks=False))
            if entry.status.st_dev == top.status.st_dev:
                yield entry
                yield from below(entry, depth + 1)
    finally:
        os.close(folder)

"""Control groups (cgroup v2): the kernel's own limits on the memory and the processes of a trial.

A group counts what no look at processes can: memory between two looks, and files in /tmp and /dev/shm. When a trial
passes its memory the kernel kills all of it at once and says so (`Group.oom_kills`), `Group.kill` reaches who has left
every tree, and no swap is used.

Groups can be made where a part of the kernel's tree is ours. The own group must be writable, offer the controllers
`memory` and `pids`, and hold no process but this one and its children, because a group with limits below it may hold
none itself: they are moved into a leaf of their own beside the trials'. Others are never moved. On a machine of
systemd the own group must be delegated to us; where it is not, systemd is asked for one. Whether all this works is
found by trying it, once in a process.

Not covered: groups of cgroup v1 (nothing is changed there); a trial with our own user id and without a jail can write
to these files as we can; what a group has in memory also counts the pages of files that the kernel keeps for it.
"""

import contextlib
import errno
import functools
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sandbox import systemd
from sandbox.group import Group, age, below, discard, put
from sandbox.processes import descendants
from sandbox.spec import Limits, SandboxError
from sandbox.systemd import NotDelegated

MADE = re.compile(r"agent-(\d+)-(\w+)")  # our groups: the process that made it, and the token of a trial
LEAF = "self"  # instead of a token: the group in which the agent itself is
NEEDED = ("memory", "pids")
MOVE_SECONDS = 5.0
FRESH_SECONDS = 300.0  # an empty group this young may be that of an agent whose process we cannot see
PROBE = Limits(memory_bytes=2**30)
CGROUP, MOUNTS = Path("/proc/self/cgroup"), Path("/proc/self/mountinfo")
ALONE = "start the agent in a writable cgroup v2 folder that holds no other process"
UNIFIED = "have the kernel use cgroup v2 alone: boot with `systemd.unified_cgroup_hierarchy=1`"
SETTLING = threading.Lock()  # one thread settles, the others wait for what it finds


@dataclass(frozen=True)
class Delegation:
    """Whether control groups can be made here.

    Attributes:
        home: the folder below which they are made; None where none can be.
        how: how that was found, or why it cannot be.
        advice: what would help; empty where it works.
    """

    home: Path | None
    how: str
    advice: str = ""

    @property
    def works(self) -> bool:
        """Whether groups can be made."""
        return self.home is not None


@contextlib.contextmanager
def made(token: str, limits: Limits) -> Iterator[Group | None]:
    """A group for one trial, removed on leaving with everybody in it; None where no group can be made.

    Raises:
        SandboxError: it cannot be made although others could, or it cannot be removed.
    """
    home = delegation().home
    if home is None:
        yield None
        return
    with below(home, token, limits) as group:
        yield group


def delegation() -> Delegation:
    """Whether groups can be made here, found by making one. The first call may move this process to make room."""
    with SETTLING:
        return _settled()


@functools.cache
def _settled() -> Delegation:
    try:
        home, how = settled(own())
        tried(home)
        clear(home)
    except NotDelegated as no:
        return Delegation(None, str(no), no.advice)
    except OSError as error:
        return Delegation(None, f"the control groups cannot be looked at: {error}", ALONE)
    return Delegation(home, how)


def own() -> Path:
    """The folder of the group this process is in."""
    return located(CGROUP.read_text(), MOUNTS.read_text())


def located(cgroup: str, mountinfo: str) -> Path:
    """The folder of a process' group, from its two files in /proc; see cgroups(7) and proc_pid_mountinfo(5).

    Raises:
        NotDelegated: no cgroup v2 is mounted that shows it.
    """
    inside = next((line[3:] for line in cgroup.splitlines() if line.startswith("0::")), "")
    for line in mountinfo.splitlines():
        fields, _, kind = line.partition(" - ")
        if not kind.startswith("cgroup2 "):
            continue
        root, point = (re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), text) for text in fields.split()[3:5])
        if inside and PurePosixPath(inside).is_relative_to(root):
            folder = Path(point) / PurePosixPath(inside).relative_to(root)
            if ".." not in folder.parts and folder.is_dir():
                return folder
    raise NotDelegated("no cgroup v2 is mounted here that shows the group of this process", ALONE)


def settled(place: Path) -> tuple[Path, str]:
    """The folder below which groups can be made, and how it was come by; `place` is the own group.

    Raises:
        NotDelegated: there is none.
    """
    found = MADE.fullmatch(place.name)
    if found and found[2] == LEAF:  # an agent above us has made room already
        return place.parent, "beside the agent that started this process"
    offered(place, CGROUP.read_text())
    how = "the own control group is ours"
    if systemd.RUNS.is_dir() and (not systemd.delegated(place) or strangers(place)):
        place = moved(place)
        how = "systemd gave this process a scope of its own"
    enable(place)
    return place, how


def offered(place: Path, cgroup: str) -> None:
    """Whether the controllers we need reach `place`; `cgroup` is the text that tells which of them v1 has."""
    here = (place / "cgroup.controllers").read_text().split()
    if missing := [name for name in NEEDED if name not in here]:
        why = f"{' and '.join(missing)} are not offered to {place}"
        if any(name in line.split(":")[1].split(",") for line in cgroup.splitlines() for name in missing):
            raise NotDelegated(f"{why}: cgroup v1 has these controllers", UNIFIED)
        raise NotDelegated(why, ALONE)


def strangers(place: Path) -> list[int]:
    """Who is in a group beside this process and what it has started."""
    ours = {os.getpid(), *descendants(os.getpid())}
    return [pid for pid in lone(place) if pid not in ours]


def lone(place: Path) -> list[int]:
    """The processes of one group, those of the groups below left out."""
    return [int(line) for line in (place / "cgroup.procs").read_text().split()]


def moved(place: Path) -> Path:
    """The own group after systemd has moved this process into a scope of its own."""
    scope = systemd.own_scope(place)
    until = time.monotonic() + MOVE_SECONDS
    while (here := own()).name != scope:
        if time.monotonic() > until:
            raise NotDelegated(f"systemd made {scope}, but this process is in {here}", systemd.command(os.getuid()))
        time.sleep(0.005)
    return here


def enable(place: Path) -> None:
    """Gives the controllers to the groups below `place`, after moving ourselves out of its way if that is needed.

    Raises:
        NotDelegated: it cannot be written to, or others are in it. Then nothing is left changed.
    """
    wish = " ".join(f"+{name}" for name in NEEDED)
    try:
        try:
            put(place / "cgroup.subtree_control", wish)  # the kernel's topmost group may hold processes
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            make_room(place)
            put(place / "cgroup.subtree_control", wish)
    except OSError as error:
        raise NotDelegated(f"{place} is not ours to divide: {error.strerror}", systemd.command(os.getuid())) from error


def make_room(place: Path) -> None:
    """Moves this process and its children from `place` into a leaf below it."""
    leaf = place / f"agent-{os.getpid()}-{LEAF}"
    leaf.mkdir(exist_ok=True)
    while staying := lone(place):  # a child may start another meanwhile
        if others := strangers(place):
            for pid in lone(leaf):
                put(place / "cgroup.procs", str(pid))
            leaf.rmdir()
            raise NotDelegated(f"processes {others} of others are in {place}", systemd.command(os.getuid()))
        for pid in staying:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                put(leaf / "cgroup.procs", str(pid))


def tried(home: Path) -> None:
    """Makes a group with limits below `home`, kills a process in it and removes it.

    Raises:
        NotDelegated: that does not work.
    """
    sleeper = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
    child = subprocess.Popen(sleeper, stdin=subprocess.DEVNULL)
    try:
        with below(home, secrets.token_hex(6), PROBE) as group:
            group.add([child.pid])
            group.oom_kills()
            group.peak_bytes()
            group.kill()
            child.wait(MOVE_SECONDS)
    except (SandboxError, subprocess.TimeoutExpired) as error:
        raise NotDelegated(f"{home} was tried and does not do: {error}", ALONE) from error
    finally:
        child.kill()
        child.wait()


def clear(home: Path) -> None:
    """Removes empty groups below `home` of agents that have died without removing them, if they are not fresh."""
    for group in home.iterdir():
        found = MADE.fullmatch(group.name)
        with contextlib.suppress(FileNotFoundError):  # its agent has just removed it
            if found and not lives(int(found[1])) and age(group) > FRESH_SECONDS:
                discard(group)


def lives(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True

"""One control group of the kernel (cgroup v2): its limits, its members, its end.

Where a group may be made is found by `sandbox.cgroup`. Not covered: groups of cgroup v1; a group below which limits are
handed out, and so holds no process itself.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox import launch
from sandbox.processes import signal_all
from sandbox.spec import Limits, SandboxError, SurvivorsLeft

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Group:
    """One control group, at `path`. Errors of the kernel are `SandboxError`."""

    path: Path

    def limit(self, limits: Limits) -> None:
        """Sets the limits: memory without any swap, of which the group dies as one, and processes with threads."""
        put(self.path / "memory.max", str(limits.memory_bytes))
        if (self.path / "memory.swap.max").exists():  # a kernel without swap has no such file
            put(self.path / "memory.swap.max", "0")
        put(self.path / "memory.oom.group", "1")
        put(self.path / "pids.max", str(launch.most_tasks(limits.processes)))

    def add(self, pids: Iterable[int]) -> None:
        """Moves processes into the group; what they start from then on is in it too. Who has ended is passed over."""
        for pid in pids:
            try:
                put(self.path / "cgroup.procs", str(pid))
            except ProcessLookupError:
                continue
            except OSError as error:
                advice = "run `agent doctor`"
                raise SandboxError(
                    f"process {pid} cannot be put into {self.path}: {error.strerror}; {advice}"
                ) from error

    def oom_kills(self) -> int:
        """How often the kernel has killed for lack of memory in it and below: once or twice for each process."""
        for line in self._read("memory.events").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        raise SandboxError(f"{self.path}/memory.events counts no oom_kill: this needs Linux 4.13 or later")

    def peak_bytes(self) -> int:
        """Highest memory so far, pages of files included; before Linux 5.19 what it has now, a lower bound."""
        return int(self._read("memory.peak" if (self.path / "memory.peak").exists() else "memory.current"))

    def kill(self) -> None:
        """Kills everybody in it, who is being started meanwhile included. They end a moment later."""
        try:
            put(self.path / "cgroup.kill", "1")
        except OSError:  # before Linux 5.14, or not ours to write any more
            kill_each(self.path)

    def remove(self) -> None:
        """Kills everybody in it and removes it, with all groups below.

        Raises:
            SurvivorsLeft: processes do not die.
            SandboxError: it is empty and yet cannot be removed.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while self.path.exists():
            self.kill()
            discard(self.path)
            if time.monotonic() > until:
                if left := members(self.path):
                    raise SurvivorsLeft(f"processes {left} in {self.path} do not die; see `ps`")
                raise SandboxError(f"control group {self.path} cannot be removed: see its cgroup.events")
            time.sleep(0.002)

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text()
        except OSError as error:
            raise SandboxError(f"{self.path}/{name} cannot be read: {error.strerror}; run `agent doctor`") from error


@contextlib.contextmanager
def below(home: Path, token: str, limits: Limits) -> Iterator[Group]:
    """A group below `home`, named for this process and `token`."""
    group = Group(home / f"agent-{os.getpid()}-{token}")
    try:
        group.path.mkdir()
    except OSError as error:
        raise SandboxError(
            f"control group {group.path} cannot be made: {error.strerror}; run `agent doctor`"
        ) from error
    try:
        try:
            group.limit(limits)
        except OSError as error:
            raise SandboxError(f"{group.path} takes no limits: {error.strerror}; run `agent doctor`") from error
        yield group
    finally:
        group.remove()


def put(file: Path, text: str) -> None:
    """Writes to a file of the kernel: at one stroke, and never making it."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def members(group: Path) -> list[int]:
    """Everybody in a group and in those below. Who is outside of our process namespace has no number and is a 0."""
    found: list[int] = []
    for folder, _, _ in os.walk(group):
        with contextlib.suppress(OSError):  # it has just been removed
            found += [int(line) for line in (Path(folder) / "cgroup.procs").read_text().split()]
    return found


def age(group: Path) -> float:
    """Seconds since it was made or changed; fewer where the kernel has meanwhile forgotten when."""
    return time.time() - group.stat().st_mtime  # noqa: TID251 (a date is compared, no budget kept)


def kill_each(group: Path) -> None:
    """Kills one by one, until nobody is left or patience ends: who is being started meanwhile comes later."""
    until = time.monotonic() + PATIENCE_SECONDS
    while (left := members(group)) and time.monotonic() < until:
        signal_all([pid for pid in left if pid != 0], signal.SIGKILL)  # to the kernel 0 would be our own group
        time.sleep(0.001)


def discard(group: Path) -> None:
    """Removes a group and those below as far as they are empty."""
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()

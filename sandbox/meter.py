"""What a running program uses: memory and processes of its whole tree, size of its work folder.

The tree is everything below the stub, everything that carries this run's random marker in its environment,
and everything that was seen as one of those before: who leaves its session or its parent is still counted,
and still killed.

Memory is the sum of resident sizes; above 80 % of the limit it is the sum of proportional sizes, because
forked workers share pages (four DataLoader workers: 6 GiB resident in sum, 1.3 GiB in truth). Not counted:
files in a private /tmp or /dev/shm that no process has mapped (those folders have sizes instead), and memory
of a GPU. Linux only: all is read from /proc, at the cost of the tree; only the search for markers, every few
seconds, looks at the whole machine.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sandbox.stub import descendants

MARKER = "SANDBOX_RUN"  # environment variable that carries the random token of a run
SHARED_ABOVE = 0.8  # share of the limit above which shared pages are told apart


@dataclass(frozen=True)
class Sample:
    """What the tree used at one moment."""

    memory_bytes: int
    processes: int


class Meter:
    """Follows the tree below process `root`, whose programs carry `token`."""

    def __init__(self, root: int, token: str, memory_limit: int) -> None:
        self._root, self._limit = root, memory_limit
        self._mark = f"{MARKER}={token}".encode()
        self._since = born(root) or 0
        self._seen: dict[int, int] = {}  # process -> when it was born, so that a number used again is told apart

    def sample(self) -> Sample:
        """Memory and number of processes now."""
        below = descendants(self._root)
        self._notice(pid for pid in below if pid not in self._seen)
        known = set(below)
        astray = [pid for pid, birth in self._seen.items() if pid not in known and born(pid) == birth]
        self._seen = {pid: self._seen[pid] for pid in (*below, *astray) if pid in self._seen}
        memory = sum(resident(pid) for pid in self._seen)
        if memory > SHARED_ABOVE * self._limit:
            memory = sum(proportional(pid) for pid in self._seen)
        return Sample(memory, len(self._seen))

    def scan(self) -> None:
        """Looks for processes of the run everywhere: those that have left the tree."""
        self._notice(marked(self._mark, self._since))

    def survivors(self) -> list[int]:
        """Everything of the run that is alive, the root excluded."""
        self._notice(descendants(self._root))
        self.scan()
        return [pid for pid, birth in self._seen.items() if born(pid) == birth]

    def _notice(self, pids: Iterable[int]) -> None:
        for pid in pids:
            if (birth := born(pid)) is not None:
                self._seen[pid] = birth


def born(pid: int) -> int | None:
    """When a process started, in clock ticks of the machine; None when it has ended, collected or not."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if state in (b"Z", b"X") else int(numbers[18])


def marked(mark: bytes, since: int) -> list[int]:
    """Processes anywhere on the machine, born at `since` or later, with `mark` in their environment."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - a big machine has thousands
        if name.isdigit() and (born(int(name)) or -1) >= since:
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    found.append(int(name))
    return found


def resident(pid: int) -> int:
    """Resident bytes; 0 when it has ended."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGESIZE")
    return 0


def proportional(pid: int) -> int:
    """Resident bytes with each shared page divided among its users; plain where the kernel does not say."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return resident(pid)


def folder_bytes(folder: Path, enough: int) -> int:
    """Bytes on disk below `folder`, no link followed, each file at least a block; stops above `enough`."""
    total = 0
    queue = [str(folder)]
    while queue and total <= enough:
        with contextlib.suppress(OSError), os.scandir(queue.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += max(4096, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        queue.append(entry.path)
    return total


def kernel_oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory so far; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0

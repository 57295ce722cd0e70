"""What a running program uses: memory, processes and activity of its whole tree.

The tree is everything below its keeper, everything of its own user, or (without one) everything that carries this
run's random marker in its environment, and everything that was seen as one of those before: who leaves its session or
its parent is still counted, and still killed.

Memory is what the kernel could not take back: anonymous pages, swapped out or not, shared memory, and what lies in the
jail's private /tmp, /dev/shm and home, or belongs to its own user in the machine's /dev/shm; not pages of files. An
exact sample counts a page once however many processes share it (four DataLoader workers: 6 GiB resident in sum, 1.3 GiB
in truth) and finds files without a name (`memfd`); a quick one adds up what each process has, which is never less, but
for such files.

Not counted: memory of a GPU, a `memfd` on its way through a socket, shared memory of System V that nobody has attached.
Linux only: all is read from /proc, at the cost of the tree; only the search for strays looks at the whole machine.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sandbox import processes
from sandbox.folders import owned_bytes
from sandbox.processes import born, descendants
from sandbox.slices import Bytes, Slices
from sandbox.spec import SandboxError

FILE_BYTES = 1024  # of the kernel's memory for a file in a file system in memory, about
SHARED_MEMORY = Path("/dev/shm")
MARKER = "SANDBOX_RUN"  # environment variable that carries the random token of a run


@dataclass(frozen=True)
class Sample:
    """What the tree used at one moment.

    Attributes:
        memory_bytes: its memory; an upper bound of it if not `exact`.
        processes: how many it has; one that has ended counts until its parent has noticed, as in the kernel.
        exact: whether shared pages are counted once.
    """

    memory_bytes: int
    processes: int
    exact: bool


class Meter:
    """Follows the tree below process `root`, whose programs carry `token` or belong to `user` alone.

    Attributes:
        ever: all processes seen so far -> when they were born.
    """

    def __init__(self, root: int, token: str, user: int | None = None) -> None:
        self._root = self._keeper = root
        self._user = user
        self._mark = f"{MARKER}={token}".encode()
        self._since = born(root) or 0
        self._seen: dict[int, int] = {}  # process -> when it was born, so that a number used again is told apart
        self._mounts: list[str] = []
        self._private: frozenset[int] = frozenset()  # devices of the jail's file systems in memory
        self._shared: frozenset[int] = frozenset()  # of the machine's
        self._keeper_born: int | None = None
        self._open, self._owned = Slices(), Slices()
        self._nameless = 0  # bytes in memory files without a name, when last looked at
        self.ever: dict[int, int] = {}

    def settle(self) -> None:
        """Takes notice of the jail, once it stands: who holds the program, and what is memory in there."""
        self._keeper = holder(self._root)
        self._keeper_born = born(self._keeper)
        ours, theirs = memory_mounts("self"), memory_mounts(str(self._keeper))
        self._mounts = [f"/proc/{self._keeper}/root{path}" for device, path in theirs.items() if device not in ours]
        self._private = frozenset(theirs.keys() - ours.keys())
        self._shared = frozenset({*ours, memfd_device()})

    def sample(self, exact: bool = False) -> Sample:
        """Memory and number of processes now; exact ones take longer, but where there is but one process."""
        below = descendants(self._keeper)
        self._notice(pid for pid in below if pid not in self._seen)
        known = set(below)
        astray = [pid for pid, birth in self._seen.items() if pid not in known and born(pid) == birth]
        self._seen = {pid: self._seen[pid] for pid in (*below, *astray) if pid in self._seen}
        look = processes.shares if exact and len(self._seen) > 1 else processes.memory
        found = [look(pid) for pid in self._seen]
        own, shared = sum(one for one, _ in found), sum(one for _, one in found)
        if exact:
            self._nameless = sum(size for device, size in self._unlinked().items() if device in self._shared)
        exact = exact or len(self._seen) < 2
        files = self._nameless + sum(map(used, self._mounts))  # mapped ones are shared memory as well
        if self._user is not None and not self._mounts:
            files += sum(self._owned.look(partial(owned_bytes, SHARED_MEMORY, self._user)).values())
        return Sample(own + (max(shared, files) if exact else shared + files), len(below) + len(astray), exact)

    def scan(self) -> None:
        """Looks for processes of the run everywhere: those that have left the tree."""
        if self._user is None:
            self._notice(processes.marked(self._mark, self._since))
        else:
            self._notice(processes.of_user(self._user, self._since))

    def survivors(self) -> list[int]:
        """Everything of the run that is alive, the root excluded."""
        self._notice(descendants(self._root))
        if self._keeper == self._root:  # else nobody leaves: the kernel kills a namespace with its first process
            self.scan()
        elif self._keeper_born is not None:
            self._seen[self._keeper] = self._keeper_born
        return [pid for pid, birth in self._seen.items() if born(pid) == birth]

    def everyone(self) -> list[int]:
        """Everything of the run that can be found quickly, the root included."""
        return [self._root, *descendants(self._root)]

    def activity(self) -> tuple[int, int]:
        """Clock ticks of processor time and bytes read and written so far; less than before when one has ended."""
        ticks = [processes.processor_ticks(pid) for pid in self._seen]
        moved = [processes.transferred(pid) for pid in self._seen]
        return sum(ticks), sum(moved)

    def on_disk(self) -> int:
        """Bytes on disk in files without a name that the tree holds open."""
        found = self._unlinked()
        return sum(size for device, size in found.items() if device not in self._private | self._shared)

    def _unlinked(self) -> Bytes:
        """Bytes in files without a name, on each device."""
        return self._open.look(partial(processes.unlinked, list(self._seen)))

    def _notice(self, pids: Iterable[int]) -> None:
        for pid in pids:
            if (birth := born(pid)) is not None:
                self._seen[pid] = self.ever[pid] = birth


def require_lists() -> None:
    """Raises SandboxError where the kernel does not list the children of a process: no tree could be followed."""
    if not processes.lists_children():
        advice = "run the agent on a Linux kernel with CONFIG_PROC_CHILDREN, as distributions build it (not in gVisor)"
        raise SandboxError(f"{processes.OWN_THREADS} lists no children, so trials cannot be watched: {advice}")


def holder(root: int) -> int:
    """The keeper of a jail that was started as process `root`: process 1 of its own namespace, else the root itself."""
    for pid in descendants(root)[:2]:
        line = processes.read(f"/proc/{pid}/status").partition(b"\nNSpid:")[2].partition(b"\n")[0]
        if len(line.split()) > 1 and line.split()[-1] == b"1":
            return pid
    return root


def memory_mounts(process: str) -> dict[int, str]:
    """File systems in memory that a process sees: device -> where; nothing when it hides them from us."""
    found: dict[int, str] = {}
    for line in processes.read(f"/proc/{process}/mountinfo").decode(errors="replace").splitlines():
        fields, _, kind = line.partition(" - ")
        _, _, device, _, path = fields.split()[:5]
        if kind.startswith("tmpfs "):
            major, _, minor = device.partition(":")
            found.setdefault(os.makedev(int(major), int(minor)), path)
    return found


def memfd_device() -> int:
    """The device of files that `memfd_create` makes, and shared memory without a name."""
    descriptor = os.memfd_create("device")
    try:
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)


def used(folder: str) -> int:
    """Bytes in use on the file system of `folder`, empty files included; 0 where it cannot be seen (any more)."""
    with contextlib.suppress(OSError):
        status = os.statvfs(folder)
        files = max(0, status.f_files - status.f_ffree)
        return (status.f_blocks - status.f_bfree) * status.f_frsize + files * FILE_BYTES
    return 0


def kernel_oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory so far; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0

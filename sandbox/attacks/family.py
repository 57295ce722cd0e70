"""Which processes are an attack's: those below the judge, whom every orphan comes back to, and those of its own user.

Nothing else is ever ended: a file, a folder or an argument in the victim's folder does not make a process the attack's.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator

from sandbox.calls import control
from sandbox.processes import born, descendants, of_user, read, signal_all

PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37
ROUNDS = 50  # of killing: what forks meanwhile is met in the next one
PF_EXITING = 0x4  # include/linux/sched.h


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """As long as this lasts, what loses its parents below this process becomes its child, and not that of init."""
    before = ctypes.c_int()
    control("whose orphans come here", PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    control("to take orphans in", PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        control("to take no more orphans in", PR_SET_CHILD_SUBREAPER, before.value)


class Family:
    """The processes that came to be below this one since it was made; made and used within `adopting`."""

    def __init__(self) -> None:
        self._before = {pid: born(pid) for pid in descendants(os.getpid())}
        self._since = max(born(pid) or 0 for pid in (os.getpid(), *self._before))

    def alive(self, user: int) -> set[int]:
        """Those that live, and all other young processes of the attack's `user`, unless that is ours."""
        others = of_user(user, self._since) if user != os.geteuid() else []
        return {pid for pid in {*self._new(), *others} if born(pid) is not None and not _exiting(pid)}

    def young(self, pid: int) -> bool:
        """Whether a process is not older than the family."""
        return (born(pid) or -1) >= self._since

    def end(self, user: int) -> None:
        """Kills them, and collects those that have become our children."""
        for _ in range(ROUNDS):
            found = self.alive(user)
            signal_all(sorted(found), signal.SIGKILL)
            for pid in self._new():
                with contextlib.suppress(ChildProcessError):  # another's child
                    os.waitpid(pid, 0 if pid in found else os.WNOHANG)
            if not found:
                return

    def _new(self) -> list[int]:
        """What is below us and was not there before, dead ones that nobody has collected too."""
        return [pid for pid in descendants(os.getpid()) if pid not in self._before or self._before[pid] != born(pid)]


def _exiting(pid: int) -> bool:
    """Whether a process has begun to end: it runs nothing of its own any more."""
    fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return not fields or bool(int(fields[6]) & PF_EXITING)

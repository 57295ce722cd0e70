"""Looks at one attack from outside: before it, meanwhile, and after.

`Witness(victim)` looks before, and is made and asked within `family.adopting`; `follow(process, seconds)` waits for
the harness and watches it and the machine; `seen(script)` looks after. Each answers what went wrong, in words; nothing
to say means that the jail held.
"""

import os
import signal
import stat
import subprocess
import time
import unicodedata
from pathlib import Path

from sandbox.attacks import traces
from sandbox.attacks.family import Family
from sandbox.attacks.harness import LIMITS
from sandbox.attacks.victim import Victim
from sandbox.folders import entries
from sandbox.launch import most_tasks
from sandbox.processes import everyone

POLL_SECONDS = 0.05
MOST_TASKS = 2 * most_tasks(LIMITS.processes)  # processes and threads at a time
MOST_SHARED_BYTES = 2 * LIMITS.memory_bytes  # by which the machine's memory that belongs to files may rise
MOST_FILES = 25 * LIMITS.files  # made between two looks of the watchdog
MOST_DISK_BYTES = 4 * LIMITS.disk_bytes
BEAT_SECONDS = 0.1
LATE_SECONDS = 0.5  # in which a watchdog must have ended what takes too much memory


class Witness:
    """What is outside of one attack."""

    def __init__(self, victim: Victim) -> None:
        self._victim = victim
        self._files = self._of_files()
        self._process = traces.of_process(victim.process.pid)
        self._machine = traces.machine()
        self._family = Family()
        self._own = {path: path.lstat().st_ino for path in (victim.work, victim.log)}

    def _of_files(self) -> dict[str, tuple[object, ...]]:
        return traces.files(self._victim.folder, (self._victim.work, self._victim.log))

    def follow(self, process: subprocess.Popen[str], seconds: float) -> list[str]:
        """Waits for the harness, and watches it and the machine meanwhile; ends it after `seconds`."""
        found = set()
        tasks, shared, above = _tasks(), _shared_bytes(), 0
        until = time.monotonic() + seconds
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            if _tasks() - tasks > MOST_TASKS and _tasks_below(process.pid) > MOST_TASKS:
                found.add("far more processes and threads than allowed")
            above = above + 1 if _shared_bytes() - shared > MOST_SHARED_BYTES else 0
            if above * POLL_SECONDS > LATE_SECONDS:
                found.add("far more memory than allowed, in files that no process maps")
            if _state(process.pid) in "Tt":
                found.add("the harness was stopped")
                os.kill(process.pid, signal.SIGCONT)
            if time.monotonic() > until:
                found.add("it did not end in time")
                process.kill()
        if process.returncode < 0 and "it did not end in time" not in found:
            found.add(f"the harness was killed by signal {-process.returncode}")
        return sorted(found)

    def seen(self, script: str) -> list[str]:
        """Everything that can be seen when the harness is done; the victim's process is at its end then."""
        work = self._victim.work
        user = work.lstat().st_uid if os.path.lexists(work) else os.geteuid()
        found = self._alive(user) + self._of_victim()
        found += traces.differences(self._files, self._of_files())
        after = traces.machine()
        token = self._victim.token
        made = traces.new(self._machine, after, script, user, token)
        found += [f"left {path}" for path in made]
        ipc = traces.new_ipc(self._machine, after, user)
        found += [f"left System V {one.kind} {one.number} with the key {one.key:#x}" for one in ipc]
        found += traces.differences(self._machine.settings, after.settings)
        traces.remove(made, ipc, self._machine, user, token)
        pattern = traces.forms(self._victim.secrets)
        found += [f"a secret in {path}" for path in traces.leaked(work, pattern)]
        return found + self._sizes() + self._of_log() + list(self._victim.heard())

    def _of_victim(self) -> list[str]:
        """What was done to the victim's process and to the two paths that are the trial's own."""
        try:
            now = traces.of_process(self._victim.process.pid)
            found = [f"of the victim: {name} is {now[name]}" for name in now if now[name] != self._process[name]]
        except OSError:
            found = ["the victim is dead"]
        return found + [f"replaced {path}" for path, inode in self._own.items() if _inode(path) != inode]

    def _sizes(self) -> list[str]:
        """What grew too big in the work folder."""
        if _inode(self._victim.work) != self._own[self._victim.work]:
            return []
        files = [entry for entry in entries([self._victim.work]) if entry and not entry.is_dir(follow_symlinks=False)]
        infos = [entry.stat(follow_symlinks=False) for entry in files]
        found = []
        if sum(info.st_blocks * 512 for info in infos) > MOST_DISK_BYTES:
            found.append("the work folder grew too big")
        if len(infos) > MOST_FILES:
            found.append("too many files in the work folder")
        return found

    def _of_log(self) -> list[str]:
        """A log that is too long, or holds what no terminal should see."""
        path = self._victim.log
        if not os.path.lexists(path) or not stat.S_ISREG(path.lstat().st_mode):
            return []
        log = path.read_bytes()
        found = [f"a log of {len(log)} bytes was kept"] if len(log) > LIMITS.log_bytes + 1000 else []
        kinds = {unicodedata.category(c) for c in set(log.decode(errors="surrogateescape")) - set("\n\t")}
        return found + (["control characters in the log"] if kinds & {"Cc", "Cs", "Cf"} else [])

    def _alive(self, user: int) -> list[str]:
        """Processes of the attack that still live, which are ended, or whose work shows.

        Others that are as young and have to do with the victim are told and left alone: they may be anybody's.
        """
        beats = _beats(self._victim.work)
        time.sleep(BEAT_SECONDS)
        mine = str(self._victim.folder).encode()
        own = self._family.alive(user)
        found = [f"process {pid} is alive" for pid in sorted(own)]
        others = [
            pid
            for pid in everyone()
            if pid not in (*own, os.getpid(), self._victim.process.pid)
            and self._family.young(pid)
            and _holds(Path(f"/proc/{pid}"), mine)
        ]
        found += [
            f"process {pid} has to do with the victim; whose it is cannot be told, it was not ended" for pid in others
        ]
        found += [] if _beats(self._victim.work) == beats else ["something still writes to the work folder"]
        self._family.end(user)
        return found


def _inode(path: Path) -> int:
    return path.lstat().st_ino if os.path.lexists(path) else 0


def _tasks() -> int:
    """Processes and threads of the whole machine."""
    return int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])


def _tasks_below(pid: int) -> int:
    """Processes and threads below a process: a look at the whole machine, taken only when there is cause."""
    above: dict[int, int] = {}
    threads: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            above[int(entry.name)], threads[int(entry.name)] = int(fields[1]), int(fields[17])

    def belongs(one: int) -> bool:
        while one not in (0, pid):
            one = above.get(one, 0)
        return one == pid

    return sum(count for one, count in threads.items() if belongs(one))


def _shared_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Shmem:"))


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _holds(process: Path, mine: bytes) -> bool:
    """Whether a process has to do with a folder: by its environment, its command line, its folders or open files."""
    try:
        if any(mine in (process / name).read_bytes() for name in ("environ", "cmdline")):
            return True
        links = [process / "cwd", process / "root", *(process / "fd").iterdir()]
        return any(bytes(link.readlink()).startswith(mine) for link in links)
    except OSError:  # not ours, or gone
        return False


def _beats(work: Path) -> dict[str, int]:
    """When each file at the top of the work folder was written."""
    try:
        return {one.name: one.stat(follow_symlinks=False).st_mtime_ns for one in os.scandir(work)}
    except OSError:  # removed or closed by the attack
        return {}

"""The first program inside every jail: starts the untrusted one, tells how it ended, leaves nobody behind.

It runs as `python -I -S stub.py FLAGS -- PROGRAM ...` and imports little, so that a run costs a few
milliseconds more. Its standard input is one end of a socket to the supervisor, its only tie to the outside:

* it writes `started`, `status N` (the raw status of `waitpid`) or `failed TEXT`, each on a line;
* it reads `end` (terminate, then kill), or the end of file when the supervisor is gone: then it kills at
  once. So a
  `kill -9` of the agent leaves no process of a trial alive.

Flags: `--folder PATH` (make it), `--link SOURCE TARGET` (make a symbolic link), `--cwd PATH`, `--limit
RESOURCE VALUE` (`setrlimit`, for the program only), `--env NAME VALUE` (the program's complete environment).

Not covered: whatever keeps the program away from files, network and other processes is the jail's work;
without a jail a hostile program can kill this one, and the supervisor then has to find what is left.
"""

# ruff: noqa: PTH103, PTH108, PTH114, PTH116, PTH120, PTH123, PTH208, PTH211
# (importing pathlib would double the start-up time)

import ctypes
import os
import resource
import select
import signal
import sys
import time

GRACE_SECONDS = 0.3  # between the request to end and the kill
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
ARITY = {"--folder": 1, "--link": 2, "--cwd": 1, "--limit": 2, "--env": 2}


class Plan:
    """What the flags say."""

    def __init__(self, arguments: list[str]) -> None:
        self.flags: dict[str, list[list[str]]] = {name: [] for name in ARITY}
        at = 0
        while arguments[at] != "--":
            size = ARITY[arguments[at]]
            self.flags[arguments[at]].append(arguments[at + 1 : at + 1 + size])
            at += 1 + size
        self.argv = arguments[at + 1 :]


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, by the kernel's own lists: costs no more than the tree is big."""
    found: list[int] = []
    queue = [pid]
    while queue:
        folder = f"/proc/{queue.pop()}/task"
        try:
            for thread in os.listdir(folder):
                with open(f"{folder}/{thread}/children", "rb") as file:
                    children = [int(number) for number in file.read().split()]
                found += children
                queue += children
        except OSError:  # it has just ended
            continue
    return found


def signal_all(pids: list[int], number: int) -> None:
    """Sends a signal to each of `pids` that still lives and may be signalled."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


class Keeper:
    """Holds the program: waits for it and for the supervisor, and ends everything below itself."""

    def __init__(self, control: int) -> None:
        self.control = control
        self.program = 0
        self.ended = False  # the program itself
        self.empty = False  # nobody below
        self.wake, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        self.first = os.getpid() == 1  # of a process namespace: the kernel keeps everybody inside from killing us
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGCHLD,) if self.first else (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        self.poller = select.poll()
        self.poller.register(self.wake, select.POLLIN)
        self.poller.register(control, select.POLLIN)

    def tell(self, text: str) -> None:
        """One line to the supervisor; when it is gone the next wait will see that."""
        try:
            os.write(self.control, text.encode(errors="replace")[:4000] + b"\n")
        except OSError:
            return

    def reap(self) -> None:
        """Collects whoever has ended and reports the program's status as soon as it is known."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.empty = True
                return
            if pid == 0:
                return
            if pid == self.program:
                self.ended = True
                self.tell(f"status {status}")

    def wait(self, seconds: float | None = None) -> str:
        """Waits for one event; answers `end`, `gone` or, for anything else, an empty string."""
        answer = ""
        for descriptor, _ in self.poller.poll(None if seconds is None else max(1, int(seconds * 1000))):
            if descriptor == self.control:
                answer = "end" if os.read(self.control, 64) else "gone"
            elif signal.SIGTERM in os.read(self.wake, 4096):  # sent when the supervisor's thread dies
                answer = "gone"
        self.reap()
        return answer

    def signal(self, number: int) -> None:
        """Sends a signal to everybody below; in a process namespace of our own, at one stroke."""
        if self.first:
            signal_all([-1], number)
        else:
            signal_all(descendants(os.getpid()), number)

    def hold(self) -> None:
        """Returns when nobody is left below."""
        answer = ""
        while not self.ended and not answer:
            answer = self.wait()
        if answer == "end":
            self.signal(signal.SIGTERM)
            until = time.monotonic() + GRACE_SECONDS
            while not self.empty and answer == "end" and (left := until - time.monotonic()) > 0:
                answer = self.wait(left) or "end"
        self.reap()
        while not self.empty:
            self.signal(signal.SIGSTOP)  # who is stopped forks no more
            self.signal(signal.SIGKILL)
            self.reap()
            time.sleep(0.001)


def protect(first: bool) -> None:
    """No core, no debugger, no new privileges; orphans come to us; a dead supervisor is noticed."""
    prctl = ctypes.CDLL(None).prctl
    for option, value in (PR_SET_DUMPABLE, 0), (PR_SET_NO_NEW_PRIVS, 1), (PR_SET_CHILD_SUBREAPER, 1):
        prctl(option, value, 0, 0, 0)
    if not first:  # there bubblewrap has asked for a SIGKILL
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def prepare(plan: Plan) -> None:
    """Makes the folders and links of a jail without a mount namespace, and enters the work folder."""
    for (folder,) in plan.flags["--folder"]:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    for source, target in plan.flags["--link"]:
        os.stat(source)  # a link to nothing would be made without a complaint
        if os.path.islink(target):  # of an earlier run in the same folder
            os.unlink(target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(source, target)
    for (folder,) in plan.flags["--cwd"]:
        os.chdir(folder)


def become(plan: Plan) -> None:
    """Turns this process into the program; never returns."""
    try:
        os.setsid()
        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # else the file below is root's
        for number in signal.valid_signals():  # what is ignored here, or was by our caller, would be inherited so
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.closerange(3, 1024)
        with open("/proc/self/oom_score_adj", "w") as file:  # the kernel shall take a trial first
            file.write("800")
    except OSError:  # a /proc that is read-only
        pass
    try:
        for name, value in plan.flags["--limit"]:
            hard = resource.getrlimit(int(name))[1]
            limit = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
            resource.setrlimit(int(name), (limit, limit))
        os.execvpe(plan.argv[0], plan.argv, {name: value for name, value in plan.flags["--env"]})
    except (OSError, ValueError) as error:
        os.write(2, f"{plan.argv[0]} cannot be started: {error}\n".encode(errors="replace"))
    finally:
        os._exit(127)


def main(arguments: list[str]) -> int:
    """Runs the program of the flags to its end."""
    keeper = Keeper(os.dup(0))
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    protect(keeper.first)
    plan = Plan(arguments)
    try:
        prepare(plan)
    except OSError as error:
        keeper.tell(f"failed {error}")
        return 1
    keeper.program = os.fork()
    if keeper.program == 0:
        become(plan)
    keeper.tell("started")
    keeper.hold()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

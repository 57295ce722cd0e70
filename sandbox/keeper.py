"""Holds the untrusted program: starts it, tells how it ended, leaves nobody behind.

The inner half of a run, started by `sandbox.stub`. Its standard input is one end of a socket to the supervisor, its
only tie to the outside:

* it writes `ready`, `started`, `status N` (the raw status of `waitpid`) or `failed TEXT`, each on a line;
* it reads `go` (after `ready`, if told to `--wait`: by then the supervisor has put it under limits that it hands on),
  `end` (terminate, then kill), or the end of file: then it kills at once. That is how the supervisor asks for it, and
  what is read when the supervisor is gone: so a `kill -9` of the agent leaves no process of a trial alive.

Flags: `--folder PATH` (make it), `--file PATH TEXT` (write it), `--link SOURCE TARGET` (make a symbolic link),
`--wait yes`, those of `sandbox.mounts`, and those of `sandbox.lock`, which are about the program only.

Not covered: whatever keeps the program away from files, network and other processes is the jail's work; without a jail
a hostile program can kill this one, and the supervisor then has to find what is left.
"""

# ruff: noqa: PTH103, PTH108, PTH114, PTH116, PTH120, PTH211, PTH123
# (importing pathlib would double the start-up time)

import contextlib
import ctypes
import os
import select
import signal
import time

from sandbox import lock
from sandbox.processes import descendants, kill_groups, kill_user, signal_all

GRACE_SECONDS = 0.05  # between the request to end and the kill: enough to print a last line, and nobody waits for it
STROKE_SECONDS = 0.1  # between two strokes against all of a user
REAP_AT_ONCE = 1000  # then look up: a fork bomb would keep us busy for ever
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
ARITY = {"--folder": 1, "--file": 2, "--link": 2, "--wait": 1, **lock.ARITY}
ARITY |= {"--hide": 1, "--private": 3, "--keep": 3}


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


class Keeper:
    """Holds the program: waits for it and for the supervisor, and ends everything below itself.

    Attributes:
        user: the user that the program becomes; None for ours.
    """

    def __init__(self, control: int) -> None:
        self.control = control
        self.user: int | None = None
        self.program = 0
        self.next_stroke = 0.0
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
        for _ in range(REAP_AT_ONCE):
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

    def hear(self) -> str:
        """What the supervisor wants: `end`, or `gone` when there is none any more."""
        try:
            return "end" if os.read(self.control, 64) else "gone"
        except OSError:  # it has ended without reading what we told
            return "gone"

    def wait(self, seconds: float | None = None) -> str:
        """Waits for one event; answers `end`, `gone` or, for anything else, an empty string."""
        answer = ""
        for descriptor, _ in self.poller.poll(None if seconds is None else max(1, int(seconds * 1000))):
            if descriptor == self.control:
                answer = self.hear()
                if answer == "gone":  # and it stays so: no need to hear it again
                    self.poller.unregister(self.control)
            elif signal.SIGTERM in os.read(self.wake, 4096):  # sent when the supervisor's thread dies
                answer = "gone"
        self.reap()
        return answer

    def terminate(self) -> None:
        """Asks everybody below to end; in a process namespace of our own, at one stroke."""
        signal_all([-1] if self.first else descendants(os.getpid()), signal.SIGTERM)

    def kill(self) -> None:
        """Kills everybody below: at one stroke where the kernel can tell them apart, else group by group."""
        if self.first:
            signal_all([-1], signal.SIGKILL)
            return
        hurry()
        if self.user is not None and time.monotonic() >= self.next_stroke:
            self.next_stroke = time.monotonic() + STROKE_SECONDS
            kill_user(self.user)
        if not self.ended:
            signal_all([-self.program], signal.SIGKILL)  # nearly always that is everybody
        below = descendants(os.getpid())
        kill_groups(below)
        signal_all(below, signal.SIGSTOP)  # who is stopped forks no more
        signal_all(below, signal.SIGKILL)

    def hold(self) -> None:
        """Returns, or raises, when nobody is left below."""
        try:
            self.attend()
        finally:
            self.reap()
            while not self.empty:
                with contextlib.suppress(OSError):  # the next stroke may be luckier
                    self.kill()
                time.sleep(0.002)  # they need the processor to die
                self.reap()

    def attend(self) -> None:
        """Returns when the program has ended, or all shall be killed; having asked them to end, if told so."""
        answer = ""
        while not self.ended and not answer:
            answer = self.wait()
        if answer == "end":
            self.terminate()
            until = time.monotonic() + GRACE_SECONDS
            while not self.empty and answer == "end" and (left := until - time.monotonic()) > 0:
                answer = self.wait(left) or "end"


def hurry() -> None:
    """Has the kernel run us before anything else, where it lets us: a fork bomb takes all processors."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def protect(first: bool) -> None:
    """No core, no debugger, no new privileges; orphans come to us; a dead supervisor is noticed."""
    prctl = ctypes.CDLL(None).prctl
    for option, value in (PR_SET_DUMPABLE, 0), (PR_SET_NO_NEW_PRIVS, 1), (PR_SET_CHILD_SUBREAPER, 1):
        prctl(option, value, 0, 0, 0)
    if not first:  # there bubblewrap has asked for a SIGKILL
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def prepare(plan: Plan) -> None:
    """Makes mounts of our own, where they are wanted, and the folders and links of a jail without a mount namespace."""
    if plan.flags["--private"] or plan.flags["--hide"]:
        from sandbox import mounts  # most jails need none of it

        mounts.arrange(plan.flags)
    for (folder,) in plan.flags["--folder"]:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    for path, text in plan.flags["--file"]:
        with open(path, "x") as file:
            file.write(text)
    for source, target in plan.flags["--link"]:
        os.stat(source)  # a link to nothing would be made without a complaint
        if os.path.islink(target):  # of an earlier run in the same folder
            os.unlink(target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(source, target)


def await_leave(control: int) -> bool:
    """Tells that we are ready and waits for the supervisor's leave; False when it is gone, or wants an end."""
    os.write(control, b"ready\n")
    return os.read(control, 64).startswith(b"go")


def main(arguments: list[str]) -> int:
    """Runs the program of the flags to its end."""
    keeper = Keeper(os.dup(0))
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    protect(keeper.first)
    plan = Plan(arguments)
    for (user,) in plan.flags["--user"]:
        keeper.user = int(user)
    try:
        prepare(plan)
        if plan.flags["--wait"] and not await_leave(keeper.control):
            return 1
    except OSError as error:
        keeper.tell(f"failed {error}")
        return 1
    report, theirs = os.pipe2(os.O_CLOEXEC)
    keeper.program = os.fork()
    if keeper.program == 0:
        lock.become(plan.flags, plan.argv, theirs)
    os.close(theirs)
    if complaint := os.read(report, 4000):  # nothing when `exec` has closed it
        keeper.tell(f"failed {complaint.decode(errors='replace')}")
        lock.leave(plan.flags)
        return 1
    keeper.tell("started")
    keeper.hold()
    lock.leave(plan.flags)
    return 0

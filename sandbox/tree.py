"""A jail that has been started: its processes as one resource, of which nothing is left when the `with` block ends."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from types import TracebackType

from sandbox.group import Group
from sandbox.meter import Meter
from sandbox.processes import kill_groups, signal_all
from sandbox.spec import SandboxError, SurvivorsLeft

PATIENCE_SECONDS = 1.0  # with what should come by itself: the stub's end, the end of output
SURVIVOR_SECONDS = 10.0


class Tree:
    """The stub and everything below it.

    Args:
        line: the command line of the jail.
        env: the environment of that, not of the program.
        follow: makes the meter of a process.
        group: the control group that the program is to be put in; None for none.

    Attributes:
        control: our end of the stub's only tie to the outside; when it closes, the stub kills everything.
        output: descriptor of what the program prints.
        meter: what the processes use.
        buried_at: when the last of them was gone, by `time.monotonic()`.

    Raises:
        SandboxError: the command line cannot be started at all.
        SurvivorsLeft: on leaving, processes could not be killed.
    """

    def __init__(
        self, line: list[str], env: dict[str, str], follow: Callable[[int], Meter], group: Group | None
    ) -> None:
        self.control, theirs = socket.socketpair()
        self._group = group
        with theirs:
            try:
                self._process = subprocess.Popen(
                    line,
                    env=env,
                    stdin=theirs.fileno(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                self.control.close()
                reason = f"{line[0]} cannot be started: {error.strerror}"
                raise SandboxError(f"{reason}; run `agent doctor`") from error
        assert self._process.stdout is not None  # a pipe was asked for
        self._pipe = self._process.stdout
        self.output = self._pipe.fileno()
        self.meter = follow(self._process.pid)
        self.buried_at: float | None = None

    def __enter__(self) -> "Tree":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._pipe:
            self.bury()

    def admit(self) -> None:
        """Puts the jail, which waits for that, into its control group, and lets the program start."""
        if self._group is not None:
            self._group.add(self.meter.everyone())
        with contextlib.suppress(OSError):  # it has ended: its control socket tells
            self.control.send(b"go\n")

    def end(self, politely: bool) -> None:
        """Has the stub end everything: at once, or after a request to the program to do so itself."""
        with contextlib.suppress(OSError):  # it is ending anyway
            if politely:
                self.control.send(b"end\n")
            else:
                self.control.shutdown(socket.SHUT_WR)

    def bury(self) -> None:
        """Sees to it that nobody is alive: lets the kernel and the stub kill all, then looks for ourselves."""
        if self.buried_at is not None:
            return
        until = time.monotonic() + SURVIVOR_SECONDS
        self.control.close()
        try:
            if self._group is not None:
                self._group.kill()
        finally:
            self._sweep(until)
        self.buried_at = time.monotonic()

    def _sweep(self, until: float) -> None:
        """Kills whom the kernel's group and the stub have left."""
        self._gone(PATIENCE_SECONDS)
        while left := self.meter.survivors():
            kill_groups(left)
            signal_all(left, signal.SIGSTOP)  # who is stopped forks no more
            signal_all(left, signal.SIGKILL)
            if time.monotonic() > until:
                advice = "see `ps`: a driver or a file system may hold them"
                raise SurvivorsLeft(f"processes {left[:10]} of a trial do not die; {advice}")
            time.sleep(0.002)
        if not self._gone(0.0):
            self._process.kill()
            if not self._gone(max(0.1, until - time.monotonic())):
                raise SurvivorsLeft(f"process {self._process.pid} of a trial does not die; see `ps`")

    def _gone(self, seconds: float) -> bool:
        """Whether the stub's process has ended within this time; it is collected then."""
        if self._process.returncode is None:
            try:
                descriptor = os.pidfd_open(self._process.pid)
            except OSError:  # before Linux 5.3, or refused in a container
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(seconds)
                return self._process.returncode is not None
            try:
                poller = select.poll()  # told at once, where waiting for the process would look now and then
                poller.register(descriptor, select.POLLIN)
                poller.poll(seconds * 1000)
            finally:
                os.close(descriptor)
        return self._process.poll() is not None

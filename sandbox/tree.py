"""A jail that has been started: its processes as one resource, of which nothing is left when the `with` block ends."""

import contextlib
import signal
import socket
import subprocess
import time
from types import TracebackType

from sandbox.meter import Meter
from sandbox.spec import SandboxError, SurvivorsLeft
from sandbox.stub import signal_all

PATIENCE_SECONDS = 1.0  # with what should come by itself: the stub's end, the end of output
SURVIVOR_SECONDS = 10.0


class Tree:
    """The stub and everything below it.

    Attributes:
        control: our end of the stub's only tie to the outside; when it closes, the stub kills everything.
        output: descriptor of what the program prints.
        meter: what the processes use.

    Raises:
        SandboxError: the command line cannot be started at all.
        SurvivorsLeft: on leaving, processes could not be killed.
    """

    def __init__(self, line: list[str], env: dict[str, str], token: str, memory_limit: int) -> None:
        self.control, theirs = socket.socketpair()
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
        self.meter = Meter(self._process.pid, token, memory_limit)

    def __enter__(self) -> "Tree":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._pipe:
            self._bury()

    def end(self) -> None:
        """Asks the stub to end everything: politely at first."""
        with contextlib.suppress(OSError):  # it is ending anyway
            self.control.send(b"end\n")

    def _bury(self) -> None:
        """Sees to it that nobody is alive: lets the stub kill all, then looks for ourselves."""
        self.control.close()
        until = time.monotonic() + SURVIVOR_SECONDS
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        while left := self.meter.survivors():
            signal_all(left, signal.SIGKILL)
            if time.monotonic() > until:
                advice = "see `ps`: a driver or a file system may hold them"
                raise SurvivorsLeft(f"processes {left} of a trial do not die; {advice}")
            time.sleep(0.005)
        try:
            self._process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise SurvivorsLeft(f"process {self._process.pid} of a trial does not die; see `ps`") from error

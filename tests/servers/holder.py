"""One set of servers for all workers of a test session: started by the first that asks, ended when the last is gone.

    python holder.py FOLDER        # run by `shared_servers`

The holder runs the servers for as long as somebody is connected to it. A connection ends with the process that holds
it, so a worker that is killed counts as gone. (pytest-xdist 3.8 cannot keep a group on one worker with pytest 9.2.)
"""

import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from running import Server, all_servers

ANSWER_SECONDS = 280.0


class Visitors:
    """Who is connected; each is told the same words, as soon as there are any."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self._inside: list[socket.socket] = []
        self._came = False
        self._words = b""
        self.port = int(self._door.getsockname()[1])

    def gone(self, seconds: float = 0.0) -> bool:
        """Whether all have left again, after waiting a while for somebody to come or to go."""
        for ready in select.select([self._door, *self._inside], [], [], seconds)[0]:
            if ready is self._door:
                visitor, self._came = ready.accept()[0], True
                self._inside.append(visitor)
                visitor.sendall(self._words)
            else:
                self._inside.remove(ready)
                ready.close()
        return self._came and not self._inside

    def tell(self, words: dict[str, object]) -> None:
        self._words = json.dumps(words).encode() + b"\n"
        for visitor in self._inside:
            visitor.sendall(self._words)


def hold(folder: Path) -> None:
    visitors = Visitors()
    (folder / "port").write_text(str(visitors.port))
    try:
        with all_servers(folder, visitors.gone) as servers:
            visitors.tell({name: asdict(server) for name, server in servers.items()})
            while not visitors.gone(0.5):
                pass
    except RuntimeError as error:
        visitors.tell({"error": str(error)})


@contextmanager
def shared_servers(folder: Path) -> Iterator[dict[str, Server]]:
    """The servers that all who name the same folder share.

    Raises:
        RuntimeError: they did not start; with the end of the log of the one that did not.
    """
    with connected(folder) as line:
        line.settimeout(ANSWER_SECONDS)
        with line.makefile() as words:
            told = json.loads(words.readline() or '{"error": "the holder of the servers ended"}')
        if "error" in told:
            raise RuntimeError(told["error"])
        yield {name: Server(**server) for name, server in told.items()}


@contextmanager
def connected(folder: Path) -> Iterator[socket.socket]:
    """A connection to the holder, which is started if there is none."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        line = knock(folder)
        if line is None:
            (folder / "port").unlink(missing_ok=True)
            command = [sys.executable, __file__, str(folder)]
            with (folder / "log").open("wb") as log:
                subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        until = time.monotonic() + 20
        while line is None and time.monotonic() < until:
            time.sleep(0.05)
            line = knock(folder)
    if line is None:
        raise RuntimeError("the holder of the servers did not start")
    with line:
        yield line


def knock(folder: Path) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", int((folder / "port").read_text())))
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    if os.fork() == 0:  # nobody's child: it outlives the worker that starts it, if others are there
        os.setsid()
        hold(Path(sys.argv[1]))

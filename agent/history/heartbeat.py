"""The sign of life of a session: budget seconds used, written once a second, so that a kill refunds nothing."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_EVERY_SECONDS = 1.0
_SYNC_EVERY = 5  # beats
_WIDTH = 20  # overwritten in place, never truncated: there is always a whole number to read


@contextmanager
def beating(path: Path, elapsed: Callable[[], float]) -> Iterator[None]:
    """Write `elapsed()` to `path` until the block is left, whatever the program is busy with."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    done = threading.Event()

    def beat() -> None:
        for count in range(1_000_000_000):
            os.pwrite(file, f"{elapsed():{_WIDTH}.3f}".encode(), 0)
            if count % _SYNC_EVERY == 0:
                os.fdatasync(file)
            if done.wait(_EVERY_SECONDS):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        os.close(file)


def last_beat(path: Path) -> float | None:
    """Budget seconds at the last beat; None if there never was one."""
    try:
        return float(path.read_text())
    except (FileNotFoundError, ValueError):
        return None  # killed before the first beat

"""Run a command until stdin closes, then end all of its processes: it cannot outlive who holds the other end.

    python keeper.py COMMAND...

A test session that is killed, however hard, closes the pipe.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

TICK_SECONDS, GRACE_SECONDS = 0.2, 5.0


def alive(group: int) -> bool:
    """Whether a process of the group is left, after those that have ended are buried."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def end(group: int) -> None:
    """Ask, wait, kill."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + GRACE_SECONDS
        if alive(group):
            os.killpg(group, sign)
        while alive(group) and time.monotonic() < until:
            time.sleep(0.05)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent ends, to bury them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def main(command: list[str]) -> int:
    adopt_orphans()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while child.poll() is None and not select.select([sys.stdin], [], [], TICK_SECONDS)[0]:
            pass
    finally:
        status = child.poll()
        end(child.pid)
    return 0 if status is None else status


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))

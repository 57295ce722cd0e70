"""What a probe of a jail runs in it: says what is not as the jail claims, or which path is out of reach.

`python -I -S confined.py USER GROUP KEPT BOUND ENTRIES PATH ...` (see `sandbox.trying.Claim`) prints `fine`, or one
line of complaint. Kept apart from the rest, for it runs as the trial would.
"""

import itertools
import os
import sys
from collections.abc import Iterator

ENTRIES = 2000  # of each folder that a trial has to reach, so many are looked at
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapAmb")


def complaint(numbers: list[int], paths: list[str]) -> str:
    """What is wrong; `fine` if nothing is."""
    user, group, kept, bound, entries = numbers
    with open("/proc/self/status") as file:  # noqa: PTH123 (no other module is needed)
        status = {name: text.split() for name, _, text in (line.partition(":") for line in file)}
    if status["Uid"] != [str(user)] * 4 or status["Gid"] != [str(group)] * 4:
        return f"the program is user {' '.join(status['Uid'])}, not {user}"
    allowed = dict.fromkeys(CAPABILITIES, kept) | {"CapBnd": bound}
    if held := [name for name, mask in allowed.items() if int(status[name][0], 16) & ~mask]:
        return f"the program keeps capabilities ({', '.join(held)})"
    if status["NoNewPrivs"] != ["1"] or status["Seccomp"] != ["2"]:
        return "the program may make every system call"
    if not os.access(".", os.R_OK | os.W_OK | os.X_OK):
        return "the program cannot write to its work folder"
    closed = next((path for path in paths for path in itertools.islice(below(path), entries) if refused(path)), None)
    return f"{closed} is closed to the program" if closed else "fine"


def below(path: str) -> Iterator[str]:
    """`path` and everything in it, links left out."""
    yield path
    if os.path.isdir(path) and not refused(path):  # noqa: PTH112
        for entry in os.scandir(path):
            if not entry.is_symlink():
                yield from below(entry.path)


def refused(path: str) -> bool:
    """Whether this process may not read it."""
    return not os.access(path, os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK)  # noqa: PTH112


if __name__ == "__main__":
    os.write(1, complaint([int(word) for word in sys.argv[1:6]], sys.argv[6:]).encode())

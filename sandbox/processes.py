"""Processes as the kernel lists them in /proc: who is below whom, whose they are, what each one uses; and signals.

A process that has ended has no facts: every function then answers with nothing, never with an error. Imports little:
the keeper inside every jail uses it too.
"""

# ruff: noqa: PTH208 (importing pathlib would double the start-up time)

import os
import signal
from collections.abc import Iterator

OWN_THREADS = "/proc/self/task"
DESCRIPTORS = 100  # between two looks at the clock
UNITS = ((b"RssAnon:", 0), (b"VmSwap:", 0), (b"VmPTE:", 0), (b"RssShmem:", 1))
TABLES = ((b"VmPTE:", 0),)  # page tables: 1.5 TiB of zero pages take 3 GiB of them
SHARES = ((b"Pss_Anon:", 0), (b"SwapPss:", 0), (b"Pss_Shmem:", 1))


def read(path: str) -> bytes:
    """A small file of /proc, whole; empty when its process has ended or hides it from us."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        text = chunk = os.read(descriptor, 65536)
        while chunk:  # a list of children comes in pages
            chunk = os.read(descriptor, 65536)
            text += chunk
        return text
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def lists_children() -> bool:
    """Whether this kernel tells the children of a process, without which no tree can be followed."""
    return all(os.path.exists(f"{OWN_THREADS}/{thread}/children") for thread in os.listdir(OWN_THREADS))  # noqa: PTH110


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, by the kernel's own lists: costs no more than the tree is big."""
    found: list[int] = []
    queue = [pid]
    while queue:
        folder = f"/proc/{queue.pop()}/task"
        try:
            threads = os.listdir(folder)
        except OSError:  # it has just ended
            continue
        for thread in threads:
            children = [int(number) for number in read(f"{folder}/{thread}/children").split()]
            found += children
            queue += children
    return found


def signal_all(pids: list[int], number: int) -> None:
    """Sends a signal to each of `pids` that still lives and may be signalled."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill_groups(pids: list[int]) -> None:
    """Kills the process groups that `pids` belong to, each at one stroke, which no fork outruns; ours is left alone."""
    groups = set()
    for pid in pids:
        try:
            groups.add(os.getpgid(pid))
        except ProcessLookupError:
            continue
    signal_all([-group for group in groups - {os.getpgrp()} if group > 1], signal.SIGKILL)


def kill_user(user: int) -> None:
    """Kills every process of a user at one stroke, which no fork outruns, by a child that becomes that user."""
    try:
        if os.fork():
            return
    except OSError:  # no more processes: there are other ways, and soon there is room
        return
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        if user > 0 and os.getresuid() == (user, user, user):  # else the stroke would hit the whole machine
            os.kill(-1, signal.SIGKILL)
    finally:
        os._exit(0)


def born(pid: int) -> int | None:
    """When a process started, in clock ticks of the machine; None when it has ended, collected or not."""
    state, *numbers = read(f"/proc/{pid}/stat").rpartition(b")")[2].split() or (b"X",)
    if state == b"Z" and lively(pid) is not None:
        state = b"S"
    return None if state in (b"Z", b"X") else int(numbers[18])


def lively(pid: int) -> str | None:
    """The folder in /proc of a thread of the process that has not ended; None when all have.

    A process lives on when its first thread has ended, and its own folder then tells nothing of memory and files.
    """
    folder = f"/proc/{pid}/task"
    try:
        threads = os.listdir(folder)
    except OSError:
        return None
    for thread in threads:
        state = read(f"{folder}/{thread}/stat").rpartition(b")")[2].split(None, 1)[:1]
        if state and state[0] not in (b"Z", b"X"):
            return f"{folder}/{thread}"
    return None


def told(pid: int, name: str, word: bytes = b"") -> bytes:
    """A file of a process in /proc, such as `status`, by a thread that lives if the first one's says nothing.

    `word` is what it must hold to say something.
    """
    text = read(f"/proc/{pid}/{name}")
    if text and word in text:
        return text
    thread = lively(pid)
    return text if thread is None else read(f"{thread}/{name}")


def processor_ticks(pid: int) -> int:
    """Clock ticks of processor time of a process and of its children that were waited for."""
    numbers = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return sum(int(number) for number in numbers[11:15])


def transferred(pid: int) -> int:
    """Bytes that a process has read and written so far, of files, pipes and sockets."""
    return sum(int(line.split()[1]) for line in read(f"/proc/{pid}/io").splitlines() if line[1:5] == b"char")


def memory(pid: int) -> tuple[int, int]:
    """Bytes of a process's own memory, swapped out or not, and of shared memory that it has touched.

    Pages of files are left out: the kernel takes them back when memory is short (a memory-mapped data set).
    """
    return _bytes(told(pid, "status", UNITS[0][0]), UNITS)


def shares(pid: int) -> tuple[int, int]:
    """The same, with each shared page divided among its users; `memory` where the kernel does not tell."""
    text = told(pid, "smaps_rollup", SHARES[0][0])
    if SHARES[0][0] not in text:
        return memory(pid)
    own, shared = _bytes(text, SHARES)
    return own + _bytes(told(pid, "status", TABLES[0][0]), TABLES)[0], shared


def _bytes(text: bytes, names: tuple[tuple[bytes, int], ...]) -> tuple[int, int]:
    found = [0, 0]
    for name, at in names:
        before, _, behind = text.partition(b"\n" + name)
        if behind:
            found[at] += int(behind.split(None, 1)[0]) * 1024
    return found[0], found[1]


def everyone() -> list[int]:
    """All processes that this machine shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def marked(mark: bytes, since: int) -> list[int]:
    """Processes anywhere on the machine, born at `since` or later, with `mark` in their environment."""
    return [pid for pid in everyone() if (born(pid) or -1) >= since and mark in told(pid, "environ").split(b"\0")]


def of_user(user: int, since: int) -> list[int]:
    """Processes anywhere on the machine, born at `since` or later, whose real user is `user`."""
    line = b"\nUid:\t%d\t" % user
    return [pid for pid in everyone() if (born(pid) or -1) >= since and line in read(f"/proc/{pid}/status")]


def unlinked(pids: list[int]) -> Iterator[dict[int, int]]:
    """Bytes so far, on each device, in files without a name that these processes hold open; `memfd` makes such files.

    Told now and then, and at the end. A file counts once.
    """
    found: dict[int, int] = {}
    seen: set[tuple[int, int]] = set()
    for count, path in enumerate(descriptors(pids)):
        if count % DESCRIPTORS == 0:
            yield found
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            continue
        file = (status.st_dev, status.st_ino)
        if status.st_nlink == 0 and status.st_mode & 0o170000 == 0o100000 and file not in seen:
            seen.add(file)
            found[status.st_dev] = found.get(status.st_dev, 0) + status.st_blocks * 512
    yield found


def descriptors(pids: list[int]) -> Iterator[str]:
    """What these processes hold open, as paths."""
    for pid in pids:
        folder = f"/proc/{pid}/fd"
        try:
            names = os.listdir(folder)
            if not names and (thread := lively(pid)) is not None:
                folder = f"{thread}/fd"
                names = os.listdir(folder)
        except OSError:  # it has just ended, or hides them
            continue
        yield from (f"{folder}/{name}" for name in names)

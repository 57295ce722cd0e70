"""What a user of its own can leave on the machine after its last process: files in shared folders, System V memory.

Removed after each run, so that nothing takes the next trial's memory or speaks to it. Jails with folders and a process
space of their own leave nothing here.
"""

import contextlib
import ctypes
import os
from pathlib import Path

from sandbox.removing import remove as remove_tree

FOLDERS = (Path("/tmp"), Path("/dev/shm"), Path("/var/tmp"))
IPC = ("shm", "sem", "msg")
IPC_RMID = 0


def remove(user: int) -> list[str]:
    """Removes what belongs to `user`, who has no process any more; answers with what stays. As root."""
    for folder in FOLDERS:
        for path in owned(folder, user):
            with contextlib.suppress(OSError):  # then it is in the answer
                if path.is_dir():
                    remove_tree(path)
                else:
                    path.unlink()
    for kind in IPC:
        for number in segments(kind, user):
            _forget(kind, number)
    return traces(user)


def traces(user: int) -> list[str]:
    """What belongs to `user`: paths, and System V objects as `ipcs` names them."""
    paths = [str(path) for folder in FOLDERS for path in owned(folder, user)]
    return paths + [f"{kind} {number}" for kind in IPC for number in segments(kind, user)]


def owned(folder: Path, user: int) -> list[Path]:
    """What lies directly in `folder` and belongs to `user`."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_uid == user:
                    found.append(Path(entry.path))
    return found


def segments(kind: str, user: int) -> list[int]:
    """Numbers of a user's System V objects of one kind."""
    found = []
    with contextlib.suppress(OSError):
        head, *lines = (line.split() for line in Path(f"/proc/sysvipc/{kind}").read_text().splitlines())
        for line in lines:
            row = dict(zip(head, line, strict=False))
            if int(row["uid"]) == user:
                found.append(int(row[f"{kind}id" if kind != "msg" else "msqid"]))
    return found


def _forget(kind: str, number: int) -> None:
    libc = ctypes.CDLL(None)
    if kind == "shm":
        libc.shmctl(number, IPC_RMID, None)
    elif kind == "sem":
        libc.semctl(number, 0, IPC_RMID)
    else:
        libc.msgctl(number, IPC_RMID, None)

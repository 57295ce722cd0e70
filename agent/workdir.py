"""A trial's work folder: laid out from code, read back to be sure, and what it left read with suspicion."""

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from agent.code import Code, digest
from agent.errors import AgentError
from sandbox.removing import remove
from sandbox.spec import Mount

_CHUNK = 2**20


@dataclass(frozen=True)
class LaidOut:
    """A work folder that is ready.

    Attributes:
        mounts: second copies of the files that may not change, to be shown read-only over the first ones by a jail that
            can do so.
        code_sha256: digest of the code as read back from disk.
    """

    mounts: tuple[Mount, ...]
    code_sha256: str


def lay_out(folder: Path, code: Code, editable: set[str], hidden: set[str]) -> LaidOut:
    """Write `code` below a fresh `folder`, without the hidden files.

    Raises:
        AgentError: what was read back from disk is not what was written.
    """
    frozen = folder.with_name(f"{folder.name}.frozen")
    for stale in (folder, frozen):
        remove(stale)
        stale.mkdir(parents=True)
    mounts = []
    read_back = {path: code[path] for path in hidden & set(code)}
    for path in sorted(set(code) - hidden):
        read_back[path] = _write(folder / path, code[path])
        if path not in editable:
            read_back[path] = _write(frozen / path, code[path])
            mounts.append(Mount(frozen / path, path))
    if digest(read_back) != digest(code):
        raise AgentError(f"files written to {folder} read back differently: check the disk")
    return LaidOut(tuple(mounts), digest(read_back))


def _write(place: Path, content: bytes) -> bytes:
    """Write a file and read it back."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place.read_bytes()


def clear(folder: Path) -> None:
    """Remove what `lay_out` made."""
    remove(folder)
    remove(folder.with_name(f"{folder.name}.frozen"))


def take(folder: Path, name: str, place: Path, most: int) -> str | None:
    """Copy `folder/name` (one folder deep at most) that an untrusted program left to `place`.

    Returns:
        None, or one sentence that says why it was not taken: only a plain file of at most `most` bytes is. No link is
        followed, in the folders on the way neither; pipes and devices are not waited for.
    """
    file: int | None = None
    try:
        above = os.open(folder / Path(name).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(Path(name).name, flags, dir_fd=above)
        finally:
            os.close(above)
    except OSError as error:
        return f"it left no usable {name} ({error.strerror})"
    with os.fdopen(file, "rb") as stream:
        about = os.fstat(stream.fileno())
        if not stat.S_ISREG(about.st_mode):
            return f"{name} is no plain file"
        if about.st_size > most:
            return f"{name} has {about.st_size:,} bytes, more than the {most:,} allowed"
        with place.open("wb") as copy:
            shutil.copyfileobj(stream, copy, _CHUNK)
    return None

"""Compiled code (torch inductor, Triton, CUDA) that trials would otherwise make again: shared one way only.

A cache that trials share is a channel between them, and code that one of them could plant in the next. So only the
first training of the baseline, which runs the user's own unedited code, leaves its cache: it becomes the run's seed.
Every later training gets a private copy of the seed to write to, and what it leaves is thrown away. A target that
compiles nothing leaves no seed, and costs nothing.
"""

import os
import shutil
import stat
from pathlib import Path

from sandbox.removing import remove
from sandbox.spec import Mount

INSIDE = "~/.compiled"  # the same path in every trial of a jail with a mount namespace; no other folder has to be made
MOST_BYTES = 2**29
MOST_FILES = 20_000
MOST_DEPTH = 16

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Refused(Exception):
    """Why a cache is not taken, as the end of a sentence."""


def environment(folder_inside: str) -> dict[str, str]:
    """Variables that keep the caches below one folder. torch and CUDA make the folders in it.

    Triton's files name each other by absolute path: Triton finds them only where the folder has the same path again.
    Inductor looks by content, and finds a copy anywhere. The headers that it compiles ahead of C++ kernels it keeps in
    the temporary folder, and makes again for kernels that are there already: three seconds (torch 2.13, two cores) that
    a trial with a temporary folder of its own would pay each time, for nothing; so they are left away.
    """
    return {
        "TORCHINDUCTOR_CACHE_DIR": f"{folder_inside}/inductor",
        "TRITON_CACHE_DIR": f"{folder_inside}/triton",
        "CUDA_CACHE_PATH": f"{folder_inside}/cuda",
        "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0",
    }


def place_of(work: Path) -> Path:
    """The cache folder of the training in `work`, beside it: what it holds is no part of the trial's files."""
    return work.with_name(f"{work.name}.cache")


def seed_of(work: Path) -> Path:
    """Where the seed of a run lies, one of whose trainings is in `work`: in the run's folder."""
    return work.parent.with_name("compiled")


def offer(work: Path, first: bool) -> tuple[Mount, ...]:
    """The cache of the training in `work`, laid out, as a mount; none if nothing has been or will be shared.

    `first` is the training whose cache becomes the seed.
    """
    seed = seed_of(work)
    if not first and not seed.is_dir():
        return ()
    lay_out(seed, place_of(work))
    return (Mount(place_of(work), INSIDE, writable=True),)


def seed(left: Path, to: Path, most_bytes: int = MOST_BYTES) -> str | None:
    """Copy what a program left in its cache folder to `to`, whole or not at all.

    Only plain files and folders are copied; no link is followed, and pipes and devices are not waited for. Nothing may
    run in `left` any more, and `to` must not exist.

    Returns:
        None, or one sentence that says why there is no seed: nothing was compiled, or it is too much.
    """
    part = to.with_name(f"{to.name}.part")
    remove(part)
    try:
        taken = _Taken(most_bytes)
        taken.folder(left, part)
        if taken.files:
            part.rename(to)
            return None
        return "nothing was compiled"
    except (_Refused, OSError) as refused:  # a program may take away permissions, or put a link in place of the folder
        return f"the cache of compiled code is not kept: {refused}"
    finally:
        remove(part)


class _Taken:
    """What has been copied so far."""

    def __init__(self, most_bytes: int) -> None:
        self.bytes, self.files, self.most = 0, 0, most_bytes

    def folder(self, left: Path, to: Path) -> None:
        """Copy the folder `left`."""
        top = os.open(left, _FLAGS | os.O_DIRECTORY)
        try:
            self._level(top, to, MOST_DEPTH)
        finally:
            os.close(top)

    def _level(self, above: int, to: Path, depth: int) -> None:
        if depth == 0:
            raise _Refused(f"its folders are more than {MOST_DEPTH} deep")
        to.mkdir(parents=True)
        for name in sorted(os.listdir(above)):
            kind = os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind) or stat.S_ISREG(kind):
                entry = os.open(name, _FLAGS, dir_fd=above)
                try:
                    self._entry(entry, to / name, depth)
                finally:
                    os.close(entry)

    def _entry(self, entry: int, to: Path, depth: int) -> None:
        about = os.fstat(entry)
        if stat.S_ISDIR(about.st_mode):
            self._level(entry, to, depth - 1)
            return
        self.files, self.bytes = self.files + 1, self.bytes + about.st_size
        if self.files > MOST_FILES or self.bytes > self.most:
            raise _Refused(f"it is more than {self.most:,} bytes or {MOST_FILES:,} files")
        with os.fdopen(os.dup(entry), "rb") as source, to.open("wb") as copy:
            shutil.copyfileobj(source, copy)


def lay_out(seed: Path, place: Path) -> None:
    """A fresh folder `place` with a copy of the seed, if there is one: no file of it is shared with the seed."""
    remove(place)
    if seed.is_dir():
        shutil.copytree(seed, place, copy_function=shutil.copyfile)
    else:
        place.mkdir(parents=True)

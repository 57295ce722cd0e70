"""Removes what an untrusted program left: folder trees of any depth, with whatever permissions, following no link."""

import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def remove(folder: Path) -> None:
    """Remove a folder tree, following no link, however deep it is and whatever permissions a script took away.

    Works level by level: what lies two levels down is moved up, so that no path ever gets too long.
    """
    if folder.is_symlink():
        folder.unlink()
        return
    if not folder.exists():
        return
    folder.chmod(0o700)
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        numbers = itertools.count()
        while names := os.listdir(top):  # noqa: PTH208 (by descriptor)
            for name in names:
                _remove_level(top, name, numbers)
    finally:
        os.close(top)
    folder.rmdir()


def _remove_level(top: int, name: str, numbers: Iterator[int]) -> None:
    """Remove `name` in the folder `top`; folders inside it move up into `top` under a number not used before."""
    if not _is_folder(top, name):
        os.unlink(name, dir_fd=top)
        return
    os.chmod(name, 0o700, dir_fd=top)
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
    try:
        for below in os.listdir(inner):  # noqa: PTH208
            if _is_folder(inner, below):
                os.chmod(below, 0o700, dir_fd=inner)  # its `..` changes
                os.rename(below, f".moved-{next(numbers)}-{os.getpid()}", src_dir_fd=inner, dst_dir_fd=top)
            else:
                os.unlink(below, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)


def _is_folder(parent: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)

"""Folders in the cache: made whole or not at all, and compared with their hashes whenever they are used. Frozen."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from documents import CorpusError


def cache_home() -> Path:
    """Return the cache folder of this project."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autoresearch-agent"


def publish(folder: Path, write: Callable[[Path], None]) -> None:
    """Have a folder written under another name beside `folder`, and rename it: a half-written one is never seen."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=folder.parent))
    try:
        partial.chmod(0o755)
        write(partial)
        partial.rename(folder)
    except OSError:
        if not folder.exists():  # else another process has made the same meanwhile
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder, by its name relative to `folder.parent`."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder.parent).as_posix(): file_hash(path) for path in files}


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(folder: Path, found: dict[str, str], expected: dict[str, str]) -> None:
    """Raise `CorpusError` if a file of `folder` has changed, came or went."""
    changed = sorted(name for name, _ in found.items() ^ expected.items())
    if changed:
        raise CorpusError(f"{folder / changed[0]} has changed: remove {folder} and prepare again", code=1)

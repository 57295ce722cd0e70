"""The code of a target as a value: paths to bytes, read once at the start of a run.

The user's folder is only read. From here on the run works on its own copy, so edits that the user makes meanwhile
change nothing. Files too large to be code (weights, data) are not copied: trials see them in place, read-only.
"""

from dataclasses import dataclass
from pathlib import Path

from agent.code import Code
from agent.errors import UsageError
from agent.target import Target

LARGEST_CODE_FILE = 2**20
MOST_FILES = 2000
_NOT_CODE = {"__pycache__", "runs", "node_modules", "venv", "env", "build", "dist", "wandb", "mlruns"}


# what a run keeps in its own folder beside the code: a target's files of these names are left out
OWN_NAMES = (
    "journal.jsonl",
    "result.json",
    "run.toml",
    "lock",
    "heartbeat",
    "report.html",
    "logs",
    "work",
    "calls",
    "inbox",
    ".git",
)


@dataclass(frozen=True)
class Snapshot:
    """The target's folder as found.

    Attributes:
        code: relative path -> content of every file small enough to be code.
        large: relative paths of the others, which are shown to trials in place.
        left_out: what is not part of the run: links that lead outside, names that runs use themselves, or not UTF-8.
    """

    code: Code
    large: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def take_snapshot(folder: Path, target: Target) -> Snapshot:
    """Read the target's folder; hidden files, caches and links that lead outside are left out.

    Raises:
        UsageError: an editable file is too large, or the folder holds more files than a script's folder would.
    """
    code: dict[str, bytes] = {}
    large: list[str] = []
    left_out = [path.name for path in sorted(folder.iterdir()) if path.name in OWN_NAMES and path.name != ".git"]
    for path in _files(folder, left_out):
        name = path.relative_to(folder).as_posix()
        if path.stat().st_size <= LARGEST_CODE_FILE:
            code[name] = path.read_bytes()
        else:
            large.append(name)
        if len(code) > MOST_FILES:
            raise UsageError(f"{folder} holds more than {MOST_FILES} files: point at the folder of the script alone")
    too_large = [name for name in target.edit if name not in code]
    if too_large:
        raise UsageError(f"{folder / too_large[0]} is hidden, a link or larger than 1 MiB: it cannot be edited")
    if target.brief and target.brief not in code:
        code[Path(target.brief).name] = (folder / target.brief).read_bytes()
    return Snapshot(dict(sorted(code.items())), tuple(sorted(large)), tuple(left_out))


def _files(top: Path, left_out: list[str]) -> list[Path]:
    """All files of the script below `top`. Names in `left_out` are none; what cannot be taken joins them."""
    mine = [path for path in _walk(top) if path.relative_to(top).parts[0] not in left_out]
    usable = [path for path in mine if path.resolve().is_relative_to(top.resolve()) and _is_text(path.name)]
    left_out += [ascii(path.relative_to(top).as_posix()) for path in mine if path not in set(usable)]
    return usable


def _is_text(name: str) -> bool:
    """Whether a file's name is UTF-8: git and the journal take no other."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _NOT_CODE or path.name.endswith(".egg-info"):
            continue
        if path.is_dir() and not path.is_symlink() and not (path / "pyvenv.cfg").exists():
            found.extend(_walk(path))
        elif path.is_file() or path.is_symlink():
            found.append(path)
    return found

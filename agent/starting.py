"""`agent init` writes a target.toml for a folder by looking at its scripts; `agent space` reads a script's space."""

import json
from pathlib import Path

from agent.errors import UsageError
from agent.inspect_script import Found, MetricLine, inspect
from agent.session import host_memory
from agent.snapshot import LARGEST_CODE_FILE
from agent.space import Space, find_space
from agent.target import load_target
from agent.units import counted, show_duration

_DEFAULT_SECONDS = 300.0
_MEMORY_SHARE = 0.75  # of the machine, for one trial


def write_target(folder: Path) -> list[str]:
    """Write `folder/target.toml`; returns what to tell the user.

    Raises:
        UsageError: no folder, a target.toml is there, nothing to edit was found, or no metric is printed.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: name the folder of your training script")
    path = folder / "target.toml"
    if path.exists():
        raise UsageError(f"{path} exists: edit it, or remove it to have it written anew")
    files = _texts(folder)
    found = inspect(files)
    if found.edit is None:
        unreadable = f" ({', '.join(found.unreadable)}: no valid Python)" if found.unreadable else ""
        raise UsageError(
            f"{folder} has no script to edit{unreadable}: expected train.py, main.py or one script that trains"
        )
    if found.metric is None:
        raise UsageError(
            f"{folder / found.edit} prints no metric that could be found: print one at its end, such as "
            "print(f'val_loss: {val_loss:.4f}'), then run `agent init` again"
        )
    space = find_space({found.edit: files[found.edit]}, {})
    try:
        path.write_text(_toml(folder, files, found, found.edit, found.metric), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return _told(path, found, found.metric, space)


def space_of(path: Path) -> Space:
    """The search space of a script, or of the target in a folder.

    Raises:
        UsageError: it cannot be read.
    """
    if path.is_dir():
        target = load_target(path)
        return find_space({name: _source(path / name) for name in target.edit}, target.space)
    return find_space({path.name: _source(path)}, {})


def _source(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def _texts(folder: Path) -> dict[str, str]:
    """Names of the files in the folder itself; the text of those that are Python."""
    texts: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stat().st_size <= LARGEST_CODE_FILE:
            is_code = path.suffix == ".py"
            texts[path.name] = path.read_bytes().decode(errors="replace") if is_code else ""
    return texts


def _toml(folder: Path, files: dict[str, str], found: Found, edit: str, metric: MetricLine) -> str:
    memory = int(_MEMORY_SHARE * host_memory()) >> 30
    brief = next((name for name in ("program.md", "AGENT.md") if name in files), None)
    seconds = found.train_seconds or _DEFAULT_SECONDS
    mounts = [place for place in found.home_folders if _exists(place)]
    guess = "" if found.train_seconds else "   # a guess: how long one training may take"
    lines = [
        f"name = {_text(folder.resolve().name)}",
        f"edit = [{_text(edit)}]                 # all else is read-only in the sandbox",
        f'run = ["python", {_text(edit)}]        # python: the one that runs the agent; or give a path',
        *([f"brief = {_text(brief)}"] if brief else []),
        *([f"mounts = {json.dumps(mounts)}   # read-only"] if mounts else []),
        "",
        "[metric]",
        f"name = {_text(metric.name)}",
        f"goal = {_text(metric.goal)}",
        f"pattern = {_literal(metric.pattern)}   # self-reported: the script's own word",
        *(["", "[progress]", f"pattern = {_literal(found.progress)}"] if found.progress else []),
        "",
        "[limits]",
        f"train_seconds = {seconds:g}{guess}",
        "startup_seconds = 300",
        "judge_seconds = 300                    # the script measures itself in this time",
        f'memory = "{max(1, memory)}GiB"',
        "network = false",
        "",
        "# [space]                              # without it, ranges are inferred: `agent space .` shows them",
        "# LEARNING_RATE = { low = 0.0001, high = 0.01, log = true }",
    ]
    return "\n".join(lines) + "\n"


def _told(path: Path, found: Found, metric: MetricLine, space: Space) -> list[str]:
    lines = [
        f"wrote {path}",
        f"  edits    {found.edit}" + (" (the layout of karpathy/autoresearch)" if found.autoresearch else ""),
        f"  metric   {metric.name}, {metric.goal}, read from the script's output (self-reported)",
        f"  curve    {'read from the progress lines' if found.progress else 'no line with step and loss found'}",
        f"  time     {show_duration(found.train_seconds or _DEFAULT_SECONDS)} a training"
        + ("" if found.train_seconds else ": a guess, set train_seconds"),
        f"  space    {counted(len(space.knobs), 'constant')}: "
        + (", ".join(knob.name for knob in space.knobs) or "none found"),
    ]
    if metric.note:
        lines.append(f"  doubt    {metric.note}")
    missing = [place for place in found.home_folders if not _exists(place)]
    if missing:
        lines.append(f"  missing  the script names {', '.join(missing)}: prepare your data, then add it to mounts")
    if not space.knobs:
        lines.append(
            "  doubt    there is nothing to search yet: lift numbers of the script to constants like LR = 0.01"
        )
    return [*lines, f"next: read {path}, then `agent run {path.parent} --budget 5h`"]


def _exists(place: str) -> bool:
    return Path(place).expanduser().exists()


def _text(text: str) -> str:
    return json.dumps(text)  # a JSON string is a TOML basic string


def _literal(text: str) -> str:
    return f"'{text}'" if "'" not in text else json.dumps(text)

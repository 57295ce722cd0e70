"""File names as models write them. They are labels: compared with the names that may change, never opened.

A missing name is no error: it stays None, for whoever applies the edit to decide.
"""

import re
from collections.abc import Sequence

from agent.edits.answer.fences import fence
from agent.edits.errors import EditError, Wrong
from agent.edits.rules import Rules

_ENDINGS = (
    "py|pyi|ipynb|toml|txt|md|rst|json|jsonl|ya?ml|cfg|ini|conf|sh|c|cc|cpp|cu|cuh|h|hpp|rs|go|js|ts|csv|lock|env"
)
_NAME = re.compile(rf"(?:[A-Za-z]:)?(?:[\w.~@+-]*[/\\])*[\w.@+-]*\w\.(?:{_ENDINGS})", re.IGNORECASE)
_PATH = re.compile(  # by its form, whatever its ending: it leads out of the folder, or begins at a root
    r"(?:~|\.\.?)(?:[/\\][\w.@+-]*)+|/[\w.@+-]+(?:/[\w.@+-]+)+|[\w.@+-]+(?:/[\w.@+-]+)*/\.\.(?:/[\w.@+-]+)+"
)
_LEAD = re.compile(r"\A(?:(?:[#>*+-]|/(?![\w.]))+|\d{1,3}[.)])\s*")
_REMARK = re.compile(r"\([^()]*\)\s*[:*`]*$")
_LABELS = re.compile(
    r"/?(?:an?|and|(?:chang|updat|modifi|modify|edit)(?:e|es|ed|s|ing)?|modifications?|code|complete|contents?|file(?:name|path)?|"
    r"for|full|here(?:['’]s)?|in|is|name|new|now|of|path|source|start|the|title|to|version|with|your)",
    re.IGNORECASE,
)
_LONGEST = 200
_REACH = 3


def resolve(named: str, rules: Rules) -> str:
    """The editable file that `named` means.

    Raises:
        EditError: it is another file, or points out of the folder (`path`).
    """
    name = named.strip().replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    if name in rules.editable:
        return name
    parts = name.split("/")
    same = [path for path in rules.editable if path.split("/")[-1] == parts[-1]]
    if len(same) > 1:
        same = [path for path in same if f"/{name}".endswith(f"/{path}") or f"/{path}".endswith(f"/{name}")]
    if len(same) != 1 or ".." in parts or name in rules.protected:
        raise EditError(
            f"{named[:_LONGEST]} may not be edited: {' and '.join(rules.editable)} is all that may change, under its "
            "own name. Send every edit for that file.",
            Wrong.PATH,
        )
    return same[0]


def named_in(line: str) -> str | None:
    """The file name that `line` consists of, without its decorations (`# File: **train.py**`); None for prose."""
    if len(line) > _LONGEST:
        return None
    text = _REMARK.sub("", _LEAD.sub("", line.strip()))
    words = [word.strip("`*\"'[](){}:,;|#") for word in re.split(r"[\s=<>]+", text)]
    left = [word for word in words if word and not _LABELS.fullmatch(word)]
    return left[0] if len(left) == 1 and _is_name(left[0]) else None


def named_by_fence(info: str) -> str | None:
    """The file name in what follows an opening fence (`python:train.py`, `python title="train.py"`)."""
    words = [word.strip("\"'{}()[]`") for word in re.split(r"[\s:=]+", info[:_LONGEST])]
    return next((word for word in words if _is_name(word)), None)


def _is_name(word: str) -> bool:
    return bool(_NAME.fullmatch(word) or _PATH.fullmatch(word))


def named_above(lines: Sequence[str], index: int, after: int = -1) -> str | None:
    """The file name in the three lines above `lines[index]`, with nothing but fences and blank lines between.

    Args:
        lines: of the answer.
        index: where the edit begins.
        after: lines up to this one belong to something else.
    """
    for line in reversed(lines[max(after + 1, index - _REACH, 0) : index]):
        opened = fence(line)
        name = named_by_fence(opened.info) if opened else named_in(line)
        if name or not (opened or not line.strip()):
            return name
    return None

"""Markdown fences in a model's answer. What lies between two of them is for the readers of the forms to judge."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^`]*)")
SHELL = frozenset({"bash", "sh", "shell", "zsh", "fish", "console", "terminal", "shellsession", "powershell", "cmd"})


@dataclass(frozen=True)
class Fence:
    """A line that is a fence.

    Attributes:
        indent: blanks before it.
        mark: its backticks or tildes.
        info: what follows them; empty for a closing fence.
    """

    indent: str
    mark: str
    info: str

    @property
    def label(self) -> str:
        """First word of `info`, lower case: the language."""
        words = re.split(r"[\s:,{}=]+", self.info.lower().strip(" .{"), maxsplit=1)
        return words[0]


@dataclass(frozen=True)
class Section:
    """A fenced part: `lines[start:end]` lie between the fences; `closed` is False where the answer ends first."""

    fence: Fence
    start: int
    end: int
    closed: bool


def fence(line: str) -> Fence | None:
    """The fence that `line` is; None if it is none."""
    if found := _FENCE.fullmatch(line):
        return Fence(found[1], found[2], found[3].strip())
    return None


def closes(line: str, opened: Fence) -> bool:
    """Whether `line` can close the section that `opened` began: no deeper, and no shorter."""
    found = fence(line)
    if found is None or found.info or len(found.indent) > len(opened.indent):
        return False
    return found.mark.startswith(opened.mark)


def sections(lines: Sequence[str]) -> list[Section]:
    """The fenced parts of `lines`, each up to the first fence that can close it."""
    found: list[Section] = []
    opened: Fence | None = None
    start = 0
    for index, line in enumerate(lines):
        if opened is None:
            opened, start = fence(line), index + 1
        elif closes(line, opened):
            found.append(Section(opened, start, index, True))
            opened = None
    if opened is not None:
        found.append(Section(opened, start, len(lines), False))
    return found


def dedented(lines: Sequence[str], indent: str) -> tuple[str, ...]:
    """`lines` without `indent`, if every line that is not blank has it; else as they are."""
    if indent and all(line.startswith(indent) or not line.strip() for line in lines):
        return tuple(line[len(indent) :] if line.startswith(indent) else "" for line in lines)
    return tuple(lines)

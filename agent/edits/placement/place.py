"""Where a block stands in a file, as locating finds it and applying uses it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from agent.edits.placement.document import indent


@dataclass(frozen=True)
class Shift:
    """How the indentation that a model typed becomes the file's.

    Attributes:
        cut: what every line has too much.
        add: what every line lacks.
        first: what the first line alone lacks, as when a block was stripped as a whole.
    """

    cut: str = ""
    add: str = ""
    first: str = ""

    @classmethod
    def between(cls, typed: Sequence[str], real: Sequence[str]) -> Self | None:
        """The one shift that turns the indentation of all `typed` lines into that of the `real` ones, or None."""
        pairs = [(indent(a), indent(b)) for a, b in zip(typed, real, strict=True)]
        a, b = pairs[0]
        if all(a == b for a, b in pairs):
            return cls()
        if len(pairs) > 1 and not a and all(a == b for a, b in pairs[1:]):
            return cls(first=b)
        if b.endswith(a):
            shift = cls(add=b[: len(b) - len(a)])
        elif a.endswith(b):
            shift = cls(cut=a[: len(a) - len(b)])
        else:
            return None
        fits = all(a.startswith(shift.cut) and shift.add + a.removeprefix(shift.cut) == b for a, b in pairs)
        return shift if fits else None

    def of(self, line: str, is_first: bool) -> str | None:
        """`line` as it stands in the file; None if it does not have the blanks that all have too much."""
        if not line.strip():
            return line
        if self.first:
            return self.first + line if is_first and not indent(line) else line
        return self.add + line.removeprefix(self.cut) if line.startswith(self.cut) else None


@dataclass(frozen=True)
class Place:
    """One place in one file for one block.

    Attributes:
        path: of the file.
        search, replace: the reading of the block that was found.
        rows: for each search line the index of the file's line; None for a blank line or comment that it lacks.
        level: how it was found: `exact`, `trailing`, `tolerant`, `inline`, `fuzzy`.
        shift: of the indentation.
        span: start and end of the text in its line, where the block is a part of one line.
    """

    path: str
    search: tuple[str, ...]
    replace: tuple[str, ...]
    rows: tuple[int | None, ...]
    level: str
    shift: Shift = Shift()
    span: tuple[int, int] | None = None

    @property
    def first_row(self) -> int:
        """The first line of the file that the block quotes, counted from 0."""
        return min(row for row in self.rows if row is not None)

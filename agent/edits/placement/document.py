"""A file as lines that remember their bytes: `Document.of(text).text == text`, whatever the line endings.

Only "\\n" and "\\r\\n" end a line. A form feed, a lone "\\r" or U+2028 is content, as it is to git.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from agent.edits.placement.tokens import code_of, plain

BOM = "\ufeff"


@dataclass(frozen=True)
class Document:
    """A text file.

    Attributes:
        lines: without their line ends and without a byte order mark.
        ends: "\\n" or "\\r\\n" for each line; "" for a last line that has none.
        bom: the byte order mark, or "".
    """

    lines: tuple[str, ...]
    ends: tuple[str, ...]
    bom: str = ""

    @classmethod
    def of(cls, text: str) -> Self:
        """The document that `text` is."""
        bom = BOM if text.startswith(BOM) else ""
        *complete, rest = text.removeprefix(BOM).split("\n")
        ends = ["\r\n" if line.endswith("\r") else "\n" for line in complete]
        lines = [line.removesuffix("\r") for line in complete]
        return cls((*lines, rest), (*ends, ""), bom) if rest else cls(tuple(lines), tuple(ends), bom)

    @property
    def text(self) -> str:
        """All of it, byte for byte."""
        return self.bom + "".join(line + end for line, end in zip(self.lines, self.ends, strict=True))

    @cached_property
    def code(self) -> tuple[tuple[str, ...], ...]:
        """The code tokens of each line; empty for blank lines and comments."""
        return tuple(code_of(line) for line in self.lines)

    @cached_property
    def plain(self) -> tuple[str, ...]:
        """Each line in plain characters, without blanks around it."""
        return tuple(plain(line) for line in self.lines)

    @cached_property
    def code_rows(self) -> tuple[int, ...]:
        """Indices of the lines that hold code."""
        return tuple(row for row, code in enumerate(self.code) if code)


def indent(line: str) -> str:
    """The blanks and tabs that `line` starts with."""
    return line[: len(line) - len(line.lstrip(" \t"))]

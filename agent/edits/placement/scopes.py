"""The lines that a diff's headings (`@@ class MLP`, `@@ def forward`) speak of: they choose among several places."""

from collections.abc import Sequence

from agent.edits.placement.document import Document, indent
from agent.edits.placement.tokens import code_of

_CLOSING = (")", "]", "}")


def scopes(document: Document, headings: Sequence[str]) -> list[range]:
    """Row ranges of the blocks under the headings, the outermost first; empty if one of them is not in the file."""
    found = [range(len(document.lines))]
    for heading in headings:
        found = [
            _under(document, row)
            for row in document.code_rows
            if any(row in outer for outer in found) and _starts(document.code[row], code_of(heading))
        ]
    return found


def _starts(code: Sequence[str], heading: Sequence[str]) -> bool:
    """Whether a line begins as the heading says; `class A:` is `class A(B):` too."""
    named = tuple(heading[:-1] if heading[-1:] == (":",) else heading)
    return bool(named) and tuple(code[: len(named)]) == named


def _under(document: Document, row: int) -> range:
    """From a heading's line to the last line of its block."""
    depth = len(indent(document.lines[row]))
    for later in document.code_rows:
        line = document.lines[later]
        if row < later and len(indent(line)) <= depth and not line.lstrip().startswith(_CLOSING):
            return range(row, later)
    return range(row, len(document.lines))

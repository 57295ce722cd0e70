"""A block typed with tabs for a file of spaces, or the other way round, in the file's style."""

from collections import Counter
from collections.abc import Sequence
from math import gcd

from agent.edits.placement.document import Document, indent

_UNITS = (2, 3, 4, 8)
_USUAL = 4

Pair = tuple[tuple[str, ...], tuple[str, ...]]


def retabbed(document: Document, search: tuple[str, ...], replace: tuple[str, ...]) -> Pair | None:
    """The block as the file indents; None if it does so already, or if the file has no style of its own."""
    tabs = sum(line.startswith("\t") for line in document.lines)
    spaces = sum(line.startswith("  ") for line in document.lines)
    other = "\t" if spaces > tabs else " "
    if tabs == spaces or not any(other in indent(line) for line in (*search, *replace)):
        return None
    unit = " " * _unit(document.lines if other == "\t" else (*search, *replace))
    old, new = ("\t", unit) if other == "\t" else (unit, "\t")
    return _each(search, old, new), _each(replace, old, new)


def _each(lines: Sequence[str], old: str, new: str) -> tuple[str, ...]:
    return tuple(indent(line).replace(old, new) + line[len(indent(line)) :] for line in lines)


def _unit(lines: Sequence[str]) -> int:
    """Spaces for one level: the usual step behind a colon, or else what all indentations have in common."""
    full = [line for line in lines if line.strip()]
    depths = [len(indent(line)) for line in full]
    steps = Counter(
        depths[at + 1] - depths[at]
        for at, line in enumerate(full[:-1])
        if line.rstrip().endswith(":") and depths[at + 1] > depths[at]
    )
    common = steps.most_common(1)[0][0] if steps else gcd(*depths)
    return common if common in _UNITS else _USUAL

"""Hunks as models write them, in diffs and in patches: counts are never believed, a line number is a tie-break only.

A context line has two readings: models often leave out its column, the blank before it.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from agent.edits.answer.readings import Lines, Pair, unescaped
from agent.edits.blocks import Block

_RANGES = re.compile(r"-(\d{1,7})(?:,\d*)?(?:[ \t]*\+\d+(?:,\d*)?)?[ \t]*(?:@@)?(.*)")
_LINE = re.compile(r"(?:lines?[ \t]*)?(\d{1,7})(?:[ \t]*[-,][ \t]*\d+)?[ \t]*(?:@@)?", re.IGNORECASE)
_DOTS = re.compile(r"(?:\.{2,}|…)[ \t]*(?:@@)?")


@dataclass
class Hunk:
    """Lines of a hunk with their columns, and what its `@@` lines say."""

    headings: list[str] = field(default_factory=list)
    line: int | None = None
    lines: list[str] = field(default_factory=list)


def hunks(lines: Sequence[str]) -> list[Hunk]:
    """The hunks of one file's part. `@@` lines in a row narrow one another."""
    found = [Hunk()]
    for line in lines:
        if not line.startswith("@@"):
            found[-1].lines.append(line)
            continue
        if any(kept.strip() for kept in found[-1].lines):
            found.append(Hunk())
        number, heading = _heading(line[2:].strip())
        found[-1].lines.clear()
        found[-1].line = number or found[-1].line
        found[-1].headings += [heading] if heading else []
    return [hunk for hunk in found if any(line.strip() for line in hunk.lines)]


def block(hunk: Hunk, number: int, path: str | None, known: Collection[str]) -> Block | None:
    """The block that a hunk is; None if it changes nothing.

    Args:
        hunk: a hunk.
        number: of the block.
        path: of its file.
        known: lines of the files, without blanks at their ends.
    """
    lines = [line for line in hunk.lines if not line.startswith("\\")]
    while lines and not lines[-1]:
        lines.pop()
    if not any(line.startswith(("+", "-")) for line in lines):
        return None
    pairs: list[Pair] = []
    for columns in (True, False):
        pair = (_side(lines, "-", columns), _side(lines, "+", columns))
        pairs += [pair] if pair not in pairs else []
    if _hits(pairs[-1][0], known) > _hits(pairs[0][0], known):
        pairs.reverse()
    pairs += [plain for pair in tuple(pairs) if (plain := unescaped(pair))]
    (search, replace), *others = pairs
    return Block(number, search, replace, path, tuple(hunk.headings), hunk.line, tuple(others), diff=True)


def _heading(text: str) -> tuple[int | None, str]:
    """(line number, scope) of what follows `@@`."""
    number = None
    for pattern in (_RANGES, _LINE):
        if ranges := pattern.fullmatch(text):
            number, text = int(ranges[1]), ranges[2].strip() if pattern is _RANGES else ""
            break
    dots = _DOTS.match(text)
    text = text[dots.end() :] if dots else text
    return number or None, text.strip().removesuffix("@@").strip()


def _side(lines: Sequence[str], sign: str, columns: bool) -> Lines:
    """Context lines and those with `sign`; with `columns`, a context line loses its first blank."""
    other = "+" if sign == "-" else "-"
    kept = [line for line in lines if not line.startswith(other)]
    cut = (sign, " ") if columns else (sign,)
    return tuple(line[1:] if line.startswith(cut) else line for line in kept)


def _hits(lines: Lines, known: Collection[str]) -> int:
    return sum(bool(line.strip()) and line.rstrip() in known for line in lines)

"""SEARCH/REPLACE blocks as models write them.

Markers stand alone on a line. They may be longer or shorter, indented, or closed by a second divider; whatever leaves
open which lines are sought and which take their place is refused. Where the lines are is not decided here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from agent.edits.answer.fences import dedented, fence
from agent.edits.answer.paths import named_above, resolve
from agent.edits.answer.readings import inner_name, readings
from agent.edits.blocks import Block, Parsed
from agent.edits.errors import EditError, Wrong
from agent.edits.rules import Rules

_SEARCH = re.compile(r"([ \t]*)(?:<{5,9}|-{5,9})[ \t]*(?:SEARCH|ORIGINAL)[ \t]*[>:]?[ \t]*", re.IGNORECASE)
_DIVIDER = re.compile(r"[ \t]*={5,9}[ \t]*")
_REPLACE = re.compile(
    r"[ \t]*(?:>{5,9}|\+{5,9})[ \t]*(?:REPLACE|UPDATED)[ \t]*[<>:]?[ \t]*(?:`{3,}|~{3,})?[ \t]*", re.IGNORECASE
)
_LIKE = re.compile(
    r"[ \t>*_`|#]*(?:<{3,}[ \t]*(?:SEARCH|ORIGINAL)|>{3,}[ \t]*(?:REPLACE|UPDATED))\b(?:\W+\w+){0,3}\W*", re.IGNORECASE
)
_LONGEST_MARKER = 100
_FORM = "A block is <<<<<<< SEARCH, the lines to find, =======, the new lines, >>>>>>> REPLACE."


class _Kind(Enum):
    SEARCH = _SEARCH
    DIVIDER = _DIVIDER
    REPLACE = _REPLACE


@dataclass(frozen=True)
class _Span:
    """A block's lines in the answer: SEARCH marker, dividers that count, last line."""

    search: int
    dividers: tuple[int, ...]
    end: int


def start(lines: Sequence[str]) -> int | None:
    """Index of the first marker; None if the answer has no such blocks."""
    found = (index for index, kind in _marks(lines) if kind is not _Kind.DIVIDER)
    return next(found, None)


def closed(line: str) -> bool:
    """Whether `line` ends a block."""
    return _REPLACE.fullmatch(line) is not None


def whole_blocks(lines: Sequence[str]) -> Iterator[range]:
    """Line ranges of well-formed blocks, whatever stands between them."""
    opened: int | None = None
    divided = False
    for index, kind in _marks(lines):
        if kind is _Kind.SEARCH:
            opened, divided = index, False
        elif kind is _Kind.DIVIDER:
            divided = True
        elif opened is not None:
            if divided:
                yield range(opened, index + 1)
            opened = None


def outside(lines: Sequence[str]) -> list[str]:
    """`lines`, which `read` has read, with those of the blocks left blank."""
    inside = {index for span in _spans(lines, False) for index in range(span.search, span.end + 1)}
    return ["" if index in inside else line for index, line in enumerate(lines)]


def check_outside(lines: Sequence[str]) -> None:
    """Refuse `lines`, outside of blocks, that look like markers: a block that is not read is half of the answer.

    Raises:
        EditError: malformed markers.
    """
    for index, line in enumerate(lines):
        if len(line) <= _LONGEST_MARKER and _LIKE.fullmatch(line) and not closed(line):
            raise EditError(
                f"Line {index + 1} of the answer, {line.strip()!r}, is no marker, but looks like one. {_FORM}",
                Wrong.MARKERS,
            )


def read(lines: Sequence[str], files: Mapping[str, str], rules: Rules) -> Parsed:
    """The blocks of an answer.

    Raises:
        EditError: malformed markers, or a file that may not change.
    """
    known = frozenset(line.rstrip() for text in files.values() for line in text.split("\n"))
    underlined = any(_DIVIDER.fullmatch(line) for line in known)
    blocks: list[Block] = []
    path, last = None, -1
    for number, span in enumerate(_spans(lines, underlined), 1):
        named = named_above(lines, span.search, last)
        path = resolve(named, rules) if named else path
        search, replace = _sides(lines, span, number, underlined)
        inner = inner_name(search)
        path = resolve(inner, rules) if inner and inner not in known else path
        others = readings(search, replace, known)
        blocks.append(Block(number, search, replace, path, readings=others))
        last = span.end
    return Parsed(tuple(blocks), "blocks")


def _marks(lines: Sequence[str]) -> Iterator[tuple[int, _Kind]]:
    for index, line in enumerate(lines):
        for kind in _Kind:
            if kind.value.fullmatch(line):
                yield index, kind


def _spans(lines: Sequence[str], underlined: bool) -> Iterator[_Span]:
    marks = list(_marks(lines))
    starts = [at for at, (_, kind) in enumerate(marks) if kind is _Kind.SEARCH]
    _check_strays(lines, marks[: starts[0]] if starts else marks, None)
    for number, (at, stop) in enumerate(zip(starts, [*starts[1:], len(marks)], strict=True), 1):
        group = marks[at + 1 : stop]
        ends = [index for index, kind in group if kind is _Kind.REPLACE]
        dividers = tuple(i for i, kind in group if kind is _Kind.DIVIDER and (not ends or i < ends[0]))
        if ends:
            _check_strays(lines, [mark for mark in group if mark[0] > ends[0]], ends[0])
            span = _Span(marks[at][0], dividers, ends[0])
        else:
            span = _closed_by_divider(lines, marks[at][0], dividers, number, underlined)
        if not dividers:
            raise EditError(f"Block {number} has no ======= line between SEARCH and REPLACE. {_FORM}", Wrong.MARKERS)
        yield span


def _check_strays(lines: Sequence[str], marks: Sequence[tuple[int, _Kind]], closed_at: int | None) -> None:
    """A closing marker outside a block is refused, unless it only repeats the one before it."""
    for index, kind in marks:
        if kind is not _Kind.REPLACE:
            continue
        between = lines[closed_at + 1 : index] if closed_at is not None else ["?"]
        if any(line.strip() and not fence(line) and not closed(line) for line in between):
            raise EditError(
                f"Line {index + 1} of the answer is a >>>>>>> REPLACE without its <<<<<<< SEARCH. {_FORM}",
                Wrong.MARKERS,
            )


def _closed_by_divider(
    lines: Sequence[str], search: int, dividers: tuple[int, ...], number: int, underlined: bool
) -> _Span:
    """A second divider with text before it closes a block that has no closing marker (seen in real replies)."""
    if len(dividers) == 2 and not underlined and _text(lines[dividers[0] + 1 : dividers[1]]):
        return _Span(search, dividers[:1], dividers[1])
    raise EditError(
        f"Block {number} is not closed: its >>>>>>> REPLACE line is missing before "
        f"{'the next block' if start(lines[search + 1 :]) is not None else 'the end'}. {_FORM}",
        Wrong.MARKERS,
    )


def _sides(lines: Sequence[str], span: _Span, number: int, underlined: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    marker = _SEARCH.fullmatch(lines[span.search])
    indent = marker[1] if marker else ""
    inner = dedented(lines[span.search + 1 : span.end], indent)
    cuts = [-1, *(divider - span.search - 1 for divider in span.dividers), len(inner)]
    parts = [inner[a + 1 : b] for a, b in zip(cuts, cuts[1:], strict=False)]
    if len(parts) == 2:
        return parts[0], parts[1]
    full = [part for part in parts if _text(part)]
    if underlined or len(full) > 2:
        raise EditError(
            f"Block {number} has {len(span.dividers)} ======= lines, and it is open which one divides it. "
            "Quote lines that do not include such a line.",
            Wrong.MARKERS,
        )
    if len(full) == 2:
        return full[0], full[1]
    return (parts[0], ()) if _text(parts[0]) else ((), full[0] if full else ())


def _text(lines: Sequence[str]) -> bool:
    return any(line.strip() for line in lines)

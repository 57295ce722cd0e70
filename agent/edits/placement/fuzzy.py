"""A place for a block that misquotes a line which it does not change.

It applies only where the edit itself rests on lines that are right: every line that is removed, and every line beside
an insertion, stands in the file as quoted. The thresholds come from synthetic slips on a real script of 630 lines.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from agent.edits.placement.document import Document
from agent.edits.placement.place import Place, Shift
from agent.edits.placement.tokens import code_of, plain
from agent.edits.placement.tolerant import all_rows

_LEAST_LINES = 4
_LEAST_EQUAL = 0.7
_LEAST_MEAN = 0.92
_LEAST_LINE = 0.6
_AHEAD = 0.15


@dataclass(frozen=True)
class _Quoted:
    """The code lines of a block's search side, and which of them the edit rests on."""

    search: tuple[str, ...]
    replace: tuple[str, ...]

    @cached_property
    def own(self) -> list[int]:
        return [index for index, line in enumerate(self.search) if code_of(line)]

    @cached_property
    def code(self) -> list[tuple[str, ...]]:
        return [code_of(self.search[index]) for index in self.own]

    @cached_property
    def plain(self) -> list[str]:
        return [plain(self.search[index]) for index in self.own]

    @cached_property
    def rests_on(self) -> frozenset[int]:
        """Positions among the code lines that are removed or stand beside an insertion."""
        typed, new = ([line.rstrip() for line in side] for side in (self.search, self.replace))
        marked: set[int] = set()
        for kind, i1, i2, _, _ in SequenceMatcher(None, typed, new, autojunk=False).get_opcodes():
            if kind == "equal":
                continue
            before = [at for at, index in enumerate(self.own) if index < i1]
            removed = [at for at, index in enumerate(self.own) if i1 <= index < i2]
            after = [at for at, index in enumerate(self.own) if index >= i2]
            marked.update(removed or before[-1:] + after[:1])
        return frozenset(marked)


def fuzzy_place(documents: Mapping[str, Document], search: tuple[str, ...], replace: tuple[str, ...]) -> Place | None:
    """The one place that is near enough, and nearer than any other by a margin; None for none."""
    quoted = _Quoted(search, replace)
    if len(quoted.own) < _LEAST_LINES:
        return None
    near = [hit for path, document in documents.items() for hit in _near(path, document, quoted)]
    if not near:
        return None
    best, place, first = max(near, key=lambda hit: hit[0])
    floor = best - _AHEAD
    for path, document in documents.items():
        for start in range(len(document.code_rows) - len(quoted.own) + 1):
            if (path, start) != (place.path, first) and _mean(document, quoted, start, floor) > floor:
                return None
    return place


def _near(path: str, document: Document, quoted: _Quoted) -> Iterator[tuple[float, Place, int]]:
    """(mean similarity, place, first of its code lines) of each window that passes all thresholds but the margin."""
    size = len(quoted.own)
    for start in range(len(document.code_rows) - size + 1):
        rows = document.code_rows[start : start + size]
        equal = [document.code[row] == code for row, code in zip(rows, quoted.code, strict=True)]
        if sum(equal) < _LEAST_EQUAL * size or not all(equal[at] for at in quoted.rests_on):
            continue
        likeness = [_likeness(document, quoted, row, at) for at, row in enumerate(rows)]
        mean = sum(likeness) / size
        shift = Shift.between([quoted.search[i] for i in quoted.own], [document.lines[row] for row in rows])
        if mean >= _LEAST_MEAN and min(likeness) >= _LEAST_LINE and shift is not None:
            matched = dict(zip(quoted.own, rows, strict=True))
            whole = all_rows(document, quoted.search, matched)
            yield mean, Place(path, quoted.search, quoted.replace, whole, "fuzzy", shift), start


def _mean(document: Document, quoted: _Quoted, start: int, floor: float) -> float:
    """Mean similarity of a window; 0 as soon as it cannot reach `floor`."""
    size = len(quoted.own)
    missing = 0.0
    for at in range(size):
        missing += 1.0 - _likeness(document, quoted, document.code_rows[start + at], at)
        if missing > (1.0 - floor) * size:
            return 0.0
    return 1.0 - missing / size


def _likeness(document: Document, quoted: _Quoted, row: int, at: int) -> float:
    if document.code[row] == quoted.code[at]:
        return 1.0
    return SequenceMatcher(None, quoted.plain[at], document.plain[row], autojunk=False).ratio()

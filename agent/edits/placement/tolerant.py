"""Places where a block's code stands, typed in another way.

What may differ: one indentation shift for all lines, blank lines, comments, spacing, quote style and typographic
characters. What may not: a token of code. These tolerances are one comparison and no ladder: a ladder that stops at
its first rung with one hit edits the wrong line where one candidate lacks a comment and another differs in indentation.
"""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from agent.edits.placement.document import Document
from agent.edits.placement.place import Place, Shift
from agent.edits.placement.tokens import code_of, plain

Rows = dict[int, int]
_SAME_COMMENT = 0.6


def tolerant_places(path: str, document: Document, search: tuple[str, ...], replace: tuple[str, ...]) -> list[Place]:
    """Every place in `document` where the code of `search` stands; for a block without code, its comments."""
    codes = [code_of(line) for line in search]
    wanted: Sequence[object] = [code for code in codes if code]
    if wanted:
        own = [index for index, code in enumerate(codes) if code]
        rows: Sequence[int] = document.code_rows
        have: Sequence[object] = [document.code[row] for row in rows]
    else:
        own = [index for index, line in enumerate(search) if line.strip()]
        rows = [row for row, text in enumerate(document.plain) if text]
        wanted, have = [plain(search[index]) for index in own], [document.plain[row] for row in rows]
    places = []
    for start in _windows(wanted, have):
        matched = dict(zip(own, rows[start : start + len(own)], strict=True))
        shift = Shift.between([search[i] for i in own], [document.lines[row] for row in matched.values()])
        if shift is not None:
            places.append(Place(path, search, replace, all_rows(document, search, matched), "tolerant", shift))
    return places


def all_rows(document: Document, search: Sequence[str], matched: Rows) -> tuple[int | None, ...]:
    """The file's line for each search line: those in `matched`, and for blank lines and comments the ones between."""
    rows: Rows = dict(matched)
    own = [-1, *matched, len(search)]
    first, last = min(matched.values()), max(matched.values())
    before = max((row for row in document.code_rows if row < first), default=-1)
    after = min((row for row in document.code_rows if row > last), default=len(document.lines))
    borders = [before, *matched.values(), after]
    for at in range(len(own) - 1):
        typed = range(own[at] + 1, own[at + 1])
        real = range(borders[at] + 1, borders[at + 1])
        rows |= _aligned([plain(search[i]) for i in typed], [document.plain[row] for row in real], typed, real)
    return tuple(rows.get(index) for index in range(len(search)))


def _windows(wanted: Sequence[object], have: Sequence[object]) -> Iterator[int]:
    for start in range(len(have) - len(wanted) + 1 if wanted else 0):
        if all(have[start + at] == item for at, item in enumerate(wanted)):
            yield start


def _aligned(typed: list[str], real: list[str], own: range, rows: range) -> Rows:
    """Pairs of equal lines, and of comments that are nearly the same."""
    if not typed or not real:
        return {}
    pairs: Rows = {}
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, typed, real, autojunk=False).get_opcodes():
        if kind == "equal" or (kind == "replace" and i2 - i1 == j2 - j1):
            for i, j in zip(range(i1, i2), range(j1, j2), strict=True):
                if typed[i] == real[j] or _alike(typed[i], real[j]):
                    pairs[own[i]] = rows[j]
    return pairs


def _alike(a: str, b: str) -> bool:
    return bool(a and b) and SequenceMatcher(None, a, b, autojunk=False).ratio() >= _SAME_COMMENT

"""Other readings of a block: for when its lines as they stand are nowhere in the file.

Models wrap the lines in a fence of their own, copy line numbers from a listing, or escape `<`. Each reading undoes one
of these, on both sides alike, and every combination is one more. Tabs and spaces depend on the file: not here.
"""

import html
import re
from collections.abc import Callable, Collection

from agent.edits.answer.fences import closes, fence
from agent.edits.answer.paths import named_in

Lines = tuple[str, ...]
Pair = tuple[Lines, Lines]
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|nbsp|#\d{1,5}|#x[0-9a-f]{1,4});", re.IGNORECASE)
_NUMBERED = re.compile(r"[ \t]*L?(\d{1,6})(?:[ \t]*([|│:→])|(?=\t))(.*)")


def readings(search: Lines, replace: Lines, known: Collection[str]) -> tuple[Pair, ...]:
    """Further readings of a block, in order of preference.

    Args:
        search: lines to find.
        replace: lines that take their place.
        known: lines of the files, without blanks at their ends.
    """
    steps: tuple[Callable[[Pair], Pair | None], ...] = (_unfenced, lambda pair: _unnumbered(pair, known), unescaped)
    pairs: list[Pair] = [(search, replace)]
    for step in steps:
        undone = [step(pair) for pair in pairs]
        pairs += [pair for pair in undone if pair is not None and pair not in pairs]
    return tuple(pairs[1:])


def inner_name(search: Lines) -> str | None:
    """The file name that stands above the lines inside the block; None for none."""
    return named_in(search[0]) if len(search) > 1 and (fence(search[1]) or _bare_name(search[0])) else None


def unescaped(pair: Pair) -> Pair | None:
    """With `&lt;` and the like resolved; None if the lines to find have none."""
    search, replace = pair
    found = tuple(unescape(line) for line in search)
    return (found, tuple(unescape(line) for line in replace)) if found != search else None


def unescape(text: str) -> str:
    """`text` with its complete entities resolved, and no others (`&copy` is code)."""
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]).replace("\xa0", " "), text)


def _bare_name(line: str) -> bool:
    return named_in(line) == line.strip()


def _unfenced(pair: Pair) -> Pair | None:
    inner = _inside(pair[0])
    return (inner, _inside(pair[1])) if inner != pair[0] else None


def _inside(lines: Lines) -> Lines:
    if inner_name(lines) is not None:
        lines = lines[1:]
    opened = fence(lines[0]) if len(lines) > 1 else None
    return lines[1:-1] if opened and closes(lines[-1], opened) else lines


def _unnumbered(pair: Pair, known: Collection[str]) -> Pair | None:
    """Only if every line to find has a number, and they ascend. Keys of a dict match as they are, before this."""
    search, replace = pair
    found = [_NUMBERED.fullmatch(line) for line in search]
    matches = [match for match in found if match]
    numbers = [int(match[1]) for match in matches]
    if not numbers or len(matches) < len(found) or any(b <= a for a, b in zip(numbers, numbers[1:], strict=False)):
        return None
    if len({match[2] for match in matches}) > 1:
        return None
    rests = [match[3] for match in matches]
    wide = [rest[1:] for rest in rests]
    padded = all(rest[:1] in ("", " ", "\t") for rest in rests) and _hits(wide, known) >= _hits(rests, known)
    cut = 1 if padded else 0
    own = range(numbers[0], numbers[-1] + len(replace) + 1)
    return tuple(rest[cut:] for rest in rests), tuple(_cut(line, cut, own) for line in replace)


def _hits(lines: list[str], known: Collection[str]) -> int:
    return sum(line.rstrip() in known for line in lines)


def _cut(line: str, cut: int, own: range) -> str:
    found = _NUMBERED.fullmatch(line)
    return found[3][cut:] if found and int(found[1]) in own else line

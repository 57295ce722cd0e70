"""New lines as they stand in the file: its indentation, its comments and its characters where the block kept them.

A quotation may lack a trailing comment, have another indentation or typographic quotes; what the block did not mean to
change must not change with the line.
"""

from collections.abc import Iterator
from difflib import SequenceMatcher

from agent.edits.errors import EditError, Wrong
from agent.edits.placement.document import Document, indent
from agent.edits.placement.place import Place
from agent.edits.placement.tokens import TYPOGRAPHIC, comment_at, plain

_SAME_LINE = 0.6
_GAP = 2


def respelled(
    place: Place, document: Document, old: tuple[int, int], new: tuple[int, int], number: int
) -> tuple[str, ...]:
    """The replace lines `new[0]` to `new[1]`, which take the place of the search lines `old[0]` to `old[1]`.

    Raises:
        EditError: a line lacks the blanks that the whole block has too much (`not_found`).
    """
    first = next((index for index, line in enumerate(place.replace) if line.strip()), 0)
    partners = dict(_pairs(place, old, new))
    foreign = _foreign(place, document)
    lines = []
    for index in range(*new):
        line = place.shift.of(place.replace[index], index == first)
        if line is None or not _same_frame(place, document, place.replace[first]):
            raise EditError(
                f"Block {number}: its lines are in {place.path} with another indentation, and the new lines do not "
                "fit that. Copy the lines to find with their indentation, and indent the new ones likewise.",
                Wrong.NOT_FOUND,
            )
        row = place.rows[partners[index]] if index in partners else None
        if row is not None and place.level != "exact":
            line = _carried(line, place.shift.of(place.search[partners[index]], False) or "", document.lines[row])
        lines.append("".join(foreign.get(character, character) for character in line))
    return tuple(lines)


def _same_frame(place: Place, document: Document, line: str) -> bool:
    """Whether the new lines start at the depth of the lines to find, and not at the file's where that is another."""
    real = indent(document.lines[place.first_row])
    typed = indent(next(typed for typed, row in zip(place.search, place.rows, strict=True) if row is not None))
    return not (place.shift.add or place.shift.cut) or typed == indent(line) or indent(line) != real


def _pairs(place: Place, old: tuple[int, int], new: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """(replace line, the search line that it is the new version of)."""
    typed, wanted = range(*old), range(*new)
    if len(typed) == len(wanted):
        yield from zip(wanted, typed, strict=True)
        return
    left = list(typed)
    for index in wanted:
        for at, candidate in enumerate(left):
            if _likeness(place.replace[index], place.search[candidate]) >= _SAME_LINE:
                yield index, candidate
                del left[: at + 1]
                break


def _likeness(a: str, b: str) -> float:
    matcher = SequenceMatcher(None, plain(a[: comment_at(a)]), plain(b[: comment_at(b)]), autojunk=False)
    return matcher.ratio() if a.strip() and b.strip() else 0.0


def _carried(line: str, typed: str, real: str) -> str:
    """`line`, the new version of `typed`, with what `typed` says otherwise than the file's `real` line."""
    line = _own_characters(line, typed, real)
    code, comment = line[: comment_at(line)].rstrip(), line[comment_at(line) :].rstrip()
    theirs = real[comment_at(real) :].rstrip()
    gap = min(_GAP, comment_at(real) - len(real[: comment_at(real)].rstrip()))
    if not code or plain(comment) != plain(typed[comment_at(typed) :]):
        return line
    return code.ljust(max(comment_at(real), len(code) + gap)) + theirs if theirs else code


def _own_characters(line: str, typed: str, real: str) -> str:
    """The file's characters where `typed` has their plain twins and `line` repeats them."""
    if typed == real or len(typed) != len(real) or typed.translate(TYPOGRAPHIC) != real.translate(TYPOGRAPHIC):
        return line
    result = list(line)
    for start, at, size in SequenceMatcher(None, typed, line, autojunk=False).get_matching_blocks():
        result[at : at + size] = real[start : start + size]
    return "".join(result)


def _foreign(place: Place, document: Document) -> dict[str, str]:
    """The typographic characters that the block shows where the file has plain ones, and those."""
    pairs = zip(place.search, place.rows, strict=True)
    quoted = [(typed, document.lines[row]) for typed, row in pairs if row is not None]
    real = {character for _, line in quoted for character in line}
    shown = {character for typed, _ in quoted for character in typed} - real
    return {character: character.translate(TYPOGRAPHIC) for character in shown if ord(character) in TYPOGRAPHIC}

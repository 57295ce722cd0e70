"""Apply only what a block changes: the difference between its two sides, carried over to the file's own lines.

Lines that a block merely quotes stay as the file has them, with the comments and blank lines between them. Overwriting
the place with the new lines instead would write every slip in the quoted context into the file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise

from agent.edits.errors import EditError, Wrong
from agent.edits.placement.document import Document
from agent.edits.placement.place import Place
from agent.edits.placement.respell import respelled


@dataclass(frozen=True, order=True)
class Operation:
    """Lines of one file that go, and lines that come in their place.

    Attributes:
        path: of the file.
        start, stop: the rows from the first to behind the last that goes; equal for an insertion before row `start`.
        removed: the rows that go; rows between them that are not listed stay.
        lines: the new lines, without line ends.
    """

    path: str
    start: int
    stop: int
    removed: tuple[int, ...]
    lines: tuple[str, ...]


def operations(place: Place, document: Document, number: int) -> list[Operation]:
    """What the block numbered `number` does to `document` at `place`.

    Raises:
        EditError: the new lines do not fit the indentation of the place (`not_found`).
    """
    if place.span is not None:
        row = place.first_row
        start, stop = place.span
        line = document.lines[row]
        return [Operation(place.path, row, row + 1, (row,), (line[:start] + place.replace[0] + line[stop:],))]
    found: list[Operation] = []
    for i1, i2, j1, j2 in _changes(place):
        removed = tuple(row for row in place.rows[i1:i2] if row is not None)
        lines = respelled(place, document, (i1, i2), (j1, j2), number)
        at = removed[0] if removed else _gap(place, i1)
        operation = Operation(place.path, at, removed[-1] + 1 if removed else at, removed, lines)
        if found and not removed and not found[-1].removed and found[-1].start == at:
            operation = replace(operation, lines=found.pop().lines + lines)
        if operation.removed or operation.lines:
            found.append(operation)
    return found


def difference(path: str, before: Document, after: Sequence[str]) -> list[Operation]:
    """What turns `before` into the lines `after`: for edits that give a new text instead of places."""
    rows = tuple(range(len(before.lines)))
    if not rows:
        return [Operation(path, 0, 0, (), tuple(after))]
    return operations(Place(path, before.lines, tuple(after), rows, "exact"), before, 0)


def applied(documents: Mapping[str, Document], wanted: Iterable[Operation]) -> dict[str, Document]:
    """The documents with all operations applied; equal ones count once.

    Raises:
        EditError: operations overlap, or differ about what to insert at one point (`conflict`).
    """
    unique = sorted(set(wanted))
    for first, second in pairwise(unique):
        if first.path == second.path and _collide(first, second):
            raise EditError(
                f"Two edits contradict each other at line {second.start + 1} of {second.path}: send one edit for each "
                "place, with everything that changes there.",
                Wrong.CONFLICT,
            )
    return {
        path: _rewritten(document, [operation for operation in unique if operation.path == path])
        for path, document in documents.items()
    }


def _changes(place: Place) -> list[tuple[int, int, int, int]]:
    """(i1, i2, j1, j2): search lines i1 to i2 become replace lines j1 to j2. Blanks at line ends count if exact."""
    exact = place.level == "exact"
    typed, new = ([line if exact else line.rstrip() for line in side] for side in (place.search, place.replace))
    matcher = SequenceMatcher(None, typed, new, autojunk=False)
    changes: list[tuple[int, int, int, int]] = []
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "replace" and i2 - i1 == j2 - j1 and not _contiguous(place.rows[i1:i2]):
            changes += [(i, i + 1, j, j + 1) for i, j in zip(range(i1, i2), range(j1, j2), strict=True)]
        elif kind != "equal":
            changes.append((i1, i2, j1, j2))
    return changes


def _contiguous(rows: Sequence[int | None]) -> bool:
    return all(a is not None and b == a + 1 for a, b in pairwise(rows))


def _gap(place: Place, index: int) -> int:
    """The row before which lines go that the block inserts before search line `index`: behind the aligned one above."""
    above = [row for row in place.rows[:index] if row is not None]
    return above[-1] + 1 if above else place.first_row


def _collide(first: Operation, second: Operation) -> bool:
    if first.start == first.stop and second.start == second.stop:
        return first.start == second.start
    return max(first.start, second.start) < min(first.stop, second.stop) or first.start < second.start < first.stop


def _rewritten(document: Document, wanted: Sequence[Operation]) -> Document:
    inserted = {operation.start: operation for operation in wanted if not operation.removed}
    replaced = {operation.start: operation for operation in wanted if operation.removed}
    removed = {row for operation in wanted for row in operation.removed}
    ends = _full_ends(document)
    lines: list[tuple[str, str]] = []
    for row in range(len(document.lines) + 1):
        if row in inserted:
            end = ends[max(row - 1, 0)]
            lines += [(line, end) for line in inserted[row].lines]
        if row in replaced:
            old = [ends[gone] for gone in replaced[row].removed]
            lines += [(line, old[min(at, len(old) - 1)]) for at, line in enumerate(replaced[row].lines)]
        if row < len(document.lines) and row not in removed:
            lines.append((document.lines[row], ends[row]))
    if lines and document.ends and not document.ends[-1]:
        lines[-1] = (lines[-1][0], "")
    return Document(tuple(line for line, _ in lines), tuple(end for _, end in lines), document.bom)


def _full_ends(document: Document) -> list[str]:
    """A line end for each line: for a last line without one, that of the line before."""
    if not document.ends:
        return ["\n"]
    return [*document.ends[:-1], document.ends[-1] or (document.ends[-2] if len(document.ends) > 1 else "\n")]

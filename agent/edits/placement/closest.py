"""What to tell a model whose block fits nowhere, or too often: the nearest real lines, and what to do next."""

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from agent.edits.blocks import Block
from agent.edits.errors import EditError, Wrong
from agent.edits.placement.document import Document
from agent.edits.placement.place import Place
from agent.edits.placement.tokens import code_of, plain

_SHOWN = 3
_LISTED = 6
_NEAR = 0.5
_HERE = 0.1  # how much more alike the line is that stands where it should
_TELLING = 4  # characters; shorter text is in many lines
_LONGEST = 160


def not_found(block: Block, documents: Mapping[str, Document]) -> EditError:
    """For a block that is nowhere: the lines that are not in the file beside the nearest that are."""
    where = " or ".join(documents)
    if not any(plain(line) for line in block.search):
        return EditError(
            f"Block {block.number} has no lines to find: quote the line of {where} next to the spot, and repeat it in "
            "the new lines.",
            Wrong.NOT_FOUND,
        )
    nearest = max((_nearest(block, document) for document in documents.values()), default=(0, ""))[1]
    return EditError(
        f"Block {block.number}: the lines to find are not in {where}.{nearest}{_already(block, documents)}\n"
        "Copy whole lines from the file as it was shown, with their indentation.",
        Wrong.NOT_FOUND,
    )


def ambiguous(block: Block, places: Sequence[Place]) -> EditError:
    """For a block that fits several places: how many, and where."""
    several = len({place.path for place in places}) > 1
    lines = [f"{place.path}:{place.first_row + 1}" if several else f"{place.first_row + 1}" for place in places]
    listed = ", ".join(lines[:_LISTED]) + (", ..." if len(lines) > _LISTED else "")
    return EditError(
        f"Block {block.number}: the lines to find fit {len(places)} places (lines {listed}). "
        "Add neighbouring lines until they fit only one.",
        Wrong.AMBIGUOUS,
    )


def _nearest(block: Block, document: Document) -> tuple[int, str]:
    """(lines of the block that are in the file, the message about those that are not)."""
    codes = {said: row for row, line in reversed(list(enumerate(document.lines))) if (said := _said(line))}
    wanted = [(index, said) for index, line in enumerate(block.search) if (said := _said(line))]
    known = [(index, codes[code]) for index, code in wanted if code in codes]
    absent = [index for index, code in wanted if code not in codes]
    offset = Counter(row - index for index, row in known).most_common(1)
    around = offset[0][0] if offset else None
    if absent:
        rows = [None if around is None else around + index for index in absent[:_SHOWN]]
        typed = [block.search[index] for index in absent[:_SHOWN]]
        return len(known), "".join(_pair(a, _like(a, document, row)) for a, row in zip(typed, rows, strict=True))
    there = sorted(row for _, row in known)
    if there[-1] - there[0] > len(block.search) + _LISTED:
        return len(known), " Each line is there, but not one after the other."
    real = "".join(f"\n    {document.lines[row][:_LONGEST]}" for row in range(there[0], there[-1] + 1))
    return len(known), f" Each line is there, but this is how they follow each other in the file:{real}"


def _like(line: str, document: Document, expected: int | None) -> str | None:
    """The line of the file that goes on as `line` ends, or is most like it; of equals the one at row `expected`."""
    typed = plain(line)
    best, found = _NEAR, None
    matcher = SequenceMatcher(None, autojunk=False)
    matcher.set_seq2(typed)
    for row, real in enumerate(document.plain):
        bonus = _HERE if row == expected else 0.0
        matcher.set_seq1(real)
        contained = len(typed) >= _TELLING and typed in real
        if not contained and min(matcher.real_quick_ratio(), matcher.quick_ratio()) + bonus <= best:
            continue
        if (likeness := (1.0 if contained else matcher.ratio()) + bonus) > best:
            best, found = likeness, document.lines[row]
    return found


def _said(line: str) -> tuple[str, ...]:
    """What a line says: its code, or for a comment its text; empty for a blank line."""
    return code_of(line) or tuple(plain(line).split())


def _pair(typed: str, real: str | None) -> str:
    wrote = f"\nYou wrote:      {typed.strip()[:_LONGEST]}\n"
    return wrote + (f"The file has:   {real.strip()[:_LONGEST]}" if real else "Nothing in the file is like it.")


def _already(block: Block, documents: Mapping[str, Document]) -> str:
    """Whether the new lines are in the file: then an earlier trial made this very edit."""
    old = {code_of(line) for line in block.search}
    new = [code for line in block.replace if (code := code_of(line))]
    if not new or all(code in old for code in new):
        return ""
    for path, document in documents.items():
        have = [document.code[row] for row in document.code_rows]
        for start in range(len(have) - len(new) + 1):
            if have[start : start + len(new)] == new:
                row = document.code_rows[start]
                return f"\nThe new lines are already there, from line {row + 1} of {path} on."
    return ""

"""Blocks that skip lines with `...`: the same on both sides, it stands for the same lines, and the block is pieces.

A placeholder on one side only says nothing about what becomes of the lines that it hides.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from agent.edits.blocks import Block
from agent.edits.errors import EditError, Wrong

_ELISION = re.compile(r"\s*(?:#|//)?\s*(?:\.{3,}|…).*")

Lines = Sequence[str]


def pieces(block: Block, known: Collection[str]) -> list[Block]:
    """The parts of `block` between its placeholders; the block itself if it has none.

    Args:
        block: whole.
        known: lines of the files, without blanks around them: such a line is no placeholder.

    Raises:
        EditError: the placeholders of the two sides differ (`lazy`).
    """
    parts = _split(block.search, block.replace, known, block.number)
    if len(parts) == 1:
        return [block]
    others = [_split(search, new, known, block.number) for search, new in block.readings]
    readings = [other for other in others if len(other) == len(parts)]
    return [
        replace(
            block,
            search=search,
            replace=new,
            line=block.line if at == 0 else None,
            readings=tuple(reading[at] for reading in readings),
        )
        for at, (search, new) in enumerate(parts)
        if search or new
    ]


def _split(
    search: Lines, new: Lines, known: Collection[str], number: int
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    hidden = [line.strip() for line in search if _is_placeholder(line, known)]
    if not hidden:
        return [(tuple(search), tuple(new))]
    if hidden != [line.strip() for line in new if _is_placeholder(line, known)]:
        raise EditError(
            f"Block {number} skips lines ({hidden[0]}) on one side only. Write out every line to find and every new "
            "line, or make the block smaller.",
            Wrong.LAZY,
        )
    return list(zip(_parts(search, known), _parts(new, known), strict=True))


def _parts(lines: Lines, known: Collection[str]) -> list[tuple[str, ...]]:
    parts: list[list[str]] = [[]]
    for line in lines:
        if _is_placeholder(line, known):
            parts.append([])
        else:
            parts[-1].append(line)
    return [tuple(part) for part in parts]


def _is_placeholder(line: str, known: Collection[str]) -> bool:
    return _ELISION.fullmatch(line) is not None and line.strip() not in known

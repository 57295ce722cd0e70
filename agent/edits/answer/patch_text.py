"""The apply_patch form: `*** Begin Patch`, sections for files, `*** End Patch`. Also out of a shell call, never run."""

import re
from collections.abc import Iterator, Mapping, Sequence

from agent.edits.answer.hunks import block, hunks
from agent.edits.answer.paths import resolve
from agent.edits.blocks import Block, Parsed
from agent.edits.errors import EditError, Wrong
from agent.edits.rules import Rules

_BEGIN, _END, _EOF = "*** Begin Patch", "*** End Patch", "*** End of File"
_SECTION = re.compile(r"[ \t]*\*\*\* (Update|Add|Delete|Create|Remove|Rename) File:[ \t]*(.*)", re.IGNORECASE)
_MOVE = re.compile(r"[ \t]*\*\*\* (?:Move|Rename) to:", re.IGNORECASE)
_GIT_HEADER = re.compile(r"(?:---|\+\+\+) (?:[ab]/)?(\S+\.\w+)[ \t]*")


def start(lines: Sequence[str]) -> int | None:
    """Index of the first line of a patch, its head or what should follow it; None if there is none."""
    heads = (index for index, line in enumerate(lines) if line.strip() in (_BEGIN, _END) or _SECTION.fullmatch(line))
    return next(heads, None)


def closed(line: str) -> bool:
    """Whether `line` ends a patch."""
    return line.strip() == _END


def outside(lines: Sequence[str]) -> list[str]:
    """`lines` with those of the patches left blank."""
    rest: list[str] = []
    inside = False
    for line in lines:
        inside = inside or line.strip() == _BEGIN
        rest.append("" if inside else line)
        inside = inside and not closed(line)
    return rest


def read(lines: Sequence[str], files: Mapping[str, str], rules: Rules) -> Parsed:
    """The hunks of the answer's patches.

    Raises:
        EditError: no end, no hunk, another file, or a file made, moved or deleted.
    """
    known = frozenset(line.rstrip() for text in files.values() for line in text.split("\n"))
    blocks: list[Block] = []
    empty = True
    for path, part in _file_parts(lines, rules):
        for hunk in hunks(part):
            empty = False
            change = block(hunk, len(blocks) + 1, path, known)
            blocks += [change] if change else []
    if empty:
        raise EditError("The patch is empty: write @@ and lines with + and - under *** Update File.", Wrong.NO_EDIT)
    if not blocks:
        raise EditError("The patch has no line that begins with + or -: it changes nothing.", Wrong.NOOP)
    return Parsed(tuple(blocks), "patch")


def _file_parts(lines: Sequence[str], rules: Rules) -> Iterator[tuple[str | None, list[str]]]:
    for patch in _patches(lines):
        path: str | None = None
        part: list[str] = []
        for line in patch:
            if section := _SECTION.fullmatch(line):
                yield path, part
                path, part = _updated(section[1], section[2].strip(" \t`*\"'"), rules), []
            elif _MOVE.match(line):
                raise EditError("The patch moves the file: files keep their names.", Wrong.PATH)
            elif not part and (header := _GIT_HEADER.fullmatch(line)):
                resolve(header[1], rules)
            elif line.strip() != _EOF:
                part.append(line)
        yield path, part


def _patches(lines: Sequence[str]) -> Iterator[list[str]]:
    """The lines between Begin and End, patch by patch."""
    if start(outside(lines)) is not None:
        raise EditError("The patch has no *** Begin Patch line: send it again whole.", Wrong.MARKERS)
    inside: list[str] | None = None
    for line in lines:
        if line.strip() == _BEGIN:
            if inside is not None:
                break
            inside = []
        elif closed(line) and inside is not None:
            yield inside
            inside = None
        elif inside is not None:
            inside.append(line)
    if inside is not None:
        raise EditError("The patch has no *** End Patch line: send it again whole.", Wrong.MARKERS)


def _updated(verb: str, name: str, rules: Rules) -> str:
    if verb.lower() != "update":
        raise EditError(
            f"The patch would {verb.lower()} the file {name[:100]}: only *** Update File is allowed, for "
            f"{' and '.join(rules.editable)}.",
            Wrong.PATH,
        )
    return resolve(name, rules)

"""Unified diffs as models write them: in a fence or bare, with wrong counts, without headers, with prose around.

This text never reaches a diff library: what is recorded is a diff of ours, made from the code before and after.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agent.edits.answer.complete import lack
from agent.edits.answer.fences import dedented, sections
from agent.edits.answer.hunks import block, hunks
from agent.edits.answer.paths import named_above, resolve
from agent.edits.blocks import Edit, Parsed, WholeFile
from agent.edits.errors import EditError, Wrong
from agent.edits.rules import Rules

_LABELS = frozenset({"diff", "patch", "udiff"})
_HEADER = re.compile(r"(?:---|\+\+\+)[ \t]+([^\s\"]+|\"[^\"]+\")[ \t]*(?:\t.*|\d{4}-\d\d-\d\d.*)?")
_GIT = re.compile(r"diff --git (\S+) (\S+)")
_MOVED = re.compile(r"(?:rename|copy) (?:from|to) |deleted file mode|GIT binary patch|Binary files ")
_META = re.compile(_MOVED.pattern + r"|(?:dis)?similarity index |(?:old|new|new file) mode |index [0-9a-f]")
_CHANGE = re.compile(r"\+|-(?! \S)|@@")
_SPILLED = re.compile(r"@@|[+-](?:[A-Za-z_]|\s\s+\S)")  # changed lines, not bullets
_NONE = "/dev/null"


@dataclass
class _FilePart:
    """What a diff says of one file: names in its headers, and lines of its hunks."""

    names: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def start(lines: Sequence[str]) -> int | None:
    """Index of the first line of a diff; None if there is none."""
    fenced = (part.start - 1 for part in sections(lines) if part.fence.label in _LABELS)
    bare = (index for index in range(len(lines)) if _begins(lines, index))
    found = [index for index in (next(fenced, None), next(bare, None)) if index is not None]
    return min(found, default=None)


def read(lines: Sequence[str], files: Mapping[str, str], rules: Rules) -> Parsed:
    """The hunks of the answer's diffs.

    Raises:
        EditError: another file, a rename, a deletion; nothing that changes (`noop`).
    """
    known = frozenset(line.rstrip() for text in files.values() for line in text.split("\n"))
    edits: list[Edit] = []
    path: str | None = None
    for named, region in _regions(lines, known):
        path = resolve(named, rules) if named else path
        for part in _parts(region):
            path = _target(part, rules) or path
            if _NONE in part.names:
                edits.append(_whole(part, path, files))
                continue
            for hunk in hunks(part.lines):
                change = block(hunk, len(edits) + 1, path, known)
                edits += [change] if change else []
    if not edits:
        raise EditError("The diff has no line that begins with + or -: it changes nothing.", Wrong.NOOP)
    return Parsed(tuple(edits), "diff")


def changes(lines: Sequence[str]) -> list[str]:
    """What the diffs in `lines` remove and add, without blanks around it."""
    if start(lines) is None:
        return []
    changed = (line for _, region in _regions(lines, ()) for part in _parts(region) for line in part.lines)
    return [line[1:].strip() for line in changed if line.startswith(("+", "-")) and line[1:].strip()]


def _begins(lines: Sequence[str], index: int) -> bool:
    line = lines[index]
    return line.startswith("@@") or _GIT.match(line) is not None or _is_header(lines, index)


def _is_header(lines: Sequence[str], index: int) -> bool:
    """`--- x` is a header only if `+++ y` follows and both look like paths: else it is a removed `-- x`."""
    pair = lines[index : index + 2]
    if len(pair) < 2 or not (pair[0].startswith("--- ") and pair[1].startswith("+++ ")):
        return False
    return all(_is_path(_name(line)) for line in pair)


def _is_half_header(lines: Sequence[str], index: int) -> bool:
    """One of the two lines of a header, right above its hunk."""
    return _is_path(_name(lines[index])) and any(line.startswith("@@") for line in lines[index + 1 : index + 2])


def _is_path(name: str) -> bool:
    return bool(name) and (name == _NONE or "." in name or "/" in name)


def _name(header: str) -> str:
    found = _HEADER.fullmatch(header)
    return found[1].strip('"') if found else ""


def _regions(lines: Sequence[str], known: Collection[str]) -> Iterator[tuple[str | None, Sequence[str]]]:
    """(file named above it, lines) of each part that is a diff: fenced ones, else all from the first header on."""
    fenced = [(part, dedented(lines[part.start : part.end], part.fence.indent)) for part in sections(lines)]
    inside = [
        (named_above(lines, part.start, before), inner)
        for before, (part, inner) in zip([-1, *(part.end for part, _ in fenced)], fenced, strict=False)
        if part.fence.label in _LABELS or any(_begins(inner, index) for index in range(len(inner)))
    ]
    if inside:
        hidden = {index for part, _ in fenced for index in range(part.start, part.end)}
        if any(_SPILLED.match(line) for index, line in enumerate(lines) if index not in hidden):
            raise EditError("The diff goes on after its fence: send all of it in one fence.", Wrong.MARKERS)
        yield from inside
        return
    first = next(index for index in range(len(lines)) if _begins(lines, index))
    yield named_above(lines, first), _without_prose(lines[first:], known)


def _without_prose(lines: Sequence[str], known: Collection[str]) -> Sequence[str]:
    """A paragraph after a bare diff ends it, if it is no code of the files and no change follows."""
    for index in range(len(lines) - 1, 0, -1):
        line = lines[index]
        if _CHANGE.match(line):
            break
        if line[:1] not in ("", " ", "\\") and not lines[index - 1].strip() and line.rstrip() not in known:
            lines = lines[:index]
    return lines


def _parts(lines: Sequence[str]) -> list[_FilePart]:
    """One part a file; lines before the first header are a part without names."""
    parts = [_FilePart()]
    skip = -1
    for index, line in enumerate(lines):
        part = parts[-1]
        if index == skip:
            continue
        if git := _GIT.match(line):
            parts.append(_FilePart([git[1], git[2]]))
        elif _is_header(lines, index):
            skip = index + 1
            if part.lines or not part.names:
                part = _FilePart()
                parts.append(part)
            part.names += [_name(line), _name(lines[skip])]
        elif not part.lines and _is_half_header(lines, index):
            part.names.append(_name(line))
        elif not part.lines and (_META if part.names else _MOVED).match(line):
            _check_stays(line)
        else:
            part.lines.append(line)
    return [part for part in parts if part.names or any(line.strip() for line in part.lines)]


def _check_stays(line: str) -> None:
    if _MOVED.match(line):
        raise EditError(f"The diff says {line[:100]!r}: files keep their names and stay.", Wrong.PATH)


def _target(part: _FilePart, rules: Rules) -> str | None:
    """The file that a part changes; None if it names none."""
    if part.names and part.names[-1] == _NONE:
        raise EditError("A diff may not delete a file: send edits of what is in it.", Wrong.PATH)
    found = {resolve(name, rules) for name in part.names if name != _NONE}
    if len(found) > 1:
        raise EditError(f"The diff turns {' into '.join(sorted(found))}: files keep their names.", Wrong.PATH)
    return next(iter(found), None)


def _whole(part: _FilePart, path: str | None, files: Mapping[str, str]) -> WholeFile:
    text = "".join(f"{line[1:]}\n" for line in part.lines if line.startswith("+"))
    name = path or next(iter(files), "")
    if found := lack(text, files.get(name, ""), name):
        raise EditError(f"The diff makes {name} anew, but {found.why}: change its lines instead.", Wrong.PATH)
    return WholeFile(text, path)

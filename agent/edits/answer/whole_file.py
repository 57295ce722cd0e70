"""A whole file as the answer. The text in a fence must be complete: a snippet never takes the place of a file.

A script's docstrings may hold fences, so the closing fence is the last one up to which the text compiles.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from agent.edits.answer.complete import Lack, ends_like, lack
from agent.edits.answer.fences import SHELL, Fence, closes, dedented, fence, sections
from agent.edits.answer.lazy import placeholder
from agent.edits.answer.paths import named_above, named_by_fence, named_in, resolve
from agent.edits.blocks import Parsed, WholeFile
from agent.edits.errors import EditError, Wrong
from agent.edits.rules import Rules

_MOST_FENCES, _MOST_CHARS = 300, 6_000_000  # to compile, over all pairs of fences: a second or two
_OTHER = SHELL | {"diff", "patch", "json", "yaml", "toml", "output"}
_CODE = re.compile(r"[rR]?\"\"\"|'''|#!|import |from \S+ import ")
_TAIL = 6  # lines; a file without its closing fence ends there
_LABEL = re.compile(r"\W*(?:IDEA|WHY|TITLE|DESCRIPTION|REASON)\W*:.*", re.IGNORECASE)


def start(lines: Sequence[str]) -> int:
    """Index of the first fence, or of the first line of a file without one."""
    first = _first(lines)
    if first < len(lines) and _CODE.match(lines[first]):
        return first
    return next((index for index, line in enumerate(lines) if fence(line)), len(lines))


def read(lines: Sequence[str], files: Mapping[str, str], rules: Rules) -> Parsed:
    """The one complete file in the answer, or one for each editable file.

    Raises:
        EditError: none (`no_edit`), several that differ (`conflict`), another file (`path`), an incomplete one.
    """
    found: dict[str, set[str]] = {}
    for path, text in list(_complete(lines, files, rules)) or _bare(lines, files):
        found.setdefault(path, set()).add(text.rstrip("\n") + "\n")
    for path, texts in found.items():
        if len(texts) > 1:
            raise EditError(
                f"The answer holds {len(texts)} different versions of {path}: send exactly one.", Wrong.CONFLICT
            )
    if not found:
        raise _nothing(lines, files)
    return Parsed(tuple(WholeFile(next(iter(texts)), path) for path, texts in found.items()), "file")


def _complete(lines: Sequence[str], files: Mapping[str, str], rules: Rules) -> Iterator[tuple[str, str]]:
    """(path, text) of each complete file in the answer."""
    offsets = list(accumulate((len(line) + 1 for line in lines), initial=0))
    fences = [index for index, line in enumerate(lines) if fence(line)]
    left, until, end = _MOST_CHARS, 0, len(lines)
    for opening in fences:
        opened = fence(lines[opening])
        if opening < until or opened is None or opened.label in _OTHER:
            continue
        shown = _shown(lines, opening, opened, files, rules)
        closings = [index for index in reversed(fences) if index > opening and closes(lines[index], opened)]
        for closing in [*closings, end]:
            if closing - opening - 1 < min((text.count("\n") for text in shown.values()), default=0) / 2:
                continue
            left -= offsets[closing] - offsets[opening + 1]
            if left < 0 or len(fences) > _MOST_FENCES:
                raise EditError("The answer has too many fences: send one file in one fence.", Wrong.NO_EDIT)
            text = "\n".join(dedented(lines[opening + 1 : closing], opened.indent))
            fits = _path_of(text, shown)
            if fits and (closing < end or ends_like(text, shown[fits], _TAIL)):
                yield fits, text
                until = closing + 1
                break


def _bare(lines: Sequence[str], files: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The answer as a file, where no fence holds one: its own fences may be those of a docstring."""
    text = "\n".join(lines[_first(lines) :])
    if (path := _path_of(text, files)) and ends_like(text, files[path], _TAIL):
        yield path, text


def _first(lines: Sequence[str]) -> int:
    """Index of the first line that is neither blank nor a label like `IDEA:`."""
    return next((i for i, line in enumerate(lines) if line.strip() and not _LABEL.fullmatch(line)), len(lines))


def _path_of(text: str, files: Mapping[str, str]) -> str | None:
    """The file of which `text` is a complete version."""
    return next((path for path, source in files.items() if lack(text, source, path) is None), None)


def _shown(
    lines: Sequence[str], opening: int, opened: Fence, files: Mapping[str, str], rules: Rules
) -> Mapping[str, str]:
    """The files that a fence may hold: the one it is announced as, else any."""
    head = lines[opening + 1] if opening + 1 < len(lines) else ""
    inside = named_in(head) if head.startswith("#") and not any(head in text for text in files.values()) else None
    named = named_by_fence(opened.info) or named_above(lines, opening) or inside
    path = resolve(named, rules) if named else None
    return {path: files.get(path, "")} if path else files


def _nothing(lines: Sequence[str], files: Mapping[str, str]) -> EditError:
    """Why the answer is no edit: what its code lacks."""
    parts = [part for part in sections(lines) if part.fence.label not in _OTHER]
    if not parts:
        return EditError(
            "The answer holds no edit: send the edit in the form asked for, and nothing else.", Wrong.NO_EDIT
        )
    spans = [(part.start, part.end) for part in parts] + [(parts[0].start, parts[-1].end)]
    known = frozenset(line.strip() for text in files.values() for line in text.split("\n"))
    if line := placeholder((line for first, last in spans for line in lines[first:last]), known):
        return EditError(f"The file has a placeholder where code should be: {line!r}. Write it out.", Wrong.LAZY)
    texts = ["\n".join(lines[first:last]) for first, last in spans]
    large = [(text, path) for text in texts for path, source in files.items() if len(text) > len(source) / 2]
    if not large:
        return EditError(
            "The answer holds code, but nothing says where it goes: send it in the form asked for.", Wrong.NO_EDIT
        )
    cut = Lack(Wrong.TRUNCATED, "it is cut at its end")
    found = min(
        (lack(text, files[path], path) or cut for text, path in large), key=lambda each: each.wrong is Wrong.SYNTAX
    )
    wrong = found.wrong if parts[-1].closed else Wrong.TRUNCATED
    return EditError(f"The code is no complete file: {found.why}. Send all of it, or only edits.", wrong)

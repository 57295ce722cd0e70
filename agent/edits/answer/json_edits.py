"""Pairs of old and new text as JSON. What does not decode is not guessed at."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from agent.edits.answer.fences import fence, sections
from agent.edits.answer.paths import named_above, resolve
from agent.edits.answer.readings import Lines, readings
from agent.edits.blocks import Block, Parsed
from agent.edits.errors import EditError, Wrong
from agent.edits.rules import Rules

_OLD = ("search", "find", "old", "old_string", "old_str", "old_text", "old_code", "original", "before", "from")
_NEW = ("replace", "replacement", "new", "new_string", "new_str", "new_text", "new_code", "updated", "after", "to")
_PATH = ("path", "file", "filename", "file_path", "filepath")
_TITLE, _WHY = ("idea", "title", "description", "summary"), ("why", "reason", "rationale", "explanation", "thought")
_LIKELY = re.compile(rf'"(?:{"|".join(_OLD)})"\s*:', re.IGNORECASE)
_BRACKETS = ("{", "[", '"')
_DEEPEST = 6


def start(lines: Sequence[str]) -> int | None:
    """Index of the first line of JSON with such pairs, or of what was to be that; None if there is none."""
    for first, text in _texts(lines):
        if _LIKELY.search(text):
            return first
    return None


def read(lines: Sequence[str], files: Mapping[str, str], rules: Rules) -> Parsed:
    """The pairs of an answer.

    Raises:
        EditError: JSON that does not decode, an entry without its pair, another file.
    """
    known = frozenset(line.rstrip() for text in files.values() for line in text.split("\n"))
    blocks: list[Block] = []
    title = why = ""
    for index, text in _texts(lines):
        if not _LIKELY.search(text):
            continue
        above = named_above(lines, index + 1 if fence(lines[index]) else index)
        for entry in (entry for value in _decoded(text) for entry in _objects(value)):
            title, why = title or _text_of(entry, _TITLE), why or _text_of(entry, _WHY)
            if not entry.keys() & {*_OLD, *_NEW}:
                continue
            search, replace = _side(entry, _OLD), _side(entry, _NEW)
            named = _text_of(entry, _PATH) or above
            path = resolve(named, rules) if named else None
            others = readings(search, replace, known)
            blocks.append(Block(len(blocks) + 1, search, replace, path, readings=others))
    if not blocks:
        raise EditError('The JSON holds no pair of "search" and "replace": send such pairs.', Wrong.NO_EDIT)
    return Parsed(tuple(blocks), "json", title, why)


def embedded(text: str, has_edits: Callable[[str], bool]) -> str | None:
    """The one string in JSON `text` that holds edits of another form; None if it is no such JSON."""
    for _, part in _texts(text.split("\n")):
        try:
            found = {leaf for value in _decoded(part) for leaf in _strings(value) if has_edits(leaf)}
        except EditError:
            continue
        if len(found) == 1:
            return found.pop()
    return None


def _texts(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(index, text) of each part that is to be JSON: fenced, and from the first bracket that begins a line on."""
    parts = sections(lines)
    fenced = [(part.start - 1, "\n".join(lines[part.start : part.end]).strip()) for part in parts]
    found = [(index, text) for index, text in fenced if text.startswith(_BRACKETS)]
    yield from found
    hidden = {index for part in parts for index in range(part.start - 1, part.end + 1)}
    bare = (i for i, line in enumerate(lines) if line.startswith(_BRACKETS) and i not in hidden)
    for index in islice(bare, 1):
        rest = [line for i, line in enumerate(lines) if i >= index and not (found and i in hidden)]
        yield index, "\n".join(rest)


def _decoded(text: str) -> list[Any]:
    """The values that `text` begins with; what follows them must hold no pair."""
    values: list[Any] = []
    decoder = json.JSONDecoder()
    try:
        while not values or text.startswith(_BRACKETS) or _LIKELY.search(text):
            value, end = decoder.raw_decode(text)
            values.append(value)
            text = text[end:].lstrip(" \t\r\n,;")
        return values
    except (ValueError, RecursionError) as error:
        raise EditError(
            f"The JSON does not decode ({error}): send it again whole, with quotes and line ends escaped.",
            Wrong.MARKERS,
        ) from error


def _objects(value: Any, path: str = "", depth: int = 0) -> Iterator[dict[str, Any]]:
    """The objects in a decoded value, outer ones first; inner ones have the outer's path where they have none."""
    if isinstance(value, dict):
        value = {str(key).lower(): item for key, item in value.items()}
        path = _text_of(value, _PATH) or path
        yield value | {_PATH[0]: path}
    if depth < _DEEPEST and isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _objects(item, path, depth + 1)


def _strings(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    if depth < _DEEPEST and isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item, depth + 1)


def _key(entry: dict[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if isinstance(entry.get(name), str | list)), None)


def _text_of(entry: dict[str, Any], names: Sequence[str]) -> str:
    return next((entry[name] for name in names if isinstance(entry.get(name), str)), "")


def _side(entry: dict[str, Any], names: Sequence[str]) -> Lines:
    """The lines of one text of a pair: a string, or a list of lines."""
    key = _key(entry, names)
    value = entry[key] if key else None
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "\n".join(line.removesuffix("\n") for line in value)
    if not isinstance(value, str):
        raise EditError(f"An entry of the JSON has no text for {names[0]!r}: send both of each pair.", Wrong.MARKERS)
    lines = value.replace("\r\n", "\n").split("\n")
    return tuple(lines[:-1] if not lines[-1] else lines)

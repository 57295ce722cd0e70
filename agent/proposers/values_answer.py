"""Reads values of constants from a model's answer: one JSON object, alone, in a fence or among words.

What is not in its range is moved to the nearest value that is, and counted. What is no value at all (an unknown name,
another type, no object, two different ones) is an error: nothing is guessed.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.edits.answer.reply import answer_text
from agent.edits.blocks import Answer
from agent.edits.errors import EditError, Wrong
from agent.knobs import Knob
from agent.nouns import Value
from agent.space import Space

_WORDS = ("title", "why")
_SAME = 1e-3  # relative: what rounding to four digits does is not worth a word


@dataclass(frozen=True)
class Values:
    """An answer.

    Attributes:
        constants: a value of its knob for every constant that the answer names.
        clamped: how many lay outside their ranges.
        rounded: how many lay between the values there are.
        title, why: what the model says of them; empty for nothing.
    """

    constants: dict[str, Value]
    clamped: int = 0
    rounded: int = 0
    title: str = ""
    why: str = ""


def read_values(answer: Answer, space: Space, files: Mapping[str, str], now: Mapping[str, Value]) -> Values:
    """The values in an answer. One that a constant has `now` stays as it is, wherever it lies.

    Raises:
        EditError: there are none, or they cannot be used.
    """
    found, knobs = _object(answer, files), {knob.name: knob for knob in space.knobs}
    given = found.get("constants", {name: value for name, value in found.items() if name not in _WORDS})
    if not isinstance(given, dict):
        raise EditError('"constants" must be an object of names and values.', Wrong.VALUE)
    unknown = [name for name in given if name not in knobs]
    if unknown:
        names = f"{', '.join(unknown[:5])}: not among the constants"
        raise EditError(f"{names}, which are {', '.join(knobs)}.", Wrong.VALUE)
    if not given:
        raise EditError("The answer names no constant.", Wrong.VALUE)
    kept = {name: now[name] for name, value in given.items() if name in now and _same(value, now[name])}
    raw = {name: _raw(knobs[name], value) for name, value in given.items() if name not in kept}
    changed = {name: knobs[name].decode(knobs[name].encode(value)) for name, value in raw.items()}
    constants = {name: kept[name] if name in kept else changed[name] for name in given}
    outside = [name for name, value in raw.items() if _outside(knobs[name], value)]
    moved = [name for name, value in raw.items() if name not in outside and not _close(value, constants[name])]
    words = {word: found[word] for word in _WORDS if isinstance(found.get(word), str)}
    return Values(constants, len(outside), len(moved), **words)


def _object(answer: Answer, files: Mapping[str, str]) -> dict[str, Any]:
    whole = _whole(answer.reasoning) if not answer.text.strip() and answer.finish_reason == "stop" else None
    if whole is not None:  # servers whose parser runs though thinking is off put the whole answer there
        return whole
    text = answer_text(answer, files)
    objects = [found] if (found := _whole(text)) is not None else _objects(text)
    if not objects:
        raise EditError("The answer holds no JSON object that can be read.", Wrong.NO_EDIT)
    if any(each != objects[0] for each in objects):
        raise EditError("The answer holds several different JSON objects: send one.", Wrong.AMBIGUOUS)
    return objects[0]


def _whole(text: str) -> dict[str, Any] | None:
    found = _decoded(text.strip(), 0) if text.lstrip().startswith("{") else None
    return found[0] if found is not None and found[1] == len(text.strip()) else None


def _objects(text: str) -> list[dict[str, Any]]:
    """Every object of the text that stands in no other; empty ones say nothing."""
    objects, at = [], 0
    while (at := text.find("{", at)) != -1:
        found = _decoded(text, at)
        if found is not None and found[0]:
            objects.append(found[0])
        at = at + 1 if found is None else found[1]
    return objects


def _decoded(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    try:
        return json.JSONDecoder(object_pairs_hook=_unique).raw_decode(text, at)
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    twice = [name for name, value in pairs if value is not found[name] and value != found[name]]
    if twice:
        raise EditError(f"{twice[0]} has two different values: give one.", Wrong.CONFLICT)
    return found


def _same(value: Any, now: Value) -> bool:
    """Whether JSON's `value` is the one that the constant has `now`."""
    given = tuple(value) if isinstance(value, list) else value
    return bool(given == now) and isinstance(given, bool) == isinstance(now, bool)


def _raw(knob: Knob, value: Any) -> Value:
    """The value as JSON has it. Raises EditError for one that the knob has no place for."""
    if knob.kind == "categorical":
        return _choice(knob, tuple(value) if isinstance(value, list) else value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise EditError(f"{knob.name} must be a number, and is {_shown(value)}.", Wrong.VALUE)


def _choice(knob: Knob, value: Any) -> Value:
    for choice in knob.choices:
        if choice == value and isinstance(choice, bool) == isinstance(value, bool):
            return choice
    choices = ", ".join(json.dumps(choice) for choice in knob.choices)
    raise EditError(f"{knob.name} must be one of {choices}, and is {_shown(value)}.", Wrong.VALUE)


def _shown(value: Any) -> str:
    return json.dumps(value)[:80]


def _outside(knob: Knob, value: Value) -> bool:
    return knob.kind != "categorical" and isinstance(value, int | float) and not knob.low <= value <= knob.high


def _close(before: Value, after: Value) -> bool:
    if isinstance(before, int | float) and isinstance(after, int | float):
        return math.isclose(before, after, rel_tol=_SAME, abs_tol=1e-12)
    return before == after

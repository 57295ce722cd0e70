"""The script's constants as a search space: which are searched, in which ranges, and which are left alone.

`find_space` looks at the editable files. What target.toml's [space] declares is searched, and nothing else;
without a declaration, ranges are inferred from names and values (`agent.infer`). Every constant that is not
searched is listed with the reason, so that nobody has to wonder. Search methods see the unit cube only:
`Space.encode` and `Space.decode`.
"""

import difflib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.edits.constants import Constant, find
from agent.errors import UsageError
from agent.infer import infer
from agent.knobs import Kind, Knob, Range, knob
from agent.nouns import Value

__all__ = ["Kind", "Knob", "LeftAlone", "Range", "Space", "find_space"]


@dataclass(frozen=True)
class LeftAlone:
    """A constant that is not searched, and why."""

    name: str
    file: str
    reason: str


@dataclass(frozen=True)
class Space:
    """The knobs of a script, in a fixed order: one axis of the unit cube each.

    Attributes:
        knobs: what is searched.
        left_alone: constants that are not.
    """

    knobs: tuple[Knob, ...]
    left_alone: tuple[LeftAlone, ...] = ()

    @property
    def own(self) -> dict[str, Value]:
        """The script's own values; some may lie outside of their ranges."""
        return {k.name: k.value for k in self.knobs}

    def encode(self, constants: Mapping[str, Value]) -> NDArray[np.float64]:
        """The point of the unit cube, shape (number of knobs,); values outside their ranges are clipped.

        Raises:
            ValueError: a knob without a value among `constants`, or with one of the wrong type.
        """
        missing = [k.name for k in self.knobs if k.name not in constants]
        if missing:
            raise ValueError(f"no value for {', '.join(missing)}")
        return np.array([k.encode(constants[k.name]) for k in self.knobs], dtype=np.float64)

    def decode(self, x: NDArray[np.float64]) -> dict[str, Value]:
        """The configuration that a point of the unit cube stands for; points outside are clipped."""
        return {k.name: k.decode(position) for k, position in zip(self.knobs, x, strict=True)}

    def sample(self, rng: np.random.Generator) -> dict[str, Value]:
        """A configuration, uniform over the unit cube."""
        return self.decode(rng.random(len(self.knobs)))

    def size(self) -> int | None:
        """Number of configurations; None when a knob is a float."""
        sizes = [k.size() for k in self.knobs]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    def contains(self, constants: Mapping[str, Value]) -> bool:
        """Whether `constants` are a configuration that `decode` can return, no more and no less."""
        names = {k.name for k in self.knobs}
        return set(constants) == names and all(k.contains(constants[k.name]) for k in self.knobs)


def find_space(files: Mapping[str, str], declared: Mapping[str, Range]) -> Space:
    """The search space of a target.

    Args:
        files: path -> source of the editable files; those that do not end in .py are skipped.
        declared: name -> range, from target.toml's [space]; empty to infer the ranges.

    Raises:
        UsageError: a file does not parse, or a declared name is missing, left alone or unfit for its range.
    """
    found = [(path, c) for path in sorted(files) if path.endswith(".py") for c in _find(path, files[path])]
    usable, left_alone = _split(found)
    literals = {c.name for _, c in found if c.value is not None}  # `model = GPT()` is no constant to speak of
    knobs = [_declared_knob(name, range_, usable, left_alone) for name, range_ in declared.items()]
    for name, (path, constant) in usable.items():
        if name in declared:
            continue
        guess = "no range declared in [space]" if declared else infer(name, _value(constant))
        if isinstance(guess, str):
            left_alone[name] = LeftAlone(name, path, guess)
        else:
            knobs.append(knob(name, path, _value(constant), guess, inferred=True))
    shown = [a for name, a in left_alone.items() if name.isupper() or name in literals]
    return Space(tuple(knobs), tuple(shown))


def _find(path: str, source: str) -> tuple[Constant, ...]:
    try:
        return find(source)
    except SyntaxError as error:
        raise UsageError(f"{path}:{error.lineno} is no valid Python ({error.msg}): fix it first") from error


def _split(
    found: list[tuple[str, Constant]],
) -> tuple[dict[str, tuple[str, Constant]], dict[str, LeftAlone]]:
    """Constants that may be set, and those that may not. A name in two files is ambiguous: left alone."""
    times = Counter(constant.name for _, constant in found)
    usable: dict[str, tuple[str, Constant]] = {}
    left_alone: dict[str, LeftAlone] = {}
    for path, constant in found:
        if times[constant.name] > 1:
            paths = ", ".join(p for p, c in found if c.name == constant.name)
            left_alone[constant.name] = LeftAlone(constant.name, path, f"it is set in several files: {paths}")
        elif constant.left_alone is not None:
            left_alone[constant.name] = LeftAlone(constant.name, path, constant.left_alone)
        else:
            usable[constant.name] = (path, constant)
    return usable, left_alone


def _declared_knob(
    name: str,
    range_: Range,
    usable: Mapping[str, tuple[str, Constant]],
    left_alone: Mapping[str, LeftAlone],
) -> Knob:
    if name in left_alone:
        alone = left_alone[name]
        raise UsageError(f"[space] {name} cannot be searched: in {alone.file}, {alone.reason}")
    if name not in usable:
        near = difflib.get_close_matches(name.upper(), [n.upper() for n in usable], n=1)
        meant = [n for n in usable if n.upper() in near][:1]
        hint = f"did you mean {meant[0]}? " if meant else ""
        raise UsageError(f"[space] {name}: no such constant; {hint}there are: {', '.join(usable) or 'none'}")
    path, constant = usable[name]
    try:
        return knob(name, path, _value(constant), range_, inferred=False)
    except ValueError as error:
        raise UsageError(f"[space] {name}: {error}") from error


def _value(constant: Constant) -> Value:
    assert constant.value is not None, "a usable constant has a value"
    return constant.value

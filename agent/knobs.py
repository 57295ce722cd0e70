"""Ranges and knobs: what a constant of the script may be set to, and how that maps to the unit interval.

A `Range` is what a user declares (an entry of target.toml's [space]) or what `agent.infer` guesses; a
`Knob` is a constant together with its range. Search methods work on [0, 1]; `Knob.encode` and `Knob.decode`
are the only way in and out. Every int, power of two or choice has an interval of its own (equally wide, or
by its logarithm); floats are rounded to four significant digits, so that patches read well. No numpy here:
a target is read without it.
"""

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import StrictFloat, StrictInt, model_validator

from agent.noun import Noun
from agent.nouns import Value

Kind = Literal["int", "float", "categorical"]
_LARGEST = 1e12  # ints far beyond are not told apart on the logarithm of the unit interval


class Range(Noun):
    """What a constant may be: from `low` to `high`, or one of `choices`.

    Attributes:
        low, high: both ends belong to the range. Two ints make an int range of an int constant.
        log: search on a logarithmic scale; needs low > 0.
        pow2: only powers of two, both ends included.
        choices: two or more different values.
    """

    low: StrictInt | StrictFloat | None = None
    high: StrictInt | StrictFloat | None = None
    log: bool = False
    pow2: bool = False
    choices: tuple[Value, ...] | None = None

    @model_validator(mode="after")
    def _sensible(self) -> "Range":
        if self.choices is not None:
            _check_choices(self)
        elif self.low is None or self.high is None:
            raise ValueError("give low and high, or choices = [...]")
        else:
            _check_ends(self, self.low, self.high)
        return self


@dataclass(frozen=True)
class Knob:
    """A constant that is searched.

    Attributes:
        name, file: the constant and the script it is in.
        kind: int, float, or categorical (bools and texts included).
        value: the script's own value; may lie outside the range.
        low, high, log, pow2, choices: see `Range`.
        inferred: the range was guessed, not declared.
        note: what its user should know; empty for nothing.
    """

    name: str
    file: str
    kind: Kind
    value: Value
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    pow2: bool = False
    choices: tuple[Value, ...] = ()
    inferred: bool = False
    note: str = ""

    def size(self) -> int | None:
        """Number of values; None for a float."""
        if self.kind == "categorical":
            return len(self.choices)
        if self.kind == "float":
            return None
        low, high = self._ends()
        return int(high - low) + 1

    def encode(self, value: Value) -> float:
        """The middle of the value's interval in [0, 1]. A value outside the range counts as the nearest end.

        Raises:
            ValueError: no number for a range of numbers.
        """
        if self.kind == "categorical":
            return self._encode_choice(value)
        if isinstance(value, bool | str | tuple):
            raise ValueError(f"{self.name} = {value!r} is not a number")
        number = min(max(value, self.low), self.high)
        low, high = self._edges()
        position = self._scale(math.log2(number) if self.pow2 else number)
        return min(max((position - low) / (high - low), 0.0), 1.0)

    def decode(self, x: float) -> Value:
        """The value whose interval `x` in [0, 1] falls into."""
        x = min(max(float(x), 0.0), 1.0)
        if self.kind == "categorical":
            return self.choices[min(int(x * len(self.choices)), len(self.choices) - 1)]
        low, high = self._edges()
        raw = self._unscale(low + x * (high - low))
        if self.kind == "float":
            return min(max(_short(raw, self.low, self.high, self.log), self.low), self.high)
        first, last = self._ends()
        number = int(min(max(math.floor(raw + 0.5), first), last))
        return 2**number if self.pow2 else number

    def contains(self, value: Value) -> bool:
        """Whether the value is one that `decode` returns."""
        if self.kind == "categorical":
            return value in self.choices
        if isinstance(value, bool | str | tuple) or (self.kind == "int" and not isinstance(value, int)):
            return False
        return self.low <= value <= self.high and self.decode(self.encode(value)) == value

    def _encode_choice(self, value: Value) -> float:
        if value in self.choices:
            return (self.choices.index(value) + 0.5) / len(self.choices)
        if isinstance(value, int | float) and all(isinstance(c, int | float) for c in self.choices):
            numbers = [c for c in self.choices if isinstance(c, int | float)]
            return self._encode_choice(min(numbers, key=lambda c: abs(c - value)))
        return 0.5

    def _ends(self) -> tuple[float, float]:
        """First and last of what is counted: the numbers themselves, or the exponents of powers of two."""
        return (math.log2(self.low), math.log2(self.high)) if self.pow2 else (self.low, self.high)

    def _edges(self) -> tuple[float, float]:
        """The scaled positions of 0 and 1. Whole numbers reach half a step beyond: equal shares."""
        low, high = self._ends()
        margin = 0.0 if self.kind == "float" else 0.5
        return self._scale(low - margin), self._scale(high + margin)

    def _scale(self, number: float) -> float:
        return math.log(number) if self.log and not self.pow2 else number

    def _unscale(self, position: float) -> float:
        return math.exp(position) if self.log and not self.pow2 else position


def knob(name: str, file: str, value: Value, range_: Range, inferred: bool) -> Knob:
    """The knob that a constant and its range make, with a note when its own value lies outside.

    Raises:
        ValueError: a range that does not fit the constant's value; the message says why.
    """
    if range_.choices is not None:
        note = "" if value in range_.choices else f"its own value {value!r} is not among the choices"
        return Knob(name, file, "categorical", value, choices=range_.choices, inferred=inferred, note=note)
    low, high = range_.low, range_.high
    assert low is not None and high is not None, "a Range without choices has both ends"
    if isinstance(value, bool | str | tuple):
        raise ValueError(f"its value {value!r} is not a number: declare choices = [...]")
    whole = isinstance(value, int) and isinstance(low, int) and isinstance(high, int)
    if range_.pow2 and not whole:
        raise ValueError(f"pow2 is for ints, and its value is {value!r}")
    return Knob(
        name,
        file,
        "int" if whole else "float",
        value,
        low=low if whole else float(low),
        high=high if whole else float(high),
        log=range_.log,
        pow2=range_.pow2,
        inferred=inferred,
        note=_outside(value, low, high, range_.pow2),
    )


def _outside(value: float, low: float, high: float, pow2: bool) -> str:
    if not low <= value <= high:
        return f"its own value {value!r} is outside {low!r} to {high!r}: the search starts at the nearest end"
    if pow2 and not _is_pow2(value):
        return f"its own value {value!r} is not a power of two: the search starts at the nearest one"
    return ""


def _short(number: float, low: float, high: float, log: bool) -> float:
    """`number` at four significant digits, or more where the range is too narrow to be told apart by four.

    On a linear scale digits below a millionth of the range are dropped as well, so that 0 is 0 and not 1e-17.
    """
    if number == 0.0:
        return 0.0
    span = math.floor(math.log10(high - low))
    digits = max(3 - math.floor(math.log10(abs(number))), 2 - span)
    return round(number, digits if log else min(digits, 6 - span)) + 0.0  # + 0.0 turns -0.0 into 0.0


def _check_choices(given: Range) -> None:
    choices = given.choices or ()
    if given.low is not None or given.high is not None or given.log or given.pow2:
        raise ValueError("choices go without low, high, log and pow2")
    if len(choices) < 2 or any(a == b for i, a in enumerate(choices) for b in choices[:i]):
        raise ValueError(f"choices must be two or more different values, not {list(choices)!r}")
    if any(isinstance(c, float) and not math.isfinite(c) for c in choices):
        raise ValueError("choices must be finite")


def _check_ends(given: Range, low: float, high: float) -> None:
    if not all(math.isfinite(end) and abs(end) <= _LARGEST for end in (low, high)):
        raise ValueError(f"low and high must lie within +-{_LARGEST:g}")
    if low >= high:
        raise ValueError(f"low must be below high, and {low!r} is not below {high!r}")
    if isinstance(high - low, float) and high - low < 1e-9 * max(abs(low), abs(high)):
        raise ValueError(f"{low!r} to {high!r} is too narrow to search")
    if given.log and low <= 0:
        raise ValueError(f"log needs low > 0, and low is {low!r}")
    if given.pow2 and not all(isinstance(end, int) and _is_pow2(end) for end in (low, high)):
        raise ValueError(f"pow2 needs both ends to be powers of two, and they are {low!r} and {high!r}")


def _is_pow2(number: float) -> bool:
    return number >= 1 and math.log2(number).is_integer()

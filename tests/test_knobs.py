"""A knob maps a constant to the unit interval and back: whatever comes out goes in again."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.knobs import Knob, Range, knob
from agent.nouns import Value

UNIT = st.floats(0, 1)


def one(value: Value, **range_: object) -> Knob:
    return knob("K", "train.py", value, Range.model_validate(range_), inferred=False)


@st.composite
def knobs(draw: st.DrawFn) -> Knob:
    kind = draw(st.sampled_from(["int", "float", "log int", "log float", "pow2", "choices"]))
    if kind == "choices":
        choices = draw(
            st.lists(st.one_of(st.text(max_size=3), st.integers(2, 99)), min_size=2, max_size=9, unique=True)
        )
        return one("x", choices=choices)
    if kind == "pow2":
        low, more = draw(st.integers(0, 20)), draw(st.integers(1, 15))
        return one(3, low=2**low, high=2 ** (low + more), pow2=True)
    log = kind.startswith("log")
    if kind.endswith("int"):
        low = draw(st.integers(1 if log else -(10**9), 10**9))
        return one(0, low=low, high=low + draw(st.integers(1, 10**9)), log=log)
    low_float = draw(st.floats(1e-12, 1e6) if log else st.floats(-1e6, 1e6))
    width = draw(st.floats(1e-3, 1e5)) * max(abs(low_float), 1e-9)
    return one(0.0, low=low_float, high=low_float + width, log=log)


@given(knobs(), UNIT)
@settings(max_examples=400, deadline=None)
def test_decoded_values_are_in_the_space_and_come_back_from_encode(k: Knob, x: float):
    value = k.decode(x)
    assert k.contains(value)
    assert k.decode(k.encode(value)) == value
    if k.kind != "categorical":
        assert isinstance(value, int if k.kind == "int" else float)
        assert k.low <= value <= k.high


@given(knobs(), UNIT, UNIT)
@settings(max_examples=100, deadline=None)
def test_decode_keeps_the_order(k: Knob, x: float, y: float):
    a, b = (k.decode(v) for v in sorted((x, y)))
    if k.kind == "categorical":
        a, b = k.choices.index(a), k.choices.index(b)
    assert a <= b


@given(st.integers(-20, 20), st.integers(1, 12))
@settings(deadline=None)
def test_every_int_of_a_linear_range_has_an_equal_share(low: int, count: int):
    k = one(low, low=low, high=low + count)
    values = [k.decode((i + 0.5) / (100 * (count + 1))) for i in range(100 * (count + 1))]
    assert [values.count(low + i) for i in range(count + 1)] == [100] * (count + 1)
    assert k.size() == count + 1


@pytest.mark.parametrize("share", ["pow2", "choices"])
def test_powers_of_two_and_choices_have_equal_shares(share: str):
    k = one(8, low=4, high=64, pow2=True) if share == "pow2" else one(8, choices=(4, 8, 16, 32, 64))
    values = [k.decode((i + 0.5) / 500) for i in range(500)]
    assert [values.count(2**e) for e in range(2, 7)] == [100] * 5
    assert k.size() == 5


def test_a_log_scale_gives_each_factor_an_equal_share():
    k = one(1e-3, low=1e-4, high=1e-2, log=True)
    assert k.decode(0.5) == 1e-3
    assert [k.encode(v) for v in (1e-4, 1e-3, 1e-2)] == pytest.approx([0, 0.5, 1])


@given(st.floats(0.001, 0.2))
@settings(deadline=None)
def test_floats_read_well(x: float):
    text = repr(one(0.02, low=0.002, high=0.2, log=True).decode(x))
    assert len(text.replace(".", "").lstrip("0")) <= 4


def test_four_digit_values_of_a_range_survive():
    k = one(0.1, low=0.0, high=0.5)
    assert all(k.decode(k.encode(v)) == v for v in (0.0, 0.05, 0.1234, 0.3333, 0.5))
    assert repr(k.decode(1e-12)) == "0.0"


def test_narrow_ranges_far_from_zero_keep_enough_digits():
    k = one(1e6, low=1e6, high=1e6 + 1.0)
    assert len({k.decode(i / 1000) for i in range(1000)}) >= 100


def test_points_and_values_outside_are_clipped():
    k = one(0.5, low=0.1, high=1.0)
    assert (k.decode(-3.0), k.decode(7.0)) == (0.1, 1.0)
    assert (k.encode(-5.0), k.encode(9)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("value", "range_", "position"),
    [(50, {"low": 1, "high": 10}, 0.95), (0.5, {"low": 1.0, "high": 2.0}, 0.0), (7, {"choices": (2, 6)}, 0.75)],
)
def test_own_value_outside_its_range_is_kept_and_noted(value: Value, range_: dict[str, object], position: float):
    k = one(value, **range_)
    assert k.value == value and k.note
    assert not k.contains(value)
    assert k.encode(value) == position


def test_own_value_that_is_no_power_of_two_starts_at_the_nearest():
    k = one(48, low=16, high=128, pow2=True)
    assert "power of two" in k.note and k.decode(k.encode(k.value)) == 64


@pytest.mark.parametrize(
    ("value", "range_", "kind"),
    [
        (8, {"low": 4, "high": 16}, "int"),
        (0, {"low": 0.0, "high": 0.3}, "float"),
        (0, {"low": 0, "high": 0.3}, "float"),
        (0.1, {"low": 0, "high": 1}, "float"),
        (True, {"choices": (False, True)}, "categorical"),
        ("a", {"choices": ("a", "b")}, "categorical"),
    ],
)
def test_kind_follows_from_value_and_range(value: Value, range_: dict[str, object], kind: str):
    assert one(value, **range_).kind == kind


@pytest.mark.parametrize(
    ("range_", "words"),
    [
        ({}, "low and high, or choices"),
        ({"low": 1}, "low and high, or choices"),
        ({"low": 2, "high": 2}, "low must be below high"),
        ({"low": 3.0, "high": 2}, "low must be below high"),
        ({"low": 0, "high": 2, "log": True}, "log needs low > 0"),
        ({"low": 3, "high": 8, "pow2": True}, "powers of two"),
        ({"low": 4.0, "high": 8.0, "pow2": True}, "powers of two"),
        ({"low": -4, "high": 8, "pow2": True}, "powers of two"),
        ({"low": math.nan, "high": 2}, "within"),
        ({"low": 0, "high": math.inf}, "within"),
        ({"low": 0, "high": 10**13}, "within"),
        ({"low": 1.0, "high": 1.0 + 1e-12}, "too narrow"),
        ({"choices": ["a"]}, "two or more different"),
        ({"choices": ["a", "a"]}, "two or more different"),
        ({"choices": [1, True]}, "two or more different"),
        ({"choices": [0.1, math.inf]}, "finite"),
        ({"choices": ["a", "b"], "low": 3}, "without low"),
        ({"low": True, "high": 3}, "low"),
        ({"low": "1", "high": 3}, "low"),
        ({"low": 1, "high": 3, "step": 1}, "step"),
    ],
)
def test_a_senseless_range_is_refused_in_words(range_: dict[str, object], words: str):
    with pytest.raises(ValidationError, match=words):
        Range.model_validate(range_)


def test_ranges_survive_json():
    for r in (Range(low=1.0, high=2, log=True), Range(choices=((0.9, 0.95), (0.8, 0.9))), Range(choices=(False, True))):
        again = Range.model_validate_json(r.model_dump_json())
        assert again == r and type(again.low) is type(r.low)

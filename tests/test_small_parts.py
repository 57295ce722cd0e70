"""Units, numbers, diffs, curves: the small pure parts."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.code import Code, diff, digest, patch
from agent.curve import Curve
from agent.metric import NoMetric, last_metric, parse_float
from agent.ui.spark import spark
from agent.units import parse_duration, parse_size, show_duration, show_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("2d", 172800),
        (" 1 H 5 M ", 3900),
        (7, 7),
    ],
)
def test_durations(text: str | int, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["5 apples", "", "0", "-5m", "h", "5x", "1e3", "nan", "inf", "5m!", "m5"])
def test_bad_durations_say_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("16GiB", 16 * 2**30), ("500 MB", 5 * 10**8), ("1024", 1024), ("1.5k", 1500), (12, 12)]
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "5 apples", "GiB", "0", "1 GiB extra"])
def test_bad_sizes_say_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@given(st.floats(0, 1e7))
def test_shown_durations_are_near(seconds: float) -> None:
    text = show_duration(seconds)
    shown = 0.0 if text == "0s" else parse_duration(text)
    assert abs(shown - seconds) <= (30.5 if seconds >= 3599 else 0.51)


def test_shown_sizes() -> None:
    assert [show_size(n) for n in (5, 2048, 612 * 2**20, 3 * 2**29, 2**50)] == [
        "5 B", "2 KiB", "612 MiB", "1.5 GiB", "1048576 GiB",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9.979e-01", 0.9979),
        ("1", 1.0),
        ("-.5", -0.5),
        ("+2.", 2.0),
        ("1E5", 1e5),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
    ],
)
def test_whole_float_grammar(text: str, value: float) -> None:
    assert parse_float(text) == value


@given(st.floats())
def test_every_float_that_python_prints_is_read_back(value: float) -> None:
    read = parse_float(repr(value))
    assert read == value or (math.isnan(read) and math.isnan(value))


@pytest.mark.parametrize("text", ["", "1.2.3", "0x10", "1_000", "1,5", "12abc", "one", "1e", "e5", "--1", "1 2"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(NoMetric):
        parse_float(text)


def test_metric_is_the_last_line_that_matches_and_nothing_else() -> None:
    pattern = r"^val_loss: (\S+)"
    output = "FAIL\nval_loss: 0.1\nnote: val_loss: 0.0\nval_loss: 9.979e-01 \nloss 3\n"
    assert last_metric(output, pattern) == 0.9979
    with pytest.raises(NoMetric, match="no number"):
        last_metric("val_loss: 0.5\nval_loss: 0.4,\n", pattern)
    with pytest.raises(NoMetric, match="without a line"):
        last_metric("the loss was 0.5", pattern)


LINES = st.text(alphabet=st.sampled_from("ab \t\r\f\v-+@\\é\x85\u2028#"), max_size=8)
TEXTS = st.tuples(st.lists(LINES, max_size=12), st.booleans()).map(lambda t: "\n".join(t[0]) + ("\n" if t[1] else ""))


@given(TEXTS, TEXTS, TEXTS)
def test_patch_of_diff_is_exact(before: str, after: str, other: str) -> None:
    a: Code = {"train.py": before.encode(), "x/y.py": other.encode(), "z.bin": b"\xff\x00"}
    b: Mapping[str, bytes] = {**a, "train.py": after.encode()}
    assert patch(a, diff(a, b)) == b
    assert patch(b, diff(b, a)) == a
    assert (digest(a) == digest(b)) == (before == after)


def test_patch_refuses_other_code() -> None:
    a, b = {"t.py": b"1\n2\n3\n"}, {"t.py": b"1\n2\n4\n"}
    with pytest.raises(ValueError, match="does not fit line 3"):
        patch({"t.py": b"1\n2\n5\n"}, diff(a, b))
    with pytest.raises(ValueError, match="not there"):
        patch({"u.py": b"1\n"}, diff(a, b))


def test_curve_keeps_its_end_and_stays_small() -> None:
    import re

    time = iter(range(100_000))
    curve = Curve(re.compile(r"step (?P<step>\S+) loss (?P<loss>\S+)"), now=lambda: float(next(time)))
    for line in ("hello", "step x loss 1", "step 1 loss many", "step 2 loss nan"):
        curve.feed(line)
    assert curve.points == ()
    for step in range(5000):
        curve.feed(f"step {step} loss {1 / (step + 1)}")
    assert len(curve.points) <= 513
    assert len(curve.thinned()) == 64
    assert curve.thinned()[-1] == curve.points[-1]
    assert curve.points[-1].step > 4980
    assert [p.step for p in curve.points] == sorted(p.step for p in curve.points)


def test_spark() -> None:
    assert spark([1, 2, 3], 10) == "▁▅█"
    assert spark([2.0] * 4, 2) == "▁▁"
    assert spark([], 5) == ""
    assert len(spark(list(range(1000)), 40)) == 40

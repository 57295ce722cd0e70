"""Constants are found by syntax tree and written by source span: nothing else in a file may change, ever."""

import ast
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.edits.constants import Constant, ConstantError, find, write

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3).map(tuple))
NAMES = st.sampled_from(["DEPTH", "LR", "größe", "x1", "_A", "BETAS", "Δ"])
COMMENTS = st.sampled_from(["", " # layers", "\t#é 🙂 = 3", "  # LR = 5", " # 'quoted\""])
LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
OTHER_LINES = st.sampled_from(
    ["", "\x0c", "import os", "s = '''a\nLR: b\n'''", "def f(q):\n\treturn q", "# DEPTH = 3", "t = 'é'; u = [1,\n 2]"]
)


def by_name(source: str) -> dict[str, Constant]:
    return {constant.name: constant for constant in find(source)}


@st.composite
def literals(draw: st.DrawFn) -> str:
    """A literal as somebody might have typed it."""
    written = repr(draw(VALUES))
    plain = st.just(written)
    typed = ["2**19", "4 * 1024", "1_000", "3e-4", "- 1", "0x10", '"a" "b"', "[1,\n  2,  # two\n]", "('é',)", "1 / 3"]
    wrapped = st.sampled_from([f"({written})", f"(\n  {written}  # in here\n)"])
    return draw(st.one_of(plain, wrapped, st.sampled_from(typed)))


@st.composite
def scripts(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A source with some constants, and their names."""
    names = draw(st.lists(NAMES, unique=True, min_size=1, max_size=4))
    lines = []
    for name in names:
        lines.append(draw(OTHER_LINES))
        note = draw(st.sampled_from([" = ", "=", ": int = ", "\t=\t", " = \\\n  "]))
        before = draw(st.sampled_from(["", "é_ = 'ü'; "]))
        lines.append(before + name + note + draw(literals()) + draw(st.sampled_from(["", ";"])) + draw(COMMENTS))
    text = "\n".join(lines).replace("\n", draw(LINE_ENDS))
    return draw(st.sampled_from(["", "\ufeff"])) + text + draw(st.sampled_from(["", "\n"])), names


@given(scripts(), st.data())
@settings(max_examples=250, deadline=None)
def test_written_values_are_found_and_every_other_byte_survives(script: tuple[str, list[str]], data: st.DataObject):
    source, names = script
    name = data.draw(st.sampled_from(names))
    old = by_name(source)
    if not old[name].usable:
        return
    value = data.draw(VALUES)
    new = write(source, {name: value})
    assert new.encode().startswith(source[: old[name].start].encode())
    assert new.endswith(source[old[name].end :])
    after = by_name(new)
    assert after[name].value == value and type(after[name].value) is type(value)
    assert {n: c.value for n, c in after.items() if n != name} == {n: c.value for n, c in old.items() if n != name}
    assert {n: c.comment for n, c in after.items()} == {n: c.comment for n, c in old.items()}


@given(scripts())
@settings(max_examples=100, deadline=None)
def test_writing_what_is_there_changes_no_byte(script: tuple[str, list[str]]):
    source, _ = script
    assert write(source, {c.name: c.value for c in find(source) if c.usable and c.value is not None}) == source


@given(scripts())
@settings(max_examples=100, deadline=None)
def test_a_span_holds_exactly_the_literal(script: tuple[str, list[str]]):
    source, _ = script
    for constant in find(source):
        if constant.usable:
            text = source[constant.start : constant.end]
            assert ast.dump(ast.parse(f"({text}\n)", mode="eval")) == ast.dump(ast.parse(f"({text})", mode="eval"))


def test_several_constants_are_set_at_once_in_any_order():
    source = "A = 1\r\nB = 'x'  # b\r\nC = 0.5"
    assert write(source, {"C": 0.25, "A": 22, "B": "long text"}) == "A = 22\r\nB = 'long text'  # b\r\nC = 0.25"


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("2**19", 524288),
        ("4 * 1024", 4096),
        ("-3", -3),
        ("+3", 3),
        ("1_000_000", 1000000),
        ("0x10", 16),
        ("10**-3", 0.001),
        ("7 // 2", 3),
        ("(1 << 3)", None),
        ("True", True),
        ("(0.9, 0.95)", (0.9, 0.95)),
        ("[8, 2**4]", (8, 16)),
        ("()", ()),
        ("'a' 'b'", "ab"),
        ("b'a'", None),
        ("None", None),
        ("...", None),
        ("1j", None),
        ("f'{1}'", None),
        ("{'a': 1}", None),
        ("((1, 2), 3)", None),
        ("1e999", None),
        ("2**63", None),
        ("2**10**10", None),
        ("9**9**9**9", None),
        ("1 / 0", None),
        ("(-8) ** 0.5", None),
        ("True + 1", None),
        ("'a' * 3", None),
        ("float('inf')", None),
        ("OTHER", None),
        ("+".join(["1"] * 100), None),
    ],
)
def test_literals_are_read_and_nothing_is_executed(literal: str, value: object):
    constant = by_name(f"A = {literal}")["A"]
    assert constant.value == value and type(constant.value) is type(value)
    assert constant.usable == (value is not None)


def test_parts_of_a_file_that_cannot_be_set_are_named_in_the_error():
    with pytest.raises(ConstantError, match="no top-level constant DEPHT; those that can be set: DEPTH, LR"):
        write("DEPTH = 8\nLR = 0.1\nNONE = None\n", {"DEPHT": 3})


@pytest.mark.parametrize("value", [math.inf, math.nan, 2**63, None, [1], {"a": 1}, 1j, (1, None), ((1,),), b"x"])
def test_values_that_are_no_literals_are_refused(value: object):
    with pytest.raises(ConstantError, match="cannot set A"):
        write("A = 1\n", {"A": value})


def test_a_numpy_number_is_refused_by_name():
    import numpy as np

    with pytest.raises(ConstantError, match="float64"):
        write("A = 1.0\n", {"A": np.float64(0.1)})


def test_broken_source_is_a_syntax_error():
    for source in ("A = (", "A = 1\0"):
        with pytest.raises(SyntaxError):
            find(source)


def test_quotes_and_brackets_stay_as_their_author_likes_them():
    source = 'A = "SL"\nB = [0.9, 0.95]\nC = ["a"]\n'
    written = 'A = "SSL"\nB = [0.8, 0.9]\nC = ["b", "c"]\n'
    assert write(source, {"A": "SSL", "B": (0.8, 0.9), "C": ("b", "c")}) == written


def test_numbers_are_written_as_people_write_them():
    assert write("A = 1.0\n", {"A": 3e-05}) == "A = 3e-05\n"
    assert write("A = 2**19\n", {"A": 262144}) == "A = 262144\n"


def test_comment_and_line_belong_to_the_constant():
    constant = by_name("import os\n\nA = (  # open\n    2**4  # inner\n)  # outer\nB = 1; C = 2  # both\n")
    assert (constant["A"].line, constant["A"].comment) == (4, "# inner")
    assert (constant["B"].comment, constant["C"].comment) == ("", "# both")

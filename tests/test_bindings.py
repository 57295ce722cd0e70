"""A constant that something else may decide as well is left alone, with the reason."""

import pytest

from agent.edits.constants import Constant, ConstantError, find, write


def by_name(source: str) -> dict[str, Constant]:
    return {constant.name: constant for constant in find(source)}


def left_alone(source: str, name: str) -> str:
    reason = by_name(source)[name].left_alone
    assert reason is not None
    with pytest.raises(ConstantError, match="left alone"):
        write(source, {name: 1})
    return reason


@pytest.mark.parametrize(
    "more",
    [
        "A = 2",
        "A += 1",
        "del A",
        "for A in range(3): pass",
        "def f():\n    global A\n    A = 2",
        "class C:\n    def f(self):\n        global A\n        A = 2",
        "import numpy as A",
        "import A.b",
        "from x import A",
        "print(A := 3)",
        "[A := i for i in range(3)]",
        "with open('x') as A: pass",
        "try: pass\nexcept OSError as A: pass",
        "def A(): pass",
        "class A: pass",
        "if True:\n    A = 3",
        "while False:\n    (A, B) = 1, 2",
        "match 3:\n    case A: pass",
        "match [3]:\n    case [*A]: pass",
        "match {}:\n    case {**A}: pass",
        "async def A(): pass",
    ],
)
def test_a_name_that_is_bound_again_is_left_alone(more: str):
    assert "more than one place" in left_alone(f"A = 1\n{more}\n", "A")


@pytest.mark.parametrize(
    "more",
    [
        "def f(x=A): pass",
        "def f(*, x=A): pass",
        "def f(x=2 * A): pass",
        "g = lambda x=A: x",
        "parser.add_argument('--a', default=A)",
        "@click.option('-a', default=A)\ndef f(a): pass",
        "a = os.environ.get('A', A)",
        "a = int(os.getenv('A', A))",
        "a = environ.get('A', A)",
        "a = getattr(args, 'a', A)",
    ],
)
def test_a_default_that_something_may_override_is_left_alone(more: str):
    assert "may override" in left_alone(f"A = 1\n{more}\n", "A")


@pytest.mark.parametrize(
    "more",
    [
        "def f():\n    A = 2",
        "class C:\n    A = 2",
        "class C:\n    n: int = A",
        "f(A, lr=A)",
        "x = {}.get('k', A)",
        "y = [A for A in range(3)]",
        "A: int",
        "lambda A: 3",
        "def f(A): pass",
        "obj.A = 3",
    ],
)
def test_other_scopes_and_plain_uses_do_no_harm(more: str):
    assert by_name(f"A = 1\n{more}\n")["A"].usable


@pytest.mark.parametrize(
    ("source", "word"), [("A = B = 1", "chained"), ("A, B = 1, 2", "tuple"), ("[A, *B] = 1, 2", "tuple")]
)
def test_chained_and_tuple_assignments_are_left_alone(source: str, word: str):
    assert word in left_alone(source, "A") and word in left_alone(source, "B")

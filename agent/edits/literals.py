"""Literals as people write constants: read from a syntax tree, and written as source text.

`2**19`, `4 * 1024`, `-1`, `1_000`, `(0.9, 0.95)` and `["a", "b"]` are literals here as they are to their
authors; names, calls and f-strings are not. Reading executes nothing and is bounded in depth and size.
"""

import ast
import math
import operator
from collections.abc import Callable

from agent.nouns import Scalar, Value

MAX_INT = 2**63
_MAX_DEPTH = 20
_MAX_EXPONENT = 1024

Number = int | float

_BINARY: dict[type[ast.operator], Callable[[Number, Number], object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


class NotLiteral(Exception):
    """The expression is no literal of ours; the message says why."""


def evaluate(node: ast.expr) -> Value:
    """The value of a literal: a number, a bool, a text, or a flat tuple or list of those (given as a tuple).

    Raises:
        NotLiteral: anything else, a number that is not finite, or an int of 2**63 or more.
    """
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_scalar(item) for item in node.elts)
    return _scalar(node)


def text_of(value: Value, like: str = "") -> str:
    """`value` as source text, in the quotes or brackets of the literal `like` that it replaces.

    Raises:
        NotLiteral: the value is none of ours (a numpy number, say), or not finite.
    """
    if type(value) is tuple:
        items = [_scalar_text(item, like) for item in value]
        if like.startswith("["):
            return f"[{', '.join(items)}]"
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    if isinstance(value, tuple):
        raise NotLiteral(f"{type(value).__name__} is not a plain tuple")
    return _scalar_text(value, like)


def same(a: Value, b: Value) -> bool:
    """Whether two values are equal and of the same types: True, 1 and 1.0 differ."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def _scalar(node: ast.expr) -> Scalar:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | str):
        return node.value
    return _number(node, _MAX_DEPTH)


def _number(node: ast.expr, depth: int) -> Number:
    if depth == 0:
        raise NotLiteral("its arithmetic is too deep")
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _checked(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        number = _number(node.operand, depth - 1)
        return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _arithmetic(node.op, _number(node.left, depth - 1), _number(node.right, depth - 1))
    raise NotLiteral("its value is None" if _is_none(node) else f"its value is not a literal ({_kind(node)})")


def _arithmetic(op: ast.operator, left: Number, right: Number) -> Number:
    if isinstance(op, ast.Pow) and abs(right) > _MAX_EXPONENT:
        raise NotLiteral(f"its exponent is above {_MAX_EXPONENT}")
    try:
        return _checked(_BINARY[type(op)](left, right))
    except ArithmeticError as error:
        raise NotLiteral(f"its arithmetic fails ({error})") from error


def _checked(number: object) -> Number:
    if isinstance(number, float) and math.isfinite(number):
        return number
    if isinstance(number, int) and abs(number) < MAX_INT:
        return number
    raise NotLiteral("its value is not a finite number below 2**63")


def _scalar_text(value: Scalar, like: str) -> str:
    if type(value) is str:
        text = repr(value)
        wants_double = like.lstrip("([").startswith('"')
        return f'"{text[1:-1]}"' if wants_double and "'" not in value and '"' not in value else text
    if type(value) is bool:
        return repr(value)
    if type(value) in (int, float):
        return repr(_checked(value))
    raise NotLiteral(f"{type(value).__name__} is not an int, float, bool, text or flat tuple of those")


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _kind(node: ast.expr) -> str:
    names = {ast.Name: "a name", ast.Call: "a call", ast.JoinedStr: "an f-string", ast.Dict: "a dict"}
    return names.get(type(node), "an expression")

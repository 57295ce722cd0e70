"""`SET NAME = expression`: one module-level constant gets another value, and nothing else in the file changes.

The expression is kept as it was written (`2**19`); it may use literals, arithmetic, and constants that are set above.
Whether the new value makes sense for the script is not judged here.
"""

import ast
from collections.abc import Mapping

from agent.edits.bindings import bindings, default_uses
from agent.edits.blocks import SetLine
from agent.edits.constants import Constant, find
from agent.edits.errors import EditError, Wrong
from agent.edits.literals import NotLiteral, evaluate, text_of
from agent.edits.placement.tokens import comment_at
from agent.edits.trees import tree_of
from agent.nouns import Value


def with_value(edit: SetLine, files: Mapping[str, str]) -> tuple[str, str]:
    """(path, text) of the file that has the constant, with the value set.

    Raises:
        EditError: no such constant (`not_found`), in several files (`ambiguous`), or not a value that it may have
            (`value`).
    """
    constants = {path: _constants(text) for path, text in files.items()}
    homes = [path for path, found in constants.items() if edit.name in found]
    if not homes:
        known = ", ".join(name for found in constants.values() for name in found) or "none"
        raise EditError(
            f"SET {edit.name}: there is no such constant at the top level. Set one of these: {known}.", Wrong.NOT_FOUND
        )
    if len(homes) > 1:
        raise EditError(f"SET {edit.name}: it is in {' and '.join(homes)}. Set another one.", Wrong.AMBIGUOUS)
    path = homes[0]
    constant = constants[path][edit.name]
    _check_alone(files[path], constant)
    before, old, behind = _cut(files[path], constant)
    return path, before + _text(edit, constant, constants[path], old) + behind


def _cut(text: str, constant: Constant) -> tuple[str, str, str]:
    return text[: constant.start], text[constant.start : constant.end], text[constant.end :]


def _constants(text: str) -> dict[str, Constant]:
    try:
        tree_of(text)
        return {constant.name: constant for constant in find(text)}
    except SyntaxError:
        return {}


def _check_alone(text: str, constant: Constant) -> None:
    """One plain assignment must decide its value; a computed one may be replaced all the same."""
    tree = tree_of(text)
    plain = any(_target(node) == constant.name for node in tree.body)
    reason = constant.left_alone
    if plain and len(bindings(tree)[constant.name]) == 1:
        reason = default_uses(tree).get(constant.name)
    if reason:
        raise EditError(f"SET {constant.name}: it cannot be set, as {reason}. Set another one.", Wrong.VALUE)


def _target(node: ast.stmt) -> str | None:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None


def _text(edit: SetLine, constant: Constant, constants: Mapping[str, Constant], old: str) -> str:
    """The expression as source text; one that uses the constant's own old value is written as its result."""
    above = [c for c in constants.values() if c is constant or (c.usable and c.start < constant.start)]
    text = edit.expression.strip()
    text = text[: comment_at(text)].rstrip()
    try:
        expression = _expression(text)
        own = any(isinstance(node, ast.Name) and node.id == constant.name for node in ast.walk(expression))
        value = evaluate(_Filled({c.name: c.value for c in above if c.value is not None}).visit(expression))
        if constant.value is not None and _kind(value) != _kind(constant.value):
            raise NotLiteral(f"it is {_kind(constant.value)}, and this is {_kind(value)}")
        return text_of(value, like=old) if own else text
    except (SyntaxError, RecursionError, NotLiteral) as error:
        reason = str(error) if isinstance(error, NotLiteral) else "this is no expression"
        raise EditError(
            f"SET {constant.name} = {text}: {reason}. Give a literal, or arithmetic of literals and of constants that "
            "are set above it.",
            Wrong.VALUE,
        ) from error


def _expression(text: str) -> ast.expr:
    body = tree_of(text).body
    if len(body) == 1 and isinstance(body[0], ast.Expr) and not text.endswith(";") and len(text.splitlines()) == 1:
        return body[0].value
    raise NotLiteral("this is no expression")


def _kind(value: Value) -> str:
    if isinstance(value, tuple):
        return "a list"
    return {bool: "True or False", str: "a text"}.get(type(value), "a number")


class _Filled(ast.NodeTransformer):
    """An expression with the known constants' values in the place of their names."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self.values:
            return node
        return ast.parse(text_of(self.values[node.id]), mode="eval").body

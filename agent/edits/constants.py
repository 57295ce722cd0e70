r"""The constants of a script, found by syntax tree and rewritten by source span: text in, text out.

A constant is a top-level `NAME = literal`. Only the literal's own characters are replaced: comments, line
endings, tabs, a byte order mark and everything else survive byte for byte. A name whose value something
else may decide as well (see `agent.edits.bindings`) is found, and left alone with the reason.

    find("DEPTH = 8  # layers\n")[0].value                      # 8
    write("DEPTH = 8  # layers\n", {"DEPTH": 12})               # "DEPTH = 12  # layers\n"
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent.edits.bindings import bindings, default_uses
from agent.edits.literals import NotLiteral, evaluate, same, text_of
from agent.nouns import Value

_BOM = "\ufeff"
_LINE_END = re.compile(r"\r\n|\r|\n")  # what Python's parser takes for one; str.splitlines knows more
_COMMENT = re.compile(r"[ \t\f)]*(#[^\r\n]*)")


@dataclass(frozen=True)
class Constant:
    """A top-level assignment to one name.

    Attributes:
        name: the assigned name.
        value: its value (lists as tuples); None when it is no literal.
        start, end: where the value's text is, in characters of the source: `source[start:end]`.
        line: line of the value's first character, from 1.
        comment: the comment behind the value, from its `#`; empty without one.
        left_alone: why it must not be rewritten; None when it may be.
    """

    name: str
    value: Value | None
    start: int
    end: int
    line: int
    comment: str = ""
    left_alone: str | None = None

    @property
    def usable(self) -> bool:
        """Whether `write` may give it another value."""
        return self.left_alone is None


class ConstantError(ValueError):
    """A constant cannot be set: no such name, left alone, or not a value that source text can hold."""


def find(source: str) -> tuple[Constant, ...]:
    """Every name that a top-level statement of `source` assigns, in order, once each.

    Raises:
        SyntaxError: the source does not parse.
    """
    tree = parse(source)
    bound, defaults = bindings(tree), default_uses(tree)
    starts = _line_starts(source)
    found: dict[str, Constant] = {}
    for statement in tree.body:
        for name, value, reason in _assigned(statement):
            if name not in found:
                left_alone = _bound_again(name, bound[name]) or reason or defaults.get(name)
                found[name] = _constant(source, starts, name, value, left_alone)
    return tuple(found.values())


def write(source: str, values: Mapping[str, Value]) -> str:
    """`source` with the constants `values` set. Setting the present value changes nothing.

    Raises:
        ConstantError: a name is not there or left alone, or a value is not one of ours.
        SyntaxError: the source does not parse.
    """
    constants = {constant.name: constant for constant in find(source)}
    edits = []
    for name, value in values.items():
        constant = _writable(constants, name)
        if constant.value is None or not same(constant.value, value):
            text = _text(name, value, like=source[constant.start : constant.end])
            edits.append((constant.start, constant.end, text))
    result = source
    for start, end, text in sorted(edits, reverse=True):
        result = result[:start] + text + result[end:]
    _check_written(result, values)
    return result


def parse(source: str) -> ast.Module:
    """The syntax tree of a source as a file holds it, a byte order mark included. Raises SyntaxError."""
    try:
        return ast.parse(source.removeprefix(_BOM))
    except ValueError as error:  # null bytes, on Python before 3.12
        raise SyntaxError(str(error)) from error


def _assigned(statement: ast.stmt) -> list[tuple[str, ast.expr, str | None]]:
    """(name, value, reason to leave it alone) for each name that an assignment statement sets."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return [(name, value, None)]
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            return [(name, value, None)]
        case ast.Assign(targets=[_], value=value):
            reason = "it is set by a tuple assignment"
        case ast.Assign(value=value):
            reason = "it is set by a chained assignment"
        case _:
            return []
    stored = [n for target in statement.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return [(n.id, value, reason) for n in stored if isinstance(n.ctx, ast.Store)]


def _bound_again(name: str, lines: list[int]) -> str | None:
    if len(lines) == 1:
        return None
    listed = ", ".join(str(line) for line in lines[:4]) + (", ..." if len(lines) > 4 else "")
    return f"{name} is set or deleted in more than one place (lines {listed})"


def _constant(source: str, starts: list[int], name: str, node: ast.expr, left_alone: str | None) -> Constant:
    value: Value | None = None
    try:
        value = evaluate(node)
    except NotLiteral as error:
        left_alone = left_alone or str(error)
    start = _offset(source, starts, node.lineno, node.col_offset)
    end = _offset(source, starts, node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
    comment = _COMMENT.match(source, end)
    return Constant(
        name=name,
        value=value,
        start=start,
        end=end,
        line=node.lineno,
        comment=comment.group(1) if comment else "",
        left_alone=left_alone,
    )


def _line_starts(source: str) -> list[int]:
    first = len(_BOM) if source.startswith(_BOM) else 0
    return [first, *(match.end() for match in _LINE_END.finditer(source))]


def _offset(source: str, starts: list[int], line: int, column: int) -> int:
    """Characters before a position that the parser counts in lines and UTF-8 bytes."""
    start = starts[line - 1]
    stop = starts[line] if line < len(starts) else len(source)
    before = source[start:stop].encode()[:column]
    return start + len(before.decode())


def _writable(constants: Mapping[str, Constant], name: str) -> Constant:
    constant = constants.get(name)
    if constant is None:
        known = ", ".join(c.name for c in constants.values() if c.usable) or "none"
        raise ConstantError(f"there is no top-level constant {name}; those that can be set: {known}")
    if constant.left_alone is not None:
        raise ConstantError(f"{name} is left alone: {constant.left_alone}")
    return constant


def _text(name: str, value: Value, like: str) -> str:
    try:
        return text_of(value, like)
    except NotLiteral as error:
        raise ConstantError(f"cannot set {name} to {value!r}: {error}") from error


def _check_written(source: str, values: Mapping[str, Value]) -> None:
    """What was written must be read back: a wrong span must never reach a trial."""
    found = {constant.name: constant.value for constant in find(source)}
    for name, value in values.items():
        read = found.get(name)
        if read is None or not same(read, value):
            raise ConstantError(f"{name} was written as {value!r} but reads {read!r}: please report this bug")

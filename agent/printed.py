"""The lines a script will print, read from its syntax tree: literal text with holes where values go.

`print(f"val_bpb: {x:.6f}")`, `print("val_bpb:", x)`, `"...".format(x)`, `"%.4f" % x`, `"..." + str(x)` and
the same in a logger's calls all become a `Line`. Nothing runs; what cannot be read becomes a hole.
"""

import ast
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

_PERCENT = re.compile(r"(%%)|%(?:\(\w+\))?[-+ #0]*\d*(?:\.\d+)?[a-zA-Z]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LABEL = re.compile(r"([^\W\d][\w@ /.-]*?)[ \t]*(?:[:=]|[-=]>)?[ \t]*[\[(]?[ \t]*$")
_LOGGER_METHODS = ("info", "debug", "warning", "log")

Piece = str | None  # literal text, or a hole


class Often(IntEnum):
    """How often a line is printed, as far as one can read it."""

    ONCE = 0  # in no loop of its function, nor its function called in one
    SOMETIMES = 1  # in a loop, under a condition
    ALWAYS = 2  # each time around a loop


@dataclass(frozen=True)
class Line:
    """One printed line.

    Attributes:
        text: its literal parts; between each two of them is a hole, so that hole i follows `text[i]`.
        often: how often it is printed.
        anchored: whether it begins where the printed line begins (a logger puts text of its own in front).
    """

    text: tuple[str, ...]
    often: Often
    anchored: bool

    @property
    def labels(self) -> tuple[str, ...]:
        """What the text before each hole calls it, as `val_loss`; empty for nothing."""
        found = (_LABEL.search(text) for text in self.text[:-1])
        return tuple(re.sub(r"[\W_]+", "_", m.group(1).strip()).lower() if m else "" for m in found)

    def pattern(self, groups: Mapping[int, str]) -> str:
        """A regular expression up to the last hole of `groups`: hole -> the group that matches it."""
        parts = ["^" if self.anchored else ""]
        for hole in range(max(groups) + 1):
            text = self.text[hole] if hole or self.anchored else self.text[hole].lstrip()
            parts.append(_escaped(text))
            if hole in groups and not text[-1:].isspace():
                parts.append(r"\s*")  # a number may be padded
            parts.append(groups.get(hole, ".*?"))
        return "".join(parts)

    def number(self, hole: int) -> str:
        """What matches a number in a hole: all up to white space, or if text follows, what numbers have."""
        after = self.text[hole + 1]
        at_end = not after and hole + 2 == len(self.text)
        return r"\S+" if at_end or after[:1].isspace() else r"[\w.+-]+"


def printed_lines(tree: ast.Module) -> tuple[Line, ...]:
    """The lines with at least one hole that the calls in `tree` print, in the order of the source."""
    called: dict[str, Often] = {}
    for call, often in _calls(tree, {}):
        name = dotted(call.func).rpartition(".")[2]
        called[name] = max(often, called.get(name, Often.ONCE))
    return tuple(line for call, often in _calls(tree, called) for line in _printed(call, often))


def _calls(tree: ast.Module, called: Mapping[str, Often]) -> Iterator[tuple[ast.Call, Often]]:
    """Every call and how often it runs, in order. A function's body runs as often as `called` says, or once."""
    stack: list[tuple[ast.AST, Often]] = [(tree, Often.ONCE)]
    while stack:
        node, often = stack.pop()
        if isinstance(node, ast.Call):
            yield node, often
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            often = called.get(node.name, Often.ONCE)
        children: list[tuple[ast.AST, Often]] = []
        for field, value in ast.iter_fields(node):
            inside = _often_inside(node, field, often)
            nodes = value if isinstance(value, list) else [value]
            children.extend((child, inside) for child in nodes if isinstance(child, ast.AST))
        stack.extend(reversed(children))


def _often_inside(node: ast.AST, field: str, often: Often) -> Often:
    if isinstance(node, ast.For | ast.AsyncFor | ast.While) and field == "body":
        return Often.ALWAYS
    if isinstance(node, ast.If) and often is Often.ALWAYS:
        return Often.SOMETIMES
    return often


def _printed(call: ast.Call, often: Often) -> Iterator[Line]:
    called = dotted(call.func)
    name = called.rpartition(".")[2]
    if name == "write" and {"stdout", "stderr", "tqdm"} & set(called.split(".")):
        pieces, anchored = _joined(call.args, ""), True
    elif "print" in name and not any(keyword.arg == "file" for keyword in call.keywords):
        pieces, anchored = _joined(call.args, _separator(call)), True
    elif name in _LOGGER_METHODS and call.args:
        pieces, anchored = _logged(call.args), False
    else:
        return
    for text in _split(pieces):
        if len(text) > 1:
            yield Line(tuple(text), often, anchored)


def _separator(call: ast.Call) -> str:
    given = [k.value.value for k in call.keywords if k.arg == "sep" and isinstance(k.value, ast.Constant)]
    return given[0] if given and isinstance(given[0], str) else " "


def _joined(args: list[ast.expr], separator: str) -> list[Piece]:
    pieces: list[Piece] = []
    for index, arg in enumerate(args):
        pieces.extend([separator] if index else [])
        pieces.extend(_pieces(arg))
    return pieces


def _logged(args: list[ast.expr]) -> list[Piece]:
    first = args[0]
    if len(args) > 1 and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return _percent(first.value)
    return _pieces(first)


def _pieces(node: ast.expr) -> list[Piece]:
    """The text that an expression becomes."""
    match node:
        case ast.Constant(value=value):
            return [str(value)]
        case ast.JoinedStr(values=values):
            return [v.value if isinstance(v, ast.Constant) and isinstance(v.value, str) else None for v in values]
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
            return _percent(text)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            pieces = _pieces(left) + _pieces(right)
            return pieces if any(pieces) else [None]
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            return _braces(text)
    return [None]


def _percent(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    end = 0
    for match in _PERCENT.finditer(text):
        pieces += [text[end : match.start()], "%" if match.group(1) else None]
        end = match.end()
    return [*pieces, text[end:]]


def _braces(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    try:
        for literal, field, _, _ in string.Formatter().parse(text):
            pieces += [literal] if field is None else [literal, None]
    except ValueError:  # str.format itself would refuse it
        return [None]
    return pieces


def _split(pieces: list[Piece]) -> Iterator[list[str]]:
    """The lines that `pieces` make, each as the texts around its holes."""
    line = [""]
    for piece in pieces:
        if piece is None:
            line.append("")
            continue
        first, *rest = re.split(r"[\r\n]", _COLOUR.sub("", piece))
        line[-1] += first
        for text in rest:
            yield line
            line = [text]
    yield line


def _escaped(text: str) -> str:
    parts = re.split(r"\s+", text)
    return r"\s+".join(re.sub(r"[.^$*+?{}\[\]\\|()]", r"\\\g<0>", part) for part in parts)


def dotted(node: ast.expr) -> str:
    """`a.b.c` as text, from the last name that is no call or index; empty for no name at all."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return ".".join(reversed(parts))

"""`FUNCTION Class.method`: one whole definition takes the place of another, decorators included.

Whether callers get along with the new body is not judged here; only that every argument they may give is still there.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.edits.blocks import NewFunction
from agent.edits.errors import EditError, Wrong
from agent.edits.placement.document import BOM, Document, indent
from agent.edits.placement.retab import retabbed
from agent.edits.trees import tree_of

_LINE_END = re.compile(r"\r\n|\r|\n")  # what Python's parser takes for one
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class _Home:
    """A definition, and the characters of its file's text that it takes up, its first line's indentation included."""

    path: str
    node: Function
    start: int
    end: int


def with_function(edit: NewFunction, files: Mapping[str, str]) -> tuple[str, str]:
    """(path, text) of the file that has the function, with the new definition in its place.

    Raises:
        EditError: no such function (`not_found`) or several (`ambiguous`), a definition that does not parse
            (`syntax`) or is of something else (`no_edit`), or one that lacks an argument (`contract`).
    """
    homes = [home for path, text in files.items() for home in _homes(path, text, edit.name)]
    if not homes:
        known = ", ".join(sorted({name for text in files.values() for name, _ in _functions(_tree(text))})) or "none"
        raise EditError(f"FUNCTION {edit.name}: there is none. Name one of these: {known}.", Wrong.NOT_FOUND)
    if len(homes) > 1:
        raise EditError(f"FUNCTION {edit.name}: there are {len(homes)} of that name.", Wrong.AMBIGUOUS)
    home = homes[0]
    text = files[home.path]
    depth = indent(text[home.start : home.end])
    lines = _typed(edit, Document.of(text))
    missing = _arguments(home.node) - _arguments(_definition(edit, lines))
    if missing:
        raise EditError(
            f"FUNCTION {edit.name}: its arguments must stay: {', '.join(sorted(missing))}. Others may be added.",
            Wrong.CONTRACT,
        )
    end = "\r\n" if "\r\n" in text[home.start : home.end] else "\n"
    new = end.join(_moved(line, indent(lines[0]), depth) for line in lines)
    return home.path, text[: home.start] + new + text[home.end :]


def _homes(path: str, text: str, name: str) -> Iterator[_Home]:
    starts = [len(BOM) if text.startswith(BOM) else 0, *(found.end() for found in _LINE_END.finditer(text))]
    for qualified, node in _functions(_tree(text)):
        if qualified == name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            last = node.end_lineno or node.lineno
            behind = starts[last] if last < len(starts) else len(text)
            yield _Home(
                path, node, starts[first - 1], starts[first - 1] + len(text[starts[first - 1] : behind].rstrip())
            )


def _tree(text: str) -> ast.Module:
    try:
        return tree_of(text)
    except SyntaxError:
        return ast.Module([], [])


def _functions(node: ast.AST, outer: str = "") -> Iterator[tuple[str, Function]]:
    """(qualified name, definition) of every function, those in classes and in functions included."""
    for child in ast.iter_child_nodes(node):
        name = f"{outer}{child.name}" if isinstance(child, Function | ast.ClassDef) else ""
        if isinstance(child, Function):
            yield name, child
        yield from _functions(child, f"{name}." if name else outer)


def _typed(edit: NewFunction, document: Document) -> list[str]:
    """The new definition's lines, in the file's kind of indentation, without blank lines around them."""
    text = edit.source.replace("\r\n", "\n").strip("\n").rstrip()
    lines = tuple(text.split("\n"))
    converted = retabbed(document, lines, ())
    return list(converted[0] if converted else lines)


def _definition(edit: NewFunction, lines: list[str]) -> Function:
    try:
        body = tree_of("\n".join(_moved(line, indent(lines[0]), "") for line in lines)).body
    except SyntaxError as error:
        raise EditError(f"FUNCTION {edit.name}: the definition does not parse: {error.msg}.", Wrong.SYNTAX) from error
    match body:
        case [ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) as node] if name == edit.name.split(".")[-1]:
            return node
    raise EditError(f"FUNCTION {edit.name}: send its whole definition, from `def`, and nothing else.", Wrong.NO_EDIT)


def _arguments(node: Function) -> set[str]:
    return {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}


def _moved(line: str, old: str, new: str) -> str:
    """`line` from indentation `old` to `new`. A line inside a string that does not have the old one stays."""
    return new + line.removeprefix(old) if line.strip() and line.startswith(old) else line

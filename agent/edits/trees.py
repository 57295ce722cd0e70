"""Syntax trees of scripts, asked for in one place: warnings of the compiler are silenced, and every failure of the
parser, a text nested too deeply included, is a SyntaxError. It covers parsing and compiling; nothing is executed.
"""

import ast
import warnings
from collections.abc import Iterator, Mapping

from agent.edits.constants import parse


def is_script(path: str) -> bool:
    """Whether a file is Python by its name."""
    return path.endswith(".py")


def tree_of(text: str) -> ast.Module:
    """The syntax tree of a script. Raises SyntaxError, and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return parse(text)
        except (RecursionError, MemoryError) as error:
            raise SyntaxError("the code is nested too deeply") from error


def compiled(path: str, text: str) -> ast.Module:
    """The syntax tree of a script that compiles: parsing alone misses a `return` outside a function.

    Raises:
        SyntaxError: it does not compile, and nothing else.
    """
    tree = tree_of(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(tree, path, "exec", dont_inherit=True)
        except (RecursionError, MemoryError, ValueError) as error:
            raise SyntaxError("the code is nested too deeply, or holds what no file can") from error
    return tree


def trees(files: Mapping[str, str]) -> dict[str, ast.Module]:
    """Syntax trees of those files that are Python and parse."""
    found: dict[str, ast.Module] = {}
    for path in filter(is_script, files):
        try:
            found[path] = tree_of(files[path])
        except SyntaxError:
            continue
    return found


def dotted(node: ast.expr) -> str:
    """`a.b.c` as text; empty for what is no chain of names."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def called(func: ast.expr) -> str:
    """The last name of what is called: `dumps` of `json.dumps`; empty for what has no name."""
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(top-level module, name it binds) of each part of an import; nothing for other nodes."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            yield top, alias.asname or top
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield (node.module or alias.name).partition(".")[0], alias.asname or alias.name

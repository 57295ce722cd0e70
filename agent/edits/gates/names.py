"""Names that a change uses and nothing defines: the code would train for a while and then die of a NameError.

Found by pyflakes. What the parent's code left undefined already does not count, nor what only a quoted annotation
names. A name that is bound on some paths only is not found.
"""

import ast
import difflib
from collections.abc import Iterator, Mapping

from pyflakes.checker import Checker
from pyflakes.messages import UndefinedLocal, UndefinedName

_MOST = 5


def undefined(
    before: Mapping[str, ast.Module], after: Mapping[str, ast.Module], texts: Mapping[str, str]
) -> Iterator[str]:
    """A sentence for each name that `after` uses without defining it, the first few.

    Args:
        before: trees of the parent's scripts, by path.
        after: trees of the changed scripts.
        texts: sources of the changed scripts.
    """
    for path, tree in after.items():
        known = set(_undefined(before[path])) if path in before else set()
        new = {name: line for name, line in _undefined(tree).items() if name not in known}
        lines = texts[path].split("\n")
        for name, line in list(new.items())[:_MOST]:
            quoted = lines[line - 1].strip() if line <= len(lines) else ""
            yield f"{path} uses {name}, which nothing defines there (line {line}: `{quoted}`){_instead(name, tree)}"


def _undefined(tree: ast.Module) -> dict[str, int]:
    """Undefined name -> line of its first use."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found: dict[str, int] = {}
    for message in sorted(Checker(tree).messages, key=lambda m: int(m.lineno)):
        if isinstance(message, UndefinedName | UndefinedLocal):
            told = message.message_args
            name = str(told if isinstance(told, str) else told[0])
            if name in used:
                found.setdefault(name, int(message.lineno))
    return found


def _instead(name: str, tree: ast.Module) -> str:
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    near = difflib.get_close_matches(name, sorted(bound - {name}), n=1)
    return f": did you mean {near[0]}?" if near else ": define it, or use a name that is there"

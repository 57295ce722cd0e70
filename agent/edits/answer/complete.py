"""Whether a text is a whole new version of a file: cut or elided files often compile, and would be trained."""

import ast
from dataclasses import dataclass

from agent.edits.errors import Wrong
from agent.edits.trees import is_script, tree_of

_LEAST_LINES, _LEAST_NAMES = 0.5, 0.6  # of the file's: checked against labelled answers
_TAIL = 3  # last lines of the file, one of which is expected
_SHOWN = 5


@dataclass(frozen=True)
class Lack:
    """What keeps a text from being a whole file: the kind, and the reason as part of a sentence."""

    wrong: Wrong
    why: str


def lack(text: str, source: str, path: str) -> Lack | None:
    """What `text` lacks to be a complete version of the file `path` with the text `source`; None if it is one."""
    if not text.strip():
        return Lack(Wrong.NO_EDIT, "it is empty")
    have, need = (part.count("\n") + 1 for part in (text, source))
    if have < _LEAST_LINES * need:
        return Lack(Wrong.NO_EDIT, f"it has {have} lines where {path} has {need}")
    if is_script(path) and (found := _lack_of_code(text, source, path)):
        return found
    return None if ends_like(text, source) else Lack(Wrong.TRUNCATED, f"it stops before the end of {path}")


def ends_like(text: str, source: str, within: int = 0) -> bool:
    """Whether one of the file's last lines is in `text`; with `within`, among that many of its last lines."""
    last = [[line.strip() for line in part.split("\n") if line.strip()] for part in (text, source)]
    return not last[1] or not set(last[1][-_TAIL:]).isdisjoint(last[0][-within:])


def _lack_of_code(text: str, source: str, path: str) -> Lack | None:
    try:
        names = defined(tree_of(text))
    except SyntaxError as error:
        return Lack(Wrong.SYNTAX, f"it does not compile (line {error.lineno}: {error.msg})")
    try:
        old = defined(tree_of(source))
    except SyntaxError:
        return None
    missing = [name for name in old if name not in names]
    if len(old) - len(missing) >= _LEAST_NAMES * len(old):
        return None
    shown = ", ".join(missing[:_SHOWN])
    return Lack(Wrong.NO_EDIT, f"it lacks {shown}{' and more' if len(missing) > _SHOWN else ''} of {path}")


def defined(tree: ast.Module) -> dict[str, None]:
    """Names of the functions, classes and constants that stand at the top level of a script, in order."""
    names: dict[str, None] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[node.name] = None
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id: None for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return names

"""Folders below the user's home that scripts name: a sandbox must show them, or the script finds no data.

Paths are put together from the syntax tree: `os.path.expanduser("~/data")`, `os.path.join(HOME, ".cache",
"x")`, `Path.home() / "x"`, `os.environ["HOME"] + "/x"`, f-strings, and module constants made of those.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from agent.printed import dotted

# whole collections of other programs' files: only what is below them is meant
_TOO_WIDE = frozenset(("~", "~/.cache", "~/.local", "~/.local/share", "~/.config"))
_SECRETS = ("~/.ssh", "~/.aws", "~/.gnupg", "~/.netrc", "~/.kube", "~/.docker", "~/.config/gcloud")


def home_folders(trees: Iterable[ast.Module]) -> tuple[str, ...]:
    """The outermost folders named, as `~/.cache/name`; never the home itself, nor where keys are kept."""
    named: set[str] = set()
    for tree in trees:
        named |= {_folder(path) for path in _paths(tree)}
    wanted = {p for p in named if p not in _TOO_WIDE and not _below(p, _SECRETS)}
    return tuple(sorted(p for p in wanted if not _below(p, wanted - {p})))


def _paths(tree: ast.Module) -> Iterator[str]:
    """Every path below the home in the code, whole: of `home / "a" / "b"` only `~/a/b`, not `~/a` as well."""
    constants = _constants(tree)
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        path = _path(node, constants) if isinstance(node, ast.expr) else None
        if path is None:
            stack.extend(ast.iter_child_nodes(node))
        else:
            yield path


def _constants(tree: ast.Module) -> dict[str, str]:
    """Module-level names that hold a path below the home."""
    known: dict[str, str] = {}
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                path = _path(value, known)
                if path is not None:
                    known[name] = path
    return known


def _path(node: ast.expr, known: dict[str, str]) -> str | None:
    """The path below `~` that an expression stands for; None for anything else."""
    match node:
        case ast.Name(id=name):
            return known.get(name)
        case ast.Constant(value=str(text)):
            return text if text == "~" or text.startswith("~/") else None
        case ast.BinOp(left=left, op=ast.Div() | ast.Add() as op, right=right):
            return _below_start(_path(left, known), [_text(right)], "/" if isinstance(op, ast.Div) else "")
        case ast.JoinedStr(values=[ast.FormattedValue(value=first) | (ast.Constant() as first), *rest]):
            return _below_start(_path(first, known), [_text(part) for part in rest], "")
        case ast.Subscript(value=value, slice=ast.Constant(value="HOME")) if dotted(value) == "os.environ":
            return "~"
        case ast.Call():
            return _called(node, known)
    return None


def _called(call: ast.Call, known: dict[str, str]) -> str | None:
    name = dotted(call.func)
    if name.endswith("Path.home"):
        return "~"
    if name in ("os.getenv", "os.environ.get") and _text(call.args[0] if call.args else None) == "HOME":
        return "~"
    if name.endswith("path.join") and call.args:
        return _below_start(_path(call.args[0], known), [_text(arg) for arg in call.args[1:]], "/")
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("expanduser", "resolve", "absolute"):
        return _path(call.args[0] if call.args else call.func.value, known)
    if isinstance(call.func, ast.Attribute) and call.func.attr == "joinpath":
        return _below_start(_path(call.func.value, known), [_text(arg) for arg in call.args], "/")
    if name.rpartition(".")[2] in ("Path", "PurePath", "str", "fspath") and call.args:
        return _below_start(_path(call.args[0], known), [_text(arg) for arg in call.args[1:]], "/")
    return None


def _below_start(start: str | None, parts: list[str | None], separator: str) -> str | None:
    """`start` and the parts behind it, up to the first that is not known."""
    if start is None:
        return None
    for part in parts:
        if part is None:
            return str(PurePosixPath(start).parent) if separator == "" and not start.endswith("/") else start
        start = start + separator + part
    return start


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _folder(path: str) -> str:
    """The folder of what looks like a file, else the path itself, without `.`, `..` and doubled slashes."""
    pure = PurePosixPath(path)
    if ".." in pure.parts:
        return "~"
    return str(pure.parent if pure.suffix and str(pure.parent) != "~" else pure)


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)

"""Where a module binds its names, and which names are another value's default: what makes a rewrite unsafe.

A constant may be rewritten when one statement alone decides its value: not when its name is bound again (in
a loop, by `global` in a function, by an import, `del` or `:=`), and not when it is the default of something
that may override it.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator

_ENVIRONMENT_READERS = ("getenv", "environ.get")


def bindings(tree: ast.Module) -> dict[str, list[int]]:
    """Lines at which each name of the module's scope is bound or deleted, `global` in functions included."""
    lines: dict[str, list[int]] = defaultdict(list)
    for name, line in _in_scope(tree):
        lines[name].append(line)
    return {name: sorted(found) for name, found in lines.items()}


def default_uses(tree: ast.Module) -> dict[str, str]:
    """Names that are used as a default, with the use in words."""
    uses: dict[str, str] = {}
    for node in ast.walk(tree):
        for what, expression in _defaults(node):
            for part in ast.walk(expression):
                if isinstance(part, ast.Name):
                    reason = f"it is the default of {what} in line {part.lineno}, which may override it"
                    uses.setdefault(part.id, reason)
    return uses


def _in_scope(module: ast.Module) -> Iterator[tuple[str, int]]:
    """(name, line) of each binding in the module's scope. Inner scopes give what they bind outside."""
    stack: list[ast.AST] = [module]
    while stack:
        node = stack.pop()
        yield from _bound_by(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _globals_of(node)
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            yield from _walrus_of(node)
        elif not (isinstance(node, ast.AnnAssign) and node.value is None):
            stack.extend(ast.iter_child_nodes(node))


def _bound_by(node: ast.AST) -> Iterator[tuple[str, int]]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name, node.lineno
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name, node.lineno
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name, node.lineno
        case ast.MatchMapping(rest=str(name)):
            yield name, node.lineno
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            for alias in aliases:
                yield (alias.asname or alias.name.partition(".")[0]), node.lineno


def _globals_of(scope: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Global):
            for name in node.names:
                yield name, node.lineno


def _walrus_of(comprehension: ast.AST) -> Iterator[tuple[str, int]]:
    """`:=` in a comprehension binds in the scope around it."""
    for node in ast.walk(comprehension):
        if isinstance(node, ast.NamedExpr):
            yield node.target.id, node.lineno


def _defaults(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """(what, default expression) of each default that `node` sets."""
    if isinstance(node, ast.arguments):
        for default in (*node.defaults, *(d for d in node.kw_defaults if d is not None)):
            yield "a function's parameter", default
    elif isinstance(node, ast.Call):
        for keyword in node.keywords:
            if keyword.arg == "default":
                yield "an option", keyword.value
        called = _dotted(node.func)
        if called == "getattr" and len(node.args) == 3:
            yield "getattr", node.args[2]
        if called.endswith(_ENVIRONMENT_READERS) and len(node.args) == 2:
            yield "an environment variable", node.args[1]


def _dotted(node: ast.expr) -> str:
    """`a.b.c` as text; empty for what is no chain of names."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""

"""Whether a change meddles with protected code from outside: assigns into a protected module or what was imported from
it, or sets a name anew that the metric's report rests on.

Only what the parent did not do already counts. It follows names and scopes, not values that travel.
"""

import ast
import builtins
from collections import Counter
from collections.abc import Iterator, Mapping

from agent.edits.bindings import bindings
from agent.edits.gates.selfreport import Statement, protected_names, targets
from agent.edits.rules import Rules
from agent.edits.trees import called, dotted, imported

_WAYS_AROUND = frozenset(("sys.modules", "sys.stdout", "builtins", "__builtins__", "globals()"))
_CHANGES = ("__setattr__", "__delattr__", "__setitem__", "update", "setdefault", "pop", "clear")
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Trees = Mapping[str, ast.Module]


def meddles(before: Trees, after: Trees, rules: Rules) -> Iterator[str]:
    """A sentence for each new change of a protected module, or of what was imported from one."""
    if not rules.modules:
        return
    known = Counter(ast.unparse(node) for tree in before.values() for node in _touched(tree, _WAYS_AROUND, rules))
    for path, tree in after.items():
        for node in _touched(tree, _WAYS_AROUND, rules):
            text = ast.unparse(node)
            known[text] -= 1
            if known[text] < 0:
                whose = " and ".join(rules.modules)
                yield (
                    f"what comes from {whose} may be used, not changed: "
                    f"take out what changes `{text}` ({path}, line {node.lineno})"
                )


def bound_again(before: Trees, after: Trees, rules: Rules) -> Iterator[str]:
    """A sentence for each name that `after` sets more often than `before`, and must not."""
    for path, tree in after.items():
        old = _bound(before[path], rules) if path in before else Counter[tuple[str, str]]()
        guarded = _guarded(tree, rules)
        for (scope, name), count in _bound(tree, rules).items():
            if (scope, name) in guarded and count > old[scope, name]:
                where = f"in {scope} " if scope else ""
                yield f"{path} {where}sets {name}, which must keep the value it had: give what you set another name"


def _guarded(tree: ast.Module, rules: Rules) -> set[tuple[str, str]]:
    """(scope, name) that must not be set once more: what was imported, the metric, and what it is computed with."""
    theirs = protected_names(tree, rules.modules)
    fixed = theirs | set(dir(builtins)) | {name for node in ast.walk(tree) for _, name in imported(node)}
    found = {("", name) for name in theirs}
    frozen = set(rules.frozen)
    for scope, body in _scopes(tree):
        for node in _direct(body):
            if isinstance(node, Statement) and ast.unparse(node) in frozen:
                used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & fixed
                found |= {(place, name) for place in (scope, "") for name in used}
                found |= {(scope, name) for name in targets(node)}
    return found


def _bound(tree: ast.Module, rules: Rules) -> Counter[tuple[str, str]]:
    """How often each scope sets each of its names, imports from protected modules aside."""
    found: Counter[tuple[str, str]] = Counter()
    for scope, body in _scopes(tree):
        found.update({(scope, name): len(lines) for name, lines in bindings(body).items()})
        tops = [(top, name) for node in _direct(body) for top, name in imported(node)]
        found.subtract((scope, name) for top, name in tops if top in rules.modules)
    return found


def _scopes(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """(name, body) of the module, named "", and of each function."""
    yield "", tree
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, _body(node)


def _body(function: Function) -> ast.Module:
    """A function's own statements as a module, after one that names its parameters."""
    statements = [ast.Expr(function.body)] if isinstance(function, ast.Lambda) else function.body
    arguments = (part for part in ast.walk(function.args) if isinstance(part, ast.arg))
    names: list[ast.expr] = [ast.Name(part.arg, ast.Store(), lineno=part.lineno) for part in arguments]
    return ast.Module([ast.Delete(names), *statements], [])


def _direct(scope: ast.AST) -> Iterator[ast.AST]:
    """What belongs to a scope itself: functions inside are given, and not entered."""
    stack = list(ast.iter_child_nodes(scope))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, Function):
            stack.extend(ast.iter_child_nodes(node))


def _touched(scope: ast.Module, names: frozenset[str], rules: Rules) -> Iterator[ast.expr]:
    """Expressions of a scope, and of the functions inside, that change what one of `names` stands for."""
    own = {name for node in _direct(scope) for top, name in imported(node) if top in rules.modules}
    names = (names - (bindings(scope).keys() - _WAYS_AROUND)) | own
    for node in _direct(scope):
        if isinstance(node, Function):
            yield from _touched(_body(node), names, rules)
        elif isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            if _root(node) in names:
                yield node
        elif isinstance(node, ast.Call) and any(_root(part) in names for part in _changed(node)):
            yield node


def _changed(call: ast.Call) -> list[ast.expr]:
    """What a call changes as an assignment would: `setattr(x, ...)`, `x.__dict__.update(...)`."""
    if called(call.func) not in ("setattr", "delattr", *_CHANGES):
        return []
    return [*([call.func] if isinstance(call.func, ast.Attribute) else []), *call.args[:1]]


def _root(node: ast.expr) -> str:
    """The name that an expression starts from: `prepare` of `vars(prepare)["x"].y`."""
    while True:
        match node:
            case ast.Attribute() if dotted(node) in _WAYS_AROUND:
                return dotted(node)
            case ast.Call(func=ast.Name(id="globals")):
                return "globals()"
            case ast.Call(func=ast.Name(id="vars" | "getattr"), args=[inner, *_]):
                node = inner
            case ast.Attribute(value=inner) | ast.Subscript(value=inner):
                node = inner
            case _:
                return node.id if isinstance(node, ast.Name) else ""

"""How a script that reports its own metric does it: the statements that must stay for its number to mean anything.

Found in the source, by general means: what is printed and matches the metric's pattern, where the printed value comes
from if protected code computes it, and the imports that bring that code in. A script that computes its metric itself
leaves nothing to freeze but its prints: such a number is the script's word, whatever we do.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

from agent.edits.trees import called, dotted, imported, trees

_HOPS = 2  # assignments between protected code and the print: `val_loss = evaluate(...)`, `val_bpb = val_loss / LN2`
_PLACEHOLDER = re.compile(r"%[-+ #0]*[\d*]*(?:\.\d+)?[diouxXeEfFgGcrsa]|\{[^{}]*\}")
_NUMBERS = ("0.5", "5")  # what stands for a printed number; patterns for whole numbers match the second
_PASSES_ON = {"print", "write", "info", "dumps", "str", "format", "float", "int", "round", "abs", "item", "mean", "log"}

Statement = ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr


def statements(tree: ast.Module) -> list[Statement]:
    """Imports, assignments and bare expressions of a script, at any depth, in order."""
    found = [node for node in ast.walk(tree) if isinstance(node, Statement)]
    return sorted(found, key=lambda node: (node.lineno, node.col_offset))


def frozen_in(files: Mapping[str, str], modules: Iterable[str], pattern: str, metric: str) -> tuple[str, ...]:
    """The statements of all scripts that must stay, as `ast.unparse` writes them.

    Args:
        files: the editable files, by path.
        modules: names of the protected modules.
        pattern: of the line that reports the metric.
        metric: the metric's name: what mentions it is taken where nothing printed matches the pattern.
    """
    found = (node for tree in trees(files).values() for node in _frozen(tree, modules, pattern, metric))
    return tuple(ast.unparse(node) for node in found)


def _frozen(tree: ast.Module, modules: Iterable[str], pattern: str, metric: str) -> list[Statement]:
    theirs = protected_names(tree, modules)
    lines = reports(tree, pattern) or _mentions(tree, metric)
    shown = {name for line in lines for name in _passed_on(line.value)}
    kept = {id(node) for node in [*lines, *_sources(statements(tree), shown, theirs, _HOPS)]}
    tops = set(modules)
    kept |= {id(node) for node in statements(tree) if any(top in tops for top, _ in imported(node))}
    return [node for node in statements(tree) if id(node) in kept]


def protected_names(scope: ast.AST, modules: Iterable[str]) -> set[str]:
    """Names that imports from protected modules bind, anywhere in `scope`."""
    tops = set(modules)
    return {name for node in ast.walk(scope) for top, name in imported(node) if top in tops}


def reports(tree: ast.Module, pattern: str) -> list[ast.Expr]:
    """Calls, as statements, that write a line which the metric's pattern matches."""
    if not pattern:
        return []
    compiled = re.compile(pattern)
    return [
        node
        for node in statements(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and any(compiled.search(line) for number in _NUMBERS for line in _written(node.value, number))
    ]


def _written(call: ast.Call, number: str) -> list[str]:
    parts = [_text(argument, number) for argument in call.args]
    return " ".join(parts).splitlines()


def _text(node: ast.expr, number: str) -> str:
    """What an expression may look like when it is printed: literal text, and `number` for all that is computed."""
    match node:
        case ast.Constant(value=value):
            return str(value)
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, number) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, number) + _text(right, number)
        case ast.BinOp(left=text, op=ast.Mod()) | ast.Call(func=ast.Attribute(value=text, attr="format")):
            return _PLACEHOLDER.sub(number, _text(text, number))
        case ast.Call(func=func, args=[inner, *_]) if called(func) in ("str", "dumps"):
            return _text(inner, number)
        case ast.Dict(keys=keys, values=values):
            pairs = [(_text(key, number) if key else "", _text(v, number)) for key, v in zip(keys, values, strict=True)]
            return "{" + ", ".join(f'"{key}": {value}' for key, value in pairs) + "}"
    return number


def _mentions(tree: ast.Module, metric: str) -> list[ast.Expr]:
    word = re.compile(rf"\b{re.escape(metric)}\b")
    calls = [node for node in statements(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return [node for node in calls if any(word.search(text) for text in texts(node))]


def texts(node: ast.AST) -> Iterator[str]:
    """Every literal text in `node`."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _sources(all_of: list[Statement], names: set[str], theirs: set[str], hops: int) -> Iterator[Statement]:
    """Assignments to `names` whose value comes from a call of protected code, directly or by one more assignment."""
    for node in all_of:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None or not targets(node) & names:
            continue
        if any(isinstance(n, ast.Call) and dotted(n.func).partition(".")[0] in theirs for n in ast.walk(node.value)):
            yield node
        elif hops > 1:
            further = list(_sources(all_of, _passed_on(node.value), theirs, hops - 1))
            yield from [node, *further] if further else []


def targets(node: ast.AST) -> set[str]:
    """Names that an assignment sets."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _passed_on(node: ast.expr | None) -> set[str]:
    """Names whose value an expression shows or converts: not the model that it calls, nor what it gives to others."""
    match node:
        case ast.Name(id=name):
            return {name}
        case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.FormattedValue(value=inner):
            return _passed_on(inner)
        case ast.UnaryOp(operand=inner):
            return _passed_on(inner)
        case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
            return _passed_on(left) | _passed_on(right)
        case ast.JoinedStr(values=parts) | ast.Tuple(elts=parts) | ast.Dict(values=parts):
            return {name for part in parts for name in _passed_on(part)}
        case ast.Call(func=func, args=args) if called(func) in _PASSES_ON:
            own = func.value if isinstance(func, ast.Attribute) else None
            return {name for part in (own, *args) for name in _passed_on(part)}
    return set()

"""What a version of the code does, as a digest: equal for code that differs in form only.

Comments, formatting, docstrings, `pass` and the way a number is written (`2**19` or `524288`) do not count. Code that
does the same by other means has another shape: this finds repetitions, it proves nothing.
"""

import ast
import hashlib
import re
from collections.abc import Mapping

from agent.edits.literals import NotLiteral, evaluate
from agent.edits.trees import called, is_script, tree_of

_SEED_NAME = re.compile(r"(?:.*_)?(?:seeds?|random_state)", re.IGNORECASE)
_SEEDING = frozenset(
    ("manual_seed", "manual_seed_all", "set_seed", "set_random_seed", "seed", "seed_all", "seed_everything")
    + ("default_rng", "Random", "RandomState", "SeedSequence", "PRNGKey")
)


def shape(files: Mapping[str, str]) -> str:
    """Digest (sha256) of the files' syntax trees. What is no Python, or does not parse, counts by its text."""
    return _digest(files, seeds=True)


def without_seeds(files: Mapping[str, str]) -> str:
    """The same, blind to seeds: equal for code that differs in its seeds only, or in whether it sets them."""
    return _digest(files, seeds=False)


def _digest(files: Mapping[str, str], seeds: bool) -> str:
    whole = hashlib.sha256()
    for path in sorted(files):
        content = _form(path, files[path], seeds).encode(errors="surrogatepass")
        whole.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return whole.hexdigest()


def _form(path: str, text: str, seeds: bool) -> str:
    if not is_script(path):
        return text
    writer = _Writer(seeds)
    try:
        writer.put(tree_of(text))
    except (SyntaxError, RecursionError):
        return text
    return " ".join(writer.parts)


class _Writer:
    """Writes a syntax tree down, without what does not count."""

    def __init__(self, seeds: bool) -> None:
        self.parts: list[str] = []
        self.seeds = seeds

    def put(self, item: object) -> None:
        if isinstance(item, ast.AST):
            self._node(item)
        elif isinstance(item, list):
            self.parts.append("[")
            for part in item:
                if not (isinstance(part, ast.stmt) and self._drops(part)):
                    self.put(part)
            self.parts.append("]")
        else:
            self.parts.append(_scalar(item))

    def _node(self, node: ast.AST) -> None:
        match node:
            case ast.expr_context():
                return
            case ast.BinOp() | ast.UnaryOp():
                self._arithmetic(node)
            case ast.Constant(value=value):
                self._value(value)
            case _:
                self._fields(node)

    def _arithmetic(self, node: ast.BinOp | ast.UnaryOp) -> None:
        try:
            self._value(evaluate(node))
        except NotLiteral:
            self._fields(node)

    def _value(self, value: object) -> None:
        self.parts.append(f"={_scalar(value)}")  # the sign tells `None` from a part that is not there

    def _fields(self, node: ast.AST) -> None:
        self.parts += (type(node).__name__, "(")
        for part in _parts(node) if self.seeds else _parts_but_seeds(node):
            self.put(part)
        self.parts.append(")")

    def _drops(self, statement: ast.stmt) -> bool:
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant(value=str())):
                return True
            case ast.Expr(value=ast.Call(func=func)):
                return not self.seeds and called(func) in _SEEDING
            case ast.Assign(targets=targets):
                return not self.seeds and all(_is_seed(target) for target in targets)
            case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
                return not self.seeds and _is_seed(target)
        return False


def _scalar(value: object) -> str:
    return hex(value) if type(value) is int else repr(value)  # repr refuses ints of more than 4300 digits


def _is_seed(node: ast.AST | None) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
            return _SEED_NAME.fullmatch(name) is not None
        case ast.Constant(value=str(name)):  # "--seed", "AGENT_SEED", the key of a dict
            return _SEED_NAME.fullmatch(name.lstrip("-").replace("-", "_")) is not None
    return False


def _parts(node: ast.AST) -> list[object]:
    return [getattr(node, field, None) for field in node._fields]


def _parts_but_seeds(node: ast.AST) -> list[object]:
    """What `node` is made of, without the values of the seeds that it holds itself."""
    match node:
        case ast.Call(func=func) if called(func) in _SEEDING:
            return [func]
        case ast.Call(func=func, args=[ast.Constant() as name, *_]) if _is_seed(name):  # add_argument("--seed", ...)
            return [func, name, [word for word in node.keywords if word.arg != "default"]]
        case ast.keyword(arg=str(word)) if _is_seed(node):
            return [word]
        case ast.Dict(keys=keys, values=values):
            return [keys, [value for key, value in zip(keys, values, strict=True) if not _is_seed(key)]]
        case ast.arguments():
            return [*_parts(node)[:4], node.kwarg, _defaults(node)]
    return _parts(node)


def _defaults(node: ast.arguments) -> list[object]:
    """The defaults of all parameters that are no seeds, each behind its name."""
    positional = [*node.posonlyargs, *node.args]
    pairs = [
        *zip(positional[len(positional) - len(node.defaults) :], node.defaults, strict=True),
        *zip(node.kwonlyargs, node.kw_defaults, strict=True),
    ]
    return [part for arg, default in pairs if not _is_seed(arg) for part in (arg.arg, default)]

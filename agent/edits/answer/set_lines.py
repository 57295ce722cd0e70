"""The smallest form: `SET NAME = expression` lines, and `FUNCTION Class.method` with its new definition.

For models that cannot copy lines. Whether a name is there, and only once, is decided where the edit is applied.
"""

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator, Mapping, Sequence

from agent.edits.answer.fences import closes, fence, sections
from agent.edits.answer.paths import named_above, resolve
from agent.edits.blocks import NewFunction, Parsed, SetLine
from agent.edits.errors import EditError, Wrong
from agent.edits.rules import Rules
from agent.edits.trees import tree_of

_LEAD = r"[ \t]*(?:[-*+>]+[ \t]+|\d{1,3}[.)][ \t]+)?[*`]*"
_SET = re.compile(_LEAD + r"SET[ \t]+([A-Za-z_]\w*)[ \t]*=(?!=)[ \t]*(.*?)[ \t]*")
_FUNCTION = re.compile(_LEAD + r"FUNCTION[ \t]+([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)[ \t]*(?:\([^()]*\))?[*`: \t]*")
_LONGEST = 500  # characters of a line that is read
_MOST_TRIES = 200
_VALUES = (
    ast.Expression,
    ast.Constant,
    ast.Tuple,
    ast.List,
    ast.Dict,
    ast.Set,
    ast.UnaryOp,
    ast.BinOp,
    ast.Name,
    ast.operator,
    ast.unaryop,
    ast.expr_context,
)


def start(lines: Sequence[str]) -> int | None:
    """Index of the first `SET` or `FUNCTION` line; None if there is none."""
    return next((index for index, _ in _directives(lines)), None)


def is_set(line: str) -> bool:
    """Whether `line` sets a constant."""
    return len(line) <= _LONGEST and _SET.fullmatch(line) is not None


def read(lines: Sequence[str], files: Mapping[str, str], rules: Rules) -> Parsed:
    """The constants and functions of an answer.

    Raises:
        EditError: an expression that is no plain value, a function that is not whole, one name with two values.
    """
    edits: list[SetLine | NewFunction] = []
    path: str | None = None
    found = list(_directives(lines))
    ends = [index for index, _ in found[1:]] + [len(lines)]
    for (index, directive), end in zip(found, ends, strict=True):
        named = named_above(lines, index)
        path = resolve(named, rules) if named else path
        if directive.re is _SET:
            edit: SetLine | NewFunction = SetLine(directive[1], _expression(directive[1], directive[2]), path)
        else:
            edit = NewFunction(directive[1], _definition(directive[1], lines[index + 1 : end]), path)
        edits += [edit] if edit not in edits else []
    names = [edit.name for edit in edits]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise EditError(f"The answer changes {twice} twice: send one line for each name.", Wrong.CONFLICT)
    return Parsed(tuple(edits), "set")


def _directives(lines: Sequence[str]) -> Iterator[tuple[int, re.Match[str]]]:
    """`SET` and `FUNCTION` lines, in a fence only if it begins with one: in code such words are text."""
    hidden: set[int] = set()
    for part in sections(lines):
        inside = (line.strip() for line in lines[part.start : part.end])
        first = next((line for line in inside if line and not line.startswith("#")), "")
        hidden |= set() if _directive(first) else set(range(part.start, part.end))
    for index, line in enumerate(lines):
        if index not in hidden and (found := _directive(line)):
            yield index, found


def _directive(line: str) -> re.Match[str] | None:
    return (_SET.fullmatch(line) or _FUNCTION.fullmatch(line)) if len(line) <= _LONGEST else None


def _expression(name: str, text: str) -> str:
    """The value of a `SET` line, without a comment after it."""
    text = text.rstrip("`* \t;")
    try:
        tree = tree_of(text)
    except SyntaxError as error:
        raise EditError(
            f"SET {name}: {text!r} is no expression ({error.msg}). Write a plain value.", Wrong.SYNTAX
        ) from error
    value = tree.body[0].value if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) else None
    if value is None or not all(isinstance(node, _VALUES) for node in ast.walk(value)) or _has_dots(value):
        raise EditError(
            f"SET {name}: {text!r} is no plain value: write a number, a string, a tuple, or arithmetic of those.",
            Wrong.VALUE,
        )
    return _without_comment(text)


def _has_dots(value: ast.expr) -> bool:
    return any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(value))


def _without_comment(text: str) -> str:
    """`text`, an expression in one line, up to a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comment = next((token for token in tokens if token.type == tokenize.COMMENT), None)
    return text[: comment.start[1]].rstrip() if comment else text


def _definition(name: str, lines: Sequence[str]) -> str:
    """The definition that follows a `FUNCTION` line: in a fence, or bare with prose after it."""
    first = next((index for index, line in enumerate(lines) if line.strip()), len(lines))
    opened = fence(lines[first]) if first < len(lines) else None
    stops = range(len(lines), first, -1)
    if opened:
        first += 1
        stops_in = [index for index in range(len(lines) - 1, first, -1) if closes(lines[index], opened)]
        candidates = stops_in or [len(lines)]
    else:
        candidates = [stop for stop in stops if stop == len(lines) or not lines[stop].strip() or fence(lines[stop])]
    why = "there is no definition under it"
    for stop in candidates[:_MOST_TRIES]:
        text = textwrap.dedent("\n".join(lines[first:stop])).strip("\n") + "\n"
        why = _wrong_with(text, name) or ""
        if not why:
            return text
    raise EditError(f"FUNCTION {name}: {why}. Write the whole new def under it.", Wrong.SYNTAX)


def _wrong_with(text: str, name: str) -> str:
    """Why `text` is not the one definition of a function; empty if it is."""
    try:
        body = tree_of(text).body
    except SyntaxError as error:
        return f"its definition does not compile (line {error.lineno}: {error.msg})"
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef):
        return "what stands under it is not one function"
    last = name.rpartition(".")[2]
    return "" if body[0].name == last else f"what stands under it is called {body[0].name}"

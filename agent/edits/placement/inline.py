"""A place inside one line: an expression that stands once in the code, quoted without the line around it.

Only whole expressions for whole expressions, at the borders of tokens: a statement that goes on where the quotation
ends, or a number cut in two, would change what the model never saw.
"""

import ast
from collections.abc import Iterator

from agent.edits.placement.document import Document
from agent.edits.placement.place import Place
from agent.edits.placement.tokens import comment_at, tokens
from agent.edits.trees import tree_of


def inline_places(path: str, document: Document, search: tuple[str, ...], replace: tuple[str, ...]) -> list[Place]:
    """Every place in the code of `document` where the expression stands that `search` is."""
    old = [line.strip() for line in search if line.strip()]
    new = [line.strip() for line in replace if line.strip()]
    if len(old) != 1 or len(new) != 1 or not (_is_expression(old[0]) and _is_expression(new[0])):
        return []
    found = [(row, span) for row in document.code_rows for span in _spans(document.lines[row], old[0])]
    whole = len(found) > 1 or all(_is_whole(document, row, span) for row, span in found)
    return [Place(path, (old[0],), (new[0],), (row,), "inline", span=span) for row, span in found if whole]


def _spans(line: str, expression: str) -> Iterator[tuple[int, int]]:
    wanted = [token.text for token in tokens(expression)]
    have = list(tokens(line))
    for start in range(len(have) - len(wanted) + 1):
        window = have[start : start + len(wanted)]
        if [token.text for token in window] == wanted:
            yield window[0].start, window[-1].end


def _is_whole(document: Document, row: int, span: tuple[int, int]) -> bool:
    """Whether the span is an expression of the file's own, or arguments: `loss` of `loss.item()` is neither."""
    line = document.lines[row]
    before, text, after = line[: span[0]], line[slice(*span)], line[span[1] :]
    if before.rstrip().endswith(("(", "[", ",")) and after.lstrip().startswith((")", "]", ",")):
        return True
    lines = [*document.lines[:row], f"{before}({text}){after}", *document.lines[row + 1 :]]
    try:
        trees = [ast.dump(tree_of("\n".join(version))) for version in (document.lines, lines)]
    except SyntaxError:
        return False
    return trees[0] == trees[1]


def _is_expression(text: str) -> bool:
    try:
        body = tree_of(text).body
    except SyntaxError:
        return False
    return len(body) == 1 and isinstance(body[0], ast.Expr) and comment_at(text) == len(text)

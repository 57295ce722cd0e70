"""What a change must leave alone: the statements that report the metric, protected modules, and the names of protected
files.

This reads code, it does not run it: what a script hides well is for the sandbox and the judge. It says early, and in
words that teach, what would make a trial worthless.
"""

import ast
import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping

from agent.edits.gates.meddling import bound_again, meddles
from agent.edits.gates.selfreport import reports, statements, texts
from agent.edits.rules import Rules

Trees = Mapping[str, ast.Module]


def broken(before: Trees, after: Trees, rules: Rules) -> Iterator[str]:
    """A sentence for each part of the contract that `after` breaks and `before` did not."""
    missing = list(_missing(after, rules))
    yield from missing
    if not missing:
        yield from _reported_anew(before, after, rules)
    yield from bound_again(before, after, rules)
    yield from meddles(before, after, rules)
    yield from _named_anew(before, after, rules)


def _missing(after: Trees, rules: Rules) -> Iterator[str]:
    there = Counter(ast.unparse(node) for tree in after.values() for node in statements(tree))
    others = sorted(there.keys() - set(rules.frozen))
    for statement in (Counter(rules.frozen) - there).elements():
        near = difflib.get_close_matches(statement, others, n=1, cutoff=0.5)
        instead = f", not `{near[0]}`" if near else ""
        more = "; further imports go on a line of their own" if statement.startswith(("import ", "from ")) else ""
        yield f"this statement must stay as it is: `{statement}`{instead} ({rules.metric} depends on it){more}"


def _reported_anew(before: Trees, after: Trees, rules: Rules) -> Iterator[str]:
    old, new = (
        Counter(ast.unparse(node) for tree in version.values() for node in reports(tree, rules.pattern))
        for version in (before, after)
    )
    for statement in new - old:
        yield f"only the script's own lines may report {rules.metric}: take out `{statement}`"


def _named_anew(before: Trees, after: Trees, rules: Rules) -> Iterator[str]:
    old = "\n".join(text for tree in before.values() for text in texts(tree))
    new = "\n".join(text for path, tree in after.items() for text in _code_texts(tree))
    for path in rules.protected:
        name = path.rpartition("/")[2]
        word = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])")
        if "." in name.strip(".") and word.search(new) and not word.search(old):
            yield f"{path} is not for the script to open: take out the text that names it"


def _code_texts(tree: ast.Module) -> Iterator[str]:
    """Literal texts that the code may use: not its docstrings."""
    idle = {id(node.value) for node in statements(tree) if isinstance(node, ast.Expr)}
    for part in ast.walk(tree):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and id(part) not in idle:
            yield part.value

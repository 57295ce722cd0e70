"""The gates between a model's edit and the first second of compute: what fails here is told, and never trained.

From cheap to dear: it compiles; no edit markers are left in it; it does something else than its parent, and more than
change the seed; its names are defined; it imports what is there; and the contract holds. The gates see the result, not
the intention: a cheat inside the model is for the judge to find.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from agent.code import Code
from agent.edits.errors import EditError, Wrong
from agent.edits.gates.contract import broken
from agent.edits.gates.imports import forbidden
from agent.edits.gates.names import undefined
from agent.edits.gates.needed import lost, needed_in
from agent.edits.gates.selfreport import frozen_in
from agent.edits.gates.shape import shape, without_seeds
from agent.edits.rules import Rules
from agent.edits.trees import compiled, is_script, trees
from agent.target import Target

_LEFTOVER = re.compile(
    r"\s*(?:[<>]{5,9}(?:\s.*)?|[-+=]{5,9} ?(?:SEARCH|ORIGINAL|REPLACE|UPDATED)>?"
    r"|\*\*\* (?:Begin Patch|End Patch|Update File: .*|End of File))\s*",
    re.IGNORECASE,
)
_AROUND = 2
_REGION = ("# EVOLVE-BLOCK-START", "# EVOLVE-BLOCK-END")  # openevolve's convention

Files = Mapping[str, str]


def rules_of(target: Target, code: Code) -> Rules:
    """What a change of `target` may touch; `code` is all of its files, as the change finds them."""
    files = {path: code[path].decode(errors="replace") for path in target.edit}
    others = {path: code[path].decode(errors="replace") for path in code if path not in files}
    modules = _modules(target, tuple(others))
    pattern = target.metric.pattern or ""
    return Rules(
        editable=target.edit,
        protected=tuple(others),
        region=_region(files),
        frozen=frozen_in(files, modules, pattern, target.metric.name) if pattern else (),
        modules=modules,
        metric=target.metric.name,
        pattern=pattern,
        needed=needed_in(files, others, target.metric.answer),
        installed="here" if target.run[0] in ("python", "python3") else "unknown",
    )


def _region(files: Files) -> tuple[str, str] | None:
    """The marker comments, if the owner of the files has put both into one of them."""
    texts = [{line.strip() for line in text.split("\n")} for text in files.values()]
    return _REGION if any(text.issuperset(_REGION) for text in texts) else None


def _modules(target: Target, protected: tuple[str, ...]) -> tuple[str, ...]:
    """Names under which a script can import the protected files that it sees: from the top, or from its own folder."""
    seen = [PurePosixPath(path) for path in protected if is_script(path) and path not in target.hidden()]
    mine = [PurePosixPath(path) for path in target.edit]
    beside = {path.stem for path in seen if path.parent in {PurePosixPath(), *(script.parent for script in mine)}}
    packages = {path.parts[0] for path in seen if len(path.parts) > 1} - {path.parts[0] for path in mine}
    return tuple(sorted((beside | packages) - {"__init__"}))


def check(before: Files, after: Files, rules: Rules) -> None:
    """Let a change pass, or say what is wrong with it: all that is, where several gates have something to say.

    Args:
        before: the parent's editable files, by path.
        after: the same files, changed.
        rules: what a change may touch.

    Raises:
        EditError: the change is not worth a trial.
    """
    try:
        _check(before, after, rules)
    except RecursionError as error:
        raise EditError("the code is nested too deeply: write it flatter", Wrong.SYNTAX) from error


def _check(before: Files, after: Files, rules: Rules) -> None:
    for path in sorted(after):
        if after[path] != before.get(path):
            _compiles(path, after[path])
            _no_leftovers(path, before.get(path, ""), after[path])
    _does_something(before, after)
    found = list(_findings(before, after, rules))
    if found:
        raise EditError("\n".join(sentence for _, sentence in found), found[0][0])
    if without_seeds(before) == without_seeds(after):
        raise EditError(
            "only the seed changes, and a run that is better by its seed is better by chance: change how it learns",
            Wrong.SEED,
        )


def _findings(before: Files, after: Files, rules: Rules) -> Iterator[tuple[Wrong, str]]:
    old, new = trees(before), trees(after)
    yield from ((Wrong.CONTRACT, sentence) for gate in (broken, lost) for sentence in gate(old, new, rules))
    yield from ((Wrong.IMPORT, sentence) for sentence in forbidden(old, new, rules))
    yield from ((Wrong.UNDEFINED, sentence) for sentence in undefined(old, new, after))


def _compiles(path: str, text: str) -> None:
    if not is_script(path):
        return
    try:
        compiled(path, text)
    except SyntaxError as error:
        where = f" in line {error.lineno}:\n{_around(text, error.lineno)}" if error.lineno else ""
        raise EditError(f"{path} would not compile: {error.msg}{where}", Wrong.SYNTAX) from error


def _around(text: str, line: int) -> str:
    """The lines around the one that is wrong, which is marked."""
    lines = text.split("\n")
    shown = range(max(1, line - _AROUND), min(len(lines), line + _AROUND) + 1)
    return "\n".join(f"{'>' if number == line else ' '} {lines[number - 1].rstrip()}" for number in shown)


def _no_leftovers(path: str, before: str, after: str) -> None:
    known = {line.strip() for line in before.split("\n")}
    for line in after.split("\n"):
        if _LEFTOVER.fullmatch(line) and line.strip() not in known:
            raise EditError(
                f"the edit marker `{line.strip()}` would stay in {path}: write each block with its own three markers",
                Wrong.MARKERS,
            )


def _does_something(before: Files, after: Files) -> None:
    if dict(before) == dict(after):
        raise EditError("nothing changes: the new lines are the old ones", Wrong.NOOP)
    if shape(before) == shape(after):
        raise EditError("only comments, docstrings or formatting change: change what the code does", Wrong.NOOP)

"""Placeholders where code should be ("... rest unchanged ..."): they compile, and silently drop what they stand for.

Only lines that a change adds count, and only those that are not in the files. A `...` on both sides of a block is no
placeholder but an elision.
"""

import re
from collections.abc import Collection, Iterable, Mapping

from agent.edits.blocks import Block, Edit, NewFunction, Parsed, WholeFile
from agent.edits.errors import EditError, Wrong

_DOTS = r"(?:\.{3,}|…)"
_LEFT_OUT = r"\b(?:rest|remain(?:s|ing|der)?|existing|unchanged|same|previous|original|omitted|as before)\b"
_STANDS_FOR = rf"(?:{_LEFT_OUT}|\b(?:keep|here|skipped|other|continues?)\b)"
_WHOLE = (
    r"(?:code|file|script|functions?|class(?:es)?|model|methods?|loop|implementation|logic|definitions?|module|body)"
)
_STAYS = r"(?:the\s+same|unchanged|as\s+(?:is|before))"
_ELISION = re.compile(rf"\A{_DOTS}\W*\Z|\A\W*{_DOTS}.*{_STANDS_FOR}", re.IGNORECASE)
_REST = re.compile(
    r"\A\W*(?:(?:and|the|keep|add|insert|your|all|with|include)\s+)*"
    rf"(?:rest\s+of\s+(?:the\s+|your\s+|this\s+)?(?:\w+\s+)?|remaining\s+){_WHOLE}(?:\s+{_WHOLE})?"
    rf"(?:\W*\Z|\W+(?:(?:is|are)\s+)?(?:{_STAYS}|remains?|stays?|goes|here|continues?|same|follows?|omitted)\b)"
    rf"|\brest\s+of\s+the\s+{_WHOLE}\W*\Z",
    re.IGNORECASE,
)
_SAME = re.compile(
    rf"\A\W*(?:\S+\s+){{0,4}}remains?\s+{_STAYS}\W*\Z|\b(?:{_WHOLE}|everything|rest)\b.*\bremains?\s+{_STAYS}\b|"
    rf"\b{_WHOLE}\s+(?:stays|is|are)\s+{_STAYS}\W*\Z|\(\s*unchanged\s*\)|\bsame\s+as\s+before\b|"
    rf"\A\W*(?:(?:\w+\W+){{0,2}}|(?:\w+\W+){{0,4}}{_WHOLE}\W+(?:is\s+|are\s+)?)unchanged\W*\Z|"
    r"\A\W*(?:same\s+)?as\s+(?:before|above|in\s+the\s+original|the\s+original)\W*\Z|"
    r"\byour\s+(?:\w+\s+)?code\s+(?:goes\s+)?here\b|\bomitted\s+for\s+(?:brevity|clarity)\b|"
    r"\A\W*(?:\w+\W+){0,3}(?:code|implementation|logic)\s+(?:goes\s+)?here\W*\Z|"
    rf"\A\W*(?:existing|previous|original|same)\s+(?:\w+\s+)?{_WHOLE}(?:\s+here|\s+as\s+before)?\W*\Z",
    re.IGNORECASE,
)
_OMITS = re.compile(_LEFT_OUT, re.IGNORECASE)
_ENDS = re.compile(rf"{_DOTS}\W*\Z")
_MOST_WORDS = 6  # of a comment that trails off in dots
_LONGEST = 300


def check_lazy(parsed: Parsed, files: Mapping[str, str]) -> None:
    """Refuse edits that add a placeholder.

    Raises:
        EditError: with the placeholder line (`lazy`).
    """
    known = frozenset(line.strip() for text in files.values() for line in text.split("\n"))
    for edit in parsed.edits:
        if (line := placeholder(_added(edit), known)) is not None:
            where = f"Block {edit.number}" if isinstance(edit, Block) else "The new code"
            raise EditError(
                f"{where} has a placeholder where code should be: {line!r}. Write every line out, or leave the lines "
                "that stay out of the edit.",
                Wrong.LAZY,
            )


def placeholder(lines: Iterable[str], known: Collection[str]) -> str | None:
    """The first placeholder among `lines`, those in `known` left out; None if there is none."""
    stripped = (line.strip() for line in lines)
    return next((line for line in stripped if line and line not in known and _is_placeholder(line)), None)


def _added(edit: Edit) -> list[str]:
    match edit:
        case Block():
            old = {line.strip() for line in edit.search}
            return [line for line in edit.replace if line.strip() not in old]
        case WholeFile(text=text) | NewFunction(source=text):
            return text.split("\n")
        case _:
            return []


def _is_placeholder(line: str) -> bool:
    if len(line) > _LONGEST:
        return False
    code, mark, comment = line.partition("#")
    code, comment = code.strip(), comment.strip("# \t")
    if not mark:
        return line in ("...", "…") or (line.startswith(("...", "…")) and bool(_OMITS.search(line)))
    if code:
        return bool(_ELISION.search(comment) or (code in ("pass", "...") and _REST.search(comment)))
    trails_off = len(comment.split()) <= _MOST_WORDS and _ENDS.search(comment) and _OMITS.search(comment)
    return bool(trails_off or _ELISION.search(comment) or _REST.search(comment) or _SAME.search(comment))

"""Read a model's answer: the form it is in, its edits, and the idea behind them. Nothing is located or applied here.

Models answer in forms other than the one asked for; the form is found from the text, never from what was asked.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from agent.edits.answer import diff_text, json_edits, patch_text, search_replace, set_lines, whole_file
from agent.edits.answer.fences import sections
from agent.edits.answer.leftovers import check_rest
from agent.edits.answer.paths import named_in
from agent.edits.answer.reply import answer_text
from agent.edits.blocks import Answer, Parsed
from agent.edits.rules import Rules

_Start = Callable[[Sequence[str]], int | None]
_Read = Callable[[Sequence[str], Mapping[str, str], Rules], Parsed]
_TITLE = re.compile(r"[#>*_\s-]*(?:IDEA|TITLE|DESCRIPTION)\W{0,3}:[*_\s]*(\S.*)", re.IGNORECASE)
_WHY = re.compile(r"[#>*_\s-]*(?:WHY|REASON|RATIONALE)\W{0,3}:[*_\s]*(.*)", re.IGNORECASE)
_TAG = re.compile(r"</?[\w:-]{1,40}>")
_MARK = re.compile(r"\A(?:[-*+>]|#{1,6}|\d{1,3}[.)])\s+")
_LONGEST_TITLE, _LONGEST_WHY = 200, 2000


def parse(answer: Answer, files: Mapping[str, str], rules: Rules) -> Parsed:
    """The edits of `answer`.

    Args:
        answer: as the model gave it.
        files: the editable files as the model was shown them.
        rules: what may change.

    Raises:
        EditError: no answer, no edit, malformed, cut, in two forms, or for a file that may not change.
    """
    lines = answer_text(answer, files).split("\n")
    forms: tuple[tuple[_Start, _Read], ...] = (
        (search_replace.start, search_replace.read),
        (patch_text.start, patch_text.read),
        (json_edits.start, json_edits.read),
        (diff_text.start, diff_text.read),
        (set_lines.start, set_lines.read),
        (whole_file.start, whole_file.read),
    )
    begin, read = next((first, read) for start, read in forms if (first := start(lines)) is not None)
    parsed = read(lines, files, rules)
    check_rest(lines, parsed)
    return _with_words(parsed, _prose(lines[:begin]))


def _prose(lines: Sequence[str]) -> list[str]:
    """`lines` without fenced parts, bare tags, file names and list marks."""
    hidden = {index for part in sections(lines) for index in range(part.start - 1, part.end + 1)}
    kept = [line.strip() for index, line in enumerate(lines) if index not in hidden]
    return [_MARK.sub("", line) for line in kept if not _TAG.fullmatch(line) and named_in(line) is None]


def _with_words(parsed: Parsed, prose: list[str]) -> Parsed:
    """With the title and the reason that stand in the prose before the edits, where the edits have none."""
    title = ""
    why: list[str] = []
    rest: list[str] = []
    in_why = False
    for line in prose:
        if not title and (found := _TITLE.fullmatch(line)):
            title, in_why = found[1], False
        elif found := _WHY.fullmatch(line):
            in_why = True
            why.append(found[1])
        elif not line:
            in_why = False
        else:
            (why if in_why else rest).append(line)
    if not title and rest:
        title = rest.pop(0)
    return replace(
        parsed,
        title=(parsed.title or title).replace("**", "").strip("#*_: ")[:_LONGEST_TITLE],
        why=(parsed.why or " ".join(why or rest)).strip()[:_LONGEST_WHY],
    )

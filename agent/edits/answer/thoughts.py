"""A model's thinking, taken out of its answer. Drafts that stand in it are never edits.

Tags count where a model puts them: at the head, and at a line's start or end outside an edit. In code they are text.
"""

import re
from collections.abc import Mapping

from agent.edits.answer.search_replace import whole_blocks
from agent.edits.errors import EditError, Wrong

_OPEN = re.compile(r"<(?:think|thinking|thought|reasoning)>|\[THINK\]", re.IGNORECASE)
_CLOSE = re.compile(r"(?<![\"'`])(?:</(?:think|thinking|thought|reasoning)>|\[/THINK\])", re.IGNORECASE)
_HARMONY = re.compile(r"<\|channel\|>final[^\n<]{0,40}(?:<\|constrain\|>[^\n<]{0,40})?<\|message\|>")
_BARE_FINAL = re.compile(r"\Aanalysis(?=\W|[A-Z]).*assistantfinal", re.DOTALL)  # its tokens left out by the server
_HARMONY_END = re.compile(r"<\|(?:end|return|call|start)\|>")


def without_thoughts(text: str, think_open: bool, files: Mapping[str, str]) -> str:
    """What follows the thinking.

    Args:
        text: the answer.
        think_open: the chat template opened a think block that `text` must close.
        files: the editable files; a tag on a line of theirs is text.

    Raises:
        EditError: the thinking never ends (`empty`).
    """
    text = _final_channel(text, files)
    inside = think_open and not _OPEN.match(text.lstrip())
    if inside:
        text = text[_end(text) :]
    while opened := _OPEN.match(text.lstrip()):
        body = text.lstrip()[opened.end() :]
        text = body[_end(body) :]
    known = {line.strip() for source in files.values() for line in source.split("\n")}
    return _outside_edits(text, known)


def _final_channel(text: str, files: Mapping[str, str]) -> str:
    """Of raw harmony text (gpt-oss) the last final channel."""
    bare = _BARE_FINAL.match(text.lstrip())
    if bare and not any("assistantfinal" in source for source in files.values()):
        return text.lstrip()[bare.end() :]
    finals = list(_HARMONY.finditer(text))
    begins = text.lstrip().startswith(("<|channel|>", "<|start|>"))
    if not begins and (not finals or any(_HARMONY.search(source) for source in files.values())):
        return text
    if not finals:
        raise _no_answer()
    text = text[finals[-1].end() :]
    end = _HARMONY_END.search(text)
    return text[: end.start()] if end else text


def _end(text: str) -> int:
    """Where the thinking at the head of `text` ends: at the first closing tag at a line's start or end, if any."""
    tags = list(_CLOSE.finditer(text))
    if not tags:
        raise _no_answer()
    return next((tag for tag in tags if _at_edge(text, tag)), tags[0]).end()


def _at_edge(text: str, tag: re.Match[str]) -> bool:
    before = text[text.rfind("\n", 0, tag.start()) + 1 : tag.start()]
    after = text[tag.end() :].partition("\n")[0]
    return not before.strip() or not after.strip()


def _outside_edits(text: str, known: set[str]) -> str:
    lines = text.split("\n")
    edits = {index for block in whole_blocks(lines) for index in block}
    kept: list[str] = []
    thinking = False
    for index, line in enumerate(lines):
        if index in edits or line.strip() in known:
            kept += [] if thinking else [line]
            continue
        opened = None if thinking else _OPEN.match(line.lstrip())
        rest = line.lstrip()[opened.end() :] if opened else line
        thinking = thinking or opened is not None
        closed = _closing(rest, thinking)
        if closed and not thinking:
            kept.clear()
        if closed:
            thinking, rest = False, rest[closed.end() :]
        kept += [] if thinking else [rest]
    if thinking:
        raise _no_answer()
    return "\n".join(kept)


def _closing(line: str, thinking: bool) -> re.Match[str] | None:
    """The closing tag of `line`. Without an opening one it must begin a line, or end one of prose."""
    tag = _CLOSE.search(line)
    if tag is None or thinking:
        return tag
    prose = line[:1] not in " \t+-" and not _OPEN.search(line) and not line[tag.end() :].strip()
    return tag if prose or not line[: tag.start()].strip() else None


def _no_answer() -> EditError:
    return EditError("The thinking was never followed by an answer: answer with the edit alone.", Wrong.EMPTY)

"""The text of a model's answer without thinking, template tokens and escapes; and whether there is an answer at all."""

import json
import re
from collections.abc import Mapping
from itertools import chain

from agent.edits.answer import diff_text, patch_text, search_replace, set_lines
from agent.edits.answer.fences import fence
from agent.edits.answer.json_edits import embedded
from agent.edits.answer.readings import unescape
from agent.edits.answer.thoughts import without_thoughts
from agent.edits.blocks import Answer
from agent.edits.errors import EditError, Wrong

_LONGEST, _MOST_LINES = 1_000_000, 50_000  # longer than any answer with edits, and still read within a second or two
_ZERO_WIDTH = [
    *(0x0000, 0x00AD, 0x180E, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF),
    *chain(range(0x202A, 0x202F), range(0x2066, 0x206A)),
]
_BLANKS = [0x00A0, 0x1680, 0x202F, 0x205F, 0x3000, *range(0x2000, 0x200B)]
_TOKEN = re.compile(
    r"\s*(?:<\|(?:im_end|return|end|eot_id|eom_id|endoftext|end_of_text|end_of_turn|EOT)\|>|</s>|<end_of_turn>|<eos>"
    r"|<｜end▁of▁sentence｜>)\Z",
    re.IGNORECASE,
)
_LONGEST_TOKEN = 40
_ONE_LINE = re.compile(
    r'\s*"?(?:(?:IDEA|WHY|TITLE|DESCRIPTION):[^\n]*?\\n)?(?:\\n)*(?:<{5,9} ?(?:SEARCH|ORIGINAL)>?|\*\*\* Begin Patch|'
    r"--- \S+|diff --git \S+ \S+|@@[^\n\\]*) *\\n.*",
)


def answer_text(answer: Answer, files: Mapping[str, str]) -> str:
    r"""The text that holds the edits, its lines ended by `\n`.

    Args:
        answer: as the model gave it.
        files: the editable files; characters that occur in them stay.

    Raises:
        EditError: no answer (`empty`), a cut one (`truncated`), or one that does not decode (`markers`).
    """
    if answer.finish_reason in ("length", "content_filter"):
        raise EditError(
            f"The answer was cut before its end (finish_reason {answer.finish_reason}): "
            "send it again, shorter and without explanations.",
            Wrong.TRUNCATED,
        )
    both = answer.text + answer.reasoning
    if len(both) > _LONGEST or both.count("\n") > _MOST_LINES:
        raise EditError(f"The answer has {len(both)} characters: send the edits alone.", Wrong.NO_EDIT)
    thinking = answer.think_open and not answer.reasoning.strip()
    text = _clean(answer.text, thinking and bool(answer.text.strip()), files)
    if not text.strip():
        text = _from_reasoning(answer, files)
    return _unwrapped(text)


def _clean(text: str, think_open: bool, files: Mapping[str, str]) -> str:
    text = re.sub("\r+\n", "\n", text).removeprefix("\ufeff")
    source = "".join(text.removeprefix("\ufeff") for text in files.values())
    table = {code: "" for code in _ZERO_WIDTH} | {code: " " for code in _BLANKS}
    text = text.translate({code: new for code, new in table.items() if chr(code) not in source})
    text = _without_tokens(without_thoughts(_without_tokens(text), think_open, files))
    if re.search("[\ud800-\udfff]", text):
        raise EditError("The answer holds halves of characters: send plain text.", Wrong.MARKERS)
    return text


def _without_tokens(text: str) -> str:
    end = len(text.rstrip())
    while token := _TOKEN.search(text, max(0, end - _LONGEST_TOKEN), end):
        end = token.start()
    return text[:end]


def _from_reasoning(answer: Answer, files: Mapping[str, str]) -> str:
    """The reasoning as the answer: a server whose parser runs though thinking is off puts the whole answer there.

    Only if it stopped by itself and its last line ends an edit (vllm issues 17349, 17357, 19222): else it is a draft.
    """
    text = _clean(answer.reasoning, False, files) if answer.finish_reason == "stop" else ""
    last = text.rstrip().rpartition("\n")[2]
    mark = fence(last)
    ends = search_replace.closed(last) or patch_text.closed(last) or set_lines.is_set(last) or (mark and not mark.info)
    if not ends:
        what = "thoughts alone" if answer.reasoning.strip() else "no text"
        raise EditError(f"The answer holds {what}: answer with the edit, in the form asked for.", Wrong.EMPTY)
    return text


def _unwrapped(text: str) -> str:
    r"""Edits that came escaped: `&lt;` for the markers, a literal `\n` for line ends, inside a JSON string."""
    if _has_edits(text):
        return text
    plain = unescape(text)
    if plain != text and search_replace.start(plain.split("\n")) is not None:
        return plain
    if (inner := embedded(text, _has_edits)) is not None:
        return inner
    return "\n".join(_decoded(line) if _ONE_LINE.fullmatch(line) else line for line in text.split("\n"))


def _has_edits(text: str) -> bool:
    lines = text.split("\n")
    return any(part.start(lines) is not None for part in (search_replace, patch_text, diff_text))


def _decoded(line: str) -> str:
    line = line.strip()
    quoted = line if len(line) > 1 and line[0] == line[-1] == '"' else f'"{line}"'
    try:
        return str(json.loads(quoted))
    except ValueError as error:
        raise EditError(
            f"The edit stands in one line and does not decode ({error}): send it in lines, without escapes.",
            Wrong.MARKERS,
        ) from error

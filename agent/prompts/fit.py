"""Layout: which sections of a prompt are shortened, and in which order, until it fits the model's context.

A section comes in versions, the fullest first. While the prompt is too long, the section whose next version gives way
first falls back to it. The order is `GivesWay`, and nothing else. Every version but the fullest has to say what it
leaves out, and the prompt says it in that place: nothing is cut in silence. Pure arithmetic; knows no section by name.

Token counts are estimates. `agent.models` compares them with the server's own counts.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from agent.calls import Contract, ModelFacts

_TEMPLATE_TOKENS = 64  # what the server's chat template puts around the messages
_ANSWER, _WORD = 2048, 512  # tokens of an answer without its thinking, and of what is said about it
_SURE = 0.95  # prose, code and numbers differ in characters a token by more than the calibration knows


class GivesWay(IntEnum):
    """What is cut from a prompt that is too long: from the first of these to the last."""

    REFUSED_SHORT = 1
    LEDGER_HALF = 2
    DIFFS_SHORT = 3
    CURVE = 4
    LEDGER_QUARTER = 5
    REFUSED = 6
    DIFFS_TWO = 7
    KEPT_SHORT = 8
    LEDGER_FEW = 9
    DIFFS_ONE = 10
    TAIL_SHORT = 11
    LEDGER = 12
    BRIEF_HALF = 13
    DIFFS = 14
    KEPT = 15
    BRIEF_SHORT = 16
    NOTES_HALF = 17
    NOTES_FEW = 18
    NOTES = 19


@dataclass(frozen=True)
class Version:
    """One way to write a section.

    Attributes:
        text: the section as it stands in the prompt; empty for nothing.
        left_out: what is missing from it, for the reader of the prompt; only the fullest version may miss nothing.
        when: its turn to be fallen back to; None for the fullest version.
    """

    text: str
    left_out: str = ""
    when: GivesWay | None = None

    @property
    def shown(self) -> str:
        """The text, with what is missing from it."""
        note = f"(Not shown, to keep this short: {self.left_out}.)" if self.left_out else ""
        return "\n\n".join(part for part in (self.text, note) if part)


@dataclass(frozen=True)
class Section:
    """A part of a prompt. Text that must stay has no shorter versions.

    Attributes:
        role: of the message it belongs to.
        full: the fullest version.
        shorter: makes the others, from the longest to the shortest; only called when they are needed.
    """

    role: Literal["system", "user"]
    full: Version
    shorter: Callable[[], Sequence[Version]] = tuple

    def versions(self) -> tuple[Version, ...]:
        """All versions, the fullest first.

        Raises:
            ValueError: a shorter one does not say what it leaves out, or has no turn after those before it.
        """
        shorter = tuple(self.shorter())
        turns = [version.when for version in shorter if version.left_out and version.when is not None]
        if len(turns) < len(shorter) or turns != sorted(set(turns)):
            raise ValueError("each shorter version of a section must say what it leaves out, and have a later turn")
        return (self.full, *shorter)


@dataclass(frozen=True)
class Fitted:
    """The prompt as laid out: `texts` of the sections in order, and the estimate of their `tokens`."""

    texts: tuple[str, ...]
    tokens: int


def fixed(role: Literal["system", "user"], text: str) -> Section:
    """A section that is never shortened."""
    return Section(role, Version(text.strip()))


def tokens(text: str, chars_per_token: float) -> int:
    """Estimated tokens. A character that is not ASCII counts as one: scripts without spaces need about that."""
    plain = len(text.encode("ascii", "ignore"))
    return math.ceil(plain / chars_per_token) + len(text) - plain


def room(facts: ModelFacts) -> int:
    """Tokens that a prompt may take beside the longest answer."""
    return max(0, int((facts.context_tokens - facts.max_output_tokens - _TEMPLATE_TOKENS) * _SURE))


def roomy(facts: ModelFacts, code: int) -> int:
    """Tokens that a prompt should take, so that one more round has room behind the answer and a word about it.

    `code` is the size of the files in tokens: that of an answer that is a whole file. Where the room is scarce, at
    most a quarter of it is left for that.
    """
    answer = 1.3 * code if facts.contract is Contract.FILE else _ANSWER
    return int(room(facts) - min(answer + _WORD, room(facts) / 4))


def context_for(prompt: int, facts: ModelFacts) -> int:
    """The context, in whole thousands of tokens, in which a prompt of so many tokens has room."""
    return math.ceil((prompt / _SURE + facts.max_output_tokens + _TEMPLATE_TOKENS + 1) / 1024) * 1024


def fit(sections: Sequence[Section], most: int, chars_per_token: float) -> Fitted:
    """The fullest layout of at most `most` tokens; the shortest there is if none is that short."""
    texts = [section.full.shown for section in sections]
    sizes = [tokens(text, chars_per_token) for text in texts]
    if sum(sizes) > most:
        steps = [(version.when or 0, at, version) for at, s in enumerate(sections) for version in s.versions()[1:]]
        for _, at, version in sorted(steps, key=lambda step: step[:2]):
            texts[at] = version.shown
            sizes[at] = tokens(texts[at], chars_per_token)
            if sum(sizes) <= most:
                break
    return Fitted(tuple(texts), sum(sizes))

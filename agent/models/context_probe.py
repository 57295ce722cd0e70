"""How long a prompt may be, by trying: is the head of a long prompt still there?

Some servers refuse a prompt that is too long, some cut it without a word (Ollama: to half of its context and less),
some take anything. Nothing that a server says of itself tells them apart; its count of a prompt's tokens does. Prompts
here are copies of one page with a code word at the head, so a count that is too small for their number shows a cut.
What is measured is a lower bound. Whether the model makes good use of so long a prompt is another question.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum

from agent.errors import UsageError
from agent.models.asking import Asker
from agent.models.base import Message, ModelError, Reply, Request, Trouble
from agent.models.tiny_task import SCRIPT
from agent.prompts.texts import part

WANTED = 32_768  # tokens; more is of little use to a run's prompts
LEAST = 6_000  # tokens; a server that cuts in silence below this would lose the script itself
_STEPS = (8_192, WANTED)
_FIRST_CHARS = (800, 2_500)
_SHORT = 0.9  # a prompt is cut if fewer than this share of its expected tokens arrive
_CLOSE = 1.08  # bounds of the context as close as this are close enough
_GUESSED_CHARS_PER_TOKEN = 3.0
_WORDS = ("KESTREL", "LANTERN", "MERIDIAN", "OBSIDIAN", "PELICAN", "QUARRY", "SAFFRON", "TUNDRA", "VERBENA", "WALNUT")
_LIMIT = re.compile(r"(?:context|max_model_len|n_ctx|max_seq_len)\D{0,40}?(\d[\d,]{2,})", re.IGNORECASE)


@dataclass(frozen=True)
class Context:
    """What was found of a model's context.

    Attributes:
        tokens: prompt and answer together.
        found: how, as a part of a sentence.
        chars_per_token: of code; None if the server counts no tokens.
        prompt_tokens_per_second: of reading a prompt; None likewise.
    """

    tokens: int
    found: str
    chars_per_token: float | None = None
    prompt_tokens_per_second: float | None = None


class _Fate(Enum):
    WHOLE = "it arrives whole"
    CUT = "it is cut in silence"
    REFUSED = "the server refuses it"
    LATE = "it takes too long"
    UNKNOWN = "nothing shows whether it arrives whole"


@dataclass(frozen=True)
class _Step:
    """What came of a prompt of a length; `tokens` are those that arrived, or the limit that a refusal names."""

    fate: _Fate
    tokens: int | None = None


class ContextProbe:
    """Sends prompts of growing length, for at most about `most_seconds`.

    `claimed` is the context that the server lists; `advice` says how to lengthen it at such a server.
    """

    def __init__(self, asker: Asker, claimed: int | None, advice: str, most_seconds: float) -> None:
        self._asker, self._claimed, self._advice = asker, claimed, advice
        self._until = asker.left - most_seconds  # stop when so little is left
        self._sent = 0
        self._chars_per_token: float | None = None
        self._frame = 0  # tokens that the chat template adds
        self._recalls = False
        self._rate: float | None = None

    def given(self, tokens: int) -> Context:
        """The context that the user states; one short prompt calibrates the rest. Raises as `measured`."""
        self._begin()
        return self._context(tokens, "as agent.toml says")

    def measured(self) -> Context:
        """The context, measured; what the server lists is held against one prompt.

        Raises:
            ModelError: the first prompt, a short one, got no answer.
            UsageError: the context is too short, or prompts are cut in silence so early that a run is not possible.
            Interrupted: the watch ended it.
        """
        whole = self._begin()
        for length in _STEPS if self._claimed is None else (min(int(0.9 * self._claimed), _STEPS[0]),):
            step = self._try(length)
            if step.fate is not _Fate.WHOLE:
                return self._short(step, whole, length)
            whole = step.tokens or length
        if self._claimed is not None:
            return self._context(self._claimed, f"as the server lists; a prompt of {whole:,} arrives whole")
        return self._context(min(whole, WANTED), "a prompt of that length arrives whole; more was not tried")

    def _begin(self) -> int:
        """Calibrate on two short prompts, which takes out what the chat template adds; tokens of the second."""
        try:
            shorter, longer = self._send(_FIRST_CHARS[0]), self._send(_FIRST_CHARS[1])
        except ModelError as error:
            if error.trouble is Trouble.OVERFLOW:
                raise UsageError(f"{error}; even a short prompt does not fit: {self._advice}") from error
            raise
        self._recalls = self._word() in longer.text
        more = (longer.prompt_tokens or 0) - (shorter.prompt_tokens or 0)
        if longer.prompt_tokens is None or more < _FIRST_CHARS[0] / 10:  # no count, or none that follows the length
            return round(_FIRST_CHARS[1] / _GUESSED_CHARS_PER_TOKEN)
        self._chars_per_token = (_FIRST_CHARS[1] - _FIRST_CHARS[0]) / more
        self._frame = max(0, longer.prompt_tokens - round(_FIRST_CHARS[1] / self._chars_per_token))
        self._rate = longer.prompt_tokens / max(longer.seconds, 1e-3)
        return longer.prompt_tokens

    def _try(self, length: int) -> _Step:
        """What comes of a prompt of about `length` tokens."""
        if self._rate and length / self._rate > self._left:
            return _Step(_Fate.LATE)
        try:
            seen = self._send(round((length - self._frame) * (self._chars_per_token or _GUESSED_CHARS_PER_TOKEN)))
        except ModelError as error:
            if error.trouble is Trouble.OVERFLOW:
                return _Step(_Fate.REFUSED, _limit(str(error), length))
            if error.trouble is Trouble.TIMEOUT:
                return _Step(_Fate.LATE)
            raise
        if seen.prompt_tokens is not None and self._chars_per_token is not None:
            self._rate = max(self._rate or 0.0, seen.prompt_tokens / max(seen.seconds, 1e-3))
            fate = _Fate.WHOLE if seen.prompt_tokens >= _SHORT * length else _Fate.CUT
            return _Step(fate, seen.prompt_tokens)
        if self._recalls:
            return _Step(_Fate.WHOLE if self._word() in seen.text else _Fate.CUT)
        return _Step(_Fate.UNKNOWN)

    def _short(self, step: _Step, whole: int, length: int) -> Context:
        """The context, where a prompt of `length` did not arrive and one of `whole` tokens did."""
        match step.fate:
            case _Fate.REFUSED if step.tokens:
                return self._context(step.tokens, "as the server says when a prompt is longer")
            case _Fate.REFUSED:
                return self._context(self._between(whole, length), "the server refuses longer prompts")
            case _Fate.CUT:
                return self._cut(self._between(max(whole, step.tokens or 0), length))
        if self._claimed is not None:
            return self._context(self._claimed, "as the server lists; not tried, because " + step.fate.value)
        if whole >= _STEPS[0]:
            return self._context(whole, "a prompt of that length arrives whole; a longer one takes too long to try")
        why = f"of a prompt of {length:,}, {step.fate.value}"
        return self._context(_STEPS[0], f"a guess ({why}): set context_tokens in agent.toml if it is another")

    def _cut(self, tokens: int) -> Context:
        listed = f", though it lists {self._claimed:,}" if self._claimed else ""
        if tokens < LEAST:
            raise UsageError(
                f"the server cuts prompts at about {tokens:,} tokens without a word{listed}: {self._advice}; "
                f"or set context_tokens = {tokens} in agent.toml to live with it"
            )
        return self._context(tokens, f"the server cuts longer prompts without a word{listed}: {self._advice}")

    def _between(self, low: int, high: int) -> int:
        """The longest prompt known to arrive, after halving what lies between a good and a bad length."""
        while high > _CLOSE * low:
            middle = (low + high) // 2
            step = self._try(middle)
            arrived = (step.tokens or middle) if step.fate is _Fate.WHOLE else 0
            if step.fate in (_Fate.LATE, _Fate.UNKNOWN) or 0 < arrived <= low:
                break
            low, high = (arrived, high) if arrived else (max(low, step.tokens or 0), middle)
        return low

    @property
    def _left(self) -> float:
        return self._asker.left - self._until

    def _word(self) -> str:
        return f"{_WORDS[self._sent % len(_WORDS)]}-{4000 + 37 * self._sent}"

    def _send(self, chars: int) -> Reply:
        """The answer to a prompt of about `chars`, with a code word of its own at the head: no cache knows it."""
        self._sent += 1
        frame = part("preflight", "code_word", word=self._word(), pages="")
        message = Message("user", part("preflight", "code_word", word=self._word(), pages=_pages(chars - len(frame))))
        request = Request((message,), max_tokens=24, temperature=0.0, think=False)
        reply = self._asker.ask(request, self._left)
        return replace(reply, text=reply.text + reply.reasoning)

    def _context(self, tokens: int, found: str) -> Context:
        return Context(tokens, found, self._chars_per_token, self._rate)


def _pages(chars: int) -> str:
    """Copies of one page, numbered, cut to a length."""
    count = chars // len(SCRIPT) + 1
    return "\n".join(f"# copy {number}\n{SCRIPT}" for number in range(1, count + 1))[: max(chars, 1)]


def _limit(sentence: str, length: int) -> int | None:
    """The context that a refusal names, if it is one that a prompt of `length` can have exceeded."""
    found = [int(number.replace(",", "")) for number in _LIMIT.findall(sentence)]
    return next((number for number in found if 256 <= number <= 1.3 * length), None)

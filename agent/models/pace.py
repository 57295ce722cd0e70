"""How long an answer may take: to begin, between two pieces, and in all.

Generous where a slow machine is honest (a long prompt, a model that is being loaded), short where nothing can be meant.
"""

from agent.models.base import Request, Watch

CONNECT_SECONDS = 10.0
CHARS_PER_TOKEN = 3.0  # of code, where a server does not count
_LOADING_SECONDS = 120.0  # a server may fetch the model from disk first
_READING_RATE = 30.0  # tokens a second of reading the prompt, on a few CPU cores
_HIDDEN_RATE = 50.0  # tokens a second of an answer that is not shown as it grows: hidden thinking, a buffering proxy
_SILENCE_SECONDS = 120.0  # between two pieces
_SLOWEST_TOKENS_PER_SECOND = 1.0  # of an answer, before any was measured
_SLACK = 4.0  # how much slower than measured an answer may be


def estimated_tokens(chars: int) -> int:
    """Tokens of a text of so many characters, roughly; rounded up."""
    return -int(-chars // CHARS_PER_TOKEN)


def prompt_tokens(request: Request) -> int:
    """Tokens of a request's messages, roughly."""
    return estimated_tokens(sum(len(message.content) for message in request.messages))


def first_seconds(request: Request) -> float:
    """Seconds within which the answer must begin."""
    if request.first_seconds is not None:
        return request.first_seconds
    return _LOADING_SECONDS + prompt_tokens(request) / _READING_RATE + request.max_tokens / _HIDDEN_RATE


def answer_seconds(request: Request, tokens_per_second: float | None = None) -> float:
    """Seconds within which the whole answer must be there, given how fast the model was lately."""
    if request.seconds is not None:
        return request.seconds
    rate = _SLOWEST_TOKENS_PER_SECOND if tokens_per_second is None else tokens_per_second / _SLACK
    return first_seconds(request) + request.max_tokens / rate


class Pace:
    """The pace of one call: `piece` is called for each piece that arrives, `late` again and again."""

    def __init__(self, request: Request, watch: Watch) -> None:
        self._watch = watch
        self._first = first_seconds(request)
        self._whole = answer_seconds(request)
        watch.tokens = 0
        self._began = self._last = watch.began = watch.clock()
        self.first_token_seconds: float | None = None

    @property
    def seconds(self) -> float:
        """Since the call began."""
        return self._watch.clock() - self._began

    def piece(self) -> None:
        """A piece of the answer is here."""
        self._last = self._watch.clock()
        self._watch.tokens += 1
        if self.first_token_seconds is None:
            self.first_token_seconds = self.seconds

    def late(self) -> str:
        """What has taken too long, as the end of a sentence; empty if nothing has."""
        silent = self._watch.clock() - self._last
        if self.seconds > self._whole:
            return f"had not finished its answer after {self._whole:.0f} s ({self._watch.tokens} pieces)"
        if self.first_token_seconds is None:
            return f"said nothing for {self._first:.0f} s" if silent > self._first else ""
        return f"fell silent for {_SILENCE_SECONDS:.0f} s in its answer" if silent > _SILENCE_SECONDS else ""

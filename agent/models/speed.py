"""How fast a model is, by its last answers or by what preflight found, and how long it is given for the next one."""

from collections import deque

from agent.models.base import Reply, Request
from agent.models.pace import answer_seconds, first_seconds, prompt_tokens

_REMEMBERED = 5  # answers whose speed counts
_TOO_SHORT = 16  # tokens; a shorter answer tells nothing about speed
_SLOWER, _SLOW = 4.0, 4.0  # what a late answer says of the speed: a factor, down to so many tokens a second
_GLANCE_SECONDS = 15.0  # beyond the usual, for an answer of a server that is thought to be away
_MARGIN = 2.0  # how much longer than usual an answer may take to begin there


class Speed:
    """Of one model."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=_REMEMBERED)
        self._firsts: deque[float] = deque(maxlen=_REMEMBERED)
        self._expected: float | None = None
        self._reading: float | None = None

    def expect(self, tokens_per_second: float | None, prompt_tokens_per_second: float | None) -> None:
        """What counts until it has answered: how fast it writes, and reads. None: not known."""
        self._expected, self._reading = tokens_per_second, prompt_tokens_per_second

    def answered(self, reply: Reply, tokens: int) -> None:
        """An answer of so many tokens has come."""
        self._firsts.append(reply.first_token_seconds or reply.seconds)
        if tokens >= _TOO_SHORT:
            decoding = reply.seconds - (reply.first_token_seconds or 0.0)
            self._rates.append(tokens / max(decoding, 0.01))

    def grew_slow(self) -> None:
        """An answer that had begun was too late: the next may take longer, the more so the more often it happens."""
        slowest = min(self._rates, default=self._expected)
        self._rates.clear()
        self._expected = None if slowest is None else min(slowest, max(slowest / _SLOWER, _SLOW))

    def seconds(self, request: Request) -> float:
        """The time limit of a whole answer: the asker's, or what the slowest of the last answers suggests."""
        return answer_seconds(request, min(self._rates, default=self._expected))

    def first_seconds(self, request: Request, left: float | None) -> float | None:
        """How long an answer may take to begin where `left` seconds of patience are; None for what is usual."""
        if left is None:
            return None
        reading = prompt_tokens(request) / self._reading if self._reading else 0.0
        glance = _GLANCE_SECONDS + _MARGIN * max(self._firsts, default=reading)
        return min(first_seconds(request), max(left, glance))

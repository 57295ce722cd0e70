"""A line to a model: it retries what may pass, waits out an outage, and books every call.

What is done about each trouble is a table. Waiting ends with the user's stop and with the budget (`Watch`). An outage
is one from the first failure to the next answer, over as many askings as it lasts.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from agent.calls import Call
from agent.models.base import Interrupted, Message, Model, ModelError, Reply, Request, Trouble, Watch
from agent.models.pace import answer_seconds, estimated_tokens, prompt_tokens
from agent.units import show_duration

RETRIED: Mapping[Trouble, bool] = {
    Trouble.UNREACHABLE: True,
    Trouble.RATE_LIMITED: True,
    Trouble.SERVER: True,
    Trouble.TIMEOUT: True,
    Trouble.CUT: True,
    Trouble.GARBAGE: True,
    Trouble.OVERFLOW: False,  # the asker sends less
    Trouble.UNAUTHORIZED: False,
    Trouble.NO_MODEL: False,
    Trouble.BAD_REQUEST: False,
    Trouble.ENDED: False,
}
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds; doubled in between
_OUTAGE_AFTER = 30.0  # seconds of failures that the user need not hear of
_REMEMBERED = 5  # answers whose speed counts
_TOO_SHORT = 16  # tokens; a shorter answer tells nothing about speed


@dataclass(frozen=True)
class Patience:
    """How long an outage is waited out; None for as long as the budget lasts."""

    outage_seconds: float | None = None


class Outage(ModelError):
    """The model has not answered for as long as the run waits for one."""


@dataclass
class _Down:
    """An outage, or the beginnings of one."""

    since: float
    failures: int = 0
    said: bool = False


class Line:
    """Asks `model`, with retries. `number` is how many calls were booked before; `keep` stores prompt and reply.

    `patience` may be changed at any time.
    """

    def __init__(
        self,
        model: Model,
        watch: Watch,
        patience: Patience = Patience(),
        number: int = 0,
        keep: Callable[[Call, Request, Reply | ModelError], None] = lambda call, request, answer: None,
    ) -> None:
        self.patience = patience
        self._model = model
        self._watch = watch
        self._number = number
        self._keep = keep
        self._booked: list[Call] = []
        self._down: _Down | None = None
        self._rates: deque[float] = deque(maxlen=_REMEMBERED)

    def ask(self, request: Request, purpose: str, because: str = "") -> Reply:
        """An answer. `purpose` and `because` stand in the record of the call.

        Raises:
            ModelError: what retrying does not mend: overflow, wrong key, unknown model, bad request, script ended.
            Outage: patience ran out.
            Interrupted: `watch` ended it.
        """
        try:
            while True:
                try:
                    reply = self._attempt(request, purpose, because)
                except ModelError as error:
                    self._pause(error)
                else:
                    self._up()
                    return reply
        except Outage:
            raise  # and still an outage when the next question comes
        except (ModelError, Interrupted):
            self._down = None
            raise
        finally:
            self._watch.doing = ""

    def drain(self) -> tuple[Call, ...]:
        """The calls booked since the last drain."""
        booked, self._booked = tuple(self._booked), []
        return booked

    def _attempt(self, request: Request, purpose: str, because: str) -> Reply:
        """One call, booked and kept whatever comes of it."""
        watch = self._watch
        watch.check()
        watch.tokens, watch.began = 0, watch.clock()
        call = Call(
            number=self._number,
            purpose=purpose,
            because=because,
            model=self._model.label,
            prompt_sha256=prompt_sha256(request.messages),
        )
        self._number += 1
        try:
            reply = self._model.complete(replace(request, seconds=self._seconds(request)), watch)
        except ModelError as error:
            if error.trouble is Trouble.TIMEOUT:
                self._rates.clear()  # it is slower than it was: measure again, without a limit from better times
            call = _failed(call, request, watch, error.trouble)
            self._booked.append(call)
            self._keep(call, request, error)
            raise
        except Interrupted:
            self._booked.append(_failed(call, request, watch, "interrupted"))
            raise
        call = _answered(call, request, reply)
        self._booked.append(call)
        self._keep(call, request, reply)
        if call.completion_tokens >= _TOO_SHORT:
            decoding = reply.seconds - (reply.first_token_seconds or 0.0)
            self._rates.append(call.completion_tokens / max(decoding, 0.01))
        return reply

    def _seconds(self, request: Request) -> float:
        """The time limit of a call: the asker's, or what the slowest of the last answers suggests."""
        return answer_seconds(request, min(self._rates, default=None))

    def _pause(self, error: ModelError) -> None:
        """Wait before the next attempt.

        Raises:
            ModelError: there is no point in another.
            Interrupted: `watch` ended the waiting.
        """
        if not RETRIED[error.trouble]:
            raise error
        now = self._watch.clock()
        down = self._down = self._down or _Down(since=now)
        down.failures += 1
        wait = max(error.retry_after or 0.0, pause(down.failures, self._number))
        patience = self.patience.outage_seconds
        if patience is not None:
            left = down.since + patience - now
            if left <= 0:
                raise Outage(_outage(now - down.since, error), error.trouble)
            wait = min(wait, left)
        if not down.said and now + wait - down.since > _OUTAGE_AFTER:
            down.said = True
            since = f"{datetime.now() - timedelta(seconds=now - down.since):%H:%M}"
            self._watch.say(f"the model has not answered since {since}: {error}; waiting, the run's budget goes on")
        self._watch.doing = f"waiting {show_duration(wait)} to ask {self._model.label} again: {error.trouble}"
        self._watch.sleep(wait)

    def _up(self) -> None:
        """The model has answered."""
        if self._down is not None and self._down.said:
            gone = show_duration(self._watch.clock() - self._down.since)
            self._watch.say(f"the model answers again, after {gone}")
        self._down = None


def pause(failures: int, number: int) -> float:
    """Seconds to wait after so many failures in a row: doubled each time, and spread by the number of the call.

    The spread keeps several runs that lost the same server from coming back in step; it needs no random state.
    """
    spread = int.from_bytes(hashlib.sha256(f"{number}".encode()).digest()[:2]) / 0xFFFF
    return min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 10), _LONGEST_PAUSE) * (0.75 + 0.5 * spread)


def prompt_sha256(messages: tuple[Message, ...]) -> str:
    """sha256 of the messages as canonical JSON: sorted keys, no spaces, UTF-8."""
    plain = [asdict(message) for message in messages]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _answered(call: Call, request: Request, reply: Reply) -> Call:
    counted = reply.prompt_tokens is not None and reply.completion_tokens is not None
    prompt, completion = prompt_tokens(request), estimated_tokens(len(reply.text) + len(reply.reasoning))
    return call.model_copy(
        update={
            "prompt_tokens": prompt if reply.prompt_tokens is None else reply.prompt_tokens,
            "completion_tokens": completion if reply.completion_tokens is None else reply.completion_tokens,
            "reasoning_tokens": reply.reasoning_tokens,
            "estimated": not counted,
            "seconds": reply.seconds,
            "cost": reply.cost,
            "finish_reason": reply.finish_reason,
        }
    )


def _failed(call: Call, request: Request, watch: Watch, error: str) -> Call:
    """A failed call has tokens if its answer had begun: the server has read the prompt then."""
    begun = watch.tokens > 0
    return call.model_copy(
        update={
            "prompt_tokens": prompt_tokens(request) if begun else 0,
            "completion_tokens": watch.tokens,
            "estimated": begun,
            "seconds": watch.clock() - watch.began,
            "error": error,
        }
    )


def _outage(seconds: float, error: ModelError) -> str:
    return f"the model has not answered for {show_duration(seconds)}: {error}"

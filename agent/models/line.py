"""A line to a model: it retries what may pass, waits out an outage, and books every call.

What is done about each trouble is a table. Waiting ends with the user's stop and with the budget (`Watch`). An outage
is one from the first failure to the next answer, over as many askings as it lasts: a long one is handed back to the
asker now and then, so that its calls get into the journal.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent.calls import Call
from agent.models.base import Interrupted, Model, ModelError, Reply, Request, Trouble, Watch
from agent.models.booking import answered, failed_by, prompt_sha256
from agent.models.speed import Speed
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
MAY_BE_THE_QUESTION = frozenset({Trouble.SERVER, Trouble.CUT, Trouble.GARBAGE})  # another might be answered
_PORTION = 50  # failures of one asking; about 25 minutes
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds; doubled in between
_LONGEST_WISH = 600.0  # seconds that a server may ask to wait
_OUTAGE_AFTER = 30.0  # seconds of failures that the user need not hear of


@dataclass(frozen=True)
class Patience:
    """How long an outage is waited out; None for as long as the budget lasts."""

    outage_seconds: float | None = None


class Outage(ModelError):
    """The model has not answered for as long as the run waits for one."""


class Unanswered(ModelError):
    """Failures enough for one asking. Another question may fare better; if there is an outage, it goes on."""


@dataclass
class _Down:
    """An outage, or the beginnings of one."""

    since: float
    failures: int = 0
    said: bool = False


class Line:
    """Asks `model`, with retries. `number` is how many calls were booked before; `keep` stores prompt and reply.

    `patience` may be changed at any time, and so may `holds_schemas`: whether requests carry their schemas, which a
    server may turn out to refuse.
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
        self._speed = Speed()
        self.holds_schemas = True

    def expect(self, tokens_per_second: float | None, prompt_tokens_per_second: float | None = None) -> None:
        """How fast the model was found to write and to read: what counts until it has answered. None: not known."""
        self._speed.expect(tokens_per_second, prompt_tokens_per_second)

    def ask(self, request: Request, purpose: str, because: str = "", tries: int | None = None) -> Reply:
        """An answer. `purpose` and `because` stand in the record of the call.

        After `tries` failures that may lie in the question (`MAY_BE_THE_QUESTION`), or many of any kind, the asker is
        told; None waits all of them out as an outage.

        Raises:
            ModelError: what retrying does not mend: overflow, wrong key, unknown model, bad request, script ended.
            Unanswered: that many failures.
            Outage: patience ran out.
            Interrupted: `watch` ended it.
        """
        failed = doubtful = 0
        try:
            while True:
                try:
                    reply = self._attempt(request, purpose, because)
                except ModelError as error:
                    failed, doubtful = failed + 1, doubtful + (error.trouble in MAY_BE_THE_QUESTION)
                    self._pause(error)
                    if doubtful == tries or failed == _PORTION:
                        raise Unanswered(f"{failed} attempts have failed: {error}", error.trouble) from error
                else:
                    self._up()
                    return reply
        except (Outage, Unanswered):
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
            reply = self._model.complete(self._limited(request), watch)
        except ModelError as error:
            if error.trouble is Trouble.TIMEOUT and watch.tokens:
                self._speed.grew_slow()
            call = failed_by(call, request, watch, error.trouble)
            self._booked.append(call)
            self._keep(call, request, error)
            raise
        except Interrupted:
            call = failed_by(call, request, watch, "interrupted")
            self._booked.append(call)
            self._keep(call, request, ModelError("the answer was not waited for", Trouble.CUT))
            raise
        call = answered(call, request, reply)
        self._booked.append(call)
        self._keep(call, request, reply)
        self._speed.answered(reply, call.completion_tokens)
        return reply

    def _limited(self, request: Request) -> Request:
        """The request with its time limits."""
        first = self._speed.first_seconds(request, self._patience_left())
        return replace(request, seconds=self._speed.seconds(request), first_seconds=first)

    def _patience_left(self) -> float | None:
        """Seconds until an outage is one; None for never."""
        patience = self.patience.outage_seconds
        if patience is None or self._down is None:
            return patience
        return self._down.since + patience - self._watch.clock()

    def _pause(self, error: ModelError) -> None:
        """Wait before the next attempt.

        Raises:
            ModelError: there is no point in another.
            Interrupted: `watch` ended the waiting.
        """
        if not RETRIED[error.trouble]:
            raise error
        now = self._watch.clock()
        down = self._down = self._down or _Down(since=now if self._watch.tokens else self._watch.began)
        down.failures += 1
        wait = max(min(error.retry_after or 0.0, _LONGEST_WISH), pause(down.failures, self._number))
        if (left := self._patience_left()) is not None:
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


def _outage(seconds: float, error: ModelError) -> str:
    return f"the model has not answered for {show_duration(seconds)}: {error}"

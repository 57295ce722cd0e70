"""What a language model is: `complete(request, watch) -> Reply`, or a `ModelError` that says what to do.

A backend makes exactly one attempt. Retries, waiting and booking are `agent.models.line`'s.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from agent.errors import AgentError


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Request:
    """What is asked of a model.

    Attributes:
        messages: the conversation.
        max_tokens: of the answer, thinking included.
        temperature: 0 for the likeliest answer.
        schema: JSON schema that the answer must follow, where the server can hold the model to it.
        think: False asks a thinking model not to think; None leaves it to the server.
        seconds: the whole answer must be there by then; None leaves it to the watch.
        first_seconds: the answer must begin by then; None for what is usual.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.7
    schema: dict[str, Any] | None = None
    think: bool | None = None
    seconds: float | None = None
    first_seconds: float | None = None


@dataclass(frozen=True)
class Reply:
    """What a model answered.

    Attributes:
        text: `message.content`; empty if there is none.
        reasoning: `message.reasoning` or `reasoning_content`.
        reasoning_field: which of the two it came in; empty for none.
        finish_reason: as the server says; `length` means that the answer is cut.
        model: the model's name as the server gives it.
        prompt_tokens, completion_tokens, reasoning_tokens: as the server counts them; None where it does not.
        seconds: of the whole call; first_token_seconds: until the answer began.
        cost: in US dollars, where the backend knows it.
    """

    text: str
    reasoning: str = ""
    reasoning_field: str = ""
    finish_reason: str = "stop"
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    seconds: float = 0.0
    first_token_seconds: float | None = None
    cost: float | None = None


class Trouble(StrEnum):
    """Kinds of failure of a model; `agent.models.line` has the table of what is done about each."""

    UNREACHABLE = "unreachable"  # nobody listens, DNS, TLS
    RATE_LIMITED = "rate_limited"  # 429
    SERVER = "server"  # 5xx
    TIMEOUT = "timeout"  # nothing came for too long
    CUT = "cut"  # the stream ended without a finish_reason
    GARBAGE = "garbage"  # not what the protocol says
    OVERFLOW = "overflow"  # the prompt (or prompt and max_tokens) does not fit the context
    UNAUTHORIZED = "unauthorized"  # 401, 403
    NO_MODEL = "no_model"  # 404: unknown model, or no such path
    BAD_REQUEST = "bad_request"  # any other 4xx
    ENDED = "ended"  # a scripted model has no reply left


class ModelError(AgentError):
    """A model did not answer. The message is one sentence with the next step.

    Attributes:
        trouble: what kind of failure it is.
        retry_after: seconds after which the server asks to try again; None if it does not say.
    """

    def __init__(self, sentence: str, trouble: Trouble, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.trouble = trouble
        self.retry_after = retry_after


class Interrupted(Exception):
    """The call was ended by us: the user stopped the run, or the budget has no room for what would follow."""


@dataclass
class Watch:
    """How a call is followed and ended from outside: written by the call, read by the views.

    Attributes:
        cancelled: whether to stop now.
        deadline: when to stop, by `clock`; asked again and again.
        say: speaks to the user (an outage, a retry).
        doing: what is going on, for the live view; empty when nothing is.
        tokens: pieces of the answer received so far.
        clock: seconds that only grow.
        began: when the call began, by that clock.
    """

    cancelled: Callable[[], bool] = lambda: False
    deadline: Callable[[], float] = lambda: float("inf")
    say: Callable[[str], None] = lambda line: None
    doing: str = ""
    tokens: int = 0
    clock: Callable[[], float] = time.monotonic
    began: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raises `Interrupted` if the call is to stop."""
        if self.cancelled() or self.clock() >= self.deadline():
            raise Interrupted

    def sleep(self, seconds: float) -> None:
        """Wait, but not past a stop. Raises `Interrupted`."""
        until, tick = self.clock() + seconds, threading.Event()
        while (left := until - self.clock()) > 0:
            self.check()
            tick.wait(min(0.1, left))
        self.check()


class Model(Protocol):
    """One model at one place."""

    @property
    def label(self) -> str:
        """`name@endpoint`, as it stands in records; never with a key."""

    def complete(self, request: Request, watch: Watch) -> Reply:
        """One attempt at an answer.

        Raises:
            ModelError: no usable answer came.
            Interrupted: `watch` ended it.
        """

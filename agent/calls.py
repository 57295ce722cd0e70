"""What is recorded of a language model: the facts that preflight found, and every single call."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from agent.noun import Noun


class Contract(StrEnum):
    """The form in which a model is asked for its edits, from the strongest model to the weakest."""

    BLOCKS = "blocks"  # SEARCH/REPLACE, one to five blocks
    FEW_BLOCKS = "few_blocks"  # SEARCH/REPLACE, one or two small blocks, one change
    FILE = "file"  # the whole file: for models that cannot copy lines but can rewrite a file
    SET = "set"  # `SET NAME = value` lines, optionally one FUNCTION


class ModelFacts(Noun):
    """What a session knows about its model: declared, or found by preflight.

    Attributes:
        name: the model's name at its server.
        endpoint: where it answers; `scripted` for canned replies, `litellm` where litellm finds the way.
        contract: the form it is asked for.
        context_tokens: prompt and answer together.
        max_output_tokens: the longest answer asked for, thinking included.
        thinking: where its thinking comes back; `template` means that the chat template opens a `<think>` which
            only the closing tag shows.
        think: False where only answers without thinking came to an end; None leaves it to the server.
        tokens_per_second: of decoding; None if it was not measured.
        prompt_tokens_per_second: of reading a prompt, likewise.
        chars_per_token: of a prompt made of code; calibrates our estimates.
        json_schema: whether `response_format` json_schema is honoured.
        notes: how each was found, in sentences for the user.
    """

    name: str
    endpoint: str
    contract: Contract = Contract.BLOCKS
    context_tokens: int = 32768
    max_output_tokens: int = 4096
    thinking: Literal["none", "reasoning", "reasoning_content", "text", "template"] = "none"
    think: bool | None = None
    tokens_per_second: float | None = None
    prompt_tokens_per_second: float | None = None
    chars_per_token: float = 3.0
    json_schema: bool = False
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`name@endpoint`, as it stands in records."""
        return f"{self.name}@{self.endpoint}"


class Call(Noun):
    """One call of a model, answered or not.

    Attributes:
        number: counts the calls of a run from 0; its prompt and reply are in `calls/NNNN.json` of the run's folder.
        purpose: `propose`, `repair`, `crash_repair`, ...
        because: what was wrong with the answer before, for a `repair`: its kind and the sentence; else empty.
        model: `name@endpoint`.
        prompt_sha256, reply_sha256: sha256 of the messages and of the answer, as canonical JSON; without an answer the
            second is empty.
        prompt_tokens, completion_tokens: as the server counts them, else estimated (`estimated` is then true).
        reasoning_tokens: those of the completion that were thinking, where the server says so.
        seconds: wall-clock.
        cost: in US dollars, where the backend knows it.
        finish_reason: as the server says; empty without an answer.
        error: kind of the error; empty if it was answered.
    """

    number: int
    purpose: str
    because: str = ""
    model: str
    prompt_sha256: str
    reply_sha256: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int | None = None
    estimated: bool = False
    seconds: float = 0.0
    cost: float | None = None
    finish_reason: str = ""
    error: str = ""


class Spent(Noun):
    """What calls of models cost, summed."""

    calls: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0


def spent(calls: Iterable[Call]) -> Spent:
    """The sum of `calls`."""
    found = tuple(calls)
    return Spent(
        calls=len(found),
        failed=sum(bool(call.error) for call in found),
        prompt_tokens=sum(call.prompt_tokens for call in found),
        completion_tokens=sum(call.completion_tokens for call in found),
        seconds=sum(call.seconds for call in found),
        cost=sum(call.cost or 0.0 for call in found),
    )

"""Which form of edits a model keeps, whether it thinks and where that comes back, and how fast it is: by tiny tasks.

Three tries with SEARCH/REPLACE blocks; if fewer than two succeed, three with SET lines. Each try asks for the longest
answer that a run will ask for, so that a server which does not grant it says so now.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from agent.calls import Contract
from agent.edits.blocks import Answer
from agent.edits.errors import EditError
from agent.errors import UsageError
from agent.models import tiny_task
from agent.models.asking import Asker
from agent.models.base import ModelError, Reply, Request, Trouble

Thinking = Literal["none", "reasoning", "reasoning_content", "text", "template"]

_ANSWER_TOKENS, _THINKING_TOKENS, _SET_TOKENS = 4_096, 16_384, 1_024
_LEAST_TOKENS = 256
_TRY_SECONDS = 40.0
_GLANCE = 64  # tokens; enough to see where thinking begins
_UNFINISHED = "its answer did not come to an end"
_ENOUGH = 16  # tokens; a shorter answer tells nothing about speed
_OPENED = re.compile(r"\s*(<(think|thinking|thought|reasoning)>|\[THINK\]|<\|channel\|>analysis)", re.IGNORECASE)
_CLOSED = re.compile(r"</(think|thinking|thought|reasoning)>|\[/THINK\]", re.IGNORECASE)


@dataclass(frozen=True)
class Form:
    """What was found of a model's answers.

    Attributes:
        contract: the form to ask for.
        kept: how often which form was kept, as a part of a sentence.
        thinking: where its thinking comes back.
        max_tokens: the longest answer to ask for.
        think: False where only answers without thinking came to an end.
        tokens_per_second: of decoding; None if no answer was long enough to tell.
    """

    contract: Contract
    kept: str
    thinking: Thinking
    max_tokens: int
    think: bool | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True)
class Limits:
    """What the answers are asked under; None where it is to be found out.

    Attributes:
        context_tokens: prompt and answer together.
        max_output_tokens, contract: as the user set them.
        temperature: of a run's requests.
    """

    context_tokens: int
    max_output_tokens: int | None = None
    contract: Contract | None = None
    temperature: float = 0.7


@dataclass
class _Score:
    """Tries of one form: how many, how many kept it, and what was wrong with the last that did not."""

    tries: int = 0
    kept: int = 0
    wrong: str = ""

    def __str__(self) -> str:
        return f"{self.kept} of {self.tries} tries" + (f" ({self.wrong})" if self.wrong else "")


@dataclass
class FormProbe:
    """Asks for the tiny tasks and keeps what the answers show."""

    asker: Asker
    limits: Limits
    _thinking: Thinking = "none"
    _think: bool | None = None
    _most: int = 0
    _rates: list[float] = field(default_factory=list)

    def found(self) -> Form:
        """The form to ask for, and what came to light beside it.

        Raises:
            UsageError: the model keeps no form.
            ModelError: it gave no answer at all.
            Interrupted: the watch ended it.
        """
        self._most = self._most_tokens()
        if (contract := self.limits.contract) is not None:
            score = self._score(contract, tiny_task.TASKS[:1])
            return self._form(contract, f"as agent.toml says; kept in {score}")
        blocks = self._score(Contract.BLOCKS, tiny_task.TASKS)
        if (picked := pick(blocks.kept, blocks.tries)) is not None:
            return self._form(picked, f"kept in {blocks}")
        lines = self._score(Contract.SET, tiny_task.TASKS)
        if pick(lines.kept, lines.tries) is not None:
            return self._form(Contract.SET, f"kept in {lines}; SEARCH/REPLACE blocks in {blocks}")
        raise UsageError(
            f"{self.asker.label} keeps no form of edits: SEARCH/REPLACE blocks in {blocks}, SET lines in {lines}; take "
            'a larger model or one made for code, turn its thinking off, or choose a form with contract = "set" in '
            "agent.toml"
        )

    def _score(self, contract: Contract, tasks: tuple[tiny_task.Task, ...]) -> _Score:
        score, slowest = _Score(), 0.0
        for task in tasks:
            if score.tries and slowest > self.asker.left:
                break
            before = self.asker.left
            wrong = self._wrong(contract, task)
            if wrong == _UNFINISHED and self._think is None:
                self._glance(contract, task)
                self._think, before = False, self.asker.left
                wrong = self._wrong(contract, task)
            slowest = max(slowest, before - self.asker.left)
            score.tries += 1
            score.kept += not wrong
            score.wrong = wrong or score.wrong
        return score

    def _wrong(self, contract: Contract, task: tiny_task.Task) -> str:
        """What is wrong with the answer to a task; empty for nothing."""
        try:
            reply = self._reply(contract, task, self._longest(contract))
        except ModelError as error:
            silent = not self.asker.pieces and self.asker.left > 0
            if error.trouble is not Trouble.TIMEOUT or silent:
                raise
            if self.asker.pieces >= _ENOUGH:
                self._rates.append(self.asker.pieces_per_second)
            return _UNFINISHED
        self._look(reply)
        if reply.finish_reason == "length":
            return _UNFINISHED
        try:
            place = thinking_of(reply)
            answer = Answer(reply.text, reply.reasoning, reply.finish_reason, think_open=place == "template")
            tiny_task.check(task, answer)
        except EditError as error:
            return str(error).partition(":")[0].rstrip(".")
        return ""

    def _glance(self, contract: Contract, task: tiny_task.Task) -> None:
        """Look at how an answer begins that does not end in time."""
        try:
            self._look(self._reply(contract, task, _GLANCE))
        except ModelError as error:
            if error.trouble is not Trouble.TIMEOUT:
                raise

    def _reply(self, contract: Contract, task: tiny_task.Task, most: int) -> Reply:
        """The answer to a task. A server that refuses the length of the answer is asked for half of it."""
        while True:
            request = Request(tiny_task.messages(task, contract), most, self.limits.temperature, think=self._think)
            try:
                return self.asker.ask(request, _TRY_SECONDS)
            except ModelError as error:
                if self.limits.max_output_tokens is not None or most // 2 < _LEAST_TOKENS or not _too_long(error):
                    raise
                self._most = most = most // 2

    def _look(self, reply: Reply) -> None:
        """Keep what an answer shows of thinking and speed."""
        place = thinking_of(reply)
        if place != "none" and not self._thinks:
            self._thinking = place
            self._most = max(self._most, self._most_tokens())
        tokens = reply.completion_tokens or self.asker.pieces
        if tokens >= _ENOUGH:
            decoding = reply.seconds - (reply.first_token_seconds or 0.0)
            self._rates.append(tokens / (decoding if decoding > 0.1 * reply.seconds else max(reply.seconds, 1e-3)))

    @property
    def _thinks(self) -> bool:
        return self._thinking != "none"

    def _most_tokens(self) -> int:
        """The longest answer to ask for, beside a prompt that needs the larger part of the context."""
        if self.limits.max_output_tokens is not None:
            return self.limits.max_output_tokens
        most, part = (_THINKING_TOKENS, 2) if self._thinks else (_ANSWER_TOKENS, 3)
        return max(_LEAST_TOKENS, min(most, self.limits.context_tokens // part))

    def _longest(self, contract: Contract) -> int:
        return min(self._most, _SET_TOKENS) if contract is Contract.SET and not self._thinks else self._most

    def _form(self, contract: Contract, kept: str) -> Form:
        rate = sorted(self._rates)[len(self._rates) // 2] if self._rates else None
        if self._think is False:
            kept += ", with its thinking turned off for want of time" if self._thinks else ", asked not to think"
        return Form(contract, kept, self._thinking, self._longest(contract), self._think, rate)


def pick(kept: int, tries: int) -> Contract | None:
    """The form of blocks for a model that kept it in so many tries; None if it does not."""
    if kept == tries and tries >= 2:
        return Contract.BLOCKS
    return Contract.FEW_BLOCKS if kept >= 2 or kept == tries == 1 else None


def thinking_of(reply: Reply) -> Thinking:
    """Where an answer carries its thinking."""
    if reply.reasoning:
        return "reasoning_content" if reply.reasoning_field == "reasoning_content" else "reasoning"
    if _OPENED.match(reply.text):
        return "text"
    return "template" if _CLOSED.search(reply.text) else "none"


def _too_long(error: ModelError) -> bool:
    """Whether a server may have refused the length of the answer."""
    refused = error.trouble is Trouble.BAD_REQUEST and "token" in str(error).lower()
    return refused or error.trouble is Trouble.OVERFLOW

"""One question to a language model: rendered, asked, read, and put once more with what was wrong with the answer.

It knows nothing of edits or constants: a `Question` says how it is rendered and how its answer is read. Retries of
what the server fails to do are `agent.models.line`'s. After the second unusable answer there is none: no fallback.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from agent.calls import Call, ModelFacts
from agent.edits.blocks import Answer
from agent.edits.errors import EditError, Wrong
from agent.errors import UsageError
from agent.models.base import Message, ModelError, Reply, Request, Trouble
from agent.prompts.render import PromptTooLong
from agent.proposers.base import Setup, Workbench
from agent.state import State

T = TypeVar("T")
_SMALLER = (1.0, 0.7, 0.5)  # of the context that preflight found, when the server says that the prompt is too long
_TEMPERATURE, _WIDE_TEMPERATURE, MENDING_TEMPERATURE = 0.7, 1.0, 0.3
_NOTHING_TO_SHOW = (Wrong.EMPTY, Wrong.TRUNCATED)  # thoughts, or half an answer: of no use in the prompt


class Refused(EditError):
    """An answer that was read, and cannot be used.

    Attributes:
        title: the idea it stood for.
        same_as: the earlier trial it repeats.
    """

    def __init__(self, sentence: str, wrong: Wrong, title: str = "", same_as: int | None = None) -> None:
        super().__init__(sentence, wrong)
        self.title = title
        self.same_as = same_as


@dataclass(frozen=True)
class Question(Generic[T]):
    """What is asked, and how the answer is read.

    Attributes:
        purpose: as it stands in the record of the call.
        render: the messages for a model with these facts. May raise PromptTooLong.
        read: what the answer says. Raises EditError where it says nothing usable.
        again: the message that asks once more.
        max_tokens: of an answer without thinking; a model that thinks may use all it has.
        temperature: of the first answer.
        schema: of an answer in JSON.
    """

    purpose: str
    render: Callable[[ModelFacts], tuple[Message, ...]]
    read: Callable[[Answer], T]
    again: Callable[[EditError], Message]
    max_tokens: int
    temperature: float
    schema: dict[str, Any] | None = None


def workbench_of(setup: Setup, source: str) -> Workbench:
    """The workbench of a proposer that cannot do without.

    Raises:
        UsageError: the run has no model.
    """
    if setup.workbench is None:
        raise UsageError(
            f"{source} asks a language model: name one with --model NAME@URL; "
            "`agent models` lists those that answer on this machine"
        )
    return setup.workbench


def facts_of(state: State) -> ModelFacts:
    """What is known of the session's model."""
    if state.session is None or state.session.model is None:
        raise ValueError("the session has no model")
    return state.session.model


def temperature_of(state: State, widen: int) -> float:
    """The user's temperature, else the usual one; higher where a different kind of change is asked for."""
    backend = state.session.backend if state.session else None
    usual = _TEMPERATURE if backend is None or backend.temperature is None else backend.temperature
    return max(usual, _WIDE_TEMPERATURE) if widen else usual


def put(question: Question[T], facts: ModelFacts, bench: Workbench, state: State) -> T:
    """The answer, after one repair round where it needs one.

    Raises:
        EditError: the answer was unusable twice.
        ModelError, Interrupted: there is no answer.
    """
    messages, facts, reply = _first(question, facts, bench, overflows(state, facts.label))
    try:
        return question.read(_answer(reply, facts.thinking == "template"))
    except EditError as error:
        wrong = error
    because = f"{wrong.wrong}: {str(wrong).splitlines()[0]}"
    bench.say(f"sent back to the model: {because}")
    request = Request(
        messages=_repairing(messages, reply, wrong, question.again(wrong), facts),
        max_tokens=_most(question, facts),
        temperature=min(MENDING_TEMPERATURE, question.temperature),
        schema=question.schema,
        think=False,
    )
    try:
        reply = bench.line.ask(request, "repair", because)
    except ModelError as error:
        if error.trouble is not Trouble.OVERFLOW:
            raise
        raise wrong from error
    return question.read(_answer(reply, think_open=False))  # it was told not to think


def _answer(reply: Reply, think_open: bool) -> Answer:
    return Answer(reply.text, reply.reasoning, reply.finish_reason, think_open)


def overflows(state: State, label: str) -> int:
    """How often the prompt for this model was too long, so that no later one is made that long again."""
    found: list[Call] = [call for trial in state.trials for call in trial.proposal.calls]
    found += [call for _, void in state.voids if void.wrong != Trouble.OVERFLOW for call in void.calls]
    return sum(c.model == label and c.error == Trouble.OVERFLOW and c.purpose != "repair" for c in found)


def _first(
    question: Question[T], facts: ModelFacts, bench: Workbench, too_long: int
) -> tuple[tuple[Message, ...], ModelFacts, Reply]:
    """The conversation, the facts that it was rendered for, and its answer.

    A prompt that is too long for the server is rendered shorter, twice at most.
    """
    sizes = _SMALLER[min(too_long, len(_SMALLER) - 1) :]
    overflow: ModelError | None = None
    for part in sizes:
        shown = facts.model_copy(update={"context_tokens": int(part * facts.context_tokens)})
        if overflow is not None:
            bench.note(
                f"the prompt is too long for {facts.label}: shortened to fit {shown.context_tokens} tokens ({overflow})"
            )
        try:
            messages = question.render(shown)
            request = Request(messages, _most(question, facts), question.temperature, question.schema)
            return messages, shown, bench.line.ask(request, question.purpose)
        except PromptTooLong as too_short:
            if overflow is None:
                raise
            raise ModelError(f"{overflow}; and a shorter one is not possible: {too_short}", Trouble.OVERFLOW) from None
        except ModelError as error:
            if error.trouble is not Trouble.OVERFLOW:
                raise
            overflow = error
    assert overflow is not None, "every size was tried"
    raise overflow


def _most(question: Question[T], facts: ModelFacts) -> int:
    limit = facts.max_output_tokens
    return limit if facts.thinking != "none" else min(question.max_tokens, limit)


def _repairing(
    messages: tuple[Message, ...], reply: Reply, wrong: EditError, again: Message, facts: ModelFacts
) -> tuple[Message, ...]:
    """The conversation so far and the message that asks again; without the answer where it is long or no answer.

    Without an answer between them both messages become one: many chat templates refuse two of one role in a row.
    """
    said = reply.text.rpartition("</think>")[2].strip()
    chars = sum(len(message.content) for message in messages) + len(said) + len(again.content)
    fits = chars / facts.chars_per_token + facts.max_output_tokens < facts.context_tokens
    if said and fits and wrong.wrong not in _NOTHING_TO_SHOW:
        return (*messages, Message("assistant", said), again)
    *before, last = messages
    return (*before, Message(last.role, f"{last.content}\n\n{again.content}"))

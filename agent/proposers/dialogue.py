"""One question to a language model: rendered, asked, read, and put once more with what was wrong with the answer.

It knows nothing of edits or constants: a `Question` says how it is rendered and how its answer is read. Retries of
what the server fails to do are `agent.models.line`'s. After the second unusable answer there is none: no fallback.
A question that the server fails on is put shorter, and then given up; where it fails on several in a row, it is no
longer the questions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Generic, TypeVar

from agent.calls import Call, ModelFacts
from agent.edits.blocks import Answer
from agent.edits.errors import EditError, Wrong
from agent.errors import UsageError
from agent.models.base import Message, ModelError, Reply, Request, Trouble
from agent.models.line import MAY_BE_THE_QUESTION, Unanswered
from agent.prompts.render import PromptTooLong
from agent.proposers.base import Setup, Workbench
from agent.state import State
from agent.text import one_line

T = TypeVar("T")
_SMALLER = (1.0, 0.7, 0.5)  # of the context that preflight found, when the prompt is too long or fails
_TRIES = 8  # of a question that the server fails on; about two minutes
_GIVEN_UP = 2  # questions in a row that may come to nothing by the server
_REFUSED = frozenset({Trouble.OVERFLOW, Trouble.BAD_REQUEST})
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
        self.title = one_line(title)
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
        EditError: the answer was unusable twice, or once and the server failed on the second question.
        Unanswered: no answer to this question; there may be one to another.
        ModelError, Interrupted: there is no answer.
    """
    messages, facts, reply = _first(question, facts, bench, state)
    try:
        return question.read(_answer(reply, facts.thinking == "template" and facts.think is not False))
    except EditError as error:
        wrong = error
    because = f"{wrong.wrong}: {one_line(str(wrong).partition(chr(10))[0])}"
    bench.say(f"sent back to the model: {because}")
    request = Request(
        messages=_repairing(messages, reply, wrong, question.again(wrong), facts),
        max_tokens=_most(question, facts),
        temperature=min(MENDING_TEMPERATURE, question.temperature),
        schema=question.schema,
        think=False,
    )
    try:
        reply = _asked(bench, request, "repair", _TRIES, because)
    except ModelError as error:
        if error.trouble not in _REFUSED and not isinstance(error, Unanswered):
            raise
        raise wrong from error
    return question.read(_answer(reply, think_open=False))  # it was told not to think


def _answer(reply: Reply, think_open: bool) -> Answer:
    return Answer(reply.text, reply.reasoning, reply.finish_reason, think_open)


def overflows(state: State, label: str) -> int:
    """How often in this session the prompt for this model was too long, so that no later one is that long again.

    A later session looks at the model anew. A crash repair that was too long says nothing of other prompts.
    """
    trials, voids = state.session_after
    found: list[Call] = [call for trial in state.trials[trials:] for call in trial.proposal.calls]
    others = [void for _, void in state.voids[voids:] if void.wrong != Trouble.OVERFLOW or void.repairs is None]
    found += [call for void in others for call in void.calls]
    return sum(c.model == label and c.error == Trouble.OVERFLOW and c.purpose != "repair" for c in found)


def given_up(state: State) -> int:
    """How many questions in a row came to nothing by the server, since the last trial and in this session."""
    last = len(state.trials)
    recent = [v for before, v in state.voids[state.session_after[1] :] if before == last and v.repairs is None]
    return len(list(takewhile(lambda void: void.wrong in _REFUSED | MAY_BE_THE_QUESTION, reversed(recent))))


def _asked(bench: Workbench, request: Request, purpose: str, tries: int | None, because: str = "") -> Reply:
    """An answer. A server that refuses the request with its schema, and takes it without, is sent none any more."""
    line = bench.line
    request = request if line.holds_schemas else replace(request, schema=None)
    try:
        return line.ask(request, purpose, because, tries)
    except ModelError as error:
        if request.schema is None or error.trouble is not Trouble.BAD_REQUEST:
            raise
        refusal = error
    reply = line.ask(replace(request, schema=None), purpose, because, tries)
    line.holds_schemas = False
    bench.note(f"the answers are not held to a schema from now on: the server takes the request without it ({refusal})")
    return reply


def _first(
    question: Question[T], facts: ModelFacts, bench: Workbench, state: State
) -> tuple[tuple[Message, ...], ModelFacts, Reply]:
    """The conversation, the facts that it was rendered for, and its answer.

    A prompt that is too long for the server, or that it fails on, is rendered shorter, twice at most.
    """
    away = given_up(state) >= _GIVEN_UP  # then it fails on whatever it is asked
    tries, failed = None if away else _TRIES, None
    for part in _SMALLER[min(overflows(state, facts.label), len(_SMALLER) - 1) :]:
        shown = _within(facts, part)
        if failed is not None:
            bench.note(_shortened(shown, failed))
        try:
            messages = question.render(shown)
            request = Request(messages, _most(question, shown), question.temperature, question.schema, facts.think)
            return messages, shown, _asked(bench, request, question.purpose, tries)
        except PromptTooLong as too_long:
            if failed is None:
                raise
            failed = ModelError(f"{failed}; and a shorter prompt is not possible: {too_long}", failed.trouble)
            break
        except ModelError as error:
            if not _may_be_its_length(error, away):
                raise
            failed = error
    assert failed is not None, "every size was tried"
    raise failed if away else Unanswered(str(failed), failed.trouble) from failed


def _may_be_its_length(error: ModelError, away: bool) -> bool:
    doubtful = isinstance(error, Unanswered) and error.trouble in MAY_BE_THE_QUESTION and not away
    return doubtful or error.trouble in _REFUSED


def _shortened(shown: ModelFacts, failed: ModelError) -> str:
    what = "is too long for" if failed.trouble is Trouble.OVERFLOW else "may be too long for"
    return f"the prompt {what} {shown.label}: shortened to fit {shown.context_tokens} tokens ({failed})"


def _within(facts: ModelFacts, part: float) -> ModelFacts:
    """The facts for a part of the context. Thinking shrinks with it, for it takes up to half of it."""
    tokens = {"context_tokens": int(part * facts.context_tokens)}
    if facts.thinking != "none":
        tokens["max_output_tokens"] = int(part * facts.max_output_tokens)
    return facts.model_copy(update=tokens)


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

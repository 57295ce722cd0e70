"""`code`: a language model edits the script itself, one idea a trial.

Ask, read, gate, and once more with what was wrong: an answer that cannot be used then is no trial, and nothing is
trained in its place. What is asked for follows from how the run goes (`agent.proposers.course`). No whole file is
asked for where blocks fail: it costs many times the tokens and may change any line, and a model whose blocks
fail again and again is asked for a simpler form anyway.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

from agent.calls import Contract, ModelFacts
from agent.code import Code
from agent.edits.blocks import Answer, Edited
from agent.edits.errors import EditError, Wrong
from agent.edits.gates.duplicates import duplicate_sentence, same_as
from agent.edits.gates.guard import check, rules_of
from agent.edits.gates.shape import shape
from agent.edits.read import read
from agent.edits.rules import Rules
from agent.edits.unified import record_diff
from agent.errors import AgentError, UsageError
from agent.models.base import Message, ModelError, Trouble
from agent.models.line import Unanswered
from agent.nouns import Proposal, Trial
from agent.prompts.ask import Ask
from agent.prompts.render import PromptTooLong, crash_repair, propose, repair
from agent.proposers.base import NoProposal, Setup
from agent.proposers.course import Course, contract, course
from agent.proposers.dialogue import (
    MENDING_TEMPERATURE,
    Question,
    Refused,
    facts_of,
    put,
    temperature_of,
    workbench_of,
)
from agent.state import State
from agent.text import one_line

T = TypeVar("T")
_ANSWER_TOKENS = {Contract.BLOCKS: 3072, Contract.FEW_BLOCKS: 2048, Contract.SET: 1024}
_TITLE_CHARS, _WHY_CHARS = 120, 1000
_IDEA = re.compile(r"^[^\w\n]*IDEA[^\w\n]*:[^\w\n]*(.+)$", re.MULTILINE)
_WORDS = {
    Contract.BLOCKS: "SEARCH/REPLACE blocks",
    Contract.FEW_BLOCKS: "one or two small SEARCH/REPLACE blocks",
    Contract.SET: "SET lines",
    Contract.FILE: "the whole file",
}


@dataclass(frozen=True)
class Start:
    """What an edit starts from.

    Attributes:
        state: the run so far.
        course: what is asked for.
        parent: the trial that the edit is recorded against, and `origin` its editable files.
        files: those that the model is shown: a crashed child's, where it is to be mended.
    """

    state: State
    course: Course
    parent: int | None
    origin: Mapping[str, str]
    files: Mapping[str, str]


class CodeEditor:
    """Changes to the code, by a language model.

    Args:
        setup: needs its workbench.

    Raises:
        UsageError: no language model.
    """

    source = "code"

    def __init__(self, setup: Setup) -> None:
        self._bench = workbench_of(setup, self.source)
        self._space, self._seed = setup.space, setup.seed
        self._form: Contract | None = None  # said last; only what is said depends on it

    def ask(self, state: State) -> Proposal:
        """An edit that applies and passes the gates.

        Raises:
            NoProposal: none, after the repair round, or the server fails on the question.
            ModelError, Interrupted: there is no answer; the line holds what was booked for it.
            PromptTooLong: the script does not fit the model's context.
        """
        start = self._start(state)
        now = start.course
        try:
            edited = self._in_a_form_that_fits(start, partial(self._answered, start))
        except EditError as error:
            raise self._nothing(start, error.wrong, error) from error
        except Unanswered as error:
            raise self._nothing(start, error.trouble, error) from error
        except (PromptTooLong, ModelError) as error:
            too_long = isinstance(error, PromptTooLong) or error.trouble is Trouble.OVERFLOW
            if now.mend is None or not too_long:
                raise
            raise self._nothing(start, Trouble.OVERFLOW, error) from error
        return Proposal(
            source=self.source,
            title=_title(edited.parsed.title) or "an edit without a title",
            why=_why(edited.parsed.why, now),
            patch=record_diff(start.origin, edited.files),
            parent=now.mend.parent if now.mend else now.parent,
            repairs=now.mend.id if now.mend else None,
            calls=self._bench.line.drain(),
        )

    def tell(self, trial: Trial) -> None:
        """Nothing to remember: the next prompt is made from the state."""

    def rehearse(self, state: State) -> None:
        """Render the prompt that `ask` would begin with. Raises PromptTooLong: it does not fit the model's context."""
        start = self._start(state)
        self._in_a_form_that_fits(start, lambda facts, why: self._prompt(start, facts))

    def _start(self, state: State) -> Start:
        now = course(state, self._bench.target.limits, self.source, self._seed)
        if now.mend is not None:
            origin, files = (self._texts(self._bench.code_of(number)) for number in (now.mend.parent, now.mend.id))
            return Start(state, now, now.mend.parent, origin, files)
        parent = state.best if now.parent is None else now.parent
        origin = self._texts(self._bench.code_of(parent))
        return Start(state, now, parent, origin, origin)

    def _nothing(self, start: Start, wrong: str, error: AgentError | EditError) -> NoProposal:
        mend = start.course.mend
        return NoProposal(
            source=self.source,
            wrong=wrong,
            reason=str(error),
            title=_title(error.title) if isinstance(error, Refused) else "",
            parent=start.parent,
            same_as=error.same_as if isinstance(error, Refused) else None,
            repairs=mend.id if mend else None,
            calls=self._bench.line.drain(),
        )

    def _in_a_form_that_fits(self, start: Start, use: Callable[[ModelFacts, str], T]) -> T:
        """`use` with the form of answer that is asked for: SET lines where the prompt has no room for the code."""
        facts = facts_of(start.state)
        form = contract(start.state, facts, self.source)
        try:
            return use(facts.model_copy(update={"contract": form}), "")
        except PromptTooLong:
            if form is Contract.SET:
                raise
        why = f": a context of {facts.context_tokens:,} tokens has no room for the code and an edit of it"
        return use(facts.model_copy(update={"contract": Contract.SET}), why)

    def _prompt(self, start: Start, facts: ModelFacts) -> tuple[Message, ...]:
        now, bench = start.course, self._bench
        ask = Ask(
            state=start.state,
            target=bench.target,
            files=start.files,
            brief=bench.brief,
            facts=facts,
            rules=self._rules,
            space=self._space,
            parent=now.parent,
            widen=now.widen,
            tries=now.tries,
        )
        return crash_repair(ask, now.mend) if now.mend else propose(ask)

    def _answered(self, start: Start, facts: ModelFacts, why: str) -> Edited:
        now = start.course

        def render(shown: ModelFacts) -> tuple[Message, ...]:
            messages = self._prompt(start, shown)
            self._say_form(start.state, shown, why)
            return messages

        usual = temperature_of(start.state, now.widen)
        question = Question(
            purpose="crash_repair" if now.mend else "propose",
            render=render,
            read=lambda answer: self._gated(start, answer),
            again=lambda error: repair(error, facts.contract),
            max_tokens=_ANSWER_TOKENS.get(facts.contract, facts.max_output_tokens),
            temperature=min(usual, MENDING_TEMPERATURE) if now.mend else usual,
        )
        return put(question, facts, self._bench, start.state)

    def _gated(self, start: Start, answer: Answer) -> Edited:
        """What the answer makes of the code, if it may be trained. Raises EditError."""
        try:
            edited = read(answer, start.files, self._rules)
        except EditError as error:
            titles = _IDEA.findall(answer.text)
            raise Refused(str(error), error.wrong, titles[-1] if titles else "") from error
        title = edited.parsed.title
        try:
            check(start.origin, edited.files, self._rules)
        except EditError as error:
            raise Refused(str(error), error.wrong, title) from error
        same = same_as(start.state, shape(edited.files))
        if same is not None:
            raise Refused(duplicate_sentence(start.state, same), Wrong.DUPLICATE, title, same.id)
        return edited

    @cached_property
    def _rules(self) -> Rules:
        """What a change may touch, by the script as it was brought."""
        return rules_of(self._bench.target, self._bench.code_of(None))

    def _texts(self, code: Code) -> dict[str, str]:
        """The editable files. Raises UsageError for one that is no text."""
        try:
            return {path: code[path].decode() for path in self._bench.target.edit}
        except UnicodeDecodeError as error:
            raise UsageError(f"an editable file is no UTF-8 text ({error}): save it as UTF-8 first") from error

    def _say_form(self, state: State, facts: ModelFacts, why: str) -> None:
        """Note the form that is asked for whenever it becomes another than what was found for the model, or said."""
        if facts.contract is not (self._form or facts_of(state).contract):
            self._bench.note(f"{facts.label} is asked for {_WORDS[facts.contract]} from now on{why}")
        self._form = facts.contract


def _title(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _TITLE_CHARS else f"{line[: _TITLE_CHARS - 1].rstrip()}…"


def _why(text: str, now: Course) -> str:
    """The model's reason in one paragraph, with what was special about the ask."""
    words = one_line(text)[:_WHY_CHARS]
    if now.mend is not None:
        return f"{words} (repairs the crash of trial {now.mend.id})".strip()
    if now.parent is not None:
        return f"{words} (starts again from trial {now.parent}: nothing was kept for {now.tries} trials)".strip()
    return words

"""`llm-constants`: a language model chooses the values of the script's constants, and touches no other code.

An answer that cannot be used, or that was tried, goes back once; then there is no proposal, and never a random point.
Every proposal sets all constants that the champion's code still has: those that the answer does not name as they are.
"""

from agent.calls import ModelFacts
from agent.edits.blocks import Answer
from agent.edits.errors import EditError, Wrong
from agent.edits.gates.duplicates import duplicate_sentence
from agent.edits.gates.guard import rules_of
from agent.models.base import Message
from agent.models.line import Unanswered
from agent.nouns import Proposal, Trial
from agent.prompts.ask import Ask
from agent.prompts.render import constants, constants_schema, repair
from agent.proposers.base import Exhausted, NoProposal, Setup
from agent.proposers.configurations import Configuration, check, configurations, key, title
from agent.proposers.course import since_keep, widening
from agent.proposers.dialogue import Question, Refused, facts_of, put, temperature_of, workbench_of
from agent.proposers.in_code import InCode
from agent.proposers.values_answer import Values, read_values
from agent.space import Space
from agent.state import State
from agent.text import one_line

_ANSWER_TOKENS = 2048
_WHY_CHARS = 1000


class LlmConstants:
    """Values of the constants, by a language model.

    Args:
        setup: needs its workbench.

    Raises:
        UsageError: no language model, no constants, or a negative seed.
    """

    source = "llm-constants"

    def __init__(self, setup: Setup) -> None:
        self._bench = workbench_of(setup, self.source)
        check(setup.space, setup.seed)
        self._in_code = InCode(setup.space, self._bench.code_of)

    def ask(self, state: State) -> Proposal:
        """A configuration that no trial has tried.

        Raises:
            Exhausted: none is left, or the code has none of the constants any more.
            NoProposal: the model gave none, after the repair round, or the server fails on the question.
            ModelError, Interrupted: there is no answer; the line holds what was booked for it.
            PromptTooLong: the prompt does not fit the model's context.
        """
        space, now = self._in_code.space(state.best), self._in_code.values(state.best)
        tried = configurations(space, self._in_code.state(state))
        _check_left(space, tried)
        question = self._question(state, space, now, tried)
        try:
            values = put(question, facts_of(state), self._bench, state)
        except EditError as error:
            raise self._nothing(state, error.wrong, error) from error
        except Unanswered as error:
            raise self._nothing(state, error.trouble, error) from error
        after = {**now, **values.constants}
        return Proposal(
            source=self.source,
            title=title(space, now, after),
            why=_why(values),
            constants=after,
            calls=self._bench.line.drain(),
        )

    def tell(self, trial: Trial) -> None:
        """Nothing to remember: the next prompt is made from the state."""

    def rehearse(self, state: State) -> None:
        """Render the prompt that `ask` would begin with.

        Raises:
            PromptTooLong: it does not fit the model's context.
        """
        space, now = self._in_code.space(state.best), self._in_code.values(state.best)
        self._question(state, space, now, []).render(facts_of(state))

    def _question(self, state: State, space: Space, now: Configuration, tried: list[Configuration]) -> Question[Values]:
        """Values for `space`, other than those `tried`; those not named stay as they are `now`."""
        bench, code = self._bench, self._bench.code_of(state.best)
        files = {path: code[path].decode() for path in bench.target.edit}
        rules = rules_of(bench.target, code)
        tries, _ = since_keep(state, self.source)
        wide = widening(tries)

        def render(shown: ModelFacts) -> tuple[Message, ...]:
            return constants(Ask(state, bench.target, files, bench.brief, shown, rules, space, widen=wide, tries=tries))

        def untried(answer: Answer) -> Values:
            values = read_values(answer, space, files, now)
            wanted = key({**now, **values.constants})
            same = next((number for number, each in enumerate(tried) if key(each) == wanted), None)
            if same is not None:
                sentence = duplicate_sentence(state, state.trials[same])
                raise Refused(sentence, Wrong.DUPLICATE, values.title, same)
            return values

        return Question(
            purpose="propose",
            render=render,
            read=untried,
            again=lambda error: repair(error, None),
            max_tokens=_ANSWER_TOKENS,
            temperature=temperature_of(state, wide),
            schema=constants_schema(space) if facts_of(state).json_schema else None,
        )

    def _nothing(self, state: State, wrong: str, error: EditError | Unanswered) -> NoProposal:
        return NoProposal(
            source=self.source,
            wrong=wrong,
            reason=str(error),
            title=error.title if isinstance(error, Refused) else "",
            parent=state.best,
            same_as=error.same_as if isinstance(error, Refused) else None,
            calls=self._bench.line.drain(),
        )


def _check_left(space: Space, tried: list[Configuration]) -> None:
    if not space.knobs:
        raise Exhausted("the code has none of the constants any more that were to be searched")
    size = space.size()
    if size is not None and len({key(each) for each in tried if space.contains(each)}) >= size:
        raise Exhausted(f"all {size} configurations of the space have been tried")


def _why(values: Values) -> str:
    """The model's reason in one line, and what became of values outside the space."""
    said = ": ".join(part for part in (values.title, values.why) if part)
    line = one_line(said)[:_WHY_CHARS]
    counts = (
        (values.clamped, "clamped to its range", "clamped to their ranges"),
        (values.rounded, "rounded", "rounded"),
    )
    told = [f"{n} value{'s' if n > 1 else ''} {many if n > 1 else one}" for n, one, many in counts if n]
    return "; ".join(part for part in (line, *told) if part) or "the model gave no reason"

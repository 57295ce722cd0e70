"""The prompts: `propose`, `crash_repair`, `constants`, and the short `repair`. Pure: an ask becomes messages.

The system message stays the same for a session; the user message begins with what changes least (the code, what was
kept) and goes on to what changes most, so that servers reuse what they computed for the unchanged beginning. The form
of the answer comes last, where it is followed best. `agent.prompts.fit` says what is cut when it is too long.
"""

from collections.abc import Callable, Sequence

from agent.calls import Contract
from agent.edits.errors import EditError, Wrong
from agent.errors import AgentError
from agent.models.base import Message
from agent.nouns import Trial
from agent.prompts import history, situation, values
from agent.prompts.ask import Ask
from agent.prompts.clean import fenced, line, quoted, said
from agent.prompts.figures import failure, figures_of
from agent.prompts.fit import GivesWay, Section, Version, context_for, fit, fixed, room, roomy, tokens
from agent.prompts.form import form, form_of_values
from agent.prompts.task import task
from agent.prompts.texts import part
from agent.prompts.values import constants_schema
from agent.units import show_size

__all__ = ["PromptTooLong", "constants", "constants_schema", "crash_repair", "propose", "repair"]

_OTHER = frozenset({Wrong.NOOP, Wrong.DUPLICATE, Wrong.SEED})  # correcting the same idea would not help
_NO_FORM = frozenset({Wrong.EMPTY, Wrong.NO_EDIT, Wrong.MARKERS})
_FORMS = {
    Contract.BLOCKS: "form_blocks",
    Contract.FEW_BLOCKS: "form_blocks",
    Contract.FILE: "form_file",
    Contract.SET: "form_set",
    None: "form_json",
}


class PromptTooLong(AgentError):
    """The prompt does not fit the model's context, even at its shortest. The message has the numbers and the fix."""


def propose(ask: Ask) -> tuple[Message, ...]:
    """Messages (system, user) that ask for an edit, in the form of `ask.facts.contract`.

    Raises:
        PromptTooLong: it does not fit.
    """
    past = history.past_of(ask)

    def sections(shown: bool) -> list[Section]:
        return [
            *task(ask, "code"),
            situation.code(ask, past.figures, shown=shown),
            *_settable(ask),
            history.kept(past),
            situation.noise(ask, past.figures),
            situation.curve(ask),
            history.ledger(past),
            history.diffs(past),
            history.refused(ask),
            situation.owner(ask),
            situation.now(ask),
            situation.widen(ask, past.lost, kinds=ask.facts.contract is not Contract.SET),
            fixed("user", form(ask, shown=shown)),
        ]

    return _messages(ask, *_layouts(ask, sections))


def crash_repair(ask: Ask, trial: Trial) -> tuple[Message, ...]:
    """Messages that ask to mend `trial`, which died early; `ask.files` are its code. The form is that of `propose`.

    Raises:
        PromptTooLong: it does not fit.
    """
    figures = figures_of(ask.state, ask.target.metric)

    def sections(shown: bool) -> list[Section]:
        return [
            *task(ask, "code"),
            situation.code(ask, figures, crashed=trial, shown=shown),
            *_settable(ask),
            _happened(trial),
            _output(trial),
            situation.owner(ask),
            fixed("user", form(ask, crashed=True, shown=shown)),
        ]

    return _messages(ask, *_layouts(ask, sections))


def constants(ask: Ask) -> tuple[Message, ...]:
    """Messages that ask for values of the constants of `ask.space`, as JSON that `constants_schema` describes.

    Raises:
        PromptTooLong: it does not fit.
    """
    past, present = history.past_of(ask), values.present(ask)
    return _messages(
        ask,
        [
            *task(ask, "constants"),
            values.listed(ask, "constants", present),
            values.incumbent(ask, past.figures, present),
            situation.noise(ask, past.figures),
            situation.curve(ask),
            values.measured(ask, past),
            history.refused(ask),
            situation.owner(ask),
            situation.now(ask),
            situation.widen(ask, past.lost, kinds=False),
            fixed("user", form_of_values(ask)),
        ],
    )


def repair(error: EditError, contract: Contract | None) -> Message:
    """The user's message of the one repair round: why the answer cannot be used, and what to send instead.

    It stands after the model's own answer. `contract` is None where values of constants were asked for as JSON.
    """
    sentence = said(str(error), 3000)
    opening = "values" if contract is None else "no_answer" if error.wrong is Wrong.EMPTY else "refused"
    return Message("user", f"{part('repair', opening, sentence=sentence)}\n\n{_again(error.wrong, contract)}")


def _again(wrong: Wrong, contract: Contract | None) -> str:
    if wrong is Wrong.TRUNCATED:
        which = {Contract.FILE: "shorter_file", None: "shorter_json"}.get(contract, "shorter")
        return part("repair", which)
    if wrong in _NO_FORM:
        return part("repair", _FORMS[contract], bar="```")
    return part("repair", "other" if wrong in _OTHER else "again")


def _happened(trial: Trial) -> Section:
    proposal = trial.proposal
    parent = "the script as it was brought" if trial.parent is None else f"trial {trial.parent}"
    told = [part("crash", "happened", trial=trial.id, parent=parent, title=line(proposal.title))]
    if proposal.why:
        told.append(part("crash", "why", why=line(proposal.why, 300)))
    told.append(part("crash", "failed", failure=failure(trial)))
    died = next((m for m in trial.measurements if m.loss is None), None)
    if died is not None and died.peak_memory_bytes and died.memory_limit_bytes:
        peak, limit = show_size(died.peak_memory_bytes), show_size(died.memory_limit_bytes)
        told.append(part("crash", "memory", peak=peak, limit=limit))
    told.append(part("crash", "diff", diff=fenced(quoted(trial.diff, 120, 8000), "diff")))
    return fixed("user", "\n".join(told))


def _output(trial: Trial) -> Section:
    died = next((m for m in trial.measurements if m.tail), None)
    if died is None:
        return fixed("user", "")
    full, short = (
        part("crash", "output", log=fenced(quoted(died.tail, lines, chars, keep="tail"), "text"))
        for lines, chars in ((40, 4000), (12, 1200))
    )
    shorter = [] if short == full else [Version(short, "earlier lines of its output", GivesWay.TAIL_SHORT)]
    return Section("user", Version(full), lambda: shorter)


def _settable(ask: Ask) -> list[Section]:
    few = ask.facts.contract is Contract.SET
    return [values.listed(ask, "settable", values.present(ask))] if few else []


def _layouts(ask: Ask, sections: Callable[[bool], list[Section]]) -> list[list[Section]]:
    """`sections` with the code and, if the answer can do without having seen it, without."""
    return [sections(shown) for shown in ((True, False) if ask.facts.contract is Contract.SET else (True,))]


def _messages(ask: Ask, *layouts: Sequence[Section]) -> tuple[Message, ...]:
    """The first of `layouts` that leaves room for one more round; the last one if none does."""
    facts = ask.facts
    code = sum(tokens(text, facts.chars_per_token) for text in ask.files.values())
    most = roomy(facts, code)
    for sections in layouts:
        fitted = fit(sections, most, facts.chars_per_token)
        if fitted.tokens <= most:
            break
    if fitted.tokens > room(facts):
        raise PromptTooLong(_too_long(ask, fitted.tokens, code))
    told = list(zip(sections, fitted.texts, strict=True))
    return tuple(
        Message(role, "\n\n".join(text for section, text in told if section.role == role and text))
        for role in ("system", "user")
    )


def _too_long(ask: Ask, shortest: int, code: int) -> str:
    facts = ask.facts
    alone = f" ({', '.join(ask.files)} alone {code:,})" if code < shortest else ""  # it may be without the code
    return (
        f"the shortest prompt takes about {shortest:,} tokens{alone}, and "
        f"{facts.label} has room for {room(facts):,} (context {facts.context_tokens:,}, answer "
        f"{facts.max_output_tokens:,}): serve it with a context of {context_for(shortest, facts):,} tokens or more, "
        f"or take another model"
    )

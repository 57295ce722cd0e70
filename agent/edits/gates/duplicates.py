"""Whether the same code was tried before, and how to say so."""

from agent.nouns import Decision, Trial
from agent.state import State
from sandbox.spec import Outcome

_TOLD_NOTHING = (Outcome.BAD_PATCH, Outcome.DUPLICATE, Outcome.LOST)  # outcomes after which the code is still untried
_FATES = {Decision.KEEP: "kept", Decision.DISCARD: "discarded", Decision.QUARANTINE: "set aside as too good to be true"}


def same_as(state: State, shape: str) -> Trial | None:
    """The first trial whose code does the same, by its shape, and that was or will be trained; None for none."""
    if not shape:
        return None
    return next((t for t in state.trials if t.shape_sha256 == shape and t.outcome not in _TOLD_NOTHING), None)


def duplicate_sentence(state: State, trial: Trial) -> str:
    """What became of `trial`, for whoever proposed its code again."""
    name = "the baseline, trial 0" if trial.id == 0 else f"trial {trial.id}"
    return f"this is the same code as {name}{_fate(state, trial)}: change something else"


def _fate(state: State, trial: Trial) -> str:
    if trial.verdict is None:
        return ", which is still open"
    number = "" if trial.loss is None else f" ({state.metric.name} {state.metric.shown(trial.loss):.6g})"
    if trial.id == 0:
        return number
    return f"{number}, {_FATES.get(trial.verdict.decision, 'tried')} because: {trial.verdict.reason.rstrip('.')}"

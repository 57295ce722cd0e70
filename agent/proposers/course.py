"""What the next ask of a model is to be, by the state of the run alone: so a resumed run asks what it would have asked.

Three things change with how it goes. A change that died within its first steps goes back once, to be mended. A model
that answers in the wrong form again and again is asked for a simpler form. A search that keeps nothing is widened.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.calls import Contract, ModelFacts
from agent.edits.errors import Wrong
from agent.history.events import Voided
from agent.nouns import Trial
from agent.proposers.base import rng
from agent.state import State
from agent.target import TargetLimits
from sandbox.spec import Outcome, Phase

_LADDER = (Contract.BLOCKS, Contract.FEW_BLOCKS, Contract.SET)
_DOWN_AFTER, _UP_AFTER = 3, 10  # unusable answers in a row, and trials in a row without one
_WIDEN_AFTER = (6, 12)  # tries since something was kept
_RESTART_EVERY = 3  # asks
_FIRST_STEPS = 0.1  # of a training
_SAME_AGAIN = (Wrong.DUPLICATE, Wrong.NOOP, Wrong.SEED)  # the form was right, the idea was not new


@dataclass(frozen=True)
class Course:
    """What to ask for.

    Attributes:
        mend: the trial whose crash is to be repaired; None for a new idea.
        parent: the kept trial to start from; None for the champion.
        widen: how strongly to ask for a different kind of change: 0 to 2.
        tries: trials since something was kept, repetitions of earlier ones included.
    """

    mend: Trial | None = None
    parent: int | None = None
    widen: int = 0
    tries: int = 0


def course(state: State, limits: TargetLimits, source: str, seed: int) -> Course:
    """What `source` is to ask next."""
    mend = to_mend(state, limits, source)
    if mend is not None:
        return Course(mend=mend)
    tries, asks = since_keep(state, source)
    wide = widening(tries)
    earlier = [t.id for t in state.trials if t.kept and t.id != state.best]
    parent = None
    if wide == len(_WIDEN_AFTER) and earlier and asks % _RESTART_EVERY == 0:
        parent = int(rng(seed, len(state.trials)).choice(earlier))
    return Course(parent=parent, widen=wide, tries=tries)


def since_keep(state: State, source: str) -> tuple[int, int]:
    """Tries of `source` since something was kept, repetitions of earlier trials included; and all asks since then."""
    best = -1 if state.best is None else state.best
    trials = [t for t in state.trials[best + 1 :] if t.proposal.source == source and t.proposal.repairs is None]
    voids = [void for before, void in _own(state, source) if before > best and void.repairs is None]
    return len(trials) + sum(void.wrong in _SAME_AGAIN for void in voids), len(trials) + len(voids)


def widening(tries: int) -> int:
    """How strongly to ask for a different kind of change after so many tries: 0 to 2."""
    return sum(tries >= enough for enough in _WIDEN_AFTER)


def to_mend(state: State, limits: TargetLimits, source: str) -> Trial | None:
    """The trial closed last, if it is a change of `source` that died early and was not sent back yet."""
    last = state.closed_trials[-1] if state.closed_trials else None
    if last is None or last.proposal.source != source or last.proposal.repairs is not None:
        return None
    repaired = {t.proposal.repairs for t in state.trials} | {void.repairs for _, void in state.voids}
    return last if last.id not in repaired and died_early(last, state.baseline, limits) else None


def died_early(trial: Trial, baseline: Trial | None, limits: TargetLimits) -> bool:
    """Whether its first training crashed in the start-up, or within the first tenth of the training.

    A target without a progress pattern has its start-up in the training phase: there the baseline tells how long a
    start-up takes, as what its training took beyond the time it trains for.
    """
    first = trial.measurements[0] if trial.measurements else None
    if first is None or first.outcome is not Outcome.CRASH:
        return False
    trained = first.seconds.get(Phase.TRAIN, 0.0)
    usual = baseline.measurements[0].seconds.get(Phase.TRAIN) if baseline and baseline.measurements else None
    whole = limits.train_seconds if usual is None else usual
    startup = max(0.0, whole - limits.train_seconds)
    return trained <= startup + _FIRST_STEPS * min(whole, limits.train_seconds)


def contract(state: State, facts: ModelFacts, source: str) -> Contract:
    """The form to ask for: that of `facts`, or a simpler one after answers of this model that were no use."""
    forms = _LADDER[_LADDER.index(facts.contract) :] if facts.contract in _LADDER else (facts.contract, Contract.SET)
    return forms[_steps_down(state, facts, source, len(forms) - 1)]


def _steps_down(state: State, facts: ModelFacts, source: str, most: int) -> int:
    """One for every three unusable answers in a row, less one for every ten trials in a row after that.

    Answers to a model that was found to be another one since, or stronger or weaker than then, say nothing any more.
    """
    own = [t.id for t in state.trials if t.proposal.source == source]
    late = replace(state, voids=state.voids[state.found_after :])
    unusable = [before for before, void in _own(late, source) if _badly_formed(void, facts.label)]
    steps = streak = done = 0
    for before, counts in [*((before, True) for before in unusable), (len(state.trials), False)]:
        since = sum(number < before for number in own) - done
        if since:
            done, streak = done + since, 0
            steps = max(0, steps - since // _UP_AFTER)
        streak += counts
        if streak == _DOWN_AFTER:
            steps, streak = min(steps + 1, most), 0
    return steps


def _badly_formed(void: Voided, label: str) -> bool:
    asked = bool(void.calls) and void.calls[-1].model == label
    return asked and void.wrong in set(Wrong) and void.wrong not in _SAME_AGAIN


def _own(state: State, source: str) -> Sequence[tuple[int, Voided]]:
    return [(before, void) for before, void in state.voids if void.source == source and void.wrong in set(Wrong)]

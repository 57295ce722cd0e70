"""State, and the one function that makes it: `fold(state, record) -> state`.

Whatever anybody knows about a run is derived from its journal by this fold: a live run, a resumed run, a view and a
test see the same. Nothing here is mutable and nothing here reads a file.
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace

from agent.calls import Call, Contract
from agent.history.events import (
    Closed,
    Committed,
    Ended,
    Measured,
    Noted,
    Proposed,
    Record,
    Resumed,
    Said,
    Session,
    Started,
    Voided,
    Word,
)
from agent.nouns import Seconds, Trial
from agent.target import Metric
from sandbox.spec import Phase


@dataclass(frozen=True)
class State:
    """A run as its journal tells it.

    Attributes:
        started: the first event; None before it.
        session: the session that runs, or ran last.
        trials: all trials; `trials[i].id == i`.
        best: id of the champion, the last kept trial; None before the baseline is kept.
        elapsed: budget seconds used up to the last event.
        session_after: how many trials and voids there were before the session.
        found_after: how many voids there were before the first of the sessions in a row, up to this one, that found
            the same form of answers for the same model.
        ended: how the last session ended; None while one runs, or after a crash.
        notes: what else was noted.
        voids: proposals of models that came to nothing, each with the number of trials there were before it.
        said: what the user said to the run, each with the number of trials there were before it.
        at: wall-clock time of the last event.
        seq: number of the last event; -1 before the first.
    """

    started: Started | None = None
    session: Session | None = None
    trials: tuple[Trial, ...] = ()
    best: int | None = None
    elapsed: float = 0.0
    session_after: tuple[int, int] = (0, 0)
    found_after: int = 0
    ended: Ended | None = None
    notes: tuple[str, ...] = ()
    voids: tuple[tuple[int, Voided], ...] = ()
    said: tuple[tuple[int, Said], ...] = ()
    at: str = ""
    seq: int = -1

    @property
    def metric(self) -> Metric:
        """What is measured. Only once the run has started."""
        if self.started is None:
            raise ValueError("the run has not started: it has no metric yet")
        return self.started.target.metric

    @property
    def baseline(self) -> Trial | None:
        """Trial 0, once it is closed."""
        return self.trials[0] if self.trials and self.trials[0].verdict else None

    @property
    def champion(self) -> Trial | None:
        """The last kept trial."""
        return None if self.best is None else self.trials[self.best]

    @property
    def open_trials(self) -> tuple[Trial, ...]:
        """Trials without a verdict, oldest first."""
        return tuple(t for t in self.trials if t.verdict is None)

    @property
    def closed_trials(self) -> tuple[Trial, ...]:
        """Trials with a verdict, in the order in which they got it."""
        return tuple(sorted((t for t in self.trials if t.verdict), key=lambda t: t.closed_seq or 0))

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls of language models, in order."""
        found = [c for t in self.trials for c in t.proposal.calls]
        return tuple(sorted([*found, *(c for _, v in self.voids for c in v.calls)], key=lambda call: call.number))

    @property
    def paused(self) -> bool:
        """Whether the user's last word on it was to pause."""
        words = [said.word for _, said in self.said if said.word in (Word.PAUSE, Word.GO_ON)]
        return bool(words) and words[-1] is Word.PAUSE

    @property
    def noise(self) -> float | None:
        """Standard deviation of the baseline's repeated losses; None with fewer than two."""
        losses = self.trials[0].losses if self.trials else ()
        return statistics.stdev(losses) if len(losses) > 1 else None


def fold(state: State, record: Record) -> State:
    """The state after one more event."""
    event = record.event
    state = replace(state, elapsed=record.elapsed, at=record.at, seq=record.seq)
    match event:
        case Started():
            return replace(state, started=event, session=event.session)
        case Resumed():
            after = (len(state.trials), len(state.voids))
            found = state.found_after if _form(event.session) == _form(state.session) else len(state.voids)
            return replace(state, session=event.session, session_after=after, found_after=found, ended=None)
        case Noted():
            return replace(state, notes=(*state.notes, event.text))
        case Ended():
            return replace(state, ended=event)
        case Voided():
            return replace(state, voids=(*state.voids, (len(state.trials), event)))
        case Said():
            return replace(state, said=(*state.said, (len(state.trials), event)))
        case Proposed():
            return replace(state, trials=(*state.trials, _opened(event)))
        case _:
            return _fold_trial(state, event, record)


def _form(session: Session | None) -> tuple[str, Contract] | None:
    return (session.model.label, session.model.contract) if session and session.model else None


def _fold_trial(state: State, event: Measured | Closed | Committed, record: Record) -> State:
    match event:
        case Measured():
            measured = (*state.trials[event.trial].measurements, event.measurement)
            return _with(state, event.trial, measurements=measured)
        case Closed():
            return _close(state, event, record)
        case Committed():
            return _with(state, event.trial, commit=event.commit)


def fold_all(records: Iterable[Record]) -> State:
    """The state after all of `records`."""
    state = State()
    for record in records:
        state = fold(state, record)
    return state


def seconds_by_use(state: State) -> Seconds:
    """Where the elapsed wall-clock went. With parallel trials the parts may add up to more than the whole."""
    phases = {phase: 0.0 for phase in Phase}
    repeat = 0.0
    for trial in state.trials:
        for index, measurement in enumerate(trial.measurements):
            for phase, seconds in measurement.seconds.items():
                phases[phase] += seconds
            if index:
                repeat += measurement.total_seconds
    propose = sum(t.propose_seconds for t in state.trials) + sum(void.seconds for _, void in state.voids)
    used = propose + sum(phases.values())
    return Seconds(
        propose=propose,
        startup=phases[Phase.STARTUP] + phases[Phase.SMOKE],
        train=phases[Phase.TRAIN],
        judge=phases[Phase.JUDGE],
        repeat=repeat,
        overhead=max(0.0, state.elapsed - used),
    )


def _opened(event: Proposed) -> Trial:
    return Trial(
        id=event.trial,
        parent=event.parent,
        proposal=event.proposal,
        diff=event.diff,
        code_sha256=event.code_sha256,
        shape_sha256=event.shape_sha256,
        propose_seconds=event.propose_seconds,
        void=event.void,
    )


def _close(state: State, event: Closed, record: Record) -> State:
    state = _with(state, event.trial, verdict=event.verdict, closed_at=record.at, closed_seq=record.seq)
    return replace(state, best=event.trial) if state.trials[event.trial].kept else state


def _with(state: State, trial: int, **changes: object) -> State:
    changed = state.trials[trial].model_copy(update=changes)
    return replace(state, trials=(*state.trials[:trial], changed, *state.trials[trial + 1 :]))

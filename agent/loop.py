"""The sentence: ask, apply, run, decide, append.

The loop knows only seams: a proposer, an executor, a store. A new run, a resumed run and a test all go through `run`,
whose first act is replay. Nothing is remembered here: what happened is in the journal before the next step is taken.
"""

import threading
from dataclasses import dataclass, field
from typing import Protocol

from agent.budget import Clock, Plan, expected_seconds
from agent.code import digest
from agent.config import RunConfig
from agent.edits.apply import Patched, apply
from agent.edits.errors import EditError
from agent.errors import AgentError
from agent.executors.base import Executor
from agent.history.events import Closed, Ended, Event, Measured, Noted, Proposed, Session
from agent.history.store import Store
from agent.nouns import Decision, End, Proposal, Trial, Verdict, Void
from agent.proposers.base import Exhausted, Proposer
from agent.space import Space
from agent.state import State
from agent.target import Target
from agent.units import show_duration
from agent.verdict import decide
from agent.workshop import Job, seed_of
from sandbox.spec import Outcome, Phase, SandboxError

BASELINE = Proposal(source="baseline", title="the script as it is")

_TICK_SECONDS = 0.25
_LEAST_STARTUP = 10.0
_MOST_VOID = 50  # proposals in a row that cost no training before the search is called stuck


@dataclass
class Stop:
    """What the user asked for: `soon` after the running trial, `now` at once. Set from signal handlers."""

    soon: threading.Event = field(default_factory=threading.Event)
    now: threading.Event = field(default_factory=threading.Event)

    @property
    def asked(self) -> bool:
        """Whether the user asked for an end, either way."""
        return self.soon.is_set() or self.now.is_set()


class Voice(Protocol):
    """How a session speaks to its user."""

    def say(self, line: str) -> None:
        """One line."""

    def tell(self, state: State, event: Event) -> None:
        """An event, and the state after it."""


@dataclass(frozen=True)
class Study:
    """Everything one session of a run works with."""

    config: RunConfig
    target: Target
    space: Space
    plan: Plan
    store: Store
    proposer: Proposer
    executor: Executor
    clock: Clock
    stop: Stop
    voice: Voice


def run(study: Study) -> State:
    """Run until something ends it, and journal why.

    Raises:
        AgentError, SandboxError: the house failed; the history is whole and `agent resume` goes on.
    """
    for trial in study.store.state.closed_trials:
        study.proposer.tell(trial)
    try:
        ended = _run(study)
    except (AgentError, SandboxError) as error:
        _append(study, Ended(by=End.FAILURE, reason=str(error)))
        raise
    for trial in study.store.state.open_trials:
        _append(study, Noted(text=f"trial {trial.id} stays open: a resume runs it again"))
    return _append(study, ended)


def _run(study: Study) -> Ended:
    for trial in study.store.state.open_trials:
        _advance(study, trial)
    ended, announced = None, False
    while True:
        ended = ended or _fill(study)
        if not study.executor.busy:
            return ended or Ended(by=End.SEARCHED, reason="nothing is left to do")
        done = study.executor.next_measurement(_TICK_SECONDS)
        if done is not None and done.measurement is not None:
            state = _append(study, Measured(trial=done.job.trial, measurement=done.measurement))
            _advance(study, state.trials[done.job.trial])
        if study.stop.soon.is_set() and not announced:
            announced = True
            study.voice.say("finishing the running trial; Ctrl-C again stops at once and loses nothing")


def _append(study: Study, event: Event) -> State:
    state = study.store.append(event, study.clock.elapsed())
    study.voice.tell(state, event)
    return state


def _fill(study: Study) -> Ended | None:
    """Open trials while there is room; why to end, once there is a reason."""
    while True:
        if not study.executor.has_room:
            return None
        if (ended := why_stop(study, opening=True)) is not None:
            return ended
        if study.store.state.trials and study.store.state.baseline is None:
            return None
        try:
            _open(study)
        except Exhausted as exhausted:
            return Ended(by=End.SEARCHED, reason=str(exhausted))


def _open(study: Study) -> None:
    """Ask for a proposal, apply it, journal it, and start its training."""
    state, began = study.store.state, study.clock.elapsed()
    proposal = study.proposer.ask(state) if state.trials else BASELINE
    patched, void = _patched(study, proposal)
    event = Proposed(
        trial=len(state.trials),
        parent=state.best,
        proposal=proposal,
        diff=patched.diff,
        code_sha256=digest(patched.code),
        propose_seconds=round(study.clock.elapsed() - began, 3),
        void=void,
    )
    state = _append(study, event)
    _advance(study, state.trials[event.trial])


def _patched(study: Study, proposal: Proposal) -> tuple[Patched, Void | None]:
    """The champion's code with the proposal applied; and its outcome, if that needs no training to be known."""
    state = study.store.state
    before = study.store.code_of(state.best)
    try:
        patched = apply(proposal, before, study.space)
    except EditError as error:
        return Patched(before, ""), Void(outcome=Outcome.BAD_PATCH, reason=str(error))
    sha = digest(patched.code)
    same = next((t for t in state.trials if t.code_sha256 == sha and t.outcome is not Outcome.BAD_PATCH), None)
    if same is None:
        return patched, None
    return patched, Void(outcome=Outcome.DUPLICATE, reason=f"the same code as trial {same.id}")


def _advance(study: Study, trial: Trial) -> None:
    """The next step of an open trial: train it, train it once more, or close it."""
    state = study.store.state
    repeats = study.plan.baseline_repeats
    if trial.outcome is not None:
        verdict = decide(state, trial, study.config.keep, repeats)
        if verdict.decision is not Decision.REPEAT:
            return _close(study, trial, verdict)
    if why_stop(study, opening=False) is None:
        return _submit(study, trial)
    if trial.measurements and not study.stop.asked:  # the budget ended before all repeats: what was measured counts
        return _close(study, trial, decide(state, trial, study.config.keep, len(trial.measurements)))
    return None


def _close(study: Study, trial: Trial, verdict: Verdict) -> None:
    state = _append(study, Closed(trial=trial.id, verdict=verdict))
    study.proposer.tell(state.trials[trial.id])


def _submit(study: Study, trial: Trial) -> None:
    session = study.store.state.session
    if session is None:
        raise ValueError("the run has no session")
    repeat = len(trial.measurements)
    seed = seed_of(study.config.seed, trial.id, repeat)
    job = Job(trial.id, repeat, study.store.code(trial), seed, _startup_seconds(study.store.state))
    study.executor.submit(job, study.clock.at(session.budget_seconds))


def _startup_seconds(state: State) -> float | None:
    """How long a start-up may take, by the baseline's: what trains before it says so gains little by it."""
    took = [m.seconds.get(Phase.STARTUP, 0.0) for m in state.trials[0].measurements] if state.baseline else []
    return max(_LEAST_STARTUP, 3 * max(took)) if took else None


def why_stop(study: Study, opening: bool) -> Ended | None:
    """Why no further training may start; None if one may. `opening`: of a new trial, not an open one's."""
    state, session = study.store.state, study.store.state.session
    if session is None:
        raise ValueError("the run has no session")
    if study.stop.asked:
        return Ended(by=End.USER, reason="stopped by the user")
    left = session.budget_seconds - study.clock.elapsed()
    need = expected_seconds(state, study.target.limits)
    if left < need:
        seconds = f"{show_duration(max(0, left))} left, and a trial takes about {show_duration(need)}"
        return Ended(by=End.BUDGET, reason=f"the budget is used: {seconds}")
    return _why_enough(state, session, opening) or _why_stuck(state, study.config.proposer)


def _why_enough(state: State, session: Session, opening: bool) -> Ended | None:
    baseline, champion = state.baseline, state.champion
    if baseline is not None and not baseline.kept and baseline.verdict is not None:
        return Ended(by=End.BASELINE, reason=f"the script does not run as it is: {baseline.verdict.reason}")
    if opening and session.max_trials is not None and len(state.trials) > session.max_trials:
        return Ended(by=End.TRIALS, reason=f"{session.max_trials} trials are done")
    best = champion.loss if champion else None
    if best is not None and session.target_loss is not None and best <= session.target_loss:
        return Ended(by=End.TARGET, reason=f"trial {state.best} reached the target")
    return None


def _why_stuck(state: State, proposer: str) -> Ended | None:
    last = state.trials[-_MOST_VOID:]
    if len(last) == _MOST_VOID and all(trial.void is not None for trial in last):
        reason = f"the last {_MOST_VOID} proposals of {proposer} were duplicates or did not apply"
        return Ended(by=End.STUCK, reason=reason)
    return None

"""What ends a run: the user, the budget, the goals that were set, or a search that goes nowhere."""

from agent.budget import expected_seconds
from agent.edits.errors import Wrong
from agent.history.events import Ended, Session
from agent.nouns import End
from agent.state import State
from agent.study import Study
from agent.units import counted, show_duration

INTERRUPTED = "interrupted"  # stands for the kind of failure where a model's answer was not waited for

_MOST_VOID = 50  # proposals in a row that cost no training before the search is called stuck


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
        verb = "is" if session.max_trials == 1 else "are"
        return Ended(by=End.TRIALS, reason=f"{counted(session.max_trials, 'trial')} {verb} done")
    best = champion.loss if champion else None
    if best is not None and session.target_loss is not None and best <= session.target_loss:
        return Ended(by=End.TARGET, reason=f"trial {state.best} reached the target")
    return None


def _why_stuck(state: State, proposer: str) -> Ended | None:
    trials, voids = state.session_after  # a resume is a fresh attempt: with another model, or a word to the same
    trained = max((trial.id + 1 for trial in state.trials[trials:] if trial.void is None), default=trials)
    unusable = [void for before, void in state.voids[voids:] if before >= trained and void.wrong in set(Wrong)]
    if len(state.trials) - trained + len(unusable) >= _MOST_VOID:
        reason = f"the last {_MOST_VOID} proposals of {proposer} were duplicates, did not apply or were unusable"
        return Ended(by=End.STUCK, reason=reason)
    return None

"""The sentence: ask, apply, run, decide, append.

The loop knows only seams: a proposer, an executor, a store. A new run, a resumed run and a test all go through `run`,
whose first act is replay. Nothing is remembered here: what happened is in the journal before the next step is taken.
"""

from agent.code import Code, digest
from agent.edits.apply import Patched, apply
from agent.edits.errors import EditError
from agent.edits.gates.duplicates import same_as
from agent.edits.gates.shape import shape
from agent.ending import INTERRUPTED, why_stop
from agent.errors import AgentError
from agent.history.events import Closed, Ended, Measured, Noted, Proposed, Voided, Word
from agent.history.inbox import Inbox
from agent.models.base import Interrupted, ModelError, Trouble
from agent.nouns import Decision, End, Proposal, Trial, Verdict, Void
from agent.proposers.base import Exhausted, NoProposal, Rehearses
from agent.state import State
from agent.study import Study
from agent.verdict import decide
from agent.workshop import Job, seed_of
from sandbox.spec import Outcome, Phase, SandboxError

BASELINE = Proposal(source="baseline", title="the script as it is")

_TICK_SECONDS = 0.25
_LEAST_STARTUP = 10.0


def run(study: Study) -> State:
    """Run until something ends it, and journal why.

    Raises:
        AgentError, SandboxError: the house failed; the history is whole and `agent resume` goes on.
    """
    for trial in study.store.state.closed_trials:
        study.proposer.tell(trial)
    _listen(study, obey=False)  # a stop that was left for the session before
    try:
        if isinstance(study.proposer, Rehearses) and not study.store.state.trials:
            study.proposer.rehearse(study.store.state)
        ended = _run(study)
    except (AgentError, SandboxError) as error:
        study.append(Ended(by=End.FAILURE, reason=str(error)))
        raise
    for trial in study.store.state.open_trials:
        study.append(Noted(text=f"trial {trial.id} stays open: a resume runs it again"))
    return study.append(ended)


def _run(study: Study) -> Ended:
    for trial in study.store.state.open_trials:
        _advance(study, trial)
    ended, announced = None, False
    while True:
        _listen(study)
        ended = ended or _fill(study)
        if not study.executor.busy:
            if ended is None and study.store.state.paused:
                study.stop.soon.wait(_TICK_SECONDS)
                continue
            return ended or Ended(by=End.SEARCHED, reason="nothing is left to do")
        done = study.executor.next_measurement(_TICK_SECONDS)
        if done is not None and done.measurement is not None:
            state = study.append(Measured(trial=done.job.trial, measurement=done.measurement))
            _advance(study, state.trials[done.job.trial])
        if study.stop.soon.is_set() and not announced:
            announced = True
            study.voice.say("finishing the running trial; Ctrl-C again stops at once and loses nothing")


def _listen(study: Study, obey: bool = True) -> None:
    """Journal what the user said meanwhile, and obey it if it is to stop."""
    inbox = Inbox(study.store.paths.folder)
    heard = {said.id for _, said in study.store.state.said}
    for said in inbox.waiting():
        if said.id not in heard:
            study.append(said)
            if obey and said.word is Word.STOP:
                study.stop.soon.set()
        inbox.done(said)


def _fill(study: Study) -> Ended | None:
    """Open trials while there is room; why to end, once there is a reason."""
    while True:
        if not study.executor.has_room:
            return None
        if (ended := why_stop(study, opening=True)) is not None:
            return ended
        if study.store.state.trials and (study.store.state.baseline is None or study.store.state.paused):
            return None
        try:
            _open(study)
        except Exhausted as exhausted:
            return Ended(by=End.SEARCHED, reason=str(exhausted))
        except Interrupted:
            _listen(study)  # a word to stop ended the asking
            reason = "the budget is used: it has no room for another trial once the model has answered"
            return why_stop(study, opening=True) or Ended(by=End.BUDGET, reason=reason)
        _listen(study)


def _open(study: Study) -> None:
    """Ask for a proposal, apply it, journal it, and start its training."""
    began, parent = study.clock.elapsed(), study.store.state.best
    proposal = _asked(study, began) if study.store.state.trials else BASELINE
    if proposal is None:
        return
    parent = parent if proposal.parent is None else proposal.parent
    patched, void = _patched(study, proposal, parent)
    state = study.store.state
    event = Proposed(
        trial=len(state.trials),
        parent=parent,
        proposal=proposal.model_copy(update={"patch": "", "parent": None}),
        diff=patched.diff,
        code_sha256=digest(patched.code),
        shape_sha256=_shape(study, patched.code),
        propose_seconds=round(study.clock.elapsed() - began, 3),
        void=void,
    )
    state = study.append(event)
    _advance(study, state.trials[event.trial])


def _asked(study: Study, began: float) -> Proposal | None:
    """What the proposer proposes; None if a language model gave nothing usable, which is journalled.

    Raises:
        Exhausted, Interrupted: the search, or the asking, has ended.
        ModelError: there is no use in asking the model again.
    """
    try:
        return study.proposer.ask(study.store.state)
    except NoProposal as nothing:
        void = Voided(**vars(nothing), seconds=round(study.clock.elapsed() - began, 3))
        study.append(void)
        return None
    except (Interrupted, AgentError) as ended:
        _book(study, ended, round(study.clock.elapsed() - began, 3))
        if isinstance(ended, ModelError) and ended.trouble is Trouble.ENDED:
            raise Exhausted(str(ended)) from ended
        raise


def _book(study: Study, ended: Interrupted | AgentError, seconds: float) -> None:
    """Journal the calls of an asking that ended without a proposal; an asking without a call is nothing."""
    calls = study.line.drain() if study.line is not None else ()
    calls = tuple(call for call in calls if call.error != Trouble.ENDED)
    if calls:
        wrong = ended.trouble if isinstance(ended, ModelError) else INTERRUPTED
        reason = str(ended) or "the answer was not waited for"
        study.append(Voided(source=study.config.proposer, wrong=wrong, reason=reason, calls=calls, seconds=seconds))


def _patched(study: Study, proposal: Proposal, parent: int | None) -> tuple[Patched, Void | None]:
    """The parent's code with the proposal applied; and its outcome, if that needs no training to be known."""
    state = study.store.state
    before = study.store.code_of(parent)
    try:
        patched = apply(proposal, before, study.space)
    except EditError as error:
        return Patched(before, ""), Void(outcome=Outcome.BAD_PATCH, reason=str(error))
    same = same_as(state, _shape(study, patched.code))
    if same is None:
        return patched, None
    return patched, Void(outcome=Outcome.DUPLICATE, reason=f"the same code as trial {same.id}")


def _shape(study: Study, code: Code) -> str:
    return shape({path: code[path].decode(errors="replace") for path in study.target.edit})


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
    state = study.append(Closed(trial=trial.id, verdict=verdict))
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
    """How long a start-up may take, by the baseline's: what trains before it says so gains little by it.

    Of a target that does not tell the two apart: how long both together may take, so that one that hangs ends soon.
    """
    if state.started is None or not state.baseline:
        return None
    phases = (Phase.STARTUP, Phase.SMOKE) if state.started.target.progress else (Phase.TRAIN,)
    trained = state.trials[0].measurements
    took = [sum(m.seconds.get(phase, 0.0) for phase in phases) for m in trained]
    return max(_LEAST_STARTUP, 3 * max(took)) if took else None

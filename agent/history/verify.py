"""Hold a run's journal and its git repository against each other, and say everything that does not agree."""

from collections.abc import Iterator

from agent.code import Code, digest, fingerprints, patch
from agent.errors import AgentError
from agent.history.call_store import CallStore
from agent.history.fast_import import BEST, HISTORY, JOURNAL
from agent.history.ledger import Ledger, trial_ref
from agent.history.message import commit_message, result_of
from agent.nouns import Trial
from agent.state import State


def problems(state: State, journal: bytes, ledger: Ledger) -> Iterator[str]:
    """Every disagreement, one sentence each; none for a sound run. `state` is the fold of `journal`.

    The journal's own chain of hashes is checked where it is read. A loss without an ok outcome cannot be read at all.
    """
    if state.started is None:
        yield "the run never began"
        return
    if broken := ledger.check_objects():
        yield broken
    refs = ledger.trial_refs()
    if fingerprints(ledger.code(state.started.root)) != state.started.files:
        yield "the snapshot of the target is not the one that the journal names"
    closed = state.closed_trials
    yield from (
        f"{trial_ref(i)} is in git, but the journal has no such closed trial"
        for i in set(refs) - {t.id for t in closed}
    )
    for trial in closed:
        yield from _trial_problems(state, trial, refs.get(trial.id), ledger)
    champion = state.champion
    expected = champion.commit if champion else state.started.root
    if ledger.resolve(BEST) != expected:
        yield "branch best is not at the champion"
    if champion is not None and not journal.startswith(ledger.file(JOURNAL, HISTORY)):
        yield f"the journal's copy in {JOURNAL} is not how the journal begins"


def _trial_problems(state: State, trial: Trial, ref: str | None, ledger: Ledger) -> Iterator[str]:
    name = f"trial {trial.id}"
    if trial.commit is None:
        yield f"{name} is closed but not committed: `agent resume` makes up for it"
        return
    if ref != trial.commit:
        at = f"{trial_ref(trial.id)} {trial.commit}"
        yield f"{name}: its ref is not where the journal says: see `git update-ref {at}`"
        return
    parent = _parent_commit(state, trial)
    message, parents, result = ledger.describe(ref)
    code = ledger.code(ref)
    agreements = {
        "its commit has another parent than the journal says": parents == (parent,),
        "its commit message does not say what the journal says": message == commit_message(state, trial),
        "result.json does not say what the journal says": result == result_of(state, trial),
        "the code in git is not the code that was proposed": digest(code) == trial.code_sha256,
        "the code that ran is not the code that was proposed": all(
            m.code_sha256 == trial.code_sha256 for m in trial.measurements
        ),
        "its diff does not lead from its parent's code to its own": _leads(ledger, parent, trial.diff, code),
    }
    yield from (f"{name}: {wrong}" for wrong, agrees in agreements.items() if not agrees)


def _parent_commit(state: State, trial: Trial) -> str | None:
    if trial.parent is None:
        return state.started.root if state.started else None
    return state.trials[trial.parent].commit


def _leads(ledger: Ledger, parent: str | None, diff: str, code: Code) -> bool:
    try:
        return parent is not None and patch(ledger.code(parent), diff) == code
    except ValueError:
        return False


def verify(state: State, journal: bytes, ledger: Ledger, calls: CallStore) -> list[str]:
    """`problems` as a list, those of the stored calls included; a git that cannot answer is a problem too."""
    found: list[str] = []
    try:
        found.extend(problems(state, journal, ledger))
        found.extend(calls.problems(state.calls))
    except AgentError as error:
        found.append(str(error))
    return found

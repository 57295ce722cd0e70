"""A run's folder: the journal, the ledger derived from it, the lock, and the heartbeat.

`Store` is the one writer of a run. Every event goes to the journal first; a closed trial is then committed, and a
commit that a crash swallowed is made up for when the store is opened again.
"""

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from agent.code import digest, patch
from agent.errors import AgentError, UsageError
from agent.history.events import Closed, Committed, Event, Noted
from agent.history.fast_import import BEST, Entry
from agent.history.heartbeat import last_beat
from agent.history.journal import Journal
from agent.history.ledger import Ledger, trial_ref
from agent.history.message import commit_message, result_of
from agent.nouns import Trial
from agent.state import State, fold, fold_all
from sandbox.removing import remove

_OWN_EDITS = "your own edits in the run's folder were left as they are; `git diff best` there shows them"


@dataclass(frozen=True)
class Paths:
    """Where things are in a run's folder."""

    folder: Path

    @property
    def journal(self) -> Path:
        """The append-only record."""
        return self.folder / "journal.jsonl"

    @property
    def heartbeat(self) -> Path:
        """Budget seconds used, rewritten about once a second, so that a kill refunds nothing."""
        return self.folder / "heartbeat"

    @property
    def lock(self) -> Path:
        """Held by the process that writes; contains its pid."""
        return self.folder / "lock"

    def logs(self, trial: int) -> Path:
        """Output of a trial's programs."""
        return self.folder / "logs" / f"{trial:04d}"

    def work(self, trial: int, repeat: int) -> Path:
        """Work folder of one training of a trial; removed when it has been measured."""
        return self.folder / "work" / f"{trial:04d}-{repeat}"


class Store:
    """The open history of a run. A context manager: the lock is held until it is left."""

    def __init__(self, folder: Path) -> None:
        """Open a run's folder for writing.

        Raises:
            UsageError: another process works on this run.
            AgentError: the journal is damaged, or git failed.
        """
        self.paths = Paths(folder.resolve())  # jails and git need whole paths
        self._lock = _locked(self.paths.lock)
        try:
            self._journal = Journal(self.paths.journal)
            self.state = fold_all(self._journal.records)
            remove(self.paths.folder / "work")  # of a session that was killed
            self.ledger = Ledger(folder)
            self.ledger.break_locks()
        except BaseException:
            os.close(self._lock)
            raise

    def append(self, event: Event, elapsed: float) -> State:
        """Journal one event, and commit the trial if it closes one. Returns the state after it."""
        self.state = fold(self.state, self._journal.append(event, elapsed))
        if isinstance(event, Closed):
            return self._commit(self.state.trials[event.trial], elapsed)
        return self.state

    def heal(self, elapsed: float) -> State:
        """After opening: note a torn line, and make up for commits and refs that a crash swallowed."""
        if self._journal.torn:
            self.append(Noted(text=f"dropped a torn last line of {self._journal.torn} bytes"), elapsed)
            self._journal.torn = 0
        refs = self.ledger.trial_refs()
        for trial in self.state.closed_trials:
            if trial.commit is None:
                self._commit(trial, elapsed)
            elif refs.get(trial.id) != trial.commit:
                self._recommit(trial)
        champion = self.state.champion
        if champion is not None and self.ledger.resolve(BEST) != champion.commit:
            self._recommit(champion)
        if self.state.started and not self.ledger.show_best():
            self.append(Noted(text=_OWN_EDITS), elapsed)
        return self.state

    def _recommit(self, trial: Trial) -> None:
        made = self.ledger.commit(self._entry(trial))
        if made != trial.commit:
            raise AgentError(f"trial {trial.id} cannot be committed as it was: `agent verify {self.paths.folder}`")

    def code_of(self, trial: int | None) -> dict[str, bytes]:
        """Code of a committed trial; of the snapshot for None."""
        started = self.state.started
        root = started.root if started else None
        commit = root if trial is None else self.state.trials[trial].commit
        if commit is None:
            raise ValueError(f"trial {trial} has no commit")
        return self.ledger.code(commit)

    def code(self, trial: Trial) -> dict[str, bytes]:
        """Code of any trial, made again from its parent's and its diff.

        Raises:
            AgentError: the result is not what the journal says it was.
        """
        made = patch(self.code_of(trial.parent), trial.diff)
        if digest(made) != trial.code_sha256:
            raise AgentError(f"the code of trial {trial.id} cannot be made again: `agent verify {self.paths.folder}`")
        return made

    def lost_seconds(self) -> float:
        """Budget seconds that a killed session used after its last event, as its heartbeat tells."""
        return max(0.0, (last_beat(self.paths.heartbeat) or 0.0) - self.state.elapsed)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self._journal.close()
        self.ledger.close()
        os.close(self._lock)

    def _commit(self, trial: Trial, elapsed: float) -> State:
        commit = self.ledger.commit(self._entry(trial))
        self.state = fold(self.state, self._journal.append(Committed(trial=trial.id, commit=commit), elapsed))
        if trial.kept and not self.ledger.show_best():
            return self.append(Noted(text=_OWN_EDITS), elapsed)
        return self.state

    def _entry(self, trial: Trial) -> Entry:
        if self.state.started is None or trial.closed_at is None or trial.closed_seq is None:
            raise ValueError(f"trial {trial.id} is not closed")
        parent = self.state.started.root if trial.parent is None else self.state.trials[trial.parent].commit
        return Entry(
            ref=trial_ref(trial.id),
            parent=parent,
            message=commit_message(self.state, trial),
            at=trial.closed_at,
            code=self.code(trial),
            result=result_of(self.state, trial),
            journal=self._journal.through(trial.closed_seq) if trial.kept else None,
        )


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for patience in (0.1, 0.2, 0.4, 0.0):  # `agent status` holds it for a moment, to see whether anybody does
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(patience)
    else:
        pid = os.pread(lock, 20, 0).decode(errors="replace").strip()
        os.close(lock)
        raise UsageError(f"process {pid or '?'} is working on {path.parent}: wait for it, or stop it first")
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock

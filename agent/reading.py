"""Find runs and read them, without writing anything: what all reading commands begin with."""

import fcntl
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.history.call_store import CallStore
from agent.history.journal import read
from agent.history.store import Paths
from agent.nouns import Trial
from agent.state import State, fold_all


@dataclass(frozen=True)
class Run:
    """A run as it is on disk. `live` is whether a process is working on it."""

    folder: Path
    state: State
    live: bool


def find_run(name: str | None, runs_dir: Path) -> Path:
    """The folder of a run: by path, by name below `runs_dir`, or the latest one for None.

    Raises:
        UsageError: there is none.
    """
    if name is None:
        runs = run_folders(runs_dir)
        if not runs:
            raise UsageError(f"there is no run in {runs_dir}: `agent run --budget 10m` starts one")
        return runs[-1]
    for folder in (runs_dir / name, Path(name)):
        if Paths(folder).journal.is_file():
            return folder
    known = ", ".join(folder.name for folder in run_folders(runs_dir)) or "none"
    raise UsageError(f"there is no run {name!r}; in {runs_dir} there are: {known}")


def run_folders(runs_dir: Path) -> list[Path]:
    """Folders of all runs that began, the latest last."""
    journals = [path for path in runs_dir.glob("*/journal.jsonl") if path.stat().st_size]
    return [journal.parent for journal in sorted(journals, key=lambda path: path.stat().st_mtime)]


def open_run(folder: Path) -> Run:
    """Read a run.

    Raises:
        AgentError: its journal is damaged.
        UsageError: it never began.
    """
    state = fold_all(read(Paths(folder).journal).records)
    if state.started is None:
        raise UsageError(f"{folder} never began: there is nothing to see")
    return Run(folder, state, _is_locked(Paths(folder).lock))


def find_trial(run: Run, trial: int) -> Trial:
    """A trial by its id.

    Raises:
        UsageError: the run has no such trial.
    """
    if not 0 <= trial < len(run.state.trials):
        raise UsageError(f"{run.folder.name} has no trial {trial}: it has 0 to {len(run.state.trials) - 1}")
    return run.state.trials[trial]


def conversations(run: Run, trial: Trial) -> list[dict[str, Any]]:
    """What language models were asked for a trial and what they answered, as it was stored.

    Raises:
        UsageError: no model was asked for it, or what it was asked is not there any more.
    """
    if not trial.proposal.calls:
        raise UsageError(f"no model was asked for trial {trial.id}: it comes from {trial.proposal.source}")
    store = CallStore(run.folder)
    try:
        return [store.read(call.number) for call in trial.proposal.calls]
    except (OSError, ValueError) as error:
        raise UsageError(f"the calls of trial {trial.id} cannot be read in {run.folder / 'calls'}: {error}") from error


def free_name(runs_dir: Path, target: str) -> str:
    """`train_target-nov21`, with a number behind it if that is taken."""
    base = re.sub(r"[^\w.+-]+", "-", f"{target[:80]}-{datetime.now():%b%d}".lower()).lstrip(".+-")
    count = 1
    name = base
    while (runs_dir / name).exists():
        count += 1
        name = f"{base}-{count}"
    return name


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False

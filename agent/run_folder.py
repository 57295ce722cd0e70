"""A run's folder at its beginning: making it, and run.toml for people."""

from pathlib import Path

import tomli_w

from agent.config import RunConfig
from agent.errors import UsageError
from agent.history.journal import read
from agent.history.store import Paths
from agent.target import Target


def make_folder(run_folder: Path) -> None:
    """Make the folder, or take over that of a run that never began: git or the data failed then, or it was killed."""
    check_free(run_folder)
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {run_folder}: {error.strerror}; choose another --runs-dir") from error


def check_free(run_folder: Path) -> None:
    """Raises UsageError: there is a run of that name, or something else."""
    journal = Paths(run_folder).journal
    never_began = journal.is_file() and not read(journal).records
    if run_folder.exists() and not never_began:
        raise UsageError(
            f"the run {run_folder.name} exists: `agent resume {run_folder.name}` goes on with it, "
            "or choose another --name"
        )


def readable(name: str, folder: Path, config: RunConfig, target: Target) -> str:
    """run.toml: the settings for people; the journal is what counts."""
    table = {
        "name": name,
        "folder": str(folder.resolve()),
        "settings": config.model_dump(mode="json", exclude_none=True),
        "target": target.model_dump(mode="json", exclude_none=True),
    }
    return "# for reading only: the journal holds what counts\n" + tomli_w.dumps(table)

"""Commands that look at runs: status, log, show, diff, best, verify. None of them changes a run."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from agent.commands.options import as_json, run_argument, runs_dir


@click.command()
@run_argument
@as_json
@runs_dir
def status(run: str | None, as_json: bool, runs_dir: Path) -> None:
    """Where a run stands; all runs if none is named."""
    from agent.errors import AgentError
    from agent.reading import find_run, open_run, run_folders
    from agent.ui.tables import runs_table, status_lines, status_record

    if run is not None:
        found = open_run(find_run(run, runs_dir))
        if not _say(status_record(found), as_json):
            click.echo("\n".join(status_lines(found)))
        return
    runs, unreadable = [], []
    for folder in run_folders(runs_dir):
        try:
            runs.append(open_run(folder))
        except AgentError as error:
            unreadable.append(str(error))
    if not _say([status_record(found) for found in runs], as_json):
        click.echo(runs_table(runs) if runs else f"there is no run in {runs_dir}: `agent run --budget 10m` starts one")
    if unreadable:
        raise AgentError("; ".join(unreadable))


@click.command()
@run_argument
@click.option("--kept", is_flag=True, help="Only what was kept.")
@as_json
@runs_dir
def log(run: str | None, kept: bool, as_json: bool, runs_dir: Path) -> None:
    """All trials of a run, oldest first."""
    from agent.reading import find_run, open_run
    from agent.ui.tables import trial_record, trials_table

    found = open_run(find_run(run, runs_dir))
    trials = [trial for trial in found.state.trials if trial.kept or not kept]
    if not _say([trial_record(found.state, trial) for trial in trials], as_json):
        click.echo(trials_table(found.state, trials))


@click.command()
@click.argument("run")
@click.argument("trial", type=int)
@click.option("--prompt", is_flag=True, help="What the language model was asked for it, and what it answered.")
@as_json
@runs_dir
def show(run: str, trial: int, prompt: bool, as_json: bool, runs_dir: Path) -> None:
    """One trial: what was changed, why, and what came of it."""
    from agent.reading import conversations, find_run, find_trial, open_run
    from agent.ui.call_lines import conversation_lines
    from agent.ui.tables import trial_lines, trial_record
    from agent.ui.visible import visible

    found = open_run(find_run(run, runs_dir))
    chosen = find_trial(found, trial)
    if prompt:
        calls = conversations(found, chosen)
        if not _say(calls, as_json):
            click.echo(visible("\n".join(line for call in calls for line in conversation_lines(call))))
        return
    if not _say(trial_record(found.state, chosen), as_json):
        click.echo(visible("\n".join(trial_lines(found, chosen))))


@click.command()
@click.argument("run")
@click.argument("trial", type=int)
@click.argument("other", type=int, required=False)
@as_json
@runs_dir
def diff(run: str, trial: int, other: int | None, as_json: bool, runs_dir: Path) -> None:
    """What trial TRIAL changed against its parent, or how trial OTHER differs from it."""
    from agent.code import diff as diff_of
    from agent.reading import find_run, find_trial, open_run

    found = open_run(find_run(run, runs_dir))
    first = find_trial(found, trial)
    text = first.diff if other is None else diff_of(_code(found, first), _code(found, find_trial(found, other)))
    if not _say({"trial": trial, "other": other, "diff": text}, as_json):
        _print_exactly(text)


@click.command()
@run_argument
@click.option("--patch", "as_patch", is_flag=True, help="Print a patch for your own files: `... | patch -p1`.")
@click.option("--into", type=click.Path(path_type=Path), help="Write the improved files into this folder.")
@as_json
@runs_dir
def best(run: str | None, as_patch: bool, into: Path | None, as_json: bool, runs_dir: Path) -> None:
    """The best version so far: its numbers, its patch, or its files."""
    from agent.code import diff as diff_of
    from agent.errors import UsageError
    from agent.reading import find_run, open_run
    from agent.ui.tables import trial_lines, trial_record
    from agent.ui.visible import visible

    found = open_run(find_run(run, runs_dir))
    champion, started = found.state.champion, found.state.started
    if champion is None or started is None:
        raise UsageError(f"{found.folder.name} has no best version: its baseline gave no number")
    if champion.id == 0 and (as_patch or into is not None):
        click.echo("nothing better than your own script was found", err=True)
    if as_patch:
        before, after = _code(found, None), _code(found, champion)
        _print_exactly(diff_of(before, after))
        return
    if into is not None:
        _write(into, {path: _code(found, champion)[path] for path in started.target.edit})
        return
    if not _say(trial_record(found.state, champion), as_json):
        click.echo(visible("\n".join(trial_lines(found, champion))))


@click.command()
@run_argument
@as_json
@runs_dir
def verify(run: str | None, as_json: bool, runs_dir: Path) -> None:
    """Check every hash of a run, its journal against its git history, and the code that ran against both."""
    from agent.history.call_store import CallStore
    from agent.history.ledger import Ledger
    from agent.history.store import Paths
    from agent.history.verify import verify as find_problems
    from agent.reading import find_run, open_run

    found = open_run(find_run(run, runs_dir))
    ledger = Ledger(found.folder)
    wrong = find_problems(found.state, Paths(found.folder).journal.read_bytes(), ledger, CallStore(found.folder))
    ledger.close()
    if not _say({"run": str(found.folder), "problems": wrong}, as_json):
        for problem in wrong:
            click.echo(problem)
        closed, events = len(found.state.closed_trials), found.state.seq + 1
        click.echo(
            f"{found.folder}: {len(wrong)} problems"
            if wrong
            else f"{found.folder}: {events} events and {closed} trials: journal, git and the code that ran agree"
        )
    if wrong:
        sys.exit(1)


def _say(record: Any, as_json: bool) -> bool:
    """Print `record` as JSON if that was asked for; whether it was."""
    if as_json:
        click.echo(json.dumps(record, indent=1))
    return as_json


def _print_exactly(text: str) -> None:
    """Print a diff: byte for byte into a pipe or a file (click would drop escape sequences), tamed on a terminal."""
    from agent.ui.visible import visible

    click.echo(visible(text) if sys.stdout.isatty() else text.encode(), nl=False)


def _code(found: Any, trial: Any) -> dict[str, bytes]:
    """Code of a trial of a run; of the target as it was brought for None."""
    from agent.errors import UsageError
    from agent.history.ledger import Ledger

    commit = found.state.started.root if trial is None else trial.commit
    if commit is None:
        raise UsageError(f"trial {trial.id} is still open: only its diff is known")
    ledger = Ledger(found.folder)
    try:
        return ledger.code(commit)
    finally:
        ledger.close()


def _write(folder: Path, files: dict[str, bytes]) -> None:
    from agent.errors import UsageError

    for path, content in files.items():
        place = folder / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        except OSError as error:
            raise UsageError(f"cannot write {place}: {error.strerror}; choose another folder") from error
        click.echo(f"wrote {place}")

"""Runs and trials as text for the reading commands: pure functions, drawn without a terminal in mind."""

import io
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.calls import spent
from agent.nouns import Measurement, Trial
from agent.reading import Run
from agent.state import State, seconds_by_use
from agent.ui.call_lines import call_lines, model_lines
from agent.ui.words import change, count_outcomes, fate, metric_label, peak_memory, result_lines, shown, train_seconds
from agent.units import show_duration, show_size


def draw(table: Table) -> str:
    """A table as plain text, as wide as it needs to be."""
    out = io.StringIO()
    Console(file=out, width=200, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def runs_table(runs: Sequence[Run]) -> str:
    """One line a run."""
    table = blank_table("run", "trials", "kept", "metric", "baseline", "best", "used", "now")
    for run in runs:
        state = run.state
        session = state.session
        used = f"{show_duration(state.elapsed)} of {show_duration(session.budget_seconds)}" if session else "-"
        add_row(
            table,
            run.folder.name,
            str(len(state.closed_trials)),
            str(sum(t.kept for t in state.closed_trials)),
            metric_label(state),
            shown(state, state.baseline.loss if state.baseline else None),
            shown(state, state.champion.loss if state.champion else None),
            used,
            standing(run),
        )
    return draw(table)


def standing(run: Run) -> str:
    """`running`, `ended: ...`, or that it was killed."""
    if run.live:
        return "running"
    if run.state.ended is None:
        return f"killed: `agent resume {run.folder.name}`"
    return run.state.ended.reason


def status_lines(run: Run) -> list[str]:
    """Where one run stands."""
    state = run.state
    used = seconds_by_use(state)
    budget = state.session.budget_seconds if state.session else 0.0
    lines = [f"{run.folder}: {standing(run)}"]
    lines += [line for line in result_lines(state) if not line.startswith("ended")]
    parts = {"training": used.train, "judging": used.judge, "start-up": used.startup, "proposing": used.propose}
    parts["overhead"] = used.overhead
    words = ", ".join(f"{name} {show_duration(value)}" for name, value in parts.items())
    lines.append(f"{show_duration(state.elapsed)} of {show_duration(budget)} used: {words}")
    lines += [f"trial {trial.id} is open: {trial.proposal.title}" for trial in state.open_trials]
    lines += model_lines(state)
    if state.paused:
        lines.append(f"paused: `agent note {run.folder} --go-on` goes on; the budget's clock does not stop")
    if state.session:
        lines.append(f"sandbox {state.session.jail}: {', '.join(state.session.promises)}")
    return [*lines, *(f"note: {note}" for note in state.notes)]


def status_record(run: Run) -> dict[str, Any]:
    """Where one run stands, for machines."""
    state = run.state
    sign = state.metric.sign
    baseline, champion = state.baseline, state.champion
    return {
        "run": str(run.folder),
        "standing": standing(run),
        "live": run.live,
        "metric": state.metric.name,
        "self_reported": state.metric.self_reported,
        "baseline": sign * baseline.loss if baseline and baseline.loss is not None else None,
        "noise": state.noise,
        "best": sign * champion.loss if champion and champion.loss is not None else None,
        "best_trial": state.best,
        "trials": count_outcomes(state),
        "elapsed_seconds": state.elapsed,
        "budget_seconds": state.session.budget_seconds if state.session else None,
        "seconds": seconds_by_use(state).model_dump(),
        "open_trials": [trial.id for trial in state.open_trials],
        "paused": state.paused,
        "model": state.session.model.model_dump(mode="json") if state.session and state.session.model else None,
        "calls": spent(state.calls).model_dump(),
        "voided": [void.model_dump(mode="json") for _, void in state.voids],
    }


def trials_table(state: State, trials: Sequence[Trial]) -> str:
    """One line a trial."""
    metric = metric_label(state)
    table = blank_table("trial", "parent", "source", "", metric, "change", "train", "memory", "what", metric=metric)
    for trial in trials:
        seconds = train_seconds(trial)
        add_row(
            table,
            str(trial.id),
            "-" if trial.parent is None else str(trial.parent),
            trial.proposal.source,
            fate(trial),
            shown(state, trial.loss),
            change(state, trial),
            "-" if seconds is None else f"{seconds:.0f}s",
            peak_memory(trial),
            trial.proposal.title,
        )
    return draw(table)


def trial_record(state: State, trial: Trial) -> dict[str, Any]:
    """A trial for machines: its result in the user's terms, then everything as it is journalled."""
    return {
        "metric": state.metric.name,
        "value": None if trial.loss is None else state.metric.sign * trial.loss,
        "self_reported": state.metric.self_reported,
        "outcome": trial.outcome,
        **trial.model_dump(mode="json"),
    }


def trial_lines(run: Run, trial: Trial) -> list[str]:
    """Everything about one trial."""
    state = run.state
    lines = [
        f"trial {trial.id} of {run.folder}: {trial.proposal.title}",
        f"  from      {trial.proposal.source}, on the code of trial {trial.parent}"
        if trial.parent is not None
        else f"  from      {trial.proposal.source}",
        f"  verdict   {fate(trial)}" + (f": {trial.verdict.reason}" if trial.verdict else ""),
        f"  {metric_label(state)}   {shown(state, trial.loss)} {change(state, trial)}",
        *(_measurement_line(state, index, m) for index, m in enumerate(trial.measurements)),
        f"  commit    {trial.commit or '-'}",
        f"  logs      {run.folder / 'logs' / f'{trial.id:04d}'}",
        *call_lines(run, trial),
    ]
    if trial.proposal.why:
        lines.insert(1, f"  why       {trial.proposal.why}")
    return [*lines, "", trial.diff.rstrip("\n")] if trial.diff else lines


def _measurement_line(state: State, index: int, measurement: Measurement) -> str:
    phases = ", ".join(f"{phase} {seconds:.1f}s" for phase, seconds in measurement.seconds.items())
    memory = f"{show_size(measurement.peak_memory_bytes)} of {show_size(measurement.memory_limit_bytes)}"
    if measurement.peak_gpu_bytes is not None:
        limit = measurement.gpu_limit_bytes
        memory += f", GPU {show_size(measurement.peak_gpu_bytes)}" + (f" of {show_size(limit)}" if limit else "")
    failed = str(measurement.kind or measurement.outcome)
    result = shown(state, measurement.loss) if measurement.loss is not None else failed
    numbers = "".join(f", {name} {value:,}" for name, value in measurement.numbers.items())
    seen = f"seed {measurement.seed}; {phases}; memory {memory}{numbers}; sandbox {measurement.jail}"
    return f"  training {index + 1}: {result}; {seen}"


def blank_table(*names: str, metric: str = "") -> Table:
    """A table without lines; columns of numbers stand right."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    right = {"trial", "parent", metric, "train", "memory", "change", "trials", "kept", "baseline", "best"}
    for name in names:
        table.add_column(Text(name), justify="right" if name in right else "left", no_wrap=True)
    return table


def add_row(table: Table, *cells: str) -> None:
    """A row of plain text: what scripts and models wrote is no markup."""
    table.add_row(*map(Text, cells))

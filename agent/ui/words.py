"""A run in words: pure functions from the state to lines of text, shared by all views."""

import statistics
from datetime import datetime, timedelta

from agent.history.events import Event, Noted, Said, Voided
from agent.nouns import Trial
from agent.state import State
from agent.units import counted, show_duration, show_size
from sandbox.spec import Outcome, Phase


def number(value: float) -> str:
    """A metric with the digits that matter."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.6g}"


def shown(state: State, loss: float | None) -> str:
    """A loss in the user's terms; a dash for none."""
    return "-" if loss is None else number(state.metric.sign * loss)


def metric_label(state: State) -> str:
    """The metric's name, with a mark if it is the script's own word."""
    return state.metric.name + (" (self-reported)" if state.metric.self_reported else "")


def change(state: State, trial: Trial) -> str:
    """What the metric gained or lost against the champion, with its sign; empty without a number."""
    gain = trial.verdict.gain if trial.verdict else None
    return "" if gain is None else f"{-state.metric.sign * gain:+.4f}"


def fate(trial: Trial) -> str:
    """`keep`, `discard`, or the outcome where there is no number to decide on."""
    if trial.outcome not in (None, Outcome.OK):
        return str(trial.outcome)
    return trial.verdict.decision.value if trial.verdict else "open"


def train_seconds(trial: Trial) -> float | None:
    """Mean seconds of its trainings."""
    found = [m.seconds[Phase.TRAIN] for m in trial.measurements if Phase.TRAIN in m.seconds]
    return statistics.mean(found) if found else None


def peak_memory(trial: Trial) -> str:
    """Peak memory in words: of the GPU where one was used, else of the host."""
    gpu = max((m.peak_gpu_bytes or 0 for m in trial.measurements), default=0)
    peak = gpu or max((m.peak_memory_bytes for m in trial.measurements), default=0)
    return show_size(peak) if peak else "-"


def opening(state: State, search: str, plan: str) -> list[tuple[str, str]]:
    """(label, text) lines that a session says at its start."""
    started, session = state.started, state.session
    if started is None or session is None:
        return []
    goal = "lower is better" if state.metric.sign == 1 else "higher is better"
    how = "self-reported by the script" if state.metric.self_reported else "measured by a judge outside the script"
    left = session.budget_seconds - state.elapsed
    end = datetime.now().astimezone() + timedelta(seconds=left)
    promises = ", ".join(session.promises)
    facts = session.model
    model = [("model", facts.label), *(("", note) for note in facts.notes)] if facts else []
    return [
        ("run", f"{started.name}, {started.target.name} in {started.folder}"),
        ("metric", f"{state.metric.name}, {goal}, {how}"),
        ("machine", session.hardware),
        ("sandbox", f"{session.jail} ({promises}): {session.why}"),
        *model,
        ("search", search),
        ("plan", plan),
        ("budget", f"{show_duration(left)}, until {end:%H:%M:%S}; Ctrl-C finishes cleanly, twice stops at once"),
    ]


def aside(state: State, event: Event) -> str | None:
    """The line that every view says of an event that is no trial's; None for other events."""
    match event:
        case Noted():
            return f"note: {event.text}"
        case Voided():
            what = f"{event.wrong}: {first_line(event.reason)}" + (f" ({event.title})" if event.title else "")
            return f"[{show_duration(state.elapsed):>7}] no trial  {event.source:<8} {what}"
        case Said():
            return f"you said: {event.word.replace('_', ' ')}{f': {event.text}' if event.text else ''}"
        case _:
            return None


def first_line(text: str) -> str:
    """The first line of a text that was written for a model."""
    return text.partition("\n")[0]


def trial_line(state: State, trial: Trial) -> str:
    """One plain line for a closed trial."""
    seconds = train_seconds(trial)
    parts = [
        f"[{show_duration(state.elapsed):>7}] trial {trial.id:<3} {trial.proposal.source:<8} {fate(trial):<15}",
        f"{shown(state, trial.loss):>8} {change(state, trial):>8}",
        f"{'-' if seconds is None else f'{seconds:.0f}s':>4} {peak_memory(trial):>8}",
        *(["self-reported"] if state.metric.self_reported and trial.loss is not None else []),
        trial.proposal.title,
    ]
    line = "  ".join(parts)
    failed = trial.outcome not in (None, Outcome.OK) and trial.verdict is not None
    return f"{line}\n          {trial.verdict.reason}" if failed and trial.verdict else line


def result_lines(state: State) -> list[str]:
    """How it came out: the champion against the baseline, and what was counted."""
    ended = state.ended.reason if state.ended else "it is running, or was killed"
    lines = [f"ended: {ended}"]
    baseline, champion = state.baseline, state.champion
    if baseline is not None and champion is not None:
        lines.insert(0, _headline(state, baseline, champion))
    counts = count_outcomes(state)
    if counts:
        each = ", ".join(f"{n} {name}" for name, n in counts.items())
        lines.append(f"{counted(len(state.closed_trials), 'trial')}: {each}")
    return lines


def count_outcomes(state: State) -> dict[str, int]:
    """How many closed trials met which fate, most frequent first."""
    fates = [fate(trial) for trial in state.closed_trials]
    return {name: fates.count(name) for name in sorted(set(fates), key=lambda f: (-fates.count(f), f))}


def _headline(state: State, baseline: Trial, champion: Trial) -> str:
    noise = "" if state.noise is None else f" ± {state.noise:.4f}"
    base = f"baseline {shown(state, baseline.loss)}{noise} (n={len(baseline.losses)})"
    if champion.id == baseline.id or champion.loss is None or baseline.loss is None:
        return f"{metric_label(state)}: {base}; nothing better was found"
    gain = baseline.loss - champion.loss
    sigmas = f", {gain / state.noise:.1f} sd of the baseline" if state.noise else ""
    best = f"{shown(state, champion.loss)} (trial {champion.id})"
    return f"{metric_label(state)}: {best} against {base}: gain {gain:.4f}{sigmas}"

"""What a trial's commit says: the subject, the reason, the trailers, and result.json. Pure functions of the state."""

import re
import statistics
from typing import Any

from agent.calls import spent
from agent.nouns import Trial
from agent.state import State
from sandbox.spec import Phase


def commit_message(state: State, trial: Trial) -> str:
    """Subject, body and trailers, as `git log` shows them."""
    body = [part for part in (trial.proposal.why, trial.verdict and trial.verdict.reason) if part]
    trailers = [f"{key}: {_one_line(str(value))}" for key, value in _trailers(state, trial).items()]
    return "\n\n".join([subject(state, trial), *body, "\n".join(trailers)]) + "\n"


def subject(state: State, trial: Trial) -> str:
    """`trial 42: keep 0.9912 (-0.0031) wider MLP`."""
    word = trial.verdict.decision.value if trial.verdict else "open"
    shown = [f"trial {trial.id}: {word}", *_numbers(state, trial), _one_line(trial.proposal.title)]
    return " ".join(shown)[:200]


def _numbers(state: State, trial: Trial) -> list[str]:
    if trial.loss is None:
        return [str(trial.outcome)] if trial.outcome else []
    gain = trial.verdict.gain if trial.verdict else None
    change = "" if gain is None else f" ({-state.metric.sign * gain:+.4f})"
    return [f"{state.metric.shown(trial.loss):.4f}{change}"]


def _trailers(state: State, trial: Trial) -> dict[str, Any]:
    judge = state.started.files.get(str(state.metric.judge)) if state.started else None
    train = [m.seconds[Phase.TRAIN] for m in trial.measurements if Phase.TRAIN in m.seconds]
    peak = max((m.peak_memory_bytes for m in trial.measurements), default=0)
    vram = max((m.peak_gpu_bytes for m in trial.measurements if m.peak_gpu_bytes is not None), default=0)
    kinds = [m.kind.value for m in trial.measurements if m.kind and m.kind.value != m.outcome.value]
    calls = trial.proposal.calls
    used = spent(calls)
    found = {
        "Trial": trial.id,
        "Outcome": trial.outcome,
        "Kind": kinds[-1] if kinds else None,
        re.sub("[^A-Za-z0-9]+", "-", state.metric.name).strip("-").title() or "Metric": _shown(state, trial.loss),
        "Gain": None if trial.verdict is None or trial.verdict.gain is None else f"{trial.verdict.gain:.6f}",
        "Repeats": len(trial.measurements) or None,
        "Peak-Memory-MB": round(peak / 1e6) or None,
        "Peak-Vram-MB": round(vram / 1e6) or None,
        "Train-Seconds": f"{statistics.mean(train):.1f}" if train else None,
        "Source": trial.proposal.source,
        "Model": ", ".join(dict.fromkeys(call.model for call in calls)),
        "Prompt-SHA256": calls[-1].prompt_sha256 if calls else None,
        "Tokens": f"{used.prompt_tokens} in, {used.completion_tokens} out" if calls else None,
        "Repairs": trial.proposal.repairs,
        "Judge-SHA256": judge,
        "Self-Reported": "yes" if state.metric.self_reported else None,
        "Sandbox": " ".join([m.jail for m in trial.measurements][:1]),
        "Seed": ", ".join(str(m.seed) for m in trial.measurements),
    }
    return {key: value for key, value in found.items() if value not in (None, "")}


def _shown(state: State, loss: float | None) -> str | None:
    return None if loss is None else f"{state.metric.shown(loss):.6f}"


def result_of(state: State, trial: Trial) -> dict[str, Any]:
    """result.json of a trial: what was measured, beside the code that it was measured on."""
    return {
        "trial": trial.id,
        "parent": trial.parent,
        "source": trial.proposal.source,
        "title": trial.proposal.title,
        "outcome": trial.outcome,
        "metric": state.metric.name,
        "value": None if trial.loss is None else state.metric.shown(trial.loss),
        "self_reported": state.metric.self_reported,
        "verdict": trial.verdict.model_dump(mode="json") if trial.verdict else None,
        "constants": trial.proposal.model_dump(mode="json")["constants"],
        "code_sha256": trial.code_sha256,
        "measurements": [m.model_dump(mode="json", exclude={"curve"}) for m in trial.measurements],
    }


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()

"""Losses, gains, memory and outcomes in the words of a prompt: always in the user's metric, always better or worse."""

import math
from dataclasses import dataclass

from agent.nouns import Decision, Measurement, Trial
from agent.prompts.clean import line
from agent.state import State
from agent.target import Metric
from agent.units import show_size
from sandbox.spec import Kind, Outcome

_FAILED = {
    Outcome.BAD_PATCH: "did not apply",
    Outcome.DUPLICATE: "duplicate",
    Outcome.OOM_GPU: "out of GPU memory",
    Outcome.OOM_HOST: "out of host memory",
    Outcome.TIMEOUT_STARTUP: "too slow to start",
    Outcome.TIMEOUT_TRAIN: "did not end in time",
    Outcome.STALLED: "stalled",
    Outcome.CRASH: "crashed",
    Outcome.DIVERGED: "diverged",
    Outcome.DISK_FULL: "disk full",
    Outcome.REJECTED: "rejected by the judge",
    Outcome.LOST: "lost, killed from outside",
}
_NUMBERS = {
    "requested_bytes": "requested",
    "in_use_bytes": "in use",
    "allocated_bytes": "allocated by torch",
    "free_bytes": "free",
    "limit_bytes": "limit",
}


@dataclass(frozen=True)
class Figures:
    """How numbers of one run are written.

    Attributes:
        metric: what is measured.
        noise: standard deviation of a training's loss; None if it is not known.
        decimals: digits behind the point, enough to see the noise.
    """

    metric: Metric
    noise: float | None
    decimals: int

    def value(self, loss: float) -> str:
        """The metric."""
        shown = self.metric.shown(loss)
        return f"{shown:.{self.decimals}f}" if abs(shown) < 1e4 else f"{shown:.7g}"

    def mean(self, trial: Trial) -> str:
        """The metric of a measured trial, with the number of its trainings if there were several."""
        value = "no value" if trial.loss is None else self.value(trial.loss)
        return f"{value} (mean of {len(trial.losses)} trainings)" if len(trial.losses) > 1 else value

    def amount(self, difference: float) -> str:
        """The size of a difference."""
        return f"{abs(difference):.{self.decimals}f}"

    def gain(self, gain: float, trainings: tuple[int, int]) -> str:
        """`better by 0.0031 ± 0.0004`: the interval is two standard errors, from the trainings on both sides."""
        if self.noise is None:
            return self.difference(gain)
        error = self.noise * math.sqrt(sum(1 / max(1, n) for n in trainings))
        return f"{self.difference(gain)} ± {self.amount(2 * error)}"

    def difference(self, gain: float) -> str:
        """`better by 0.0031` or `worse by 0.0031`; `the same` where the digits show no difference."""
        if not float(self.amount(gain)):
            return "the same"
        return f"{'better' if gain > 0 else 'worse'} by {self.amount(gain)}"


def figures_of(state: State, metric: Metric) -> Figures:
    """How this run's numbers are written: four decimals, or as many as show the noise with two digits."""
    noise = state.noise
    digits = 4 if not noise else min(8, max(3, 1 - math.floor(math.log10(noise))))
    return Figures(metric, noise, digits)


def fate(figures: Figures, trial: Trial) -> str:
    """What came of a closed trial: its value and why it was not kept, or how it failed."""
    if trial.outcome is not Outcome.OK or trial.loss is None:
        return failure(trial)
    verdict = trial.verdict
    gain = verdict.gain if verdict else None
    value = figures.mean(trial)
    if verdict and verdict.decision is Decision.QUARANTINE:
        return f"{value}, not believed: {line(verdict.reason)}"
    if gain is None:
        return value
    enough = "" if trial.kept or gain <= 0 else ", which is not enough"
    return f"{value}, {figures.difference(gain)}{enough}"


def failure(trial: Trial) -> str:
    """How a trial without a loss failed: the outcome, the phase, the numbers of a lack of memory, or the reason."""
    outcome = trial.outcome
    name = _FAILED.get(outcome, "failed") if outcome else "not measured"
    died = next((m for m in trial.measurements if m.outcome is not Outcome.OK), None)
    if died is not None and died.kind is Kind.SHM_EXHAUSTED:
        name = "out of shared memory in /dev/shm"
    if outcome in (Outcome.OOM_GPU, Outcome.OOM_HOST) and died is not None:
        return f"{name}{_phase(died)} ({memory(died)})"
    reason = line(trial.failure or "")
    where = _phase(died) if died is not None else ""
    return f"{name}{where}: {reason}" if reason else f"{name}{where}"


def memory(died: Measurement) -> str:
    """The numbers of an out-of-memory: requested, in use, limit. What is not known is not said."""
    found = dict(died.numbers)
    if died.outcome is Outcome.OOM_HOST:
        found.setdefault("in_use_bytes", died.peak_memory_bytes)
        found.setdefault("limit_bytes", died.memory_limit_bytes)
    parts = [f"{word} {show_size(found[key])}" for key, word in _NUMBERS.items() if found.get(key)]
    return ", ".join(parts) or line(died.reason)


def _phase(died: Measurement) -> str:
    ran = [phase for phase, seconds in died.seconds.items() if seconds > 0]
    return f" in phase {ran[-1]}" if ran else ""

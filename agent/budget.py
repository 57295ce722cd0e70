"""The budget: one wall clock over all sessions, what a trial will take, and the plan that follows.

Everything counts: preparation, proposals, training, judging, overhead. A trial starts only if the time that is left
covers what trials have taken lately; one that turns out longer is cut at the end of the budget and stays open, so that
`agent resume` with more budget runs it again.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.errors import UsageError
from agent.state import State
from agent.target import TargetLimits
from agent.units import counted, show_duration
from sandbox.spec import Outcome

HAND_OVER_SECONDS = 8.0  # guess for start-up and judging before anything has been measured
_RECENT = 5
_SLACK = 1.1


class Clock:
    """Budget seconds used: those of earlier sessions, and this session's on the monotonic clock."""

    def __init__(self, used: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._zero = now() - used

    def elapsed(self) -> float:
        """Budget seconds used up to now."""
        return self._now() - self._zero

    def at(self, elapsed: float) -> float:
        """The monotonic time at which `elapsed` budget seconds will have been used."""
        return self._zero + elapsed


@dataclass(frozen=True)
class Plan:
    """What the budget allows: `trials` after `baseline_repeats` trainings of the baseline, `trial_seconds` each.

    `propose_seconds` is what asking a language model for each of them takes; 0 without one, or if that is not known.
    """

    budget: float
    trial_seconds: float
    baseline_repeats: int
    trials: int
    propose_seconds: float = 0.0

    def sentence(self) -> str:
        """The plan in words."""
        each, times = show_duration(self.trial_seconds), self.baseline_repeats
        once = "one training of the baseline (its noise stays unknown: any gain will be kept)"
        baseline = once if times == 1 else f"{times} trainings of the baseline"
        if not self.trials:
            return f"{baseline}, {each} each; trials only as far as they turn out quicker"
        asking = ""
        if self.propose_seconds:
            hourly = f"{3600 / self.propose_seconds:.0f} an hour"
            asking = f" and {show_duration(self.propose_seconds)} for each proposal ({hourly})"
        return f"about {counted(self.trials, 'trial')} of {each}{asking}, after {baseline}"


def make_plan(
    budget: float, limits: TargetLimits, repeats: int | None, trials: int | None = None, propose_seconds: float = 0.0
) -> Plan:
    """Divide a budget before anything is measured.

    Raises:
        UsageError: the budget does not cover one trial.
    """
    each = limits.train_seconds + HAND_OVER_SECONDS
    if budget < each:
        raise UsageError(
            f"a budget of {show_duration(budget)} is shorter than one trial (about {show_duration(each)}): "
            f"give --budget at least {show_duration(4 * each)}, or shorten trials with --trial-time"
        )
    whole = int(budget / each)
    baseline = repeats or (3 if whole >= 9 else 2 if whole >= 4 else 1)
    left = max(0, int((budget - baseline * each) / (each + propose_seconds)))
    return Plan(budget, each, baseline, left if trials is None else min(left, trials), propose_seconds)


def expected_seconds(state: State, limits: TargetLimits) -> float:
    """What one more training with its judging is expected to take: a little more than the last few took."""
    totals = [m.total_seconds for t in state.trials for m in t.measurements if m.outcome is Outcome.OK][-_RECENT:]
    if not totals:
        return limits.train_seconds + HAND_OVER_SECONDS
    return _SLACK * statistics.median(totals)

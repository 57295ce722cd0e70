"""The keep decision: a pure function of the state and a measured trial.

First form: the run's own noise is the standard deviation of the baseline's repeats, and a candidate has to beat the
champion by twice that (`margin`), or by anything (`greedy`).
"""

from agent.nouns import Decision, Trial, Verdict
from agent.state import State

MARGIN_SIGMAS = 2.0


def decide(state: State, trial: Trial, keep: str, baseline_repeats: int) -> Verdict:
    """What becomes of `trial`, whose measurements so far are in it; `keep` is greedy or margin."""
    if trial.failure is not None:
        return Verdict(decision=Decision.DISCARD, reason=trial.failure)
    if trial.id == 0:
        return _baseline(trial, baseline_repeats)
    champion = state.champion
    if champion is None or champion.loss is None or trial.loss is None:
        raise ValueError(f"trial {trial.id} cannot be decided: no champion, or nothing measured")
    gain = champion.loss - trial.loss
    margin = MARGIN_SIGMAS * (state.noise or 0.0) if keep == "margin" else 0.0
    if gain > margin:
        decision, reason = (
            Decision.KEEP,
            f"better than trial {champion.id} by {gain:.4f}, more than {_words(state, keep, margin)}",
        )
    elif gain > 0:
        decision, reason = Decision.DISCARD, f"better by {gain:.4f}, but within {_words(state, keep, margin)}"
    else:
        decision, reason = Decision.DISCARD, f"worse than trial {champion.id} by {-gain:.4f}"
    return Verdict(decision=decision, reason=reason, gain=gain, margin=margin)


def _baseline(trial: Trial, repeats: int) -> Verdict:
    if len(trial.measurements) < repeats:
        return Verdict(decision=Decision.REPEAT, reason=f"baseline {len(trial.measurements)} of {repeats}")
    return Verdict(decision=Decision.KEEP, reason=f"the baseline, trained {repeats} time{'s' if repeats != 1 else ''}")


def _words(state: State, keep: str, margin: float) -> str:
    if keep == "greedy":
        return "the margin of 0 that --keep greedy asks for"
    if state.noise is None:
        return "nothing: the baseline was trained once, so the noise is unknown"
    return (
        f"the margin of {margin:.4f} ({MARGIN_SIGMAS:.0f} sd of the baseline's {len(state.trials[0].losses)} trainings)"
    )

"""What optimizers of constants share: which configurations were tried, what is left, how to word a move.

A configuration is a value for every knob of the space. Two trials with equal configurations count as the
same even when the code around them differs: a search over constants has nothing to learn from repeating
one.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.errors import UsageError
from agent.nouns import Decision, Trial, Value
from agent.proposers.base import Exhausted
from agent.space import Space
from agent.state import State

_ENUMERABLE = 100_000  # spaces up to this size are searched to the last configuration
_MOVES_IN_TITLE = 3

Configuration = dict[str, Value]


@dataclass(frozen=True)
class Tried:
    """Configurations of all trials of a run, open ones included, and the champion's (at first the script's own)."""

    keys: frozenset[tuple[Value, ...]]
    champion: Configuration


def tried(space: Space, state: State) -> Tried:
    """What was tried so far."""
    known = configurations(space, state)
    champion = space.own if state.champion is None else known[state.champion.id]
    return Tried(frozenset(key(configuration) for configuration in known), champion)


def configurations(space: Space, state: State) -> list[Configuration]:
    """The configuration of each trial, by its id. A constant that a trial does not name is as in its parent."""
    known: list[Configuration] = []
    for trial in state.trials:
        parent = space.own if trial.parent is None else known[trial.parent]
        named = {name: value for name, value in trial.proposal.constants.items() if name in parent}
        known.append({**parent, **named})
    return known


def key(configuration: Configuration) -> tuple[Value, ...]:
    """Equal for equal configurations of one space."""
    return tuple(value for _, value in sorted(configuration.items()))


def first_untried(space: Space, drawn: Iterator[Configuration], done: Tried, rng: np.random.Generator) -> Configuration:
    """The first of `drawn` that was not tried; when all were, one of those left, by `rng`.

    Raises:
        Exhausted: nothing is left, or in a space too large to enumerate nothing was found.
    """
    for configuration in drawn:
        if key(configuration) not in done.keys:
            return configuration
    size = space.size()
    if size is None or size > _ENUMERABLE:
        raise Exhausted("no untried configuration was found: widen the ranges in [space]")
    left = [configuration for configuration in _all(space) if key(configuration) not in done.keys]
    if not left:
        raise Exhausted(f"all {size} configurations of the space have been tried")
    return left[int(rng.integers(len(left)))]


def title(space: Space, before: Configuration, after: Configuration) -> str:
    """The largest moves on the unit scale, as `MATRIX_LR 0.02 -> 0.034, DEPTH 4 -> 5`."""
    start, end = _placed(space, before), _placed(space, after)
    moved = [k.name for k in space.knobs if before[k.name] != after[k.name]]
    moved.sort(key=lambda name: -abs(end[name] - start[name]))
    if not moved:
        return "no change"
    shown = ", ".join(f"{n} {_word(before[n])} -> {_word(after[n])}" for n in moved[:_MOVES_IN_TITLE])
    more = len(moved) - _MOVES_IN_TITLE
    return f"{shown} and {more} more" if more > 0 else shown


def check(space: Space, seed: int) -> None:
    """What every optimizer of constants needs.

    Raises:
        UsageError: a space without knobs, or a negative seed.
    """
    if not space.knobs:
        raise UsageError(
            "there is no constant to search: declare ranges in target.toml's [space], "
            "or choose a proposer that edits code"
        )
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, and is {seed}")


def learnable_loss(trial: Trial) -> float | None:
    """The loss an optimizer may learn from: none for a failure, nor for a result too good to be believed."""
    quarantined = trial.verdict is not None and trial.verdict.decision is Decision.QUARANTINE
    return None if quarantined else trial.loss


def _placed(space: Space, configuration: Mapping[str, Value]) -> dict[str, float]:
    positions: NDArray[np.float64] = space.encode(configuration)
    return {knob.name: float(x) for knob, x in zip(space.knobs, positions, strict=True)}


def _all(space: Space) -> Iterator[Configuration]:
    """Every configuration of a finite space."""
    centres = [[(i + 0.5) / (knob.size() or 1) for i in range(knob.size() or 1)] for knob in space.knobs]
    for point in itertools.product(*centres):
        yield space.decode(np.array(point))


def _word(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

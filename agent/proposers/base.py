"""What a proposer is: `ask(state)` for the next change, `tell(trial)` for each closed trial, in order.

The loop is ours, the algorithm is theirs. On resume every closed trial is told again in order, so whatever a
proposer knows must follow from `tell` alone; randomness is a function of the run's seed and the trial's id (`rng`).
Failures carry no number: each proposer decides itself what a trial without a loss means to it.
"""

from typing import Protocol

import numpy as np

from agent.nouns import Proposal, Trial
from agent.state import State


class Proposer(Protocol):
    """A search method."""

    def ask(self, state: State) -> Proposal:
        """The next change to try. Raises `Exhausted` when nothing is left to try."""

    def tell(self, trial: Trial) -> None:
        """Learn from a closed trial. Called once a trial, in the order of closing, and again on resume."""


class Exhausted(Exception):
    """The proposer has nothing left to propose: the run ends in order, with this reason."""


def rng(seed: int, trial: int, purpose: int = 0) -> np.random.Generator:
    """A generator that depends on the run's seed and the trial's id only, so that replay needs no stored state."""
    return np.random.default_rng([seed, trial, purpose])

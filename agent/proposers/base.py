"""What a proposer is: `ask(state)` for the next change, `tell(trial)` for each closed trial, in order.

The loop is ours, the algorithm is theirs. On resume every closed trial is told again in order, so whatever a
proposer knows must follow from `tell` and from the state alone; randomness is a function of the run's seed and the
trial's id (`rng`). Failures carry no number: each proposer decides itself what a trial without a loss means to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from agent.calls import Call
from agent.code import Code
from agent.models.line import Line
from agent.nouns import Proposal, Trial
from agent.space import Space
from agent.state import State
from agent.target import Target


@dataclass(frozen=True)
class Workbench:
    """What a proposer that edits code works with, beside the space.

    Attributes:
        target: the target.
        brief: the research brief; empty for none.
        code_of: code of a closed trial; of the target as it was brought for None.
        line: the language model.
        note: writes a sentence into the journal, and says it.
        say: says a sentence to the user only.
    """

    target: Target
    brief: str
    code_of: Callable[[int | None], Code]
    line: Line
    note: Callable[[str], None]
    say: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Setup:
    """What a proposer is built from.

    Attributes:
        space: the search space of the script's constants.
        seed: the run's.
        workbench: what it needs to ask a language model; None for a run without one.
    """

    space: Space
    seed: int
    workbench: Workbench | None = None


class Proposer(Protocol):
    """A search method."""

    def ask(self, state: State) -> Proposal:
        """The next change to try.

        Raises:
            Exhausted: nothing is left to try.
            NoProposal: a language model gave nothing usable, after its repair round.
            ModelError: the model cannot be asked (no such model, wrong key, an outage that the user will not wait for).
            Interrupted: the user or the budget ended the asking.
        """

    def tell(self, trial: Trial) -> None:
        """Learn from a closed trial. Called once a trial, in the order of closing, and again on resume."""


@runtime_checkable
class Rehearses(Protocol):
    """A proposer that can tell before anything is trained whether its first prompt fits its model."""

    def rehearse(self, state: State) -> None:
        """Render the prompt that the first `ask` would begin with; nothing is asked and nothing noted.

        Args:
            state: a run that has started and has a session, but no trial yet. Later prompts also tell of trials.

        Raises:
            PromptTooLong: it does not fit even at its shortest.
        """


class Exhausted(Exception):
    """The proposer has nothing left to propose: the run ends in order, with this reason."""


@dataclass
class NoProposal(Exception):
    """A language model gave nothing usable: journalled as a `Voided` event, with these facts; never a trial."""

    source: str
    wrong: str
    reason: str
    title: str = ""
    parent: int | None = None
    same_as: int | None = None
    repairs: int | None = None
    calls: tuple[Call, ...] = ()


def rng(seed: int, trial: int, purpose: int = 0) -> np.random.Generator:
    """A generator that depends on the run's seed and the trial's id only, so that replay needs no stored state."""
    return np.random.default_rng([seed, trial, purpose])

"""CMA-ES on the script's constants, by the package `cmaes`.

Reference: Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772.

It starts at the script's own values with a step of a sixth of each range, and updates once a generation of
its own trials is closed. What it is told is what ran: the configuration after rounding. Failures carry no
number; they rank behind every success of their generation, the nearer to the mean the better, so that a
generation of failures draws the search back to where it started from. That is enough, since the algorithm
only uses the order of its samples.

The distribution follows from the closed trials alone and each sample from (run seed, trial id): a resumed
run asks as an uninterrupted one would.
"""

from collections.abc import Iterator

import numpy as np
from cmaes import CMA
from numpy.typing import NDArray

from agent.nouns import Proposal, Trial, Value
from agent.proposers.base import Setup, rng
from agent.proposers.configurations import check, first_untried, learnable_loss, title, tried
from agent.state import State

_SIGMA = 1 / 6  # of the unit cube: the published study's (and Optuna's) default
_DRAWS = 200
_PLAIN_DRAWS = 20  # of those, before samples are blended with uniform noise to leave what was tried


class CmaEs:
    """CMA-ES over the unit cube, one knob an axis. Needs no particular order of asks and tells.

    Args:
        setup: the space to search (a single knob is enough) and the seed of the run, 0 or more.

    Raises:
        UsageError: a space without knobs, or a negative seed.
    """

    source = "cma"

    def __init__(self, setup: Setup) -> None:
        space, seed = setup.space, setup.seed
        check(space, seed)
        self._space = space
        self._seed = seed
        axes = len(space.knobs)
        self._cma = CMA(
            mean=space.encode(space.own),
            sigma=_SIGMA,
            bounds=np.tile([0.0, 1.0], (axes, 1)),
            population_size=4 + int(3 * np.log(axes)),
        )
        self._generation: list[tuple[NDArray[np.float64], float | None]] = []

    def ask(self, state: State) -> Proposal:
        """A configuration that no trial has tried. Raises `Exhausted`."""
        draw = rng(self._seed, len(state.trials))
        done = tried(self._space, state)
        constants = first_untried(self._space, self._samples(draw), done, draw)
        return Proposal(
            source=self.source,
            title=title(self._space, done.champion, constants),
            why=f"a sample of CMA-ES in generation {self._cma.generation}",
            constants=constants,
        )

    def tell(self, trial: Trial) -> None:
        """Learn from a trial of its own; others (the baseline, too) are not samples of the distribution."""
        if trial.proposal.source != self.source:
            return
        point = self._space.encode(trial.proposal.constants)
        self._generation.append((point, learnable_loss(trial)))
        if len(self._generation) == self._cma.population_size:
            self._cma.tell(_ranked(self._generation, self._cma.mean))
            self._generation = []

    def _samples(self, draw: np.random.Generator) -> Iterator[dict[str, Value]]:
        """Samples of the distribution; when rounding keeps giving what was tried, ever more uniform ones."""
        self._cma.reseed_rng(int(draw.integers(2**32)))
        for attempt in range(_DRAWS):
            uniform = max(0, attempt - _PLAIN_DRAWS) / (_DRAWS - _PLAIN_DRAWS)
            sample = self._cma.ask()
            yield self._space.decode((1 - uniform) * sample + uniform * draw.random(len(sample)))


def _ranked(
    generation: list[tuple[NDArray[np.float64], float | None]], mean: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], float]]:
    """(point, rank): successes by loss, then failures by their distance from the mean."""

    def order(told: tuple[NDArray[np.float64], float | None]) -> tuple[bool, float]:
        point, loss = told
        return loss is None, float(np.linalg.norm(point - mean)) if loss is None else loss

    return [(point, float(rank)) for rank, (point, _) in enumerate(sorted(generation, key=order))]

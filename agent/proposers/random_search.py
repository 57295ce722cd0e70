"""Random search: a fresh uniform sample of the space for each trial. Every other method has to beat it.

Reference: Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13 (2012).
"""

from agent.nouns import Proposal, Trial
from agent.proposers.base import Setup, rng
from agent.proposers.configurations import check, first_untried, title, tried
from agent.state import State

_DRAWS = 200  # before the untried rest of a small space is enumerated


class RandomSearch:
    """Uniform samples of the unit cube. Learns nothing, repeats nothing.

    Args:
        setup: the space to search and the seed of the run, 0 or more.

    Raises:
        UsageError: a space without knobs, or a negative seed.
    """

    source = "random"

    def __init__(self, setup: Setup) -> None:
        space, seed = setup.space, setup.seed
        check(space, seed)
        self._space = space
        self._seed = seed

    def ask(self, state: State) -> Proposal:
        """A configuration that no trial has tried. Raises `Exhausted`."""
        draw = rng(self._seed, len(state.trials))
        done = tried(self._space, state)
        samples = (self._space.sample(draw) for _ in range(_DRAWS))
        constants = first_untried(self._space, samples, done, draw)
        return Proposal(
            source=self.source,
            title=title(self._space, done.champion, constants),
            why=f"a uniform sample of all {len(self._space.knobs)} constants",
            constants=constants,
        )

    def tell(self, trial: Trial) -> None:
        """Nothing to learn."""

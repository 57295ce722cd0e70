"""Pattern search on the script's constants: one constant moved at a time, from the champion's values.

Reference: Hooke and Jeeves, "Direct Search Solution of Numerical and Statistical Problems", JACM 8 (1961). Ours goes
through the constants by kind, as an engineer with a fixed time would: first sizes, downwards (what is smaller makes
more steps), then learning rates, upwards, then the rest; then all in the other direction. Within a kind the order
follows from the seed. A move that is kept is made again from where it led. Moves that looked better, though not by
enough to be kept, are tried together, the best first, once their gains add up to enough. When all moves of one step
were tried, steps of half that length follow.

With few trials it beats methods that move all constants at once: a single change has to be good by itself only. With
hundreds of trials it stalls where constants have to be changed together; `cma` goes on there.
"""

from collections.abc import Iterator

import numpy as np

from agent.knobs import Knob
from agent.nouns import Proposal, Trial, Value
from agent.proposers.base import Setup, rng
from agent.proposers.configurations import Configuration, check, first_untried, learnable_loss, title, tried
from agent.state import State

_STEP = 0.2  # of a constant's range, at first
_STEPS = tuple(_STEP / 2**i for i in range(5))
_SIZES = {
    "batch",
    "depth",
    "layer",
    "layers",
    "width",
    "hidden",
    "dim",
    "size",
    "seq",
    "len",
    "length",
    "block",
    "heads",
}
_SIZES |= {"embd", "ctx", "context", "head"}
_RATES = {"lr", "rate"}
_DRAWS = 200  # uniform samples, when no move is left

Move = tuple[str, int]  # the constant, and up (1) or down (-1)


class PatternSearch:
    """One constant at a time. Needs no particular order of asks and tells.

    Args:
        setup: the space to search and the seed of the run, 0 or more.

    Raises:
        UsageError: a space without knobs, or a negative seed.
    """

    source = "pattern"

    def __init__(self, setup: Setup) -> None:
        space, seed = setup.space, setup.seed
        check(space, seed)
        self._space, self._seed = space, seed
        self._kept: dict[int, Configuration] = {}  # of each kept trial
        self._moved: dict[Move, int] = {}  # when each move was last made, in tells
        self._promising: dict[str, tuple[Value, float]] = {}  # by constant: a value that looked better, and its gain
        self._margin = 0.0  # that a gain has to pass to be kept
        self._again: Move | None = None  # the move that was kept last
        self._told = 0

    def ask(self, state: State) -> Proposal:
        """A configuration that no trial has tried. Raises `Exhausted`."""
        draw = rng(self._seed, len(state.trials))
        done = tried(self._space, state)
        base = self._inside(done.champion)
        constants = first_untried(self._space, self._candidates(base, draw), done, draw)
        changed = [name for name in constants if constants[name] != base[name]]
        return Proposal(
            source=self.source,
            title=title(self._space, done.champion, constants),
            why=f"{_count(len(changed))} moved from the champion's values",
            constants=constants,
        )

    def tell(self, trial: Trial) -> None:
        """Learn from any trial that sets constants; whoever proposed what is kept, moves start from there."""
        parent = self._space.own if trial.parent is None else self._kept.get(trial.parent, self._space.own)
        configuration = self._inside({**parent, **trial.proposal.constants})
        move = self._single_move(self._inside(parent), configuration)
        self._told += 1
        if move is not None:
            self._moved[move] = self._told
        kept = trial.verdict is not None and trial.kept
        gain = trial.verdict.gain if trial.verdict and learnable_loss(trial) is not None else None
        if kept:
            self._kept[trial.id] = configuration
            self._promising, self._again = {}, move
            return
        self._again = None
        if move is None and trial.proposal.source == self.source:
            self._promising = {}  # together they were no better
        elif move is not None and gain is not None and gain > 0:
            self._margin = trial.verdict.margin or 0.0 if trial.verdict else 0.0
            self._promising[move[0]] = configuration[move[0]], gain

    def _candidates(self, base: Configuration, draw: np.random.Generator) -> Iterator[Configuration]:
        """What to try from `base`, most wanted first."""
        if self._again is not None:
            yield from self._moved_by(base, self._again, _STEP)
        if together := self._together():
            yield {**base, **together}
        for step in _STEPS:
            for move in self._order():
                yield from self._moved_by(base, move, step)
        yield from (self._space.sample(draw) for _ in range(_DRAWS))

    def _together(self) -> Configuration:
        """The fewest promising values whose gains add up to more than the margin, two at least; empty if none do."""
        chosen: Configuration = {}
        total = 0.0
        for name, (value, gain) in sorted(self._promising.items(), key=lambda item: -item[1][1]):
            chosen[name], total = value, total + gain
            if len(chosen) > 1 and total > self._margin:
                return chosen
        return {}

    def _order(self) -> list[Move]:
        """All moves, the least recent first; those never made by kind, and then in an order of the seed's."""
        moves = [(knob.name, sign) for knob in self._space.knobs for sign in (1, -1)]
        shuffled = [moves[i] for i in rng(self._seed, 0).permutation(len(moves))]
        return sorted(shuffled, key=lambda move: (self._moved.get(move, 0), _late(move)))

    def _moved_by(self, base: Configuration, move: Move, step: float) -> Iterator[Configuration]:
        name, sign = move
        knob = next(knob for knob in self._space.knobs if knob.name == name)
        for value in _neighbours(knob, base[name], sign * step):
            yield {**base, name: value}

    def _single_move(self, before: Configuration, after: Configuration) -> Move | None:
        changed = [knob for knob in self._space.knobs if before[knob.name] != after[knob.name]]
        if len(changed) != 1:
            return None
        knob = changed[0]
        up = knob.encode(after[knob.name]) > knob.encode(before[knob.name])
        return knob.name, 1 if up else -1

    def _inside(self, configuration: Configuration) -> Configuration:
        """The same with every value one that the space has."""
        return self._space.decode(self._space.encode(configuration))


def _late(move: Move) -> tuple[bool, int]:
    """How late a move comes among those never made: its kind's second direction after the first of all kinds."""
    name, sign = move
    words = set(name.lower().split("_"))
    if words & _RATES:
        return sign < 0, 1
    if words & _SIZES:
        return sign > 0, 0
    return sign < 0, 2


def _neighbours(knob: Knob, value: Value, step: float) -> Iterator[Value]:
    """The value `step` away on the unit scale, or the next one there is; for a choice, all beyond it."""
    position, edge = knob.encode(value), 1.0 if step > 0 else 0.0
    if knob.kind == "categorical":
        index = knob.choices.index(value)
        yield from knob.choices[index + 1 :] if step > 0 else knob.choices[:index][::-1]
        return
    while position != edge:
        position = min(1.0, max(0.0, position + step))
        if (moved := knob.decode(position)) != value:
            yield moved
            return


def _count(changed: int) -> str:
    return "one constant" if changed == 1 else f"{changed} constants"

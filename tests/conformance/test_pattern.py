"""What pattern search in particular must do: one constant at a time, on from what was kept, then together."""

from proposing import baseline, closed, opened

from agent.nouns import Decision, Trial, Value, Verdict
from agent.proposers.base import Setup
from agent.proposers.pattern import PatternSearch
from agent.space import Range, Space, find_space
from agent.state import State

SCRIPT = "WIDTH = 64\nDEPTH = 6\nHEAD_LR = 0.01\nDECAY = 0.5\nACTIVATION = 'b'\n"
RANGES = {
    "WIDTH": Range(low=16, high=256, log=True),
    "DEPTH": Range(low=1, high=12),
    "HEAD_LR": Range(low=0.0001, high=1.0, log=True),
    "DECAY": Range(low=0.0, high=1.0),
    "ACTIVATION": Range(choices=("a", "b", "c")),
}


def space() -> Space:
    return find_space({"train.py": SCRIPT}, RANGES)


class Course:
    """A search whose verdicts are given by hand: a gain, and whether it was enough."""

    def __init__(self) -> None:
        self.search = PatternSearch(Setup(space(), seed=3))
        self.search.tell(baseline())
        self.state = State(trials=(baseline(),), best=0)
        self.champion = dict(space().own)

    def step(self, gain: float, kept: bool = False) -> dict[str, Value]:
        """One trial; returns what it changed against the champion."""
        proposal = self.search.ask(self.state)
        changed = {n: v for n, v in proposal.constants.items() if v != self.champion[n]}
        decision = Decision.KEEP if kept else Decision.DISCARD
        trial = closed(opened(len(self.state.trials), proposal, self.state.best), 1.0 - gain, decision)
        verdict = Verdict(decision=decision, reason="", gain=gain, margin=0.1)
        trial = Trial.model_validate(trial.model_dump() | {"verdict": verdict})
        self.search.tell(trial)
        best = trial.id if kept else self.state.best
        self.state = State(trials=(*self.state.trials, trial), best=best)
        self.champion = proposal.constants if kept else self.champion
        return changed


def test_every_move_is_of_one_constant_and_each_kind_has_its_turn():
    course = Course()
    moves = [course.step(gain=-0.1) for _ in range(8)]
    assert all(len(move) == 1 for move in moves)
    first = [next(iter(move)) for move in moves[:5]]
    assert set(first[:2]) == {"WIDTH", "DEPTH"}
    assert first[2] == "HEAD_LR"
    assert set(first[3:]) == {"DECAY", "ACTIVATION"}
    by_name = {name: value for move in moves[:5] for name, value in move.items()}
    assert by_name["WIDTH"] < 64 and by_name["DEPTH"] < 6 and by_name["HEAD_LR"] > 0.01


def test_a_move_that_was_kept_is_made_again_from_where_it_led():
    course = Course()
    (name, once), *_ = course.step(gain=0.2, kept=True).items()
    again = course.step(gain=-0.1)
    assert set(again) == {name}
    assert again[name] < once < space().own[name]
    assert set(course.step(gain=-0.1)) != {name}


def test_moves_that_looked_better_are_tried_together_once_they_add_up():
    course = Course()
    course.step(gain=0.01)
    course.step(gain=0.03)
    good = course.step(gain=0.05)
    better = course.step(gain=0.06)
    assert len(better) == 1, "0.09 was not enough for the margin of 0.1"
    together = course.step(gain=-0.1)
    assert together == {**good, **better}, "the best two are enough"
    assert len(course.step(gain=-0.1)) == 1, "what was no better together is not tried again"


def test_smaller_steps_follow_when_all_moves_were_tried():
    course = Course()
    moves = [course.step(gain=-0.1) for _ in range(25)]
    widths = [move["WIDTH"] for move in moves if "WIDTH" in move]
    assert len(set(widths)) == len(widths) >= 4
    assert min(abs(width - 64) for width in widths[2:]) < min(abs(width - 64) for width in widths[:2])

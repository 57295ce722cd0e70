"""Driving a proposer without a loop: spaces, trials, and ask-evaluate-tell."""

from collections.abc import Callable

from agent.nouns import Decision, Measurement, Proposal, Trial, Value, Verdict
from agent.proposers.base import Proposer
from agent.space import Range, Space, find_space
from agent.state import State
from sandbox.spec import Outcome

SCRIPT = 'DEPTH = 6\nBATCH = 2**5\nRATE = 0.01\nDROPOUT = 0.0\nPATTERN = "a"\nNORM = True\n'
MIXED: dict[str, Range] = {
    "DEPTH": Range(low=2, high=12),
    "BATCH": Range(low=8, high=128, pow2=True),
    "RATE": Range(low=0.001, high=0.1, log=True),
    "DROPOUT": Range(low=0.0, high=0.5),
    "PATTERN": Range(choices=("a", "b", "c")),
    "NORM": Range(choices=(False, True)),
}
SPACES: dict[str, dict[str, Range]] = {
    "mixed": MIXED,
    "one float": {"RATE": MIXED["RATE"]},
    "one int": {"DEPTH": MIXED["DEPTH"]},
    "categorical": {name: MIXED[name] for name in ("PATTERN", "NORM")},
    "own values outside": {
        "DEPTH": Range(low=8, high=12),
        "RATE": Range(low=0.1, high=1.0),
        "PATTERN": Range(choices=("x", "y")),
    },
}
Evaluate = Callable[[dict[str, Value]], float | None]


def mixed() -> Space:
    return find_space({"train.py": SCRIPT}, MIXED)


def opened(number: int, proposal: Proposal, parent: int | None = 0) -> Trial:
    return Trial(id=number, parent=parent, proposal=proposal, diff="", code_sha256="")


def closed(trial: Trial, loss: float | None, decision: Decision = Decision.DISCARD) -> Trial:
    outcome = Outcome.CRASH if loss is None else Outcome.OK
    measured = Measurement(seed=1, outcome=outcome, loss=loss, total_seconds=1.0, code_sha256="", jail="none")
    verdict = Verdict(decision=decision, reason="")
    return trial.model_copy(update={"measurements": (measured,), "verdict": verdict})


def baseline() -> Trial:
    proposal = Proposal(source="baseline", title="baseline")
    return closed(opened(0, proposal, parent=None), 1.0, Decision.KEEP)


def start(proposer: Proposer) -> State:
    proposer.tell(baseline())
    return State(trials=(baseline(),), best=0)


def step(proposer: Proposer, state: State, evaluate: Evaluate) -> State:
    """Ask, evaluate, tell; a better loss becomes the champion."""
    proposal = proposer.ask(state)
    loss = evaluate(proposal.constants)
    best = state.champion
    assert best is not None and best.loss is not None
    keep = loss is not None and loss < best.loss
    trial = closed(opened(len(state.trials), proposal, state.best), loss, Decision.KEEP if keep else Decision.DISCARD)
    proposer.tell(trial)
    return State(trials=(*state.trials, trial), best=trial.id if keep else state.best)


def run(proposer: Proposer, steps: int, evaluate: Evaluate) -> State:
    state = start(proposer)
    for _ in range(steps):
        state = step(proposer, state, evaluate)
    return state


def some_fail(constants: dict[str, Value]) -> float | None:
    """A loss that depends on every constant, and a failure for about a third of them."""
    number = sum(ord(c) for c in repr(sorted(constants.items())))
    return None if number % 3 == 0 else 0.5 + (number % 101) / 100


def configurations(state: State) -> list[tuple[Value, ...]]:
    return [tuple(t.proposal.constants.values()) for t in state.trials if t.proposal.constants]

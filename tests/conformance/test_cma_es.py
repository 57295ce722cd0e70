"""What CMA-ES in particular must do: beat chance, learn from ranks only, and only from its own trials."""

import numpy as np
from proposing import baseline, closed, mixed, opened, run, some_fail

from agent.nouns import Decision, Proposal, Value
from agent.proposers.base import Proposer, Setup
from agent.proposers.cma_es import CmaEs
from agent.registry import PROPOSERS, load
from agent.space import Range, Space, find_space
from agent.state import State


def quadratic_space() -> Space:
    source = "".join(f"X{i} = 0.5\n" for i in range(10))
    return find_space({"train.py": source}, {f"X{i}": Range(low=0.0, high=1.0) for i in range(10)})


def quadratic(constants: dict[str, Value]) -> float:
    """Smallest at 0.25 or 0.75, away from where the search starts."""
    return sum((float(v) - (0.25 if i % 2 else 0.75)) ** 2 for i, v in enumerate(constants.values()))


def best_of(name: str, seed: int, evaluations: int) -> float:
    proposer: Proposer = load(PROPOSERS, name, "proposer")(Setup(quadratic_space(), seed))
    return min(t.loss or 0.0 for t in run(proposer, evaluations, quadratic).trials[1:])


def test_cma_beats_random_on_a_quadratic_in_ten_dimensions():
    for seed in (1, 2, 3):
        cma, random = best_of("cma", seed, 150), best_of("random", seed, 150)
        assert cma < 0.25 * random, (seed, cma, random)


def asked_after(trials: list[tuple[Proposal, float | None, Decision]]) -> dict[str, Value]:
    """What a fresh CMA-ES asks after these closed trials."""
    proposer = CmaEs(Setup(mixed(), 7))
    told = [baseline()]
    for proposal, loss, decision in trials:
        told.append(closed(opened(len(told), proposal), loss, decision))
    for trial in told:
        proposer.tell(trial)
    return proposer.ask(State(trials=tuple(told), best=0)).constants


def generations() -> list[tuple[Proposal, float | None, Decision]]:
    return [(t.proposal, t.loss, Decision.DISCARD) for t in run(CmaEs(Setup(mixed(), 7)), 27, some_fail).trials[1:]]


def test_what_others_proposed_does_not_move_the_distribution():
    own = generations()
    others = [(p.model_copy(update={"source": "llm"}), -5.0, d) for p, _, d in own]
    assert asked_after(others) == asked_after([(p, None, d) for p, _, d in others])


def test_a_quarantined_number_is_not_learned_from():
    trials = generations()
    proposal = trials[3][0]
    honest = [*trials[:3], (proposal, None, Decision.DISCARD), *trials[4:]]
    suspicious = [*trials[:3], (proposal, -99.0, Decision.QUARANTINE), *trials[4:]]
    believed = [*trials[:3], (proposal, -99.0, Decision.DISCARD), *trials[4:]]
    assert asked_after(suspicious) == asked_after(honest) != asked_after(believed)


def test_generations_of_failures_draw_the_search_back_to_its_start():
    space = mixed()
    proposer = CmaEs(Setup(space, 3))
    state = run(proposer, 90, lambda constants: None)
    start = space.encode(space.own)
    away = [float(np.linalg.norm(space.encode(t.proposal.constants) - start)) for t in state.trials[1:]]
    assert np.mean(away[-27:]) < np.mean(away[:27])


def test_the_first_proposals_stay_near_the_scripts_own_values():
    space = mixed()
    state = run(CmaEs(Setup(space, 5)), 9, some_fail)
    floats = [i for i, k in enumerate(space.knobs) if k.kind == "float"]
    moves = [np.abs(space.encode(t.proposal.constants) - space.encode(space.own))[floats] for t in state.trials[1:]]
    assert 0.02 < float(np.median(np.concatenate(moves))) < 0.3


def test_a_space_of_one_constant_converges():
    space = find_space({"t.py": "X = 0.9\n"}, {"X": Range(low=0.0, high=1.0)})
    state = run(CmaEs(Setup(space, 1)), 60, lambda c: (float(c["X"]) - 0.3) ** 2)
    assert min(t.loss or 1.0 for t in state.trials) < 1e-4

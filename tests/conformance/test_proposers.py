"""What every proposer of the registry must do, whatever its method: a new one is tested by adding its name."""

import itertools
import time
from collections.abc import Callable

import numpy as np
import pytest
from proposing import (
    SCRIPT,
    SPACES,
    baseline,
    closed,
    configurations,
    mixed,
    opened,
    run,
    some_fail,
    start,
    step,
)

from agent.errors import UsageError
from agent.nouns import Decision, Proposal, Value
from agent.proposers.base import Exhausted, Proposer, Setup
from agent.registry import ASK_A_MODEL, PROPOSERS, load
from agent.space import Space, find_space
from agent.state import State


@pytest.fixture(params=sorted(set(PROPOSERS) - ASK_A_MODEL))  # the others are in test_llm_proposers.py
def make(request: pytest.FixtureRequest) -> Callable[[Space, int], Proposer]:
    return lambda space, seed: load(PROPOSERS, request.param, "proposer")(Setup(space, seed))


@pytest.fixture(params=sorted(SPACES))
def space(request: pytest.FixtureRequest) -> Space:
    return find_space({"train.py": SCRIPT}, SPACES[request.param])


def test_proposals_set_every_constant_to_a_value_of_the_space(make, space):
    state = run(make(space, 3), 5, some_fail)
    for trial in state.trials[1:]:
        assert space.contains(trial.proposal.constants)
        assert trial.proposal.source and trial.proposal.why
        assert " -> " in trial.proposal.title and "\n" not in trial.proposal.title
        assert len(trial.proposal.title) < 120


def test_the_same_seed_gives_the_same_proposals_and_another_seed_others(make):
    a, b, c = (configurations(run(make(mixed(), seed), 8, some_fail)) for seed in (5, 5, 6))
    assert a == b != c


@pytest.mark.parametrize("killed_after", [0, 1, 7, 23])
def test_a_resumed_run_asks_what_an_uninterrupted_one_would(make, space, killed_after):
    steps = min(killed_after, (space.size() or 99) - 3)
    live = make(space, 11)
    state = run(live, steps, some_fail)
    resumed = make(space, 11)
    for trial in state.trials:
        resumed.tell(trial)
    for _ in range(2):
        assert resumed.ask(state) == live.ask(state)
        state = step(live, state, some_fail)
        resumed.tell(state.trials[-1])


def test_asking_changes_nothing(make):
    restless, calm = make(mixed(), 2), make(mixed(), 2)
    state = start(restless)
    calm.tell(state.trials[0])
    for _ in range(25):
        first, second = restless.ask(state), restless.ask(state)
        assert first == second == calm.ask(state)
        state = step(restless, state, some_fail)
        calm.tell(state.trials[-1])


def test_parallel_asks_differ_and_may_close_in_any_order(make, space):
    proposer = make(space, 4)
    state = start(proposer)
    workers = min(4, (space.size() or 99) - 1)
    for _ in range(workers):
        trial = opened(len(state.trials), proposer.ask(state))
        state = State(trials=(*state.trials, trial), best=0)
    assert len(set(configurations(state))) == workers
    for trial in reversed(state.trials[1:]):
        proposer.tell(closed(trial, some_fail(trial.proposal.constants)))
    assert proposer.ask(state).constants


def test_no_configuration_is_tried_twice(make, space):
    state = run(make(space, 8), min(60, (space.size() or 99) - 1), some_fail)
    tried = configurations(state)
    assert len(set(tried)) == len(tried)
    if space.contains(space.own):
        assert tuple(space.own.values()) not in tried


@pytest.mark.parametrize("name", ["one int", "categorical"])
def test_a_small_space_is_searched_to_its_end_and_then_says_so(make, name):
    space = find_space({"train.py": SCRIPT}, SPACES[name])
    proposer, size = make(space, 1), space.size()
    assert size is not None
    state = run(proposer, size - 1, some_fail)
    everything = itertools.product(*[[k.decode((i + 0.5) / k.size()) for i in range(k.size())] for k in space.knobs])
    assert {*configurations(state), tuple(space.own.values())} == set(everything)
    with pytest.raises(Exhausted, match=f"all {size} configurations of the space have been tried"):
        proposer.ask(state)


def test_failures_carry_no_number_and_leave_the_search_going(make):
    proposer = make(mixed(), 9)
    state = run(proposer, 40, lambda constants: None)
    assert all(t.loss is None for t in state.trials[1:])
    assert mixed().contains(proposer.ask(state).constants)


def test_only_the_order_of_losses_matters(make):
    """Huge and tiny losses, and failures among them, steer as their ranks do: no number stands for a failure."""

    def scaled(constants: dict[str, Value]) -> float | None:
        loss = some_fail(constants)
        return None if loss is None else -1e300 / (1 + loss)

    plain, extreme = run(make(mixed(), 3), 40, some_fail), run(make(mixed(), 3), 40, scaled)
    assert configurations(plain) == configurations(extreme)


def test_trials_of_others_do_no_harm(make, space):
    proposer = make(space, 6)
    state = start(proposer)
    constants = space.decode(np.full(len(space.knobs), 0.9))
    for source, named in (("llm", {}), ("human", constants), ("llm", {space.knobs[0].name: 4})):
        proposal = Proposal(source=source, title="x", constants=named)
        trial = closed(opened(len(state.trials), proposal, parent=len(state.trials) - 1), 0.5, Decision.KEEP)
        proposer.tell(trial)
        state = State(trials=(*state.trials, trial), best=trial.id)
    asked = proposer.ask(state)
    assert space.contains(asked.constants) and asked.constants != constants


def test_titles_name_the_largest_moves_from_the_champion(make):
    space = mixed()
    proposer = make(space, 12)
    state = run(proposer, 30, some_fail)
    assert state.best != 0
    champion = state.champion
    assert champion is not None
    asked = proposer.ask(state)
    before, after = space.encode(champion.proposal.constants), space.encode(asked.constants)
    largest = space.knobs[int(np.argmax(abs(after - before)))].name
    assert asked.title.startswith(largest + " ")


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32, 2**64, 10**30])
def test_any_seed_from_zero_up_works(make, seed):
    proposer = make(mixed(), seed)
    assert mixed().contains(proposer.ask(start(proposer)).constants)


def test_a_negative_seed_and_an_empty_space_are_the_users_mistake(make):
    with pytest.raises(UsageError, match="seed"):
        make(mixed(), -1)
    with pytest.raises(UsageError, match=r"declare ranges in target.toml's \[space\]"):
        make(Space(()), 1)


@pytest.mark.parametrize("name", ["mixed", "one float"])
def test_an_ask_stays_fast_after_a_thousand_trials(make, name):
    space = find_space({"train.py": SCRIPT}, SPACES[name])
    rng = np.random.default_rng(0)
    proposer = make(space, 1)
    source = proposer.ask(start(proposer)).source
    trials = [baseline()]
    for number in range(1, 1001):
        proposal = Proposal(source=source, title="", constants=space.sample(rng))
        trials.append(closed(opened(number, proposal), float(rng.random())))
        proposer.tell(trials[-1])
    began = time.monotonic()
    proposer.ask(State(trials=tuple(trials), best=0))
    assert time.monotonic() - began < 2.0

"""What every proposer that asks a language model must do: a new one is tested by adding its name and some answers."""

import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from talking import FACTS, NONSENSE, Talk, edit, rate

from agent.errors import UsageError
from agent.models.base import Interrupted, ModelError
from agent.models.line import Outage
from agent.nouns import Proposal
from agent.prompts.render import PromptTooLong
from agent.proposers.base import NoProposal, Proposer, Rehearses, Setup
from agent.registry import PROPOSERS, load
from agent.state import State

SILU = edit("    return max(x, 0.0)", "    return x / (1.0 + math.exp(-x))", "smooth activation")


def values(**constants: object) -> dict[str, str]:
    return {"content": json.dumps({"title": "a move", "why": "it may help", "constants": constants})}


GOOD = {
    "code": [rate(0.2), SILU, rate(0.4)],
    "llm-constants": [values(RATE=(n + 2) / 100) for n in range(3)],
}
NO_USE = {"code": NONSENSE, "llm-constants": {"content": "try a higher rate"}}


@pytest.fixture(params=sorted(GOOD))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def step(talk: Talk, proposer: Proposer, ending: float) -> Proposal | NoProposal:
    """Ask; what comes of it is journalled and told."""
    try:
        proposal = proposer.ask(talk.state)
    except NoProposal as nothing:
        talk.void(nothing)
        return nothing
    proposer.tell(talk.close(proposal, ending))
    return proposal


def test_asking_twice_asks_the_same(tmp_path, name):
    talk = Talk(tmp_path, *[NO_USE[name]] * 4)
    proposer = talk.proposer(name)
    for _ in range(2):
        with pytest.raises(NoProposal):
            proposer.ask(talk.state)
    assert talk.requests[:2] == talk.requests[2:]


def test_every_ask_takes_its_own_calls_off_the_line_whatever_comes_of_it(tmp_path, name):
    talk = Talk(tmp_path, GOOD[name][0], NO_USE[name], NO_USE[name], NO_USE[name], GOOD[name][1])
    proposer = talk.proposer(name)
    counts = []
    for _ in range(3):
        counts.append([call.number for call in step(talk, proposer, 2.0).calls])
        assert talk.line.drain() == ()
    assert counts == [[0], [1, 2], [3, 4]]
    assert [call.number for call in talk.state.calls] == [0, 1, 2, 3, 4]


def test_a_model_that_cannot_be_asked_ends_the_asking_with_its_calls_on_the_line(tmp_path, name):
    for error, kind in (("unauthorized", ModelError), ("unreachable", Outage)):
        talk = Talk(tmp_path, {"error": error})
        with pytest.raises(kind):
            talk.proposer(name).ask(talk.state)
        assert [call.error for call in talk.line.drain()] == [error]


def test_a_stop_ends_the_asking(tmp_path, name):
    talk = Talk(tmp_path, GOOD[name][0] | {"seconds": 30})
    talk.stop = True
    with pytest.raises(Interrupted):
        talk.proposer(name).ask(talk.state)


def test_proposals_carry_what_a_record_needs(tmp_path, name):
    talk = Talk(tmp_path, *GOOD[name])
    proposer = talk.proposer(name)
    for _ in range(3):
        proposal = step(talk, proposer, 2.0)
        assert isinstance(proposal, Proposal)
        assert proposal.source == name and proposal.title and proposal.why
        assert "\n" not in proposal.title + proposal.why and len(proposal.title) <= 120
        assert bool(proposal.patch) != bool(proposal.constants)
        assert all(call.model == "replies.toml@scripted" for call in proposal.calls)


def test_an_answer_is_asked_for_once_and_put_right_once(tmp_path, name):
    talk = Talk(tmp_path, *[NO_USE[name]] * 9)
    step(talk, talk.proposer(name), 2.0)
    assert talk.purposes == ["propose", "repair"]


def test_without_a_model_or_a_session_with_one_it_does_not_begin(tmp_path, name):
    talk = Talk(tmp_path)
    with pytest.raises(UsageError, match=f"{name} asks a language model: name one with --model NAME@URL"):
        load(PROPOSERS, name, "proposer")(Setup(talk.space, 1))


def before_the_baseline(talk: Talk) -> State:
    return replace(talk.state, trials=(), best=None)


def test_a_rehearsal_renders_the_first_prompt_and_asks_nothing(tmp_path, name):
    talk = Talk(tmp_path)
    proposer = talk.proposer(name)
    assert isinstance(proposer, Rehearses)
    proposer.rehearse(before_the_baseline(talk))
    assert not talk.requests and not talk.notes and not talk.said


def test_a_context_too_small_for_the_first_prompt_is_found_by_the_rehearsal(tmp_path, name):
    for context in range(1024, 6000, 256):
        facts = FACTS.model_copy(update={"context_tokens": context, "max_output_tokens": 512})
        talk = Talk(tmp_path, NO_USE[name], NO_USE[name], facts=facts)
        talk.state = before_the_baseline(talk)
        assert too_long(talk.proposer(name).rehearse, talk.state) == too_long(talk.proposer(name).ask, talk.state)
    assert not too_long(talk.proposer(name).rehearse, talk.state)


def too_long(act: Callable[[State], object], state: State) -> bool:
    try:
        act(state)
    except PromptTooLong:
        return True
    except NoProposal:
        return False
    return False


def test_a_thousand_trials_make_an_ask_no_slower_than_two_seconds(tmp_path, name):
    talk = Talk(tmp_path, NO_USE[name], NO_USE[name])
    for number in range(1000):
        given = {"WIDTH": 32, "RATE": round(0.2 + number / 2000, 4), "MODE": "plain"}
        talk.close(Proposal(source=name, title=f"trial {number}", constants=given), 2.0)
    began = time.monotonic()
    step(talk, talk.proposer(name), 2.0)
    assert time.monotonic() - began < 2.0

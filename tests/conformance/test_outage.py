"""A model that does not answer, and a search over constants that goes on meanwhile."""

import re
from dataclasses import replace

import pytest
from talking import FACTS, RANGES, SCRIPT, Talk, patched, rate

from agent.calls import Call
from agent.errors import UsageError
from agent.models.base import Interrupted, ModelError
from agent.models.line import Outage
from agent.nouns import Proposal
from agent.prompts.render import PromptTooLong
from agent.proposers.base import NoProposal, Setup
from agent.proposers.instead import INSTEAD, DuringOutage
from agent.registry import PROPOSERS, load
from agent.space import Space, find_space

DOWN = {"error": "unreachable"}


def both(talk: Talk, primary: str = "code") -> DuringOutage:
    proposer = DuringOutage(talk.proposer(primary), load(PROPOSERS, INSTEAD, "proposer"), talk.setup)
    for trial in talk.state.trials:
        proposer.tell(trial)
    return proposer


def step(talk: Talk, proposer: DuringOutage, *measured: float) -> Proposal:
    proposal = proposer.ask(talk.state)
    proposer.tell(talk.close(proposal, *(measured or (2.0,))))
    return proposal


def test_during_an_outage_constants_are_searched_under_their_own_name(tmp_path):
    talk = Talk(tmp_path, DOWN, DOWN)
    proposer = both(talk)
    for number in range(2):
        proposal = step(talk, proposer)
        assert proposal.source == "pattern" and proposal.constants and not proposal.patch
        assert re.match(
            r"instead of code: the model has not answered since \d\d:\d\d; one constant moved", proposal.why
        )
        assert [(call.number, call.error) for call in proposal.calls] == [(number, "unreachable")]
    assert len(talk.notes) == 1 and "pattern proposes instead of code" in talk.notes[0]


def test_every_ask_tries_the_model_once_and_it_is_back_as_soon_as_it_answers(tmp_path):
    talk = Talk(tmp_path, DOWN, DOWN, rate(0.2), rate(0.3), DOWN)
    proposer = both(talk)
    assert [step(talk, proposer).source for _ in range(5)] == ["pattern", "pattern", "code", "code", "pattern"]
    assert [note.partition(":")[0] for note in talk.notes if "again" in note] == ["the model answers again"]
    assert len(talk.notes) == 3


def test_an_outage_has_one_beginning_however_long_it_is_and_whoever_resumes_in_it(tmp_path):
    talk = Talk(tmp_path, DOWN, DOWN)
    first = step(talk, both(talk)).why
    talk.state = replace(talk.state, at="2026-01-02T09:30:00+00:00")
    second = step(talk, both(talk)).why
    assert first.partition(";")[0] == second.partition(";")[0]
    assert len(talk.notes) == 1


def test_the_search_in_its_place_starts_from_the_code_as_the_model_left_it(tmp_path):
    talk = Talk(tmp_path, *[DOWN] * 12)
    changed = SCRIPT.replace("RATE = 0.1 ", "RATE = 0.3 ").replace('MODE = "plain"\n', "")
    talk.close(patched(SCRIPT, SCRIPT, changed), 0.5)
    proposer = both(talk)
    seen = set()
    for _ in range(10):
        proposal = step(talk, proposer)
        assert "MODE" not in proposal.constants
        assert proposal.constants["RATE"] == 0.3 or proposal.constants["WIDTH"] == 32, "one constant at a time"
        seen.add(tuple(proposal.constants.items()))
    assert len(seen) == 10 and "RATE 0.3 ->" in " ".join(t.proposal.title for t in talk.state.trials)


def test_what_the_search_learns_in_one_outage_it_knows_in_the_next(tmp_path):
    talk = Talk(tmp_path, DOWN, DOWN, rate(0.2), DOWN, DOWN)
    proposer = both(talk)
    proposals = [step(talk, proposer) for _ in range(5)]
    tried = [tuple(p.constants.items()) for p in proposals if p.source == "pattern"]
    assert len(set(tried)) == 4


def test_it_proposes_after_a_resume_what_it_would_have_proposed(tmp_path):
    talk = Talk(tmp_path, DOWN, rate(0.2), DOWN, DOWN, DOWN)
    live = both(talk)
    for _ in range(3):
        step(talk, live)
    again = both(talk).ask(talk.state)
    assert live.ask(talk.state).constants == again.constants


def test_what_a_model_writes_is_not_taken_for_our_own_words(tmp_path):
    talk = Talk(tmp_path, rate(0.3), DOWN)
    forged = "instead of code: the model has not answered since 03:00; "
    talk.close(patched(SCRIPT, "RATE = 0.1", "RATE = 0.2", why=forged), 2.0)
    proposer = both(talk)
    talk.close(proposer.ask(talk.state).model_copy(update={"why": forged}), 2.0)
    assert not talk.notes, "it had answered all the time"
    assert "03:00" not in proposer.ask(talk.state).why and len(talk.notes) == 1


def test_a_rehearsal_is_the_models(tmp_path):
    talk = Talk(tmp_path, facts=FACTS.model_copy(update={"context_tokens": 1024, "max_output_tokens": 1000}))
    for primary in ("code", "llm-constants"):
        with pytest.raises(PromptTooLong, match="serve it with a context of"):
            both(talk, primary).rehearse(talk.state)
    both(talk, "random").rehearse(talk.state)


@pytest.mark.parametrize("trouble", ["unauthorized", "no_model", "ended"])
def test_only_an_outage_is_bridged(tmp_path, trouble):
    talk = Talk(tmp_path, {"error": trouble})
    with pytest.raises(ModelError) as caught:
        both(talk).ask(talk.state)
    assert not isinstance(caught.value, Outage) and caught.value.trouble == trouble


def test_an_answer_that_is_no_use_is_no_outage(tmp_path):
    talk = Talk(tmp_path, {"content": "no"}, {"content": "no"})
    with pytest.raises(NoProposal):
        both(talk).ask(talk.state)


def test_a_stop_is_no_outage(tmp_path):
    talk = Talk(tmp_path, DOWN)
    talk.stop = True
    with pytest.raises(Interrupted):
        both(talk).ask(talk.state)


def test_when_the_constants_are_searched_too_the_outage_ends_the_run(tmp_path):
    talk = Talk(tmp_path, DOWN, DOWN)
    talk.setup = Setup(find_space({"train.py": 'MODE = "plain"\n'}, {"MODE": RANGES["MODE"]}), 1, talk.bench)
    proposer = both(talk)
    step(talk, proposer)
    with pytest.raises(Outage, match="all 2 configurations"):
        proposer.ask(talk.state)
    assert [call.error for call in talk.line.drain()] == ["unreachable"]


def test_an_outage_in_the_repair_round_keeps_the_calls_in_order(tmp_path):
    talk = Talk(tmp_path, {"content": "no"}, DOWN)
    calls: tuple[Call, ...] = both(talk).ask(talk.state).calls
    assert [(call.purpose, call.error) for call in calls] == [("propose", ""), ("repair", "unreachable")]


def test_a_script_without_constants_cannot_be_bridged_and_says_so_at_the_start(tmp_path):
    talk = Talk(tmp_path)
    talk.setup = Setup(Space(()), 1, talk.bench)
    with pytest.raises(UsageError, match="no constant to search"):
        both(talk)


def test_code_that_lost_all_its_constants_ends_the_bridging(tmp_path):
    talk = Talk(tmp_path, DOWN)
    talk.close(patched(SCRIPT, SCRIPT, "print(1)\n"), 0.5)
    with pytest.raises(Outage, match="pattern cannot go on"):
        both(talk).ask(talk.state)

"""One question to a model: what becomes of it where the server refuses it, or fails on it again and again."""

import json
from dataclasses import dataclass, field, replace

import pytest
from talking import FACTS, NONSENSE, Talk, rate

from agent.calls import ModelFacts
from agent.history.events import Voided
from agent.models.base import Interrupted, ModelError, Reply, Request, Trouble, Watch
from agent.models.line import Line, Patience
from agent.nouns import Proposal
from agent.proposers.base import NoProposal, Setup
from agent.proposers.dialogue import given_up, overflows

GOOD = json.dumps({"title": "wider", "why": "", "constants": {"WIDTH": 64}})
NASTY = "\x1b]0;owned\x07\ud800same"
REFUSED = "its grammar has no minimum (status 400)"


@dataclass
class Watching(Watch):
    """A watch whose time passes by sleeping only."""

    now: float = 0.0

    def __post_init__(self):
        self.clock = lambda: self.now
        self.began = 0.0

    def sleep(self, seconds):
        self.now += seconds
        self.check()


@dataclass
class Server:
    """A model that answers with `says(request)`, or raises what that returns."""

    says: object
    asked: list[Request] = field(default_factory=list)
    label: str = FACTS.label

    def complete(self, request, watch):
        self.asked.append(request)
        said = self.says(request)
        if isinstance(said, Exception):
            raise said
        return Reply(said)


def talk_to(tmp_path, says, facts: ModelFacts = FACTS, patience: float | None = None, **given) -> tuple[Talk, Server]:
    """A run whose model is a `Server`, and the server."""
    talk, server = Talk(tmp_path, facts=facts, **given), Server(says)
    talk.line = Line(server, Watching(deadline=lambda: 18000.0), Patience(patience))
    talk.bench = replace(talk.bench, line=talk.line)
    talk.setup = Setup(talk.space, 7, talk.bench)
    return talk, server


def failing(trouble: Trouble, words: str = "it failed") -> ModelError:
    return ModelError(words, trouble)


def asked(talk: Talk, name: str = "code") -> Proposal | NoProposal:
    """A proposal, or why there is none; then it is journalled."""
    try:
        return talk.proposer(name).ask(talk.state)
    except NoProposal as nothing:
        talk.void(nothing)
        return nothing


# what a model writes


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("llm-constants", json.dumps({"constants": {NASTY: 1}})),
        ("llm-constants", json.dumps({"title": NASTY, "why": NASTY, "constants": {"WIDTH": 32}})),
        ("code", json.dumps({"edits": [{"search": f"no such {NASTY}", "replace": "x"}]})),
        ("code", f"IDEA: {NASTY}\n\n<<<<<<< SEARCH\n{NASTY}\n=======\nx\n>>>>>>> REPLACE\n".replace("\ud800", "?")),
    ],
)
def test_nothing_that_a_model_writes_can_break_a_record_or_move_a_cursor(tmp_path, name, text):
    talk, _ = talk_to(tmp_path, lambda request: text)
    nothing = asked(talk, name)
    assert isinstance(nothing, NoProposal)
    written = Voided(**vars(nothing), seconds=1.0).model_dump_json()
    said = [nothing.title, nothing.reason, nothing.calls[-1].because, *talk.said]
    assert "\\u001b" not in written and not any(c < " " and c != "\n" for each in said for c in each)


# a schema that the server refuses


def without_schema(request: Request) -> str | ModelError:
    refused = request.schema is not None and "minimum" in json.dumps(request.schema)
    return failing(Trouble.BAD_REQUEST, REFUSED) if refused else GOOD


def test_a_schema_that_is_refused_is_left_out_from_then_on_and_that_is_noted(tmp_path):
    talk, server = talk_to(tmp_path, without_schema, FACTS.model_copy(update={"json_schema": True}))
    for _ in range(2):
        talk.close(asked(talk, "llm-constants"), 2.0)
        assert talk.state.trials[1].proposal.constants["WIDTH"] == 64
        server.says = lambda request: without_schema(request).replace("64", "128")
    assert [request.schema is None for request in server.asked] == [False, True, True]
    assert len(talk.notes) == 1 and REFUSED in talk.notes[0]


def test_a_refusal_that_is_not_the_schemas_leaves_the_schema_in(tmp_path):
    facts = FACTS.model_copy(update={"json_schema": True})
    talk, server = talk_to(tmp_path, lambda request: failing(Trouble.BAD_REQUEST), facts)
    assert asked(talk, "llm-constants").wrong == "bad_request"
    server.says = lambda request: GOOD
    asked(talk, "llm-constants")
    assert server.asked[-1].schema is not None


# questions that come to nothing by the server


@pytest.mark.parametrize("name", ["code", "llm-constants"])
def test_a_refused_prompt_is_put_shorter_and_then_given_up_and_only_the_third_in_a_row_ends_the_run(tmp_path, name):
    talk, server = talk_to(tmp_path, lambda request: failing(Trouble.BAD_REQUEST))
    for _ in range(2):
        nothing = asked(talk, name)
        assert nothing.wrong == "bad_request" and len(nothing.calls) == 3
    with pytest.raises(ModelError) as caught:
        talk.proposer(name).ask(talk.state)
    assert caught.value.trouble is Trouble.BAD_REQUEST


def test_an_answer_in_between_begins_the_count_anew(tmp_path):
    talk, server = talk_to(tmp_path, lambda request: failing(Trouble.BAD_REQUEST))
    asked(talk), asked(talk)
    assert given_up(talk.state) == 2
    talk.close(Proposal(source="code", title="t", constants={"RATE": 0.3}), 2.0)
    assert given_up(talk.state) == 0
    assert asked(talk).wrong == "bad_request" and given_up(talk.state) == 1
    talk.state = replace(talk.state, session_after=(len(talk.state.trials), len(talk.state.voids)))
    assert given_up(talk.state) == 0, "a resume is a fresh attempt"


@pytest.mark.parametrize("trouble", ["server", "cut", "garbage", "bad_request", "overflow"])
def test_a_repair_round_that_the_server_fails_on_costs_the_proposal_only(tmp_path, trouble):
    def says(request: Request) -> str | ModelError:
        again = any(message.role == "assistant" for message in request.messages)
        return failing(Trouble(trouble)) if again else NONSENSE["content"]

    talk, server = talk_to(tmp_path, says)
    assert asked(talk).wrong == "not_found"
    assert len(server.asked) <= 9


@pytest.mark.parametrize("trouble", [Trouble.SERVER, Trouble.CUT, Trouble.GARBAGE])
def test_a_prompt_that_always_fails_is_not_asked_for_ever(tmp_path, trouble):
    sizes: list[int] = []
    facts = FACTS.model_copy(update={"context_tokens": 8000, "max_output_tokens": 1024})

    def says(request: Request) -> str | ModelError:
        sizes.append(sum(len(message.content) for message in request.messages))
        return failing(trouble) if sizes[-1] == sizes[0] else rate(0.2)["content"]

    talk, server = talk_to(tmp_path, says, facts, brief="A long brief. " * 500)
    assert asked(talk).title == "a rate of 0.2"
    assert len(sizes) == 9 and any("may be too long" in note for note in talk.notes)
    server.says = lambda request: failing(trouble)
    assert asked(talk).wrong == trouble and len(sizes) == 9 and len(server.asked) == 9 + 3 * 8


def test_a_server_that_fails_on_everything_is_waited_for_and_journalled_in_portions(tmp_path):
    talk, server = talk_to(tmp_path, lambda request: failing(Trouble.SERVER))
    voids = []
    with pytest.raises(Interrupted):
        while True:
            voids.append(asked(talk))
    assert {void.wrong for void in voids} == {"server"} and len(voids) < 20
    assert max(len(void.calls) for void in voids) <= 50
    assert len({len(request.messages[-1].content) for request in server.asked[-60:]}) == 1, "not shortened any more"


def test_an_outage_of_the_network_is_journalled_in_portions_too_and_said_once(tmp_path):
    talk, server = talk_to(tmp_path, lambda request: failing(Trouble.UNREACHABLE))
    told = []
    talk.line._watch.say = told.append
    voids = []
    with pytest.raises(Interrupted):
        while True:
            voids.append(asked(talk))
    assert {(void.wrong, len(void.calls)) for void in voids} == {("unreachable", 50)}
    assert len(told) == 1 and len({request.messages for request in server.asked}) == 1


def test_patience_counts_over_questions_that_are_given_up(tmp_path):
    talk, _ = talk_to(tmp_path, lambda request: failing(Trouble.SERVER), patience=600.0)
    with pytest.raises(ModelError, match="has not answered for 10m"):
        while True:
            asked(talk)


# prompts that are too long


@pytest.mark.parametrize("context", [32768, 16384, 8192])
def test_a_model_that_thinks_has_room_for_a_prompt_in_half_its_context_too(tmp_path, context):
    facts = FACTS.model_copy(update={"context_tokens": context, "max_output_tokens": context // 2, "thinking": "text"})

    def says(request: Request) -> str | ModelError:
        return failing(Trouble.OVERFLOW) if request.max_tokens > 0.3 * context else rate(0.2)["content"]

    talk, server = talk_to(tmp_path, says, facts, brief="A long brief. " * 4000)
    assert isinstance(asked(talk), Proposal)
    assert [request.max_tokens for request in server.asked][-1] == context // 4


def test_an_answer_without_thinking_is_not_made_shorter_with_the_prompt(tmp_path):
    talk = Talk(tmp_path, {"error": "overflow"}, rate(0.2))
    asked(talk)
    assert len({request.max_tokens for request in talk.requests}) == 1


def test_a_later_session_looks_at_the_length_of_prompts_anew(tmp_path):
    talk = Talk(tmp_path, {"error": "overflow"}, rate(0.2))
    talk.close(asked(talk), 2.0)
    assert overflows(talk.state, FACTS.label) == 1
    talk.state = replace(talk.state, session_after=(len(talk.state.trials), len(talk.state.voids)))
    assert overflows(talk.state, FACTS.label) == 0


# thinking


@pytest.mark.parametrize("think", [None, False])
def test_a_model_thinks_in_the_run_as_it_did_when_it_was_tried(tmp_path, think):
    facts = FACTS.model_copy(update={"think": think, "thinking": "template"})
    talk = Talk(tmp_path, rate(0.2), rate(0.2), facts=facts)
    asked(talk)
    assert talk.requests[0].think is think
    assert len(talk.requests) == (2 if think is None else 1), "without thinking there is no closing tag to wait for"

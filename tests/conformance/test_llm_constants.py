"""`llm-constants`: what counts as an answer, and what becomes of values that are none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talking import FACTS, RANGES, SCRIPT, Talk, patched

from agent.edits.blocks import Answer
from agent.edits.errors import EditError, Wrong
from agent.errors import UsageError
from agent.nouns import Proposal
from agent.proposers.base import Exhausted, NoProposal, Setup
from agent.proposers.llm_constants import LlmConstants
from agent.proposers.values_answer import read_values
from agent.space import Space, find_space

SPACE = find_space({"train.py": SCRIPT}, RANGES)
GOOD = {"WIDTH": 64, "RATE": 0.05, "MODE": "gated"}


def reply(constants: dict | None = None, **more: str) -> dict[str, str]:
    return {"content": json.dumps({"title": "wider", "why": "more room", "constants": constants or GOOD})} | more


def asked(talk: Talk) -> Proposal:
    return talk.proposer("llm-constants").ask(talk.state)


def void_of(talk: Talk) -> NoProposal:
    with pytest.raises(NoProposal) as caught:
        asked(talk)
    return caught.value


def test_an_answer_sets_every_constant(tmp_path):
    talk = Talk(tmp_path, reply())
    proposal = asked(talk)
    assert proposal.constants == GOOD and not proposal.patch
    assert proposal.source == "llm-constants" and "WIDTH 32 -> 64" in proposal.title
    assert proposal.why == "wider: more room"
    assert [call.purpose for call in proposal.calls] == ["propose"] and talk.line.drain() == ()


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        json.dumps({"constants": GOOD}, indent=2),
        f"Here is what I would try:\n```json\n{json.dumps({'constants': GOOD})}\n```\nGood luck!",
        f'<think>perhaps {{"WIDTH": 8}}?</think>\n{json.dumps(GOOD)}',
        f"{json.dumps(GOOD)}\n\nAgain: {json.dumps(GOOD)}",
        f"{json.dumps(GOOD)}<|im_end|>",
    ],
)
def test_the_object_is_found_however_it_is_wrapped(tmp_path, text):
    assert asked(Talk(tmp_path, {"content": text})).constants == GOOD


def test_an_answer_that_a_server_took_for_thinking_counts_if_it_is_nothing_but_the_object(tmp_path):
    assert asked(Talk(tmp_path, {"reasoning": json.dumps(GOOD)})).constants == GOOD
    thoughts = {"reasoning": f"perhaps {json.dumps(GOOD)}"}
    assert void_of(Talk(tmp_path, thoughts, thoughts)).wrong == Wrong.EMPTY


def test_values_outside_their_ranges_are_clamped_and_counted(tmp_path):
    proposal = asked(Talk(tmp_path, reply({"WIDTH": 4096, "RATE": -3, "MODE": "gated"})))
    assert proposal.constants == {"WIDTH": 256, "RATE": 0.001, "MODE": "gated"}
    assert "2 values clamped to their ranges" in proposal.why


def test_values_between_those_there_are_are_rounded_and_counted(tmp_path):
    proposal = asked(Talk(tmp_path, reply({"WIDTH": 100, "RATE": 0.050001, "MODE": "gated"})))
    assert proposal.constants == {"WIDTH": 128, "RATE": 0.05, "MODE": "gated"}
    assert "1 value rounded" in proposal.why and "clamped" not in proposal.why


AS_IT_IS = {"WIDTH": 512, "RATE": 0.123456, "MODE": "plain"}  # beyond its range, and between the values there are


def test_a_value_that_a_constant_has_now_stays_and_is_neither_moved_nor_counted(tmp_path):
    script = SCRIPT.replace("WIDTH = 32", "WIDTH = 512").replace("RATE = 0.1 ", "RATE = 0.123456 ")
    proposal = asked(Talk(tmp_path, reply(AS_IT_IS | {"MODE": "gated"}), script=script))
    assert proposal.constants == AS_IT_IS | {"MODE": "gated"} and proposal.why == "wider: more room"
    assert "RATE" not in proposal.title and "WIDTH" not in proposal.title
    nothing = void_of(Talk(tmp_path, reply(AS_IT_IS), reply(AS_IT_IS), script=script))
    assert (nothing.wrong, nothing.same_as) == ("duplicate", 0)


def test_a_choice_that_is_none_of_the_choices_may_stay(tmp_path):
    script = SCRIPT.replace('MODE = "plain"', 'MODE = "own"')
    proposal = asked(Talk(tmp_path, reply(GOOD | {"MODE": "own"}), script=script))
    assert proposal.constants == GOOD | {"MODE": "own"}


def test_what_is_not_named_stays_as_it_is(tmp_path):
    assert asked(Talk(tmp_path, reply({"RATE": 0.05}))).constants == {"WIDTH": 32, "RATE": 0.05, "MODE": "plain"}


@pytest.mark.parametrize(
    ("text", "wrong", "sentence"),
    [
        ("I would try a wider network.", Wrong.NO_EDIT, "JSON"),
        ('{"WIDTH": 64', Wrong.NO_EDIT, "JSON"),
        ('{"DEPTH": 3}', Wrong.VALUE, "DEPTH"),
        ('{"WIDTH": "64"}', Wrong.VALUE, "must be a number"),
        ('{"WIDTH": true}', Wrong.VALUE, "must be a number"),
        ('{"RATE": NaN}', Wrong.VALUE, "must be a number"),
        ('{"RATE": null}', Wrong.VALUE, "must be a number"),
        ('{"MODE": "fancy"}', Wrong.VALUE, 'one of "plain", "gated"'),
        ('{"constants": []}', Wrong.VALUE, "must be an object"),
        ('{"title": "nothing"}', Wrong.VALUE, "names no constant"),
        ('{"WIDTH": 64} or {"WIDTH": 128}', Wrong.AMBIGUOUS, "several"),
        ('{"WIDTH": 64, "WIDTH": 128}', Wrong.CONFLICT, "two different values"),
        ('{"WIDTH": 32}', Wrong.DUPLICATE, "trial 0"),
    ],
)
def test_an_unusable_answer_goes_back_once_and_is_void_then_never_a_random_point(tmp_path, text, wrong, sentence):
    talk = Talk(tmp_path, {"content": text}, {"content": text})
    nothing = void_of(talk)
    assert nothing.wrong == wrong and sentence in nothing.reason
    assert sentence in talk.requests[1].messages[-1].content and talk.requests[1].temperature <= 0.3
    assert [call.purpose for call in nothing.calls] == ["propose", "repair"] and talk.line.drain() == ()
    assert asked(Talk(tmp_path, {"content": text}, reply())).constants == GOOD


def test_a_configuration_that_was_tried_is_refused_with_its_trial(tmp_path):
    talk = Talk(tmp_path, reply(), reply(), reply())
    talk.close(asked(talk), 2.0)
    nothing = void_of(talk)
    assert (nothing.wrong, nothing.same_as) == ("duplicate", 1) and "trial 1" in nothing.reason


def test_a_configuration_in_training_is_refused_too(tmp_path):
    talk = Talk(tmp_path, reply(), reply(), reply())
    talk.open(asked(talk))
    assert void_of(talk).same_as == 1


def test_the_schema_is_sent_only_where_the_server_holds_the_model_to_it(tmp_path):
    talk = Talk(tmp_path, {"content": "?"}, reply(), facts=FACTS.model_copy(update={"json_schema": True}))
    asked(talk)
    assert all("WIDTH" in json.dumps(request.schema) for request in talk.requests)
    talk = Talk(tmp_path, {"content": "?"}, reply())
    asked(talk)
    assert all(request.schema is None for request in talk.requests)


def test_constants_that_a_change_of_code_set_or_took_away_are_taken_as_they_are(tmp_path):
    talk = Talk(tmp_path, reply({"WIDTH": 64}), reply({"MODE": "gated"}), reply({"MODE": "gated"}))
    changed = SCRIPT.replace("RATE = 0.1 ", "RATE = 0.3 ").replace('MODE = "plain"\n', "")
    talk.close(patched(SCRIPT, SCRIPT, changed), 0.5)
    assert asked(talk).constants == {"WIDTH": 64, "RATE": 0.3}
    assert void_of(talk).wrong == Wrong.VALUE, "the code has no MODE any more"
    assert '"RATE": 0.3' in talk.conversation(0) and '"MODE": <value>' not in talk.conversation(0)


def test_a_space_that_is_searched_to_its_end_says_so(tmp_path):
    talk = Talk(tmp_path, {"content": '{"MODE": "gated"}'})
    talk.setup = Setup(find_space({"train.py": SCRIPT}, {"MODE": RANGES["MODE"]}), 1, talk.bench)
    talk.close(asked(talk), 2.0)
    with pytest.raises(Exhausted, match="all 2 configurations"):
        asked(talk)


def test_code_without_any_of_the_constants_ends_the_search(tmp_path):
    talk = Talk(tmp_path)
    talk.close(patched(SCRIPT, SCRIPT, "print(1)\n"), 0.5)
    with pytest.raises(Exhausted, match="none of the constants"):
        asked(talk)


def test_a_search_that_keeps_nothing_is_asked_for_other_values(tmp_path):
    talk = Talk(tmp_path, *[reply({"RATE": (n + 2) / 1000}) for n in range(7)])
    for _ in range(6):
        talk.close(asked(talk), 2.0)
    asked(talk)
    assert [request.temperature for request in talk.requests] == [0.7] * 6 + [1.0]


def test_a_space_without_constants_and_a_run_without_a_model_are_the_users_mistake(tmp_path):
    talk = Talk(tmp_path)
    with pytest.raises(UsageError, match="no constant to search"):
        LlmConstants(Setup(Space(()), 1, talk.bench))
    with pytest.raises(UsageError, match="--model NAME@URL"):
        LlmConstants(Setup(talk.space, 1))


NAMES = st.sampled_from(["WIDTH", "RATE", "MODE", "constants", "title", "why", "DEPTH"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["plain", "gated", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@given(JSON.map(json.dumps) | st.text(alphabet='{}[]":,.0159eE- truefalsnWIDTH\n`<>/think'))
def test_any_answer_is_a_point_of_the_space_or_an_edit_error(text):
    try:
        values = read_values(Answer(text), SPACE, {"train.py": SCRIPT}, SPACE.own)
    except EditError:
        return
    assert values.constants
    assert all(knob.contains(values.constants.get(knob.name, knob.value)) for knob in SPACE.knobs)

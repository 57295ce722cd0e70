"""Preflight against a server with manners: what it finds by trying, and the sentence for each way a model is unfit."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from kit import Desk
from preflight_server import Persona, serving

from agent.calls import Contract, ModelFacts
from agent.doctor_model import examine_model
from agent.errors import UsageError
from agent.knobs import Range
from agent.models.base import Interrupted, ModelError, Trouble, Watch
from agent.models.choose import open_model
from agent.models.config import ModelConfig
from agent.models.form_probe import pick
from agent.models.listing import Listed, list_models
from agent.models.preflight import preflight, proposal_seconds, scripted_facts
from agent.prompts.values import constants_schema
from agent.space import find_space


def look(persona: Persona, watch: Watch | None = None, seconds: float = 90.0, **stated: Any) -> ModelFacts:
    """The facts of this persona's model, asked for as `tiny`."""
    with serving(persona) as url:
        config = ModelConfig(model="tiny", url=url, **stated)
        return preflight(open_model(config, 0), config, watch or Watch(), seconds)


def note(facts: ModelFacts, topic: str) -> str:
    """The finding on a topic; empty for none."""
    return next((said.partition(": ")[2] for said in facts.notes if said.startswith(f"{topic}: ")), "")


def hurried(times: float) -> Watch:
    """A watch whose clock runs so many times faster, so that a test of a slow model is quick."""
    return Watch(clock=lambda: times * time.monotonic())


# the context


@pytest.mark.parametrize(("over", "least", "most"), [("cut", 9_000, 10_000), ("halve", 9_000, 10_000)])
def test_a_prompt_cut_in_silence_lowers_the_context(over: Any, least: int, most: int) -> None:
    facts = look(Persona(context=10_000, over=over))
    assert least <= facts.context_tokens <= most
    assert "without a word" in note(facts, "context")


@pytest.mark.parametrize("over", ["cut", "halve"])
def test_a_context_too_short_and_cut_in_silence_is_refused_with_the_fix(over: Any) -> None:
    ollama = {"id": "tiny", "owned_by": "library"}
    with pytest.raises(UsageError, match=r"at about (3,[89]|4,0)\d\d tokens .* OLLAMA_CONTEXT_LENGTH=32768"):
        look(Persona(context=4_096, over=over, listed=(ollama,)))


def test_a_cut_is_found_even_where_the_server_lists_a_longer_context() -> None:
    facts = look(Persona(context=7_000, over="cut", listed=({"id": "tiny", "max_model_len": 32_768},)))
    assert 6_500 <= facts.context_tokens <= 7_000
    assert "though it lists 32,768" in note(facts, "context")


def test_a_cut_shows_without_token_counts_if_the_model_loses_the_word() -> None:
    facts = look(Persona(context=10_000, over="cut", usage=False))
    assert 9_000 <= facts.context_tokens <= 11_000  # by our own count


def test_a_listed_context_is_taken_once_a_prompt_has_arrived_whole() -> None:
    persona = Persona(context=65_536, listed=({"id": "tiny", "max_model_len": 65_536},))
    facts = look(persona)
    assert facts.context_tokens == 65_536
    assert "as the server lists; a prompt of" in note(facts, "context")


def test_the_context_of_the_training_is_no_context() -> None:
    """llama.cpp lists both; only `n_ctx` is what it serves."""
    entries = ({"id": "a", "meta": {"n_ctx_train": 131_072}}, {"id": "b", "meta": {"n_ctx_train": 1, "n_ctx": 8_192}})
    with serving(Persona(listed=entries)) as url:
        assert list_models(url) == (Listed("a"), Listed("b", 8_192))


def test_a_refusal_tells_the_context() -> None:
    facts = look(Persona(context=9_999))
    assert facts.context_tokens == 9_999


def test_a_refusal_without_a_number_is_narrowed_down() -> None:
    facts = look(Persona(context=10_000, over="refuse without a number"))
    assert 9_200 <= facts.context_tokens <= 10_000


def test_a_context_that_cannot_be_tried_is_called_a_guess() -> None:
    assert "a guess" in note(look(Persona(usage=False, recalls=False)), "context")


def test_a_short_honest_context_is_no_failure() -> None:
    facts = look(Persona(context=2_048, long_answers=False, listed=({"id": "tiny", "max_model_len": 2_048},)))
    assert facts.context_tokens == 2_048
    assert facts.max_output_tokens <= 1_024


def test_a_context_too_short_for_any_prompt_is_refused() -> None:
    with pytest.raises(UsageError, match="even a short prompt does not fit"):
        look(Persona(context=300))


def test_a_stated_context_is_not_tried() -> None:
    persona = Persona(context=4_096, over="cut")
    facts = look(persona, context_tokens=4_000)
    assert facts.context_tokens == 4_000
    assert note(facts, "context") == "4,000 tokens: as agent.toml says"
    assert max(len(asked["messages"][-1]["content"]) for asked in persona.asked) < 4_000


def test_characters_a_token_are_measured() -> None:
    assert look(Persona()).chars_per_token == pytest.approx(3.2, rel=0.02)


def test_a_slow_reader_is_not_sent_the_longest_prompt() -> None:
    persona = Persona(read_rate=16_000)
    facts = look(persona, hurried(20))
    assert max(len(asked["messages"][-1]["content"]) for asked in persona.asked) < 40_000
    assert "too long to try" in note(facts, "context")


# the form of edits


@pytest.mark.parametrize(
    ("good", "contract"),
    [
        ({"blocks": 3}, Contract.BLOCKS),
        ({"blocks": 2}, Contract.FEW_BLOCKS),
        ({"blocks": 1, "set": 3}, Contract.SET),
        ({"set": 2}, Contract.SET),
    ],
)
def test_the_contract_is_the_strongest_form_that_is_kept(good: dict[str, int], contract: Contract) -> None:
    facts = look(Persona(good=good))
    assert facts.contract is contract
    assert f"kept in {max(good.values())} of 3 tries" in note(facts, "edits")


@pytest.mark.parametrize(
    ("kept", "tries", "contract"),
    [
        (3, 3, Contract.BLOCKS),
        (2, 2, Contract.BLOCKS),
        (2, 3, Contract.FEW_BLOCKS),
        (1, 1, Contract.FEW_BLOCKS),
        (1, 2, None),
        (1, 3, None),
        (0, 1, None),
    ],
)
def test_fewer_tries_prove_less(kept: int, tries: int, contract: Contract | None) -> None:
    assert pick(kept, tries) is contract


def test_a_model_that_keeps_no_form_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"blocks in 0 of 3 tries \(The answer holds no edit\).* take a larger model"):
        look(Persona(good={}))


def test_a_change_of_something_else_is_not_the_task() -> None:
    other = "IDEA: more steps\n\n<<<<<<< SEARCH\nSTEPS = 200\n=======\nSTEPS = 300\n>>>>>>> REPLACE\n"
    with pytest.raises(UsageError, match="it changes something else than"):
        look(Persona(good={}, bad=other))


@pytest.mark.parametrize("contract", list(Contract))
def test_a_stated_contract_is_tried_once_and_taken(contract: Contract) -> None:
    persona = Persona(good={})
    facts = look(persona, contract=contract)
    assert facts.contract is contract
    assert sum(persona.tried.values()) == 1
    assert note(facts, "edits").endswith("as agent.toml says; kept in 0 of 1 tries (The answer holds no edit)")


@pytest.mark.parametrize("contract", list(Contract))
def test_every_form_can_be_kept(contract: Contract) -> None:
    assert "kept in 1 of 1 tries" in note(look(Persona(), contract=contract), "edits")


# the length of the answer


def test_an_answer_longer_than_the_server_grants_is_shortened() -> None:
    facts = look(Persona(most_tokens=2_000))
    assert 1_000 <= facts.max_output_tokens <= 2_000


def test_prompt_and_longest_answer_fit_the_context() -> None:
    facts = look(Persona(context=6_500, long_answers=False, thinking="reasoning"))
    assert facts.max_output_tokens <= facts.context_tokens / 2


def test_a_stated_length_is_asked_for() -> None:
    persona = Persona()
    facts = look(persona, max_output_tokens=777)
    assert facts.max_output_tokens == 777
    assert 777 in {asked["max_tokens"] for asked in persona.asked}


def test_another_refusal_is_passed_on_in_the_words_of_the_server() -> None:
    persona = Persona(no_system=True)
    with pytest.raises(ModelError, match="System role not supported"):
        look(persona)
    assert sum(asked["messages"][0]["role"] == "system" for asked in persona.asked) == 1


# thinking


@pytest.mark.parametrize("thinking", ["none", "reasoning", "reasoning_content", "text", "template"])
def test_thinking_is_found_where_it_comes_back(thinking: Any) -> None:
    facts = look(Persona(thinking=thinking, stubborn=True))
    assert facts.thinking == thinking
    assert facts.contract is Contract.BLOCKS


def test_a_thinking_model_gets_room_to_think() -> None:
    assert look(Persona(thinking="text")).max_output_tokens > 3 * look(Persona()).max_output_tokens


def test_a_model_that_thinks_too_long_is_tried_without_thinking() -> None:
    persona = Persona(thinking="reasoning", thoughts=30_000, good={"blocks": 9})
    facts = look(persona)
    assert facts.thinking == "reasoning"
    assert facts.contract is Contract.BLOCKS
    assert "thinking turned off" in note(facts, "edits")
    assert facts.think is False, "or the run would let it think"
    assert look(Persona(thinking="reasoning")).think is None


def test_thinking_is_found_even_if_no_answer_comes_in_time() -> None:
    persona = Persona(thinking="reasoning", thoughts=30_000, good={"blocks": 9}, write_rate=500)
    facts = look(persona, hurried(30), context_tokens=60_000)
    assert facts.thinking == "reasoning"
    assert facts.contract is Contract.BLOCKS


# the name, the key, the schema, the speed


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ModelError, match=r"no model 'tiny': did you mean 'tiny-2b'\? It has tiny-2b, other$") as caught:
        look(Persona(model="tiny-2b", listed=({"id": "tiny-2b"}, {"id": "other"})))
    assert caught.value.trouble is Trouble.NO_MODEL


def test_a_server_that_answers_any_name_is_told_of() -> None:
    facts = look(Persona(model="other", any_name=True, listed=({"id": "other"},)))
    assert note(facts, "model").startswith("the server lists other, not 'tiny', and answers all the same")


@pytest.mark.parametrize("listed", [None, ()])
def test_a_server_without_a_list_is_no_failure(listed: Any) -> None:
    assert "lists no names" in note(look(Persona(listed=listed)), "model")


def test_a_listed_name_needs_no_note() -> None:
    assert note(look(Persona(listed=({"id": "tiny:latest"},))), "model") == ""


def test_a_wrong_key_stops_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        look(Persona(key="secret"))
    assert caught.value.trouble is Trouble.UNAUTHORIZED


def test_nobody_there_is_said_at_once() -> None:
    with serving(Persona()) as url:
        pass
    config = ModelConfig(model="tiny", url=url)
    with pytest.raises(ModelError, match="nobody listens") as caught:
        preflight(open_model(config, 0), config, Watch())
    assert caught.value.trouble is Trouble.UNREACHABLE


def test_a_model_that_is_being_loaded_is_waited_for() -> None:
    assert look(Persona(failures=[503, 503])).contract is Contract.BLOCKS


@pytest.mark.parametrize(("schema", "held"), [("follows", True), ("ignores", False), ("rejects", False)])
def test_a_schema_counts_only_if_it_makes_json_of_a_plain_sentence(schema: Any, held: bool) -> None:
    assert look(Persona(schema=schema)).json_schema is held


def test_the_schema_that_is_tried_has_what_a_schema_of_constants_has() -> None:
    persona = Persona()
    look(persona)
    (tried,) = [json.dumps(asked["response_format"]) for asked in persona.asked if "response_format" in asked]
    kinds = {
        "A": Range(low=1, high=9),
        "B": Range(low=0.1, high=0.9),
        "C": Range(choices=("x", "y")),
        "D": Range(low=2, high=8, pow2=True),
    }
    real = constants_schema(find_space({"train.py": 'A = 2\nB = 0.5\nC = "x"\nD = 4\n'}, kinds))
    assert set(re.findall(r'"(\w+)": [^"]', json.dumps(real))) - set("ABCD") - {"title", "constants"} <= set(
        re.findall(r'"(\w+)": [^"]', tried)
    )


def test_speed_is_measured_from_the_first_token_on() -> None:
    facts = look(Persona(write_rate=200, read_rate=4_000), context_tokens=30_000)
    assert facts.tokens_per_second == pytest.approx(200, rel=0.4)


# time, and the doctor


def test_it_ends_in_time_with_a_model_that_never_ends() -> None:
    persona = Persona(thinking="text", thoughts=1_000_000, stubborn=True, write_rate=400)
    began = time.monotonic()
    with pytest.raises(UsageError, match="its answer did not come to an end"):
        look(persona, hurried(4), seconds=12, context_tokens=60_000)
    assert time.monotonic() - began < 12 / 4 + 10 * 2 / 4 + 2


def test_it_can_be_interrupted() -> None:
    end = time.monotonic() + 0.5
    with pytest.raises(Interrupted):
        look(Persona(read_rate=50), Watch(deadline=lambda: end))
    assert time.monotonic() < end + 3


def test_canned_replies_are_not_used_up() -> None:
    config = ModelConfig(model="demo", script="demo", context_tokens=9_000)
    model = open_model(config, 0)
    facts = preflight(model, config, Watch())
    assert facts == scripted_facts("demo@scripted", config)
    assert (facts.label, facts.context_tokens) == ("demo@scripted", 9_000)


def test_a_slower_model_takes_longer_and_a_thinking_one_longest() -> None:
    fast, slow = (ModelFacts(name="m", endpoint="e", tokens_per_second=rate) for rate in (100.0, 10.0))
    thinking = slow.model_copy(update={"thinking": "text"})
    seconds = [proposal_seconds(facts) for facts in (fast, slow, thinking)]
    assert None not in seconds
    assert seconds == sorted(seconds, key=lambda value: value or 0.0)
    assert proposal_seconds(ModelFacts(name="m", endpoint="e")) is None


def test_doctor_ends_with_the_sentence_and_exit_code_1(tmp_path: Path) -> None:
    with serving(Persona(good={})) as url:
        said = Desk(tmp_path / "desk").agent("doctor", "--model", f"tiny@{url}", code=1)
    assert said.err.count("\n") == 1
    assert "keeps no form of edits" in said.err
    assert "!!  model" in said.out


def test_the_doctor_shows_each_finding_or_the_one_sentence() -> None:
    with serving(Persona()) as url:
        rows = examine_model(ModelConfig(model="tiny", url=url))
    assert [row.name.strip() for row in rows] == ["model", "context", "answer", "thinking", "edits", "speed", "json"]
    assert all(row.fine for row in rows)
    (row,) = examine_model(ModelConfig(model="tiny", url=url))
    assert row.needed and not row.fine
    assert "nobody listens" in row.advice

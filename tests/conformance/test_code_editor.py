"""`code`: what it asks, what it makes of answers, and how it goes on when it goes badly."""

import time
from dataclasses import replace

import pytest
from talking import FACTS, NONSENSE, SCRIPT, Talk, crashed, edit, measurement, patched, rate

from agent.calls import Contract
from agent.code import patch
from agent.edits.errors import Wrong
from agent.errors import UsageError
from agent.models.base import Interrupted, ModelError, Trouble
from agent.models.config import ModelConfig
from agent.nouns import Decision, Proposal
from agent.prompts.render import PromptTooLong
from agent.proposers.base import NoProposal, Setup
from agent.proposers.code_editor import CodeEditor
from sandbox.spec import Outcome

RELU, SILU = "    return max(x, 0.0)", "    return x / (1.0 + math.exp(-x))"
WARP, WARM = "    return warp(x, 0.0)", "    return max(x, 0.1)"


def asked(talk: Talk, editor: CodeEditor | None = None) -> Proposal:
    return (editor or talk.proposer()).ask(talk.state)


def void_of(talk: Talk, editor: CodeEditor | None = None) -> NoProposal:
    with pytest.raises(NoProposal) as caught:
        asked(talk, editor)
    talk.void(caught.value)
    return caught.value


def discarded(talk: Talk, count: int) -> None:
    for number in range(count):
        talk.close(patched(talk.script(talk.state.best), "0.1", f"0.2{number}"), 2.0)


def test_an_edit_becomes_a_patch_of_the_champions_code_with_its_idea_and_its_call(tmp_path):
    talk = Talk(tmp_path, edit(RELU, SILU, "smooth activation", "gradients do not vanish below 0"))
    proposal = asked(talk)
    after = patch(talk.codes[0], proposal.patch)["train.py"].decode()
    assert after == SCRIPT.replace(RELU, SILU)
    assert (proposal.source, proposal.title, proposal.parent) == ("code", "smooth activation", None)
    assert proposal.why == "gradients do not vanish below 0" and not proposal.constants
    assert [call.purpose for call in proposal.calls] == ["propose"]
    assert talk.line.drain() == ()
    assert SCRIPT.strip() in talk.conversation(0)


def test_an_answer_that_does_not_apply_goes_back_once_with_the_nearest_lines(tmp_path):
    talk = Talk(tmp_path, edit("    return max(x, 0)", SILU), edit(RELU, SILU))
    proposal = asked(talk)
    first, second = talk.requests
    assert [call.purpose for call in proposal.calls] == ["propose", "repair"]
    assert second.messages[: len(first.messages)] == first.messages
    assert [m.role for m in second.messages[-2:]] == ["assistant", "user"]
    assert RELU.strip() in second.messages[-1].content
    assert second.temperature <= 0.3 < first.temperature and second.think is False


def test_after_the_repair_round_there_is_no_proposal_and_why_is_said(tmp_path):
    talk = Talk(tmp_path, NONSENSE, edit("nor this one", "other", "another idea"))
    nothing = void_of(talk)
    assert (nothing.source, nothing.wrong, nothing.title, nothing.parent) == ("code", "not_found", "another idea", 0)
    assert "nor this one" in nothing.reason
    assert [call.purpose for call in nothing.calls] == ["propose", "repair"] and talk.line.drain() == ()


@pytest.mark.parametrize(
    ("reply", "wrong"),
    [
        (edit(RELU, SILU) | {"finish_reason": "length"}, Wrong.TRUNCATED),
        ({"reasoning": "I could change the rate."}, Wrong.EMPTY),
        ({"content": "<think>perhaps\n" + edit(RELU, SILU)["content"]}, Wrong.EMPTY),
        ({"content": "I cannot help with that."}, Wrong.NO_EDIT),
        (edit(RELU, "    return warp(x)"), Wrong.UNDEFINED),
        (edit(RELU, "    return (x"), Wrong.SYNTAX),
        (edit("import math", "import math\nimport no_such_module"), Wrong.IMPORT),
        (edit("import math", "import math  # and more"), Wrong.NOOP),
        (edit(RELU, RELU), Wrong.NOOP),
        (edit(RELU, "    # ... rest of the code unchanged"), Wrong.LAZY),
    ],
)
def test_what_cannot_be_trained_is_void_and_never_a_proposal(tmp_path, reply, wrong):
    talk = Talk(tmp_path, reply, reply)
    assert void_of(talk).wrong == wrong
    roles = [message.role for message in talk.requests[1].messages]
    assert all(a != b for a, b in zip(roles, roles[1:], strict=False)), "chat templates refuse two of one role"


def test_half_an_answer_and_thoughts_are_not_shown_to_the_model_again(tmp_path):
    talk = Talk(tmp_path, {"content": "half of it", "finish_reason": "length"}, edit(RELU, SILU))
    asked(talk)
    assert "half of it" not in talk.conversation(1) and "cut" in talk.conversation(1)


def test_where_the_template_opens_the_thinking_only_what_follows_it_counts(tmp_path):
    facts = FACTS.model_copy(update={"thinking": "template"})
    draft = edit(RELU, "    return 0.0")["content"]
    talk = Talk(tmp_path, {"content": f"{draft}\n</think>\n{rate(0.2)['content']}"}, facts=facts)
    assert asked(talk).title == "a rate of 0.2"
    talk = Talk(tmp_path, {"content": draft}, rate(0.2), facts=facts)
    assert asked(talk).title == "a rate of 0.2", "a repair without thinking has no closing tag"


def test_the_code_of_an_earlier_trial_in_other_words_is_refused_with_its_fate(tmp_path):
    again = edit("RATE = 0.1  # learning rate", "# lower\nRATE = 5e-2", "a lower rate")
    talk = Talk(tmp_path, again, again)
    talk.close(patched(SCRIPT, "RATE = 0.1 ", "RATE = 0.05 "), 2.0)
    nothing = void_of(talk)
    assert (nothing.wrong, nothing.same_as, nothing.title) == ("duplicate", 1, "a lower rate")
    assert "trial 1" in talk.requests[1].messages[-1].content


def test_an_open_trials_code_is_not_proposed_again(tmp_path):
    talk = Talk(tmp_path, rate(0.2), rate(0.2), rate(0.3))
    talk.open(asked(talk))
    assert asked(talk).title == "a rate of 0.3"


def test_three_unusable_answers_in_a_row_lead_to_a_simpler_form_which_is_noted_once(tmp_path):
    talk = Talk(tmp_path, *[NONSENSE] * 20)
    editor = talk.proposer()
    for _ in range(3):
        void_of(talk, editor)
    assert not talk.notes
    void_of(talk, editor)
    void_of(talk, editor)
    assert len(talk.notes) == 1 and "small" in talk.notes[0]
    assert "with one block, or two at most" in talk.conversation(6)
    void_of(talk, editor)
    void_of(talk, editor)
    assert len(talk.notes) == 2 and "SET NAME = value" in talk.conversation(12)


def test_ideas_that_are_not_new_do_not_make_the_form_simpler(tmp_path):
    talk = Talk(tmp_path, *[edit(RELU, RELU)] * 10)
    for _ in range(5):
        assert void_of(talk).wrong == "noop"
    assert not talk.notes and "at most five" in talk.conversation(8)


@pytest.mark.parametrize("flood", ["\n" * 48_000 + "IDEA", "IDEA" + "\n" * 48_000, "IDEA:" * 10_000, "-" * 48_000])
def test_a_flood_of_characters_is_read_at_once(tmp_path, flood):
    talk = Talk(tmp_path, {"content": flood}, {"content": flood})
    began = time.monotonic()
    void_of(talk)
    assert time.monotonic() - began < 4.0


def test_a_model_that_cannot_see_the_code_is_asked_for_set_lines(tmp_path):
    script = SCRIPT + "# " + "a long story " * 1000 + "\n"
    facts = FACTS.model_copy(update={"context_tokens": 4096, "max_output_tokens": 1024})
    talk = Talk(tmp_path, {"content": "IDEA: lower\nSET RATE = 0.05\n"}, script=script, facts=facts)
    proposal = asked(talk)
    assert b"RATE = 0.05  # learning rate" in patch(talk.codes[0], proposal.patch)["train.py"]
    assert len(talk.notes) == 1 and "SET lines" in talk.notes[0]
    assert "FUNCTION" not in talk.conversation(0), "a function that it cannot see"


def test_how_long_nothing_was_kept_is_said_as_it_is(tmp_path):
    talk = Talk(tmp_path, rate(0.77))
    discarded(talk, 5)
    talk.close(patched(SCRIPT, "WIDTH = 32", "WIDTH = 64"), 0.5)
    for _ in range(6):
        talk.void(NoProposal("code", "duplicate", "the same code as trial 1"))
    asked(talk)
    assert "The last 6 attempts brought nothing." in talk.conversation(0)


def test_what_the_model_did_not_do_is_not_held_against_it(tmp_path):
    talk = Talk(tmp_path, rate(0.2))
    for wrong in ("interrupted", "unreachable", "overflow", "duplicate"):
        talk.void(NoProposal("code", wrong, f"because of {wrong}"))
    asked(talk)
    told = [wrong for wrong in ("interrupted", "unreachable", "overflow", "duplicate") if wrong in talk.conversation(0)]
    assert told == ["duplicate"]


def test_a_script_that_does_not_fit_at_all_ends_with_what_to_do(tmp_path):
    facts = FACTS.model_copy(update={"context_tokens": 1024, "max_output_tokens": 1000})
    with pytest.raises(PromptTooLong, match="context"):
        asked(Talk(tmp_path, rate(0.2), facts=facts))


def test_a_prompt_that_the_server_finds_too_long_is_shortened_noted_and_stays_short(tmp_path):
    overflow = {"error": "overflow"}
    facts = FACTS.model_copy(update={"context_tokens": 8000, "max_output_tokens": 1024})
    brief = "A long brief. " * 500
    talk = Talk(tmp_path, overflow, overflow, rate(0.2), rate(0.3), facts=facts, brief=brief)
    talk.close(asked(talk), 2.0)
    sizes = [len(talk.conversation(number)) for number in range(3)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert len(talk.notes) == 2 and all("too long" in note for note in talk.notes)
    asked(talk)
    assert len(talk.requests) == 4 and len(talk.conversation(3)) < sizes[1], "no later prompt is too long again"


def test_a_model_that_finds_prompt_after_prompt_too_long_ends_the_run_with_its_calls_booked(tmp_path):
    talk = Talk(tmp_path, *[{"error": "overflow"}] * 5)
    for calls in (3, 1):
        nothing = void_of(talk)
        assert (nothing.wrong, len(nothing.calls)) == ("overflow", calls)
    with pytest.raises(ModelError) as caught:
        asked(talk)
    assert caught.value.trouble is Trouble.OVERFLOW
    assert [call.error for call in talk.line.drain()] == ["overflow"]


def test_a_repair_round_that_does_not_fit_costs_the_proposal_only(tmp_path):
    talk = Talk(tmp_path, NONSENSE, {"error": "overflow"}, rate(0.2))
    assert void_of(talk).wrong == "not_found"
    assert asked(talk).title == "a rate of 0.2"


def test_when_the_asking_is_stopped_the_calls_stay_on_the_line_for_whoever_stopped_it(tmp_path):
    talk = Talk(tmp_path, rate(0.2))
    talk.stop = True
    with pytest.raises(Interrupted):
        asked(talk)
    talk.stop = False
    talk = Talk(tmp_path, NONSENSE, {"error": "unauthorized"})
    with pytest.raises(ModelError):
        asked(talk)
    assert [call.error for call in talk.line.drain()] == ["", "unauthorized"]


def test_a_change_that_died_early_is_mended_in_its_own_code_and_recorded_against_its_parent(tmp_path):
    talk = Talk(tmp_path, edit(WARP, WARM, "use max again"), rate(0.2))
    talk.close(patched(SCRIPT, RELU, WARP), crashed())
    proposal = asked(talk)
    assert talk.purposes == ["crash_repair"] and "name 'warp' is not defined" in talk.conversation(0)
    assert WARP in talk.requests[0].messages[-1].content and talk.requests[0].temperature <= 0.3
    assert (proposal.parent, proposal.repairs) == (0, 1) and "trial 1" in proposal.why
    assert patch(talk.codes[0], proposal.patch)["train.py"].decode() == SCRIPT.replace(RELU, WARM)
    talk.close(proposal, crashed())
    assert asked(talk).repairs is None and talk.purposes[-1] == "propose", "a repair is not repaired"


def test_a_crash_that_could_not_be_mended_is_not_tried_twice(tmp_path):
    talk = Talk(tmp_path, NONSENSE, NONSENSE, rate(0.2))
    talk.close(patched(SCRIPT, RELU, WARP), crashed())
    nothing = void_of(talk)
    assert (nothing.repairs, nothing.parent) == (1, 0)
    assert asked(talk).repairs is None and talk.purposes == ["crash_repair", "repair", "propose"]


def test_a_repair_that_goes_back_to_the_parent_is_no_repair(tmp_path):
    talk = Talk(tmp_path, edit(WARP, RELU), edit(WARP, RELU))
    talk.close(patched(SCRIPT, RELU, WARP), crashed())
    assert void_of(talk).wrong == "noop"


def test_a_crash_repair_too_long_for_the_model_is_left_out(tmp_path):
    talk = Talk(tmp_path, *[{"error": "overflow"}] * 3, rate(0.2))
    talk.close(patched(SCRIPT, RELU, WARP), crashed())
    nothing = void_of(talk)
    assert (nothing.wrong, nothing.repairs) == ("overflow", 1) and len(nothing.calls) == 3
    assert asked(talk).repairs is None and talk.purposes[-1] == "propose"


@pytest.mark.parametrize(
    ("source", "measured"),
    [
        ("code", measurement(Outcome.OOM_GPU, 0.5, reason="out of memory")),
        ("code", measurement(Outcome.TIMEOUT_STARTUP, 0.0, reason="its time was up")),
        ("code", crashed(train=30.0)),
        ("pattern", crashed()),
    ],
)
def test_only_early_crashes_of_its_own_changes_are_mended(tmp_path, source, measured):
    talk = Talk(tmp_path, rate(0.2))
    talk.close(patched(SCRIPT, RELU, WARP, source=source), measured)
    assert asked(talk).repairs is None


def test_a_search_that_keeps_nothing_asks_for_something_else_and_then_goes_back_as_well(tmp_path):
    talk = Talk(tmp_path, *[rate(n / 100) for n in range(50, 60)])
    talk.close(patched(SCRIPT, "WIDTH = 32", "WIDTH = 64"), 0.9)
    talk.close(patched(talk.script(1), RELU, SILU), 0.8)
    discarded(talk, 5)
    assert asked(talk).parent is None and talk.requests[-1].temperature == 0.7
    narrow = talk.conversation(0)
    discarded(talk, 1)
    assert asked(talk).parent is None and talk.requests[-1].temperature == 1.0
    assert "different" in talk.conversation(1) and "different" not in narrow
    discarded(talk, 6)
    parents = []
    for _ in range(6):
        proposal = asked(talk)
        parents.append(proposal.parent)
        base = 2 if proposal.parent is None else proposal.parent
        assert patch(talk.codes[base], proposal.patch)["train.py"].decode().startswith("import math")
        assert ("starts again from trial" in proposal.why) == (proposal.parent is not None)
        talk.close(proposal, 2.0)
    assert parents[1:3] == parents[4:] == [None, None] and {parents[0], parents[3]} <= {0, 1}


def test_a_kept_change_ends_the_widening(tmp_path):
    talk = Talk(tmp_path, rate(0.5), rate(0.6))
    discarded(talk, 13)
    talk.close(patched(SCRIPT, "WIDTH = 32", "WIDTH = 64"), 0.9)
    asked(talk)
    assert talk.requests[-1].temperature == 0.7


def test_the_users_temperature_is_used(tmp_path):
    talk = Talk(tmp_path, rate(0.2))
    backend = ModelConfig(model="demo", script="demo", temperature=0.2)
    session = talk.state.session.model_copy(update={"backend": backend})
    talk.state = replace(talk.state, session=session)
    asked(talk)
    assert talk.requests[0].temperature == 0.2


def test_a_title_is_one_line_of_bounded_length(tmp_path):
    talk = Talk(tmp_path, edit(RELU, SILU, "very long \u202e " * 80))
    title = asked(talk).title
    assert len(title) <= 120 and title.isprintable()


def test_a_file_that_is_no_text_is_the_users_mistake(tmp_path):
    talk = Talk(tmp_path, rate(0.2))
    talk.codes[0] = {"train.py": b"\xff"}
    with pytest.raises(UsageError, match="UTF-8"):
        asked(talk)


def test_line_ends_and_a_byte_order_mark_survive(tmp_path):
    script = "\ufeff" + SCRIPT.replace("\n", "\r\n")
    talk = Talk(tmp_path, rate(0.2), script=script)
    after = patch(talk.codes[0], asked(talk).patch)["train.py"].decode()
    assert after == script.replace("0.1  #", "0.2  #")


@pytest.mark.parametrize(("form", "limit"), [(Contract.SET, 1024), (Contract.BLOCKS, 3072), (Contract.FILE, 4096)])
def test_an_answer_has_room_for_its_form_and_no_more(tmp_path, form, limit):
    talk = Talk(tmp_path, rate(0.2), facts=FACTS.model_copy(update={"contract": form}))
    asked(talk)
    assert talk.requests[0].max_tokens == limit


def test_without_a_model_it_says_how_to_name_one(tmp_path):
    talk = Talk(tmp_path)
    with pytest.raises(UsageError, match="--model NAME@URL; `agent models`"):
        CodeEditor(Setup(talk.space, 1))


def test_a_trial_that_was_kept_by_hand_is_the_champion(tmp_path):
    talk = Talk(tmp_path, rate(0.2))
    talk.close(patched(SCRIPT, RELU, SILU), 5.0, decision=Decision.KEEP)
    assert SILU in patch(talk.codes[1], asked(talk).patch)["train.py"].decode()

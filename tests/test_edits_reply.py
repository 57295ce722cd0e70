"""Only an answer is read: no thoughts, no drafts, no cut text; and it is read through whatever it is wrapped in."""

import json

import pytest
from edits_kit import BLOCK, DRAFT, PATCH, changes, parsed, wrong

from agent.edits.answer.reply import answer_text
from agent.edits.blocks import Answer

ONE = [("LR = 0.15", "LR = 0.3")]


def test_a_cut_answer_is_refused_though_every_block_is_closed():
    assert wrong(BLOCK, finish_reason="length") == "truncated"


def test_an_endless_answer_is_refused():
    assert wrong(BLOCK + "x" * 2_000_000) == "no_edit"
    assert wrong(BLOCK + "\n" * 100_000) == "no_edit"


@pytest.mark.parametrize("names", [("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]")])
@pytest.mark.parametrize(
    "text",
    [
        "{0}\n{draft}{1}\n{block}",
        "{0}one{1}\n{0}two\n{draft}{1}{block}",
        "{0}\n\n{1}\n\n{block}",
        "IDEA: x\n\n{0}\n{draft}{1}\n{block}",
        "{0}\nTOKENS = ['{0}', '{1}']\n{draft}{1}\n{block}",
        "maybe\n{draft}no.\n{1}\n\n{block}",
        "maybe\n{draft}no.{1}\n\n{block}",
        "{0}\n<<<<<<< SEARCH\nLR\n{1}\n{block}",
    ],
)
def test_thoughts_and_their_drafts_are_taken_out(names, text):
    assert changes(text.format(*names, draft=DRAFT, block=BLOCK)) == ONE


@pytest.mark.parametrize(
    "text", [f"{DRAFT}no.\n</think>\n{BLOCK}", f"no.</think>{BLOCK}", f"<think>no.</think>{BLOCK}"]
)
def test_thinking_that_the_template_opened_ends_at_its_closing_tag(text):
    assert changes(text, think_open=True) == ONE


@pytest.mark.parametrize("text", [f"<think>\n{BLOCK}", f"{BLOCK}\n<think>\nbut", "<think></think>"])
def test_thinking_that_never_ends_is_no_answer(text):
    assert wrong(text) == "empty"


def test_thinking_that_the_template_opened_and_nothing_closed_is_no_answer():
    assert wrong(BLOCK, think_open=True) == "empty"
    assert changes(BLOCK, think_open=True, reasoning="the thoughts came apart") == ONE


def test_tags_in_new_code_are_code():
    text = BLOCK.replace("LR = 0.3", "</think>\nTOKENS = ['<think>']\n<think>")
    assert changes(text) == [("LR = 0.15", "</think>\nTOKENS = ['<think>']\n<think>")]


@pytest.mark.parametrize("final", ["<|channel|>final<|message|>", "<|channel|>final <|constrain|>text<|message|>"])
def test_of_channels_the_final_one_is_the_answer(final):
    text = f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant{final}{BLOCK}<|return|>"
    assert changes(text) == ONE
    assert wrong(text.partition("<|end|>")[0]) == "empty"


def test_of_channels_without_their_tokens_the_final_one_is_the_answer():
    assert changes(f"analysisTry\n{DRAFT}assistantfinal{BLOCK}") == ONE
    assert changes(f"analysis of the rate:\n{BLOCK}") == ONE


def test_reasoning_that_ends_with_an_edit_is_the_answer_of_a_server_that_put_it_there():
    for text in (BLOCK, f"```\n{BLOCK}```\n", PATCH, f"thoughts\n</think>\n{BLOCK}"):
        assert changes("", reasoning=text) == ONE
    assert parsed("\n", reasoning="SET LR = 0.3").form == "set"


def test_reasoning_that_goes_on_after_its_edit_is_a_draft():
    assert wrong("", reasoning=f"{BLOCK}\nbut I am not sure") == "empty"
    assert wrong("", reasoning=BLOCK, finish_reason="length") == "truncated"
    assert wrong("", reasoning=BLOCK, finish_reason="") == "empty"
    assert wrong("") == "empty"


def test_reasoning_beside_an_answer_is_not_read():
    assert changes(BLOCK, reasoning=DRAFT) == ONE


@pytest.mark.parametrize("end", ["<|im_end|>", "</s>", "<|return|>\n", "</s><|endoftext|>", "\n<|eot_id|>"])
def test_template_tokens_at_the_end_are_dropped(end):
    assert changes(BLOCK.rstrip("\n") + end) == ONE


def test_odd_characters_are_dropped_unless_a_file_has_them():
    odd = BLOCK.replace("LR", "L\u200bR").replace(" = ", "\u00a0=\u202f").replace("\n", "\r\n")
    assert changes("\ufeff" + odd) == ONE
    own = {"train.py": "A\u00a0= 1\n"}
    assert "\u00a0" in answer_text(Answer(odd), own) and "\u202f" not in answer_text(Answer(odd), own)


def test_escaped_markers_are_resolved_and_entities_in_code_are_not():
    escaped = BLOCK.replace("<", "&lt;").replace(">", "&gt;")
    assert changes(escaped.replace("0.3", "min(a &amp;&amp; b)")) == [("LR = 0.15", "LR = min(a && b)")]
    assert changes(BLOCK.replace("0.3", '"&lt;"')) == [("LR = 0.15", 'LR = "&lt;"')]


@pytest.mark.parametrize("text", [BLOCK, PATCH])
def test_edits_in_one_escaped_line_are_resolved(text):
    flat = text.replace("\n", "\\n")
    for wrapped in (flat, f'"{flat}"', f"IDEA: x\n\n{flat}", json.dumps({"edit": text}), json.dumps(["apply", text])):
        assert changes(wrapped) == ONE


def test_an_escaped_line_that_does_not_decode_is_refused():
    assert wrong(BLOCK.replace("\n", "\\n").replace("0.3", 'f("x")')) == "markers"


def test_halves_of_characters_are_refused():
    assert wrong(BLOCK.replace("0.3", "'\ud800'")) == "markers"

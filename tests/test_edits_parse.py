"""An answer is read in whatever form the model chose; what is no answer is refused with a reason."""

import json

import pytest
from edits_kit import BLOCK, CASES, CHANGED, DIFF, PATCH, RULES, parsed, wrong

from agent.edits.answer.lazy import check_lazy
from agent.edits.answer.parse import parse
from agent.edits.blocks import Answer, Parsed
from agent.edits.errors import EditError, Wrong

PAIR = json.dumps({"edits": [{"path": "train.py", "search": "LR = 0.15\n", "replace": "LR = 0.3\n"}]})
needs_cases = pytest.mark.skipif(not CASES, reason="no ../shared/cases/edits beside this checkout")


def read(name: str) -> Parsed:
    case = CASES[name]
    files = {"train.py": case["source"]}
    answer = Answer(
        case["reply"], case.get("reasoning") or "", case.get("finish_reason", "stop"), case.get("think_open", False)
    )
    found = parse(answer, files, RULES)
    check_lazy(found, files)
    return found


@needs_cases
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["stage"] in ("extract", "parse")])
def test_a_labelled_answer_that_cannot_be_read_is_refused(name):
    with pytest.raises(EditError):
        read(name)


@needs_cases
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["expect"] == "applied"])
def test_a_labelled_answer_that_applies_is_read(name):
    assert read(name).edits


@needs_cases
@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c["stage"] == "match" and c["expect"] == "rejected"])
def test_a_labelled_answer_whose_lines_are_elsewhere_is_read(name):
    assert read(name).edits


@needs_cases
@pytest.mark.parametrize("name", [name for name in CASES if "lazy" in CASES[name]["tags"]])
def test_labelled_placeholders_are_refused_and_lookalikes_are_not(name):
    try:
        read(name)
    except EditError as error:
        assert error.wrong is Wrong.LAZY
        assert CASES[name]["expect"] == "rejected"
    else:
        assert CASES[name]["expect"] == "applied"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("blocks", BLOCK),
        ("patch", PATCH),
        ("json", PAIR),
        ("diff", f"```diff\n{DIFF}```"),
        ("diff", DIFF),
        ("set", "SET LR = 0.3"),
        ("file", f"```python\n{CHANGED}```"),
    ],
)
def test_the_form_is_found_from_the_text(form, text):
    assert parsed(text).form == form


@pytest.mark.parametrize("text", [BLOCK, PATCH, f"```diff\n{DIFF}```"])
def test_a_snippet_and_a_shell_command_beside_edits_are_no_edits(text):
    around = f"Now it is\n\n```python\nLR = 0.15\n```\n\n{text}\n\n```bash\npython train.py\n```\n"
    assert parsed(around).edits == parsed(text).edits


@pytest.mark.parametrize(
    "text",
    [
        "I cannot help with that.",
        "```bash\nsed -i s/0.15/0.3/ train.py\n```",
        "```python\nLR = 0.3\n```",
        "SEARCH and REPLACE",
    ],
)
def test_prose_commands_and_snippets_are_no_edit(text):
    assert wrong(text) == "no_edit"


def test_the_idea_and_the_reason_are_taken_from_their_lines():
    found = parsed(f"IDEA: **higher** rate\n\nWHY: it is low\nand warm.\n\nNothing else.\n\n{BLOCK}")
    assert (found.title, found.why) == ("higher rate", "it is low and warm.")


def test_prose_stands_for_the_idea_where_none_is_named():
    found = parsed(f"# Higher rate\n\nIt was low.\n\ntrain.py\n```python\n{BLOCK}```\nThat is all.")
    assert (found.title, found.why) == ("Higher rate", "It was low.")


def test_json_brings_its_own_idea():
    pair = {"search": "LR = 0.15", "replace": "LR = 0.3"}
    found = parsed(json.dumps({"idea": "higher rate", "why": "too low", "edits": [pair]}))
    assert (found.title, found.why) == ("higher rate", "too low")


def test_thoughts_are_no_idea():
    assert parsed(f"<think>\nIDEA: draft\n</think>\nIDEA: real\n{BLOCK}").title == "real"

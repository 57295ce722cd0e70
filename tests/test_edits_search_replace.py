"""SEARCH/REPLACE blocks are read however the markers are typed, and refused when it is open what they divide."""

import pytest
from edits_kit import BLOCK, SCRIPT, blocks, changes, wrong

from agent.edits.answer.parse import parse
from agent.edits.blocks import Answer
from agent.edits.errors import EditError, Wrong
from agent.edits.rules import Rules

ONE = [("LR = 0.15", "LR = 0.3")]
OTHER = "<<<<<<< SEARCH\nCLIP = 1.0\n=======\nCLIP = 0.5\n>>>>>>> REPLACE\n"


def spelled(search="<<<<<<< SEARCH", divider="=======", replace=">>>>>>> REPLACE"):
    return f"{search}\nLR = 0.15\n{divider}\nLR = 0.3\n{replace}\n"


@pytest.mark.parametrize(
    "text",
    [
        spelled(),
        spelled("<<<<< SEARCH", "=====", ">>>>> REPLACE"),
        spelled("<<<<<<<<< SEARCH", "=========", ">>>>>>>>> REPLACE"),
        spelled("<<<<<<< ORIGINAL", replace=">>>>>>> UPDATED"),
        spelled("<<<<<<< search", replace=">>>>>>> Replace"),
        spelled("<<<<<<<SEARCH", replace=">>>>>>>REPLACE"),
        spelled("<<<<<<< SEARCH>  ", "======= ", ">>>>>>> REPLACE  "),
        spelled("------- SEARCH", replace="+++++++ REPLACE"),
        spelled(replace=">>>>>>> REPLACE```"),
        spelled(replace="=======\n>>>>>>> REPLACE"),
        spelled(divider="=======\n======="),
        spelled(replace="=======\n\nThis helps."),
        spelled() + ">>>>>>> REPLACE\n",
        spelled().rstrip("\n"),
        spelled().replace("\n", "\r\n"),
        "Usage\n=====\n\n" + spelled(),
        "".join(f"   {line}\n" for line in spelled().splitlines()),
    ],
)
def test_markers_are_read_however_they_are_typed(text):
    assert changes(text) == ONE


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (spelled(divider="x = 1"), "Block 1 has no ======= line"),
        (spelled(replace="x = 1"), "Block 1 is not closed: its >>>>>>> REPLACE line is missing before the end"),
        (spelled(replace="") + BLOCK, "missing before the next block"),
        (BLOCK + spelled(replace=""), "Block 2 is not closed"),
        (spelled(">>>>>>> REPLACE", "=======", "<<<<<<< SEARCH"), "without its <<<<<<< SEARCH"),
        (BLOCK + "LR = 1\n>>>>>>> REPLACE\n", "without its <<<<<<< SEARCH"),
        (spelled(divider="=======\na = 1\n======="), "Block 1 has 2 ======= lines"),
    ],
)
def test_markers_that_leave_it_open_what_changes_are_refused_by_name(text, sentence):
    with pytest.raises(EditError, match=sentence) as error:
        changes(text)
    assert error.value.wrong is Wrong.MARKERS


def test_a_line_of_the_file_that_looks_like_a_divider_makes_two_dividers_ambiguous():
    rules = Rules(editable=("train.py",))
    for text in (spelled(replace="=======\n>>>>>>> REPLACE"), spelled(replace="=======\n")):
        with pytest.raises(EditError):
            parse(Answer(text), {"train.py": f"Usage\n=======\n{SCRIPT}"}, rules)


def test_blocks_keep_their_order_and_numbers():
    found = blocks(f"first\n{BLOCK}\nthen\n\n{OTHER}")
    assert [(block.number, block.search) for block in found] == [(1, ("LR = 0.15",)), (2, ("CLIP = 1.0",))]


def test_an_empty_second_part_deletes_and_does_not_swallow_the_next_block():
    deletion = "<<<<<<< SEARCH\nLR = 0.15\n=======\n>>>>>>> REPLACE\n"
    assert changes(deletion + OTHER) == [("LR = 0.15", ""), ("CLIP = 1.0", "CLIP = 0.5")]
    assert blocks(deletion)[0].replace == ()


def test_code_that_mentions_markers_is_code():
    text = BLOCK.replace("LR = 0.3", "# <<<<<<< SEARCH leftovers\nLR = 0.3  # =======")
    assert changes(text) == [("LR = 0.15", "# <<<<<<< SEARCH leftovers\nLR = 0.3  # =======")]


@pytest.mark.parametrize(
    ("search", "replace", "reading"),
    [
        ("```python\nLR = 0.15\n```", "```python\nLR = 0.3\n```", (("LR = 0.15",), ("LR = 0.3",))),
        ("train.py\n```\nLR = 0.15\n```", "LR = 0.3", (("LR = 0.15",), ("LR = 0.3",))),
        ("train.py\nLR = 0.15", "train.py\nLR = 0.3", (("LR = 0.15",), ("LR = 0.3",))),
        ("if a &lt; b:", "if a &gt; b:", (("if a < b:",), ("if a > b:",))),
        ("12 |     x\n13 |     y", "12 |     x\n    z", (("    x", "    y"), ("    x", "    z"))),
        ("12:         x = self.up(x)", "        x = 1", (("        x = self.up(x)",), ("        x = 1",))),
        ("12|        x = self.up(x)", "12|        x = 1", (("        x = self.up(x)",), ("        x = 1",))),
        ("   12\tLR = 0.15\n   13\t", "   12\tLR = 0.3", (("LR = 0.15", ""), ("LR = 0.3",))),
        ('12: 1: "a"', '12: 1: "b"', (('1: "a"',), ('1: "b"',))),
    ],
)
def test_wrappings_of_the_lines_are_further_readings(search, replace, reading):
    (block,) = blocks(f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE")
    assert "\n".join(block.search) == search, "the lines as they stand come first"
    assert reading in block.readings


def test_combined_wrappings_have_a_reading():
    (block,) = blocks("<<<<<<< SEARCH\n```\n7: if a &lt; b:\n```\n=======\n```\n7: if a:\n```\n>>>>>>> REPLACE")
    assert (("if a < b:",), ("if a:",)) in block.readings


@pytest.mark.parametrize("search", ["1: x\ny", "2: x\n1: y", "1: x\n2 | y", "LR = 0.15", "```\nLR = 0.15"])
def test_plain_lines_have_no_other_reading(search):
    assert blocks(f"<<<<<<< SEARCH\n{search}\n=======\nz\n>>>>>>> REPLACE")[0].readings == ()


def test_keys_of_a_dict_in_the_new_lines_are_not_taken_for_line_numbers():
    (block,) = blocks('<<<<<<< SEARCH\n41: 1: "a",\n42: 2: "b",\n=======\n1: "c",\n2: "d",\n>>>>>>> REPLACE')
    assert block.readings == ((('1: "a",', '2: "b",'), ('1: "c",', '2: "d",')),)


def test_the_lines_of_an_indented_block_lose_the_indentation_of_its_marker():
    text = "- like so:\n\n  <<<<<<< SEARCH\n      a\n\n    b\n  =======\n    c\n  >>>>>>> REPLACE\n"
    assert changes(text) == [("    a\n\n  b", "  c")]


def test_text_that_only_speaks_of_blocks_holds_none():
    assert wrong("I would use <<<<<<< SEARCH and >>>>>>> REPLACE here") == "no_edit"

"""Placeholders in new lines are refused; comments that only sound like them, and elisions on both sides, are not."""

import pytest
from edits_kit import FILES, SCRIPT

from agent.edits.answer.lazy import check_lazy
from agent.edits.blocks import Block, NewFunction, Parsed, SetLine, WholeFile
from agent.edits.errors import EditError, Wrong

PLACEHOLDERS = [
    "# ...",
    "...",
    "# … rest of the code …",
    "# ... existing code ...",
    "# ... (unchanged)",
    "# ... keep the remaining layers as before",
    "# rest of the function",
    "# The rest of the training loop remains unchanged",
    "# keep the rest of the code as is",
    "# remaining methods",
    "# existing code...",
    "# same as before",
    "# forward remains the same",
    "# Implementation remains the same as in the original class",
    "# (unchanged)",
    "# your code here",
    "# add your training code here",
    "# omitted for brevity",
    "# original implementation",
    "# training loop is unchanged",
    "pass  # ... rest of the method",
    "return 1.0  # ... rest unchanged",
    "# then the rest of the method",
    "... rest of the file unchanged ...",
]
COMMENTS = [
    "# first value is the same as the raw loss",
    "x = x[..., :2]",
    "# keep the rate low early on",
    "# the rest of the batch is padded",
    "# apply decay to the other parameters",
    "# warm up, then hold ... then decay",
    "x = f(x)  # shape remains the same",
    "print('loading ...')",
    "# scale here, before the norm",
    "# weights that remain after pruning",
    "def stub(self): ...",
    "# original paper: 0.9",
    "raise NotImplementedError",
]


def lazy(*edits) -> bool:
    try:
        check_lazy(Parsed(edits, "blocks"), FILES)
    except EditError as error:
        assert error.wrong is Wrong.LAZY
        return True
    return False


def block(search: str, replace: str) -> Block:
    return Block(1, tuple(search.split("\n")), tuple(replace.split("\n")))


@pytest.mark.parametrize("line", PLACEHOLDERS)
def test_a_placeholder_among_the_new_lines_is_refused_in_every_form(line):
    assert lazy(block("LR = 0.15", f"LR = 0.3\n    {line}"))
    assert lazy(WholeFile(f"{SCRIPT}{line}\n"))
    assert lazy(NewFunction("schedule", f"def schedule(progress):\n    {line}\n"))


@pytest.mark.parametrize("line", COMMENTS)
def test_code_and_comments_that_sound_alike_are_not_refused(line):
    assert not lazy(block("LR = 0.15", f"LR = 0.3\n{line}"), WholeFile(f"{SCRIPT}{line}\n"))


@pytest.mark.parametrize("line", ["...", "# ... existing code ..."])
def test_an_elision_on_both_sides_is_not_refused(line):
    assert not lazy(block(f"a\n{line}\nb", f"a\n{line}\nc"))
    assert lazy(block("a\nb", f"a\n{line}\nc"))


def test_what_the_file_says_itself_may_be_said_again():
    assert not lazy(block("a", f"b\n{SCRIPT.splitlines()[1]}"), SetLine("LR", "0.3"))
    with pytest.raises(EditError, match="rest of the model"):
        check_lazy(Parsed((block("a", "# rest of the model"),), "blocks"), {"train.py": "# rest of the script\n"})
    check_lazy(Parsed((block("a", "  # rest of the model"),), "blocks"), {"train.py": "# rest of the model\n"})


def test_the_message_names_the_block_and_the_line():
    with pytest.raises(EditError, match=r"Block 1 has a placeholder .*'# rest of the code'"):
        lazy_block = block("a", "b\n    # rest of the code")
        check_lazy(Parsed((lazy_block,), "blocks"), FILES)

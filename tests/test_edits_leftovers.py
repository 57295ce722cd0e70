"""All of an answer or nothing: what stands beside the edits that were read is never dropped without a word."""

import json

import pytest
from edits_kit import BLOCK, DIFF, PATCH, changes, parsed, wrong

LR, CLIP = ("LR = 0.15", "LR = 0.3"), ("CLIP = 1.0  # of the norm", "CLIP = 0.5")
PAIR = json.dumps({"search": LR[0], "replace": LR[1]})
OTHER_PAIR = json.dumps({"search": CLIP[0], "replace": CLIP[1]})
HUNK = "--- a/train.py\n+++ b/train.py\n@@ ... @@\n-CLIP = 1.0  # of the norm\n+CLIP = 0.5\n"
OTHER_PATCH = f"*** Begin Patch\n*** Update File: train.py\n{HUNK.split(maxsplit=4)[4]}*** End Patch\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{BLOCK}\n```diff\n{HUNK}```\n",
        f"```diff\n{HUNK}```\n\n{BLOCK}",
        f"{BLOCK}\n{HUNK}",
        f"{BLOCK}\n{OTHER_PATCH}",
        f"{BLOCK}\nSET CLIP = 0.5\n",
        f"{PATCH}\n```diff\n{HUNK}```\n",
        f"{PATCH}\nSET CLIP = 0.5\n",
    ],
)
def test_edits_in_two_forms_are_refused(text):
    assert wrong(text) == "conflict"


@pytest.mark.parametrize(
    "text",
    [
        f"{BLOCK}\nIn short:\n\n```diff\n-LR = 0.15\n+LR = 0.3\n```\n",
        f"```diff\n{BLOCK}```\n",
        f"{BLOCK}\n- cheaper\n- better\n",
        f"I write `<<<<<<< SEARCH` and then `>>>>>>> REPLACE`, as I was told.\n\n{BLOCK}",
    ],
)
def test_a_diff_that_shows_the_same_change_and_prose_are_no_second_form(text):
    assert changes(text) == [LR]


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("<<<< SEARCH", ">>>> REPLACE"),
        ("<<<<<<<<<<<< SEARCH", ">>>>>>>>>>>> REPLACE"),
        ("**<<<<<<< SEARCH**", "**>>>>>>> REPLACE**"),
        ("<<<<<<< SEARCH (block 2)", ">>>>>>> REPLACE (block 2)"),
        ("> <<<<<<< SEARCH", "> >>>>>>> REPLACE"),
    ],
)
def test_a_block_whose_markers_are_none_voids_its_neighbours(search, replace):
    other = f"{search}\n{CLIP[0]}\n=======\n{CLIP[1]}\n{replace}\n"
    assert wrong(BLOCK + other) == wrong(other + BLOCK) == "markers"


@pytest.mark.parametrize(
    "after", ["*** Delete File: prepare.py\n", "*** Update File: train.py\n@@\n-a\n+b\n", "*** End Patch\n"]
)
def test_a_patch_that_goes_on_after_its_end_is_refused(after):
    assert wrong(f"{PATCH}\n{after}") == "markers"


@pytest.mark.parametrize("label", ["", "python", "diff"])
@pytest.mark.parametrize("other", ["", "python", "diff"])
def test_a_diff_counts_whatever_its_fence_is_called(label, other):
    text = f"```{label}\n{DIFF}```\nand\n```{other}\n{HUNK}```\n"
    assert len(parsed(text).edits) == 2


def test_a_rename_beside_a_diff_is_refused():
    assert wrong(f"```diff\n{DIFF}```\n\n```diff\nrename from train.py\nrename to b.py\n```\n") == "path"


@pytest.mark.parametrize(
    "text",
    [
        f"{PAIR}\n{OTHER_PAIR}\n",
        f"{PAIR},\n{OTHER_PAIR}\n",
        f"```json\n{PAIR}\n{OTHER_PAIR}\n```\n",
        f"```json\n{PAIR}\n```\n\n```json\n{OTHER_PAIR}\n```\n",
        f"```json\n{PAIR}\n```\n\n{OTHER_PAIR}\n",
    ],
)
def test_every_value_of_json_is_read(text):
    assert changes(text) == [LR, CLIP]


@pytest.mark.parametrize(
    "text", [f"{PAIR}\n{OTHER_PAIR[:-9]}", f"{PAIR}\nand\n{OTHER_PAIR}", f"{PAIR} and {OTHER_PAIR}"]
)
def test_a_pair_that_cannot_be_read_voids_the_one_before_it(text):
    assert wrong(text) == "markers"

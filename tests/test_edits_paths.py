"""A file name in an answer is a label: it must name what may be edited, and is never opened."""

import json

import pytest
from edits_kit import BLOCK, CHANGED, DIFF, PATCH, blocks, parsed, wrong

from agent.edits.answer.paths import named_in, resolve
from agent.edits.errors import EditError, Wrong
from agent.edits.rules import Rules

LINES = [
    "{0}",
    "**{0}**",
    "`{0}`:",
    "# {0}",
    "### `{0}`",
    "File: {0}",
    "**File:** `{0}`",
    "1. {0}",
    "<file>{0}</file>",
    '<file path="{0}">',
    "{0} (modified):",
    "Here is the updated `{0}`:",
    "In {0}:",
    "// {0}",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("between", ["\n", "\n```python\n", "\n\n```\n"])
def test_a_decorated_name_above_a_block_is_its_file(line, between):
    assert blocks(line.format("train.py") + between + BLOCK)[0].path == "train.py"
    assert wrong(line.format("prepare.py") + between + BLOCK) == "path"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "~/.bashrc", "a/../../b"])
@pytest.mark.parametrize("line", ["{0}", "File: `{0}`", "```python {0}"])
def test_a_path_that_leads_out_is_a_name_whatever_its_ending(name, line):
    close = "\n```" if line.startswith("```") else ""
    assert wrong(f"{line.format(name)}\n{BLOCK}{close}") == "path"


@pytest.mark.parametrize("name", ["train.py", "./train.py", "/home/me/train.py", "a/train.py", "src\\train.py"])
def test_a_path_to_the_editable_file_is_the_editable_file(name):
    assert resolve(name, Rules(editable=("train.py",))) == "train.py"


@pytest.mark.parametrize("name", ["trainer.py", "../train.py", "x/../train.py", "prepare.py", "src/train.py", ""])
def test_any_other_path_is_refused(name):
    with pytest.raises(EditError, match=r"train\.py is all that may change") as error:
        resolve(name, Rules(editable=("train.py",), protected=("prepare.py", "src/train.py")))
    assert error.value.wrong is Wrong.PATH


def test_of_files_with_one_base_name_the_folder_decides():
    rules = Rules(editable=("a/model.py", "b/model.py"))
    assert resolve("b/model.py", rules) == resolve("x/b/model.py", rules) == "b/model.py"
    with pytest.raises(EditError):
        resolve("model.py", rules)


def test_no_name_is_no_error():
    assert blocks(BLOCK)[0].path is None
    assert blocks("This reads the loader of prepare.py, then\n" + BLOCK)[0].path is None


def test_a_name_carries_to_the_blocks_that_follow_and_a_second_one_ends_it():
    assert [block.path for block in blocks(f"train.py\n{BLOCK}\nand\n\n{BLOCK}")] == ["train.py", "train.py"]
    assert wrong(f"train.py\n{BLOCK}\nprepare.py\n{BLOCK}") == "path"


@pytest.mark.parametrize(
    "text",
    [
        f"```python prepare.py\n{BLOCK}```",
        f'```python title="prepare.py"\n{BLOCK}```',
        BLOCK.replace("SEARCH\n", "SEARCH\nprepare.py\n```\n"),
        PATCH.replace("train.py", "prepare.py"),
        PATCH.replace("train.py", "../train.py"),
        PATCH.replace("Update File: train.py", "Add File: more.py"),
        PATCH.replace("Update File", "Delete File"),
        PATCH.replace("@@", "*** Move to: other.py\n@@"),
        DIFF.replace("b/train.py", "b/prepare.py"),
        DIFF.replace("a/train.py", "a/prepare.py"),
        DIFF.replace("train.py", "prepare.py"),
        DIFF.replace("b/train.py", "/dev/null"),
        "--- /dev/null\n+++ b/more.py\n@@ -0,0 +1 @@\n+x = 1\n",
        "--- /dev/null\n+++ b/train.py\n@@ -0,0 +1 @@\n+x = 1\n",
        "diff --git a/train.py b/train2.py\nsimilarity index 100%\nrename from train.py\nrename to train2.py\n",
        "diff --git a/train.py b/train.py\ndeleted file mode 100644\n",
        f"{DIFF}--- a/prepare.py\n+++ b/prepare.py\n@@ -1 +1 @@\n-a\n+b\n",
        f"prepare.py\n```python\n{CHANGED}```",
        f"```prepare.py\n{CHANGED}```",
        f"```python\n# prepare.py\n{CHANGED}```",
        f"prepare.py\n```python\nx = 1\n```\n\ntrain.py\n```python\n{CHANGED}```",
        "prepare.py\nSET LR = 0.3",
        f"prepare.py\n```diff\n{DIFF.partition('@@')[1]}{DIFF.partition('@@')[2]}```",
        "```diff prepare.py\n@@ ... @@\n-LR = 0.15\n+LR = 0.3\n```",
        "prepare.py\n\n@@ ... @@\n-LR = 0.15\n+LR = 0.3\n",
        'prepare.py\n```json\n{"search": "LR = 0.15", "replace": "LR = 0.3"}\n```',
        '**prepare.py**\n{"search": "LR = 0.15", "replace": "LR = 0.3"}',
        json.dumps({"file": "prepare.py", "edits": [{"search": "LR = 0.15", "replace": "LR = 0.3"}]}),
        json.dumps([{"path": "../train.py", "old_string": "LR = 0.15", "new_string": "LR = 0.3"}]),
    ],
)
def test_another_file_a_new_one_a_rename_and_a_deletion_are_refused_in_every_form(text):
    assert wrong(text) == "path"


def test_a_diff_that_makes_the_whole_file_anew_is_a_whole_file():
    text = "--- /dev/null\n+++ b/train.py\n@@ -0,0 +1,99 @@\n" + "".join(f"+{line}\n" for line in CHANGED.splitlines())
    assert parsed(text).edits == parsed(f"train.py\n```python\n{CHANGED}```").edits


@pytest.mark.parametrize(
    "line", ["x = F.gelu(x)", "torch.nn", "use train.py and prepare.py", "python 3.11", "", "#", "LR/WD", "n/a"]
)
def test_code_and_prose_name_no_file(line):
    assert named_in(line) is None

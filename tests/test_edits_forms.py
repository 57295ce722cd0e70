"""JSON pairs, whole files and SET lines: complete, or refused with what is missing."""

import json

import pytest
from edits_kit import CHANGED, FILES, RULES, SCRIPT, changes, parsed, wrong

from agent.edits.answer.parse import parse
from agent.edits.blocks import Answer, NewFunction, SetLine, WholeFile
from agent.edits.errors import EditError, Wrong
from agent.edits.rules import Rules

ONE = [("LR = 0.15", "LR = 0.3")]
PAIR = {"search": "LR = 0.15\n", "replace": "LR = 0.3\n"}
WHOLE = (WholeFile(CHANGED, "train.py"),)
FORWARD = "def forward(self, x):\n    return x\n"


@pytest.mark.parametrize(
    "value",
    [
        {"edits": [PAIR]},
        [PAIR],
        PAIR,
        {"changes": {"first": PAIR}},
        {"old_string": "LR = 0.15", "new_string": "LR = 0.3"},
        {"find": ["LR = 0.15"], "replace": ["LR = 0.3"], "file": "train.py"},
    ],
)
@pytest.mark.parametrize("frame", ["{0}", "```json\n{0}\n```", "Sure:\n{0}\nDone.", "```\n{0}\n```"])
def test_json_pairs_are_blocks(value, frame):
    assert changes(frame.format(json.dumps(value, indent=1))) == ONE


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (json.dumps({"edits": [PAIR]})[:-20], "markers"),
        ('{"edits": [{"search": "LR = 0.15", "replace": "LR = 0.3",}]}', "markers"),
        (json.dumps({"edits": [{"search": "LR = 0.15"}]}), "markers"),
        (json.dumps({"edits": [{"search": 1, "replace": "x"}]}), "markers"),
        (json.dumps([PAIR, {"search": None, "replace": None}]), "markers"),
        ('{"search": ' + "[" * 100_000, "markers"),
    ],
)
def test_json_that_is_not_whole_is_not_guessed_at(text, kind):
    assert wrong(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{CHANGED}```",
        f"Here's the modified `train.py`:\n\n```\n{CHANGED}```\n\nRun it:\n\n```bash\npython train.py\n```\n",
        f"````python\n{CHANGED}````",
        f"~~~\n{CHANGED}~~~",
        f"```python\n{CHANGED}",
        f"IDEA: rate\n```python\n{CHANGED}```\n\nagain\n\n```python\n{CHANGED}\n```",
        f"```python\nLR = 0.3\n```\nso\n```python\n{CHANGED}```\n\nIt prints\n\n```\nval_loss: 1\n```",
        f"IDEA: rate\n\n{CHANGED}",
    ],
)
def test_a_complete_file_is_read_though_its_docstring_holds_fences(text):
    assert parsed(text).edits == WHOLE


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"```python\n{CHANGED}```\nor\n```python\n{SCRIPT}```", "conflict"),
        (f"```python\n{CHANGED[: CHANGED.index('net = ')]}", "truncated"),
        (f"```python\n{CHANGED.replace('):', ')', 1)}```", "syntax"),
        (f"```python\n{CHANGED[: CHANGED.index('class Net')]}```", "no_edit"),
        (f"```python\n{CHANGED[: CHANGED.index('for step')]}```", "truncated"),
        (f"```python\n{CHANGED.replace('class Net', 'class Other').replace('LR = 0.3', '')}```", ""),
        ("```python\n" + CHANGED.replace("    return 1.0\n", "    # ... rest unchanged ...\n") * 2 + "```", ""),
    ],
)
def test_a_file_that_is_not_one_complete_file_is_refused(text, kind):
    assert wrong(text) == kind


def test_each_of_several_files_may_come_whole():
    files = {"train.py": SCRIPT, "model.py": "class Model:\n    pass\n\n\ndef build():\n    return Model()\n"}
    model = files["model.py"].replace("pass", "depth = 2")
    text = f"train.py\n```python\n{CHANGED}```\n\nmodel.py\n```python\n{model}```"
    found = parse(Answer(text), files, Rules(editable=("train.py", "model.py")))
    assert found.edits == (WholeFile(CHANGED, "train.py"), WholeFile(model, "model.py"))


@pytest.mark.parametrize(
    ("line", "expression"),
    [
        ("SET LR = 0.3", "0.3"),
        ("SET LR=3e-4  # a note", "3e-4"),
        ("- `SET LR = 2 ** -3`", "2 ** -3"),
        ("**SET LR = (0.9, 0.95)**", "(0.9, 0.95)"),
        ("1. SET LR = '#3' # x", "'#3'"),
        ("```\n# lower\nSET LR = CLIP * 2\n```", "CLIP * 2"),
        ("IDEA: lower\n\nSET LR = [1, -2]", "[1, -2]"),
    ],
)
def test_set_lines_are_read_with_their_decorations(line, expression):
    assert parsed(line).edits == (SetLine("LR", expression),)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SET LR = ", "value"),
        ("SET LR = 0.3 higher", "syntax"),
        ("SET LR = f(1)", "value"),
        ("SET LR = ...", "value"),
        ("SET LR = x.y", "value"),
        ("SET LR = 1) + (2", "syntax"),
        ("SET LR = 1\nSET LR = 2", "conflict"),
        ("FUNCTION Net.forward", "syntax"),
        ("FUNCTION Net.forward\ndef backward(self):\n    return 1", "syntax"),
        ("FUNCTION Net.forward\ndef forward(self):", "syntax"),
        ("FUNCTION Net\n```\nclass Net:\n    pass\n```", "syntax"),
    ],
)
def test_set_lines_that_are_no_plain_values_and_functions_that_are_not_whole_are_refused(text, kind):
    assert wrong(text) == kind


def test_a_line_said_twice_counts_once():
    assert parsed("SET LR = 0.3\nSET LR = 0.3").edits == (SetLine("LR", "0.3"),)


@pytest.mark.parametrize(
    "text",
    [
        f"FUNCTION Net.forward\n{FORWARD}",
        f"FUNCTION Net.forward(self, x):\n\n```python\n{FORWARD}```\n\nThis is faster.",
        f"FUNCTION Net.forward\n    {FORWARD.replace('    ', '        ')}\n\nThis is faster.\n",
        f"```\nFUNCTION Net.forward\n{FORWARD}```",
    ],
)
def test_a_function_is_read_up_to_its_end(text):
    assert parsed(text).edits == (NewFunction("Net.forward", FORWARD),)


def test_set_lines_and_functions_come_together():
    found = parsed(f"SET LR = 0.3\nFUNCTION Net.forward\n{FORWARD}\nSET CLIP = 2.0\n").edits
    assert found == (SetLine("LR", "0.3"), NewFunction("Net.forward", FORWARD), SetLine("CLIP", "2.0"))


def test_set_in_code_is_code():
    query = CHANGED.replace('MU = "μ±"', 'MU = """\nSET x = 1\n"""')
    assert parsed(f"```python\n{query}```").edits == (WholeFile(query, "train.py"),)


def test_a_refused_file_is_told_what_it_lacks():
    text = SCRIPT[: SCRIPT.index("class Net")] + "A = 1\n" * 20
    with pytest.raises(EditError, match=r"it lacks Net, schedule, net of train\.py") as error:
        parse(Answer(f"```python\n{text}```"), FILES, RULES)
    assert error.value.wrong is Wrong.NO_EDIT

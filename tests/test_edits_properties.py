"""What holds for every edit: a diff applied is the new file, no slip is written, nothing ambiguous is applied."""

import random
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from slips import CONTEXT_SLIPS, Change, Lines, keeps, misquoted, random_change, stands_elsewhere

from agent.code import diff
from agent.edits.blocks import Answer, Block
from agent.edits.errors import EditError, Wrong
from agent.edits.placement.document import BOM, Document
from agent.edits.placement.placing import place_all
from agent.edits.read import read
from agent.edits.rules import Rules
from agent.edits.unified import record_diff

ROOT = Path(__file__).resolve().parent.parent
FILES = (
    "train_target/train.py",
    "train_target/prepare.py",
    "agent/loop.py",
    "agent/edits/constants.py",
    "agent/code.py",
)
TEXTS = {path: (ROOT / path).read_bytes().decode() for path in FILES}
RULES = Rules(editable=("train.py",), protected=("prepare.py",))
NEW_LINES = (
    "",
    "    ",
    "x = 1",
    "    x = 1  ",
    "        return x",
    "    if x:",
    "# é — “x”",
    "s = r'\\1 $1 %s'",
    "- a",
    "+ b",
    " c",
)


def edited(text: str, draw: random.Random) -> str:
    """`text` with some lines deleted, inserted, replaced or doubled; new ones are indented as the text is."""
    new_lines = [line.replace("    ", "\t") for line in NEW_LINES] if "\n\t" in text else NEW_LINES
    lines = text.split("\n")[:-1]
    for _ in range(draw.randrange(1, 6)):
        at = draw.randrange(len(lines))
        size = draw.choice((0, 1, 1, 2, 5))
        pool = (*new_lines, *lines[at : at + 3], draw.choice(lines))
        lines[at : at + size] = [draw.choice(pool) for _ in range(draw.choice((0, 1, 1, 2, 4)))]
        lines = lines or ["x = 0"]
    return "\n".join(lines) + "\n"


def windows(a: Lines, b: Lines, context: int) -> Iterator[tuple[Lines, Lines]]:
    """(old lines, new lines) of each group of changes, with context."""
    for group in SequenceMatcher(None, a, b, autojunk=False).get_grouped_opcodes(context):
        yield a[group[0][1] : group[-1][2]], b[group[0][3] : group[-1][4]]


def blocks(before: str, after: str) -> str:
    """SEARCH/REPLACE blocks that lead from one text to the other: with as little context as makes them unique."""
    a, b = before.split("\n")[:-1], after.split("\n")[:-1]
    for context in (1, 2, 3, 5, len(a) + len(b)):
        pairs = list(windows(a, b, context))
        if all(any(old) and sum(a[at : at + len(old)] == old for at in range(len(a))) == 1 for old, _ in pairs):
            break
    parts = ["\n".join(["<<<<<<< SEARCH", *old, "=======", *new, ">>>>>>> REPLACE"]) for old, new in pairs]
    return "IDEA: something\n\n" + "\n\n".join(parts) + "\n"


def unified(before: str, after: str) -> str:
    return "```diff\n" + diff({"train.py": before.encode()}, {"train.py": after.encode()}) + "```\n"


@pytest.mark.parametrize("form", [blocks, unified])
@pytest.mark.parametrize("path", FILES)
@given(seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=20, deadline=None)
def test_the_difference_of_two_texts_applied_to_the_first_is_the_second(
    form: Callable[[str, str], str], path: str, seed: int, data: st.DataObject
):
    before = TEXTS[path]
    if data.draw(st.booleans(), "tabs"):
        before = before.replace("    ", "\t")
    after = edited(before, random.Random(seed))
    assume(after != before)
    answer = form(before, after)
    end, final, bom = data.draw(st.sampled_from(["\n", "\r\n"])), data.draw(st.booleans()), data.draw(st.booleans())
    if data.draw(st.booleans(), "the answer has the file's line ends"):
        answer = answer.replace("\n", end)
    old, new = (BOM * bom + (text if final else text[:-1]).replace("\n", end) for text in (before, after))
    assume(old.endswith(end) == final == new.endswith(end))  # a last line that is blank
    assert read(Answer(answer), {"train.py": old}, RULES).files == {"train.py": new}
    assert record_diff({"train.py": old}, {"train.py": new})


def result_of(change: Change, search: Lines, new: Lines) -> str | None:
    """The file after a block, or None if it is refused."""
    try:
        files = place_all([Block(1, tuple(search), tuple(new))], {"train.py": change.text}, RULES)
    except EditError:
        return None
    return files["train.py"]


@pytest.mark.parametrize("slip", CONTEXT_SLIPS, ids=lambda slip: slip.__name__)
@given(seed=st.integers(0, 2**32), path=st.sampled_from(FILES))
@settings(max_examples=40, deadline=None)
def test_a_slip_in_what_a_block_quotes_never_reaches_the_file(slip: Callable, seed: int, path: str):
    draw = random.Random(seed)
    change = random_change(TEXTS[path], draw)
    search, new = slip(change, draw)
    assume(not stands_elsewhere(change, search))
    result = result_of(change, search, new)
    assert result is None or keeps(change, result)


@given(seed=st.integers(0, 2**32), path=st.sampled_from(FILES))
@settings(max_examples=100, deadline=None)
def test_a_misquoted_line_is_never_changed(seed: int, path: str):
    draw = random.Random(seed)
    change = random_change(TEXTS[path], draw)
    search, new = misquoted(change, draw)
    assume(search != change.search and not stands_elsewhere(change, search))
    assert result_of(change, search, new) is None


FORGIVEN = [(slip, 0.9) for slip in CONTEXT_SLIPS[:3]] + [(slip, 0.3) for slip in CONTEXT_SLIPS[3:6]]


@pytest.mark.parametrize(("slip", "least"), FORGIVEN)
def test_most_slips_that_leave_the_place_certain_are_forgiven(slip: Callable, least: float):
    draw = random.Random(7)
    changes = [random_change(TEXTS["train_target/train.py"], draw) for _ in range(50)]
    results = [(change, result_of(change, *slip(change, draw))) for change in changes]
    right = [result is not None and keeps(change, result) for change, result in results]
    assert sum(right) >= least * len(right)


def as_it_is(change: Change, draw: random.Random) -> tuple[Lines, Lines]:
    return change.search, change.replaced(change.search)


@pytest.mark.parametrize("slip", [as_it_is, *CONTEXT_SLIPS], ids=lambda slip: slip.__name__)
@given(seed=st.integers(0, 2**32), path=st.sampled_from(FILES))
@settings(max_examples=20, deadline=None)
def test_lines_that_stand_in_several_places_are_never_changed(slip: Callable, seed: int, path: str):
    draw = random.Random(seed)
    change = random_change(TEXTS[path], draw)
    text = "\n".join([*change.lines, *change.search]) + "\n"
    search, new = slip(change, draw)
    with pytest.raises(EditError):
        place_all([Block(1, tuple(search), tuple(new))], {"train.py": text}, RULES)


def test_lines_that_stand_twice_are_called_ambiguous():
    with pytest.raises(EditError) as error:
        place_all([Block(1, ("a = 1",), ("a = 2",))], {"train.py": "a = 1\nb\na = 1\n"}, RULES)
    assert error.value.wrong is Wrong.AMBIGUOUS


SCRIPT = '"""Doc."""\nimport math\n\nA = 1  # a\nB = (2, 3)\n\n\nclass C:\n    def f(self, x):\n        return x + A\n'
PIECES = (
    *(f"{line}\n" for line in SCRIPT.split("\n")),
    *(
        "<<<<<<< SEARCH\n",
        "=======\n",
        ">>>>>>> REPLACE\n",
        "```diff\n",
        "```python\n",
        "```\n",
        "train.py\n",
        "prepare.py\n",
    ),
    *("@@ -1,3 +1,4 @@\n", "@@ class C:\n", "--- a/train.py\n", "+++ b/train.py\n", "-A = 1  # a\n", "+A = 2\n", " \n"),
    *("*** Begin Patch\n", "*** Update File: train.py\n", "*** End Patch\n", "...\n", "# ... rest ...\n", "\n", "\r"),
    *("SET A = 2\n", "SET B = (A, A)\n", "FUNCTION C.f\n", "def f(self, x):\n    return A\n", "<think>", "</think>\n"),
    *('{"search": "A = 1", "replace": "A = 2"}', '{"edits": [', "]}", "\\n", "\\ud800", "\ud800", "\x00", BOM, "&lt;"),
    *("<|channel|>final<|message|>", "\t", "A", "“", "\u200b\n", "# x\n", "''" + "'", "0" * 5000, "(" * 300),
)
ANSWERS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=25).map("".join)
REGIONS = st.sampled_from([None, ("# a", "# b")])
SCRIPTS = st.sampled_from([SCRIPT, "", "\r\n", "(("])
REASONS = st.sampled_from(["stop", "length", "", "x"])


@given(ANSWERS, st.one_of(st.just(""), ANSWERS), REASONS, st.booleans(), REGIONS, SCRIPTS)
@settings(max_examples=400, deadline=None)
def test_whatever_a_model_answers_only_an_edit_error_is_raised(text, reasoning, reason, think, region, script):
    rules = Rules(("train.py",), ("prepare.py",), region)
    try:
        result = read(Answer(text, reasoning, reason, think), {"train.py": script}, rules)
    except EditError as error:
        assert str(error).strip()
        return
    assert result.files["train.py"] != script
    record_diff({"train.py": script}, result.files)


ODD_LINES = ("A = 1", "a", "    a", "", "# c", "a  # c", ")", "“", "\u200b", "x\r", "...", "\t", "'", '"""')
LINES = st.lists(st.sampled_from(ODD_LINES), max_size=6)


@given(LINES, LINES, LINES, st.lists(st.sampled_from(["a", "", "class"]), max_size=2), st.sampled_from([None, 0, 1, 3]))
@settings(max_examples=400, deadline=None)
def test_whatever_a_block_holds_it_has_one_place_or_none(file, search, replace, headings, line):
    text = "\n".join(file)
    block = Block(1, tuple(search), tuple(replace), headings=tuple(headings), line=line)
    try:
        place_all([block], {"train.py": text}, RULES)
    except EditError:
        return
    exact = sum(tuple(search) == Document.of(text).lines[at : at + len(search)] for at in range(len(file)))
    assert exact <= 1 or line or headings
    assert any(line.strip() for line in search)

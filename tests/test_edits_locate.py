"""A block finds its one place, however it is typed, or none: never the nearest, never the first of several."""

import pytest

from agent.edits.blocks import Block
from agent.edits.errors import EditError, Wrong
from agent.edits.placement.document import Document
from agent.edits.placement.locate import locate
from agent.edits.placement.place import Place
from agent.edits.placement.placing import place_all
from agent.edits.rules import Rules

SCRIPT = '''"""A script."""
import math

# the width of each layer
WIDTH = 64  # neurons
LR = 0.15
TITLE = 'one "two"'


class Encoder:
    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, x):
        # widen first
        x = self.up(x)
        x = self.act(x)
        return self.down(x)


class Decoder:
    def __init__(self, width):
        super().__init__()
        self.depth = width

    def forward(self, x):
        for step in range(self.depth):
            x = x + math.sqrt(step)
        return self.head(x)


def schedule(progress):
    if progress < 0.1:
        return progress / 0.1
    if progress < 0.7:
        return 1.0
    cooldown = (1.0 - progress) / 0.3
    return cooldown * LR
'''


def place(*search: str, script: str = SCRIPT, **more) -> Place | None:
    return locate(Block(1, search, more.pop("replace", ()), **more), {"train.py": Document.of(script)})


def row_of(line: str, script: str = SCRIPT) -> int:
    return script.split("\n").index(line)


@pytest.mark.parametrize(
    ("search", "level", "first"),
    [
        (("LR = 0.15",), "exact", "LR = 0.15"),
        (("LR = 0.15   ",), "trailing", "LR = 0.15"),
        (("WIDTH = 64",), "tolerant", "WIDTH = 64  # neurons"),
        (("WIDTH=64 # another remark",), "tolerant", "WIDTH = 64  # neurons"),
        (("self.width = width",), "tolerant", "        self.width = width"),
        (("            x = self.up(x)", "            x = self.act(x)"), "tolerant", "        x = self.up(x)"),
        (("x = self.up(x)", "        x = self.act(x)"), "tolerant", "        x = self.up(x)"),
        (("\tx = self.up(x)", "\tx = self.act(x)"), "tolerant", "        x = self.up(x)"),
        (("    def forward(self, x):", "        x = self.up(x)"), "tolerant", "    def forward(self, x):"),
        (("        x = self.up(x)", "", "        x = self.act(x)"), "tolerant", "        x = self.up(x)"),
        (("LR = 0.15", "TITLE = 'one “two”'"), "tolerant", "LR = 0.15"),
        (("class Decoder:", "    # ours", "    def __init__(self, width):"), "tolerant", "class Decoder:"),
    ],
)
def test_a_block_is_found_however_it_is_typed(search: tuple[str, ...], level: str, first: str):
    found = place(*search)
    assert found is not None
    assert (found.level, found.first_row) == (level, row_of(first))


@pytest.mark.parametrize(
    "search",
    [
        ("LR = 0.1",),  # a number cut in two
        ("LR = 0.2",),
        ("return cooldown",),  # a statement that goes on
        ("        x = self.up(x)", "        return self.down(x)"),  # skips a line of code
        ("        x = self.up(x)", "        x = self.extra(x)", "        x = self.act(x)"),
        ("    x = self.up(x)", "            x = self.act(x)"),  # each line is off by another amount
        ("        x = self.up(x)", "x = self.act(x)"),  # the second line lost its indentation, not the first
        ("TITLE = 'one two'",),
        ("lr = 0.15",),
    ],
)
def test_other_code_is_not_found(search: tuple[str, ...]):
    assert place(*search) is None


@pytest.mark.parametrize(
    "search",
    [
        ("        super().__init__()",),
        ("super().__init__()",),
        ("    def __init__(self, width):", "", "        super().__init__()"),
        ("    def forward(self, x):",),
    ],
)
def test_several_places_are_refused_with_their_lines(search: tuple[str, ...]):
    with pytest.raises(EditError, match="2 places .lines [0-9]+, [0-9]+.*neighbouring lines") as error:
        place(*search)
    assert error.value.wrong is Wrong.AMBIGUOUS


def test_a_stricter_reading_with_one_hit_beats_a_looser_one_with_two():
    script = "def f():\n    lr = LR\n\n\ndef g():\n        lr = LR  # peak\n"
    assert place("    lr = LR ", script=script).first_row == 1


def test_a_lost_comment_and_a_lost_indentation_are_one_question():
    script = "def f():\n    lr = LR  # peak\n\n\ndef g():\n        lr = LR\n"
    with pytest.raises(EditError, match="2 places"):
        place("    lr = LR", script=script)


@pytest.mark.parametrize(
    ("headings", "inside"),
    [
        (("class Decoder:",), "class Decoder:"),
        (("class Decoder",), "class Decoder:"),
        (("class Encoder", "def __init__(self, width):"), "class Encoder:"),
    ],
)
def test_headings_choose_among_several_places(headings: tuple[str, ...], inside: str):
    found = place("        super().__init__()", headings=headings)
    assert found.first_row == row_of(inside) + 2


def test_headings_that_name_both_places_or_none_choose_nothing():
    for heading in ("def __init__", "class Other", "class Deco"):
        with pytest.raises(EditError, match="2 places"):
            place("        super().__init__()", headings=(heading,))


def test_a_stated_line_decides_only_if_it_is_exactly_one_of_the_places():
    wanted = row_of("class Decoder:") + 2
    assert place("        super().__init__()", line=wanted + 1).first_row == wanted
    with pytest.raises(EditError, match="2 places"):
        place("        super().__init__()", line=wanted)


def test_a_stated_line_never_overrules_the_text():
    assert place("LR = 0.15", line=1).first_row == row_of("LR = 0.15")


def test_other_readings_are_tried_only_if_the_first_is_nowhere():
    other = (("LR = 0.15",), ("LR = 0.2",))
    assert place("5: LR = 0.15", replace=("5: LR = 0.2",), readings=(other,)).replace == ("LR = 0.2",)
    assert place("TITLE = 'one \"two\"'", readings=(other,)).first_row == row_of("TITLE = 'one \"two\"'")


def test_an_expression_is_found_inside_its_line():
    found = place("math.sqrt( step )", replace=("math.log(step)",))
    line = SCRIPT.split("\n")[found.first_row]
    assert found.level == "inline"
    assert line[slice(*found.span)] == "math.sqrt(step)"


@pytest.mark.parametrize(("search", "new"), [("width", "w"), ("0.1", "0.2")])
def test_an_expression_that_occurs_more_than_once_is_refused(search: str, new: str):
    with pytest.raises(EditError) as error:
        place(search, replace=(new,))
    assert error.value.wrong is Wrong.AMBIGUOUS


@pytest.mark.parametrize("search", ["sqrt", "x + math", "0.1 * loss", "progress - 0.1", "a, b"])
def test_a_part_of_an_expression_is_not_found_inside_a_line(search: str):
    script = "y = x + math.sqrt(2)\nz = 0.1 * loss.item()\nw = 2 * progress - 0.1\nv = a, b + 1\n"
    assert place(search, script=script, replace=("2",)) is None


@pytest.mark.parametrize("search", ["math.sqrt(2)", "x + math.sqrt(2)", "progress", "2 * progress", "a, b", "c + 1"])
def test_a_whole_expression_or_arguments_are_found_inside_a_line(search: str):
    script = "y = x + math.sqrt(2)\nw = 2 * progress - 0.1\nv = f(a, b, c + 1)\n"
    found = place(search, script=script, replace=("2",))
    assert found is not None
    assert found.level == "inline"


def test_only_an_expression_takes_the_place_of_an_expression():
    assert place("math.sqrt(step)", replace=("x = math.log(step)",)) is None
    assert place("math.sqrt(step)", replace=("math.log(step)  # slower",)) is None


SCHEDULE = tuple(SCRIPT.split("\n")[row_of("def schedule(progress):") : -1])


def slipped(old: str, new: str) -> tuple[str, ...]:
    return tuple(line.replace(old, new) for line in SCHEDULE)


def test_a_slip_in_a_line_that_stays_is_forgiven_where_the_edit_rests_on_lines_that_are_right():
    typed = slipped("cooldown = ", "cool_down = ")
    changed = tuple(line.replace("return 1.0", "return 0.9") for line in typed)
    found = place(*typed, replace=changed)
    assert (found.level, found.first_row) == ("fuzzy", row_of("def schedule(progress):"))


@pytest.mark.parametrize("new", ["    cool_down = 0.5", "    cooldown = (1.0 - progress) / 0.3"])
def test_a_slip_in_the_line_that_changes_is_not_forgiven(new: str):
    typed = slipped("cooldown = ", "cool_down = ")
    changed = tuple(new if line.startswith("    cool_down =") else line for line in typed)
    assert place(*typed, replace=changed) is None


def test_a_slip_beside_an_insertion_is_not_forgiven():
    typed = slipped("cooldown = ", "cool_down = ")
    at = next(index for index, line in enumerate(typed) if "cool_down" in line)
    assert place(*typed, replace=(*typed[:at], "    progress += 1", *typed[at:])) is None


def test_a_slip_is_not_forgiven_in_a_short_block_or_beside_a_twin():
    typed = slipped("cooldown = ", "cool_down = ")[-3:]
    assert place(*typed, replace=(*typed[:-1], "    return 0")) is None
    typed = slipped("cooldown = ", "cool_down = ")
    changed = tuple(line.replace("return 1.0", "return 0.9") for line in typed)
    twin = SCRIPT + "\n\n" + "\n".join(SCHEDULE).replace("schedule", "schedule2").replace("1.0", "1.5") + "\n"
    assert place(*typed, replace=changed, script=twin) is None


def test_a_block_without_a_file_must_fit_one_place_over_all_files():
    files = {"train.py": SCRIPT, "model.py": "LR = 0.15\nDEPTH = 3\n"}
    rules = Rules(editable=tuple(files))
    with pytest.raises(EditError, match="train.py:6, model.py:1") as error:
        place_all([Block(1, ("LR = 0.15",), ("LR = 0.2",))], files, rules)
    assert error.value.wrong is Wrong.AMBIGUOUS
    after = place_all([Block(1, ("DEPTH = 3",), ("DEPTH = 4",))], files, rules)
    assert after == {"train.py": SCRIPT, "model.py": "LR = 0.15\nDEPTH = 4\n"}
    after = place_all([Block(1, ("LR = 0.15",), ("LR = 0.2",), path="model.py")], files, rules)
    assert after["train.py"] == SCRIPT
    assert after["model.py"] == "LR = 0.2\nDEPTH = 3\n"


@pytest.mark.parametrize(
    ("search", "replace", "told"),
    [
        (("WIDTH = 63",), ("WIDTH = 65",), "You wrote:      WIDTH = 63\nThe file has:   WIDTH = 64  # neurons"),
        (("return cooldown",), ("return 1",), "The file has:   return cooldown * LR"),
        (("WIDTH = 32",), ("WIDTH = 64",), "The new lines are already there, from line 5 of train.py on."),
        (("        x = self.up(x)", "        return self.down(x)"), ("pass",), "        x = self.act(x)\n"),
        (("EMA_DECAY = 0.999",), (), "Nothing in the file is like it."),
        (("", " "), ("EMA = 1",), "quote the line of train.py next to the spot"),
        ((), ("EMA = 1",), "quote the line of train.py next to the spot"),
    ],
)
def test_what_is_not_found_is_answered_with_the_nearest_real_lines(search: tuple, replace: tuple, told: str):
    with pytest.raises(EditError) as error:
        place_all([Block(2, search, replace)], {"train.py": SCRIPT}, Rules(editable=("train.py",)))
    assert error.value.wrong is Wrong.NOT_FOUND
    assert str(error.value).startswith("Block 2")
    assert told in str(error.value)

"""What a block changes, and nothing else, reaches the file: its own lines, comments, bytes and line ends stay."""

import pytest

from agent.edits.blocks import Block, Edit, NewFunction, SetLine, WholeFile
from agent.edits.errors import EditError, Wrong
from agent.edits.placement.document import Document
from agent.edits.placement.placing import place_all
from agent.edits.placement.regions import check_region
from agent.edits.rules import Rules
from agent.edits.unified import record_diff

RULES = Rules(editable=("train.py",))
SCRIPT = """import math

DEPTH = 6               # layers
WIDTH = 384             # neurons

# the schedule

BETAS = (0.9, 0.95)


class Model:
    def forward(self, x):
        # widen
        x = self.up(x)

        x = self.act( x )  # smooth
        return self.down(x)
"""


def after(*edits: Edit, script: str = SCRIPT) -> str:
    return place_all(edits, {"train.py": script}, RULES)["train.py"]


def block(search: str, replace: str, number: int = 1) -> Block:
    return Block(number, tuple(search.split("\n")), tuple(replace.split("\n")) if replace else ())


def refused(*edits: Edit, script: str = SCRIPT) -> EditError:
    with pytest.raises(EditError) as error:
        after(*edits, script=script)
    return error.value


def test_quoted_lines_stay_as_the_file_has_them():
    typed = "def forward(self, x):\n    x = self.up(x)\n    x = self.act(x)\n    return self.down(x)"
    result = after(block(typed, typed.replace("self.down(x)", "self.down(2 * x)")))
    assert result == SCRIPT.replace("self.down(x)", "self.down(2 * x)")


def test_new_lines_take_the_indentation_of_the_place():
    result = after(block("x = self.up(x)", "if self.training:\n    x = self.drop(x)\n\nx = self.up(x)"))
    new = "        if self.training:\n            x = self.drop(x)\n\n"
    assert result == SCRIPT.replace("        x = self.up(x)\n", new + "        x = self.up(x)\n")


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("            x = self.up(x)", "        x = self.up(x)\n        x = 2 * x"),
        ("            x = self.up(x)", "            x = self.up(x)\n  x = 2 * x"),
        ("    x = self.up(x)", "        x = self.up(x)\n        x = 2 * x"),
    ],
)
def test_new_lines_that_do_not_fit_the_indentation_of_the_place_are_refused(search: str, replace: str):
    error = refused(block(search, replace))
    assert error.wrong is Wrong.NOT_FOUND
    assert "indentation" in str(error)


@pytest.mark.parametrize(
    ("search", "replace", "line"),
    [
        ("DEPTH = 6", "DEPTH = 8", "DEPTH = 8               # layers"),
        ("DEPTH = 6", "DEPTH = 16", "DEPTH = 16              # layers"),
        ("DEPTH = 6", "DEPTH = 6 * MULTIPLIER_OF_DEPTH", "DEPTH = 6 * MULTIPLIER_OF_DEPTH  # layers"),
        ("DEPTH = 6", "DEPTH = 8  # more", "DEPTH = 8  # more"),
        ("DEPTH = 6 # of layers", "DEPTH = 8 # of layers", "DEPTH = 8               # layers"),
        ("DEPTH  =  6               # layers", "DEPTH = 8", "DEPTH = 8"),
    ],
)
def test_a_trailing_comment_stays_unless_the_block_changes_it(search: str, replace: str, line: str):
    assert after(block(search, replace)) == SCRIPT.replace("DEPTH = 6               # layers", line)


@pytest.mark.parametrize(
    ("search", "replace"), [("X = 100", "X = 250"), ("X = 100", "X = 1000000"), ("X  = 100", "X = 1")]
)
def test_a_comment_keeps_its_distance_where_it_is_close(search: str, replace: str):
    result = after(block(search, replace), script="X = 100 # often\n")
    assert result.partition("#")[0].rstrip() == replace
    assert result == f"{replace:<7} # often\n"


@pytest.mark.parametrize(("file", "reply"), [("\t", "    "), ("\t", "  "), ("    ", "\t"), ("  ", "\t")])
@pytest.mark.parametrize("quoted", ["class A:", "def f(x):"])
def test_new_lines_take_the_style_of_the_file_where_the_quoted_ones_show_none(file: str, reply: str, quoted: str):
    script = f"def f(x):\n{file}if x:\n{file}{file}return x\n{file}return 1\n\n\nclass A:\n{file}a = 1\n"
    new = "def g(x):\n{0}if x:\n{0}{0}return 2\n{0}return 3\n\n\n" + quoted
    result = after(block(quoted, new.format(reply)), script=script)
    assert result == script.replace(quoted, new.format(file))


def test_a_comment_that_the_block_invents_is_not_written():
    search = "# wider\nWIDTH = 384  # of each layer"
    result = after(block(search, search.replace("384", "512")))
    assert result == SCRIPT.replace("384", "512")


def test_comments_and_blank_lines_go_where_the_block_takes_them_out():
    typed = "    # widen\n    x = self.up( x )\n\n    x = self.act(x)"
    assert after(block(typed, typed.replace("\n\n", "\n"))) == SCRIPT.replace("(x)\n\n        x", "(x)\n        x")
    assert after(block(typed, typed.replace("    # widen\n", ""))) == SCRIPT.replace("        # widen\n", "")


def test_comments_between_changed_lines_stay_where_they_are():
    script = "A = 1  # a\n# about b\n\nB = 2\n"
    assert after(block("A = 1\nB = 2", "A = 3\nB = 4"), script=script) == "A = 3  # a\n# about b\n\nB = 4\n"


def test_one_line_that_becomes_several_passes_its_comment_on_to_its_like():
    result = after(block("DEPTH = 6", "EXTRA = True\nDEPTH = 7"))
    assert result == SCRIPT.replace("DEPTH = 6 ", "EXTRA = True\nDEPTH = 7 ")


def test_an_insertion_goes_behind_the_quoted_line_above_it():
    result = after(block("WIDTH = 384\nBETAS = (0.9, 0.95)", "WIDTH = 384\nHEADS = 6\nBETAS = (0.9, 0.95)"))
    assert result == SCRIPT.replace("# neurons\n", "# neurons\nHEADS = 6\n")


def test_an_insertion_above_the_first_quoted_line_goes_there():
    assert after(block("class Model:", "X = 1\n\n\nclass Model:")) == SCRIPT.replace("class", "X = 1\n\n\nclass")


def test_nothing_in_the_new_lines_is_read_as_a_pattern():
    new = r"BETAS = r'\1 \g<0> $1 %s {x} \n'"
    assert after(block("BETAS = (0.9, 0.95)", new)) == SCRIPT.replace("BETAS = (0.9, 0.95)", new)


def test_typographic_characters_are_written_plain_only_if_the_block_shows_them_for_plain_ones():
    script = 'print("---")\nprint("…—")\n'
    assert after(block("print(“---”)", "print(“--- end”)"), script=script).startswith('print("--- end")\n')
    assert after(block('print("---")', "print(“--- end”)"), script=script).startswith("print(“--- end”)\n")


def test_typographic_characters_of_the_file_stay_in_a_changed_line():
    script = 'label = "warm‑up — “slow”", 1\n'
    typed = 'label = "warm-up - "slow"", 1'
    assert after(block(typed, typed.replace("1", "2")), script=script) == script.replace("1", "2")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("import math", "import math\nimport time"),
        ("import math", "import time\nimport math"),
        ("        return self.down(x)", "        y = self.down(x)\n        return y"),
        ("        return self.down(x)", "        return self.down(x)\n\n\nX = 1"),
        ("        return self.down(x)", ""),
        ("WIDTH = 384", "HEADS = 6\nWIDTH = 384\nHEADS += 1"),
    ],
)
def test_line_ends_the_byte_order_mark_and_the_end_of_the_file_stay(end, final, bom, search, replace):
    plain = after(block(search, replace))
    script, wanted = ((text if final else text.removesuffix("\n")).replace("\n", end) for text in (SCRIPT, plain))
    assert after(block(search, replace), script=bom + script) == bom + wanted


def test_in_a_file_of_mixed_line_ends_only_new_lines_choose():
    script = "A = 1\r\nB = 2\nC = 3\r\n"
    assert after(block("A = 1", "A = 2"), script=script) == "A = 2\r\nB = 2\nC = 3\r\n"
    assert after(block("B = 2", "B = 2\nX = 0"), script=script) == "A = 1\r\nB = 2\nX = 0\nC = 3\r\n"


@pytest.mark.parametrize("odd", ["\x0c", "\x0b", "\u2028", "\x85", "\r"])
def test_characters_that_only_some_take_for_line_ends_are_content(odd: str):
    script = f"A = 1\nS = 'a{odd}b'\nB = 2\n"
    assert after(block("A = 1", "A = 2"), script=script) == script.replace("A = 1", "A = 2")
    assert Document.of(script).lines[1] == f"S = 'a{odd}b'"


def test_tabs_and_spaces_become_those_of_the_file():
    tabbed = "def f(x):\n\tif x:\n\t\treturn x\n\treturn 0\n"
    typed = "    if x:\n        return x"
    new = "    if x:\n        while x:\n            x -= 1\n        return x"
    result = after(block(typed, new), script=tabbed)
    assert result == tabbed.replace("\t\treturn x", "\t\twhile x:\n\t\t\tx -= 1\n\t\treturn x")
    spaced = tabbed.replace("\t", "  ")
    typed, new = typed.replace("    ", "\t"), new.replace("    ", "\t")
    assert after(block(typed, new), script=spaced) == result.replace("\t", "  ")


def test_equal_blocks_count_once_and_shared_context_is_no_conflict():
    first = block("DEPTH = 6\nWIDTH = 384", "DEPTH = 8\nWIDTH = 384")
    second = block("DEPTH = 6\nWIDTH = 384", "DEPTH = 6\nWIDTH = 512", 2)
    assert after(first, first, second) == SCRIPT.replace("DEPTH = 6", "DEPTH = 8").replace("384", "512")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("DEPTH = 6", "DEPTH = 7"), ("DEPTH = 6", "DEPTH = 8")),
        (("DEPTH = 6", "DEPTH = 6\nA = 1"), ("DEPTH = 6", "DEPTH = 6\nB = 1")),
        (("DEPTH = 6", "DEPTH = 6\nA = 1"), ("WIDTH = 384", "B = 1\nWIDTH = 384")),
        (("DEPTH = 6\nWIDTH = 384", "A = 1"), ("WIDTH = 384", "WIDTH = 1")),
        (("DEPTH = 6\nWIDTH = 384", "A = 1"), ("DEPTH = 6", "DEPTH = 6\nB = 1")),
    ],
)
def test_edits_that_contradict_each_other_are_refused_in_either_order(first: tuple, second: tuple):
    for one, other in ((first, second), (second, first)):
        assert refused(block(*one), block(*other, 2)).wrong is Wrong.CONFLICT


def test_a_changed_line_may_have_a_neighbour_inserted_by_another_block():
    result = after(block("DEPTH = 6", "DEPTH = 8"), block("DEPTH = 6\nWIDTH = 384", "DEPTH = 6\nA = 1\nWIDTH = 384", 2))
    assert result == SCRIPT.replace("DEPTH = 6", "DEPTH = 8").replace("WIDTH", "A = 1\nWIDTH", 1)


def test_one_block_without_a_place_and_nothing_is_applied():
    assert refused(block("DEPTH = 6", "DEPTH = 8"), block("DEPTH = 5", "DEPTH = 9", 2)).wrong is Wrong.NOT_FOUND


def test_a_block_may_build_on_another_one():
    second = block("HEADS = 6", "HEADS = 8", 1)
    files = place_all([second, block("DEPTH = 6", "DEPTH = 6\nHEADS = 6", 2)], {"train.py": SCRIPT}, RULES)
    assert files["train.py"] == SCRIPT.replace("WIDTH", "HEADS = 8\nWIDTH", 1)


def test_dots_on_both_sides_stand_for_the_lines_between():
    for dots in ("...", "    # ... as it was ...", "…", "        ... existing code ..."):
        old = f"class Model:\n{dots}\n        return self.down(x)"
        assert after(block(old, old.replace("down", "out"))) == SCRIPT.replace("down", "out")


@pytest.mark.parametrize(
    ("search", "replace", "wrong"),
    [
        ("class Model:\n...\n        return self.down(x)", "class Model:\n        return 1", Wrong.LAZY),
        ("import math\n...\n        x = self.gone(x)", "import time\n...\n        x = self.gone(x)", Wrong.NOT_FOUND),
        ("        return self.down(x)\n...\nimport math", "        return 1\n...\nimport math", Wrong.NOT_FOUND),
        ("...\nDEPTH = 6", "EXTRA = 1\n...\nDEPTH = 6", Wrong.NOT_FOUND),
    ],
)
def test_dots_that_say_too_little_are_refused(search: str, replace: str, wrong: Wrong):
    assert refused(block(search, replace)).wrong is wrong


def test_dots_that_are_code_are_code():
    script = "class A:\n    ...\n\n\nclass B:\n    pass\n"
    assert after(block("class A:\n    ...", "class A:\n    x = 1"), script=script).startswith("class A:\n    x = 1\n")


def test_an_expression_changes_inside_its_line():
    result = after(block("(0.9, 0.95)", "(0.9, 0.99)"))
    assert result == SCRIPT.replace("0.95", "0.99")


def test_a_whole_file_changes_only_lines_that_differ():
    script = "\ufeffA = 1\r\nB = 2\nC = 3"
    assert after(WholeFile("A = 1\nB = 5\nX = 0\nC = 3\n"), script=script) == "\ufeffA = 1\r\nB = 5\nX = 0\nC = 3"
    assert refused(WholeFile("A = 1\n", path="prepare.py")).wrong is Wrong.PATH


@pytest.mark.parametrize(
    ("name", "expression", "line"),
    [
        ("DEPTH", "8", "DEPTH = 8               # layers"),
        ("DEPTH", "2**3  # more", "DEPTH = 2**3               # layers"),
        ("DEPTH", "DEPTH * 2", "DEPTH = 12               # layers"),
        ("DEPTH", "2 * -4", "DEPTH = 2 * -4               # layers"),
    ],
)
def test_a_set_line_changes_the_value_and_nothing_else(name: str, expression: str, line: str):
    assert after(SetLine(name, expression)) == SCRIPT.replace("DEPTH = 6               # layers", line)


def test_a_set_line_may_use_constants_above_it_and_replace_a_computed_one():
    assert after(SetLine("WIDTH", "DEPTH * 64")) == SCRIPT.replace("384", "DEPTH * 64")
    assert after(SetLine("B", "3"), script="A = 1\nB = A + len('x')\n") == "A = 1\nB = 3\n"


@pytest.mark.parametrize(
    ("name", "expression", "wrong"),
    [
        ("HEADS", "8", Wrong.NOT_FOUND),
        ("DEPTH", "WIDTH // 64", Wrong.VALUE),  # set below: not yet known
        ("DEPTH", "len(BETAS)", Wrong.VALUE),
        ("DEPTH", "8)", Wrong.VALUE),
        ("DEPTH", "8; import os", Wrong.VALUE),
        ("DEPTH", "8;", Wrong.VALUE),
        ("DEPTH", "", Wrong.VALUE),
        ("DEPTH", "8\nimport os", Wrong.VALUE),
        ("DEPTH", "'six'", Wrong.VALUE),
        ("DEPTH", "1e400", Wrong.VALUE),
        ("BETAS", "0.9", Wrong.VALUE),
        ("TWICE", "3", Wrong.VALUE),
        ("math", "3", Wrong.NOT_FOUND),
    ],
)
def test_a_set_line_that_names_no_one_constant_or_no_value_is_refused(name: str, expression: str, wrong: Wrong):
    script = SCRIPT + "\nTWICE = 1\nTWICE = 2\n"
    assert refused(SetLine(name, expression), script=script).wrong is wrong


def test_the_same_set_line_counts_once_and_another_value_is_a_conflict():
    once, again, other = SetLine("DEPTH", "8"), SetLine("DEPTH", "8"), SetLine("DEPTH", "9")
    assert after(once, again) == SCRIPT.replace("DEPTH = 6", "DEPTH = 8")
    assert refused(once, other).wrong is Wrong.CONFLICT


def test_a_set_line_needs_one_file_with_that_constant():
    files = {"a.py": "A = 1\nB = 1\n", "b.py": "A = 1\nC = 1\n"}
    rules = Rules(editable=("a.py", "b.py"))
    assert place_all([SetLine("C", "2")], files, rules) == files | {"b.py": "A = 1\nC = 2\n"}
    with pytest.raises(EditError, match="a.py and b.py"):
        place_all([SetLine("A", "2")], files, rules)


FUNCTIONS = """class Model:
    @staticmethod
    def act(x, scale=1.0):
        return x * scale

    def forward(self, x):
        return self.act(x)  # last


def act(x):
    return x
"""


@pytest.mark.parametrize("depth", ["", "    ", "\t"])
def test_a_function_is_replaced_with_its_decorators_and_indented_like_the_old_one(depth: str):
    new = "def act(x, scale=1.0, bias=0.0):\n    y = x * scale\n\n    return y + bias\n".replace(
        "    ", depth or "    "
    )
    source = "\n".join(f"{depth}{line}" if line else "" for line in new.split("\n"))
    result = after(NewFunction("Model.act", source), script=FUNCTIONS)
    body = "    def act(x, scale=1.0, bias=0.0):\n        y = x * scale\n\n        return y + bias\n"
    assert result == FUNCTIONS.replace(
        "    @staticmethod\n    def act(x, scale=1.0):\n        return x * scale\n", body
    )


def test_a_function_keeps_the_text_inside_its_strings_and_the_line_ends_of_the_file():
    source = 'def act(x):\n    s = """\none\n    two"""\n    return s'
    result = after(NewFunction("act", source), script=FUNCTIONS.replace("\n", "\r\n"))
    assert result.endswith(source.replace("\n", "\r\n") + "\r\n")


@pytest.mark.parametrize(
    ("name", "source", "wrong"),
    [
        ("Model.backward", "def backward(self):\n    pass", Wrong.NOT_FOUND),
        ("Model.act", "def act(x):\n    return x", Wrong.CONTRACT),
        ("Model.act", "def other(x, scale):\n    return x", Wrong.NO_EDIT),
        ("Model.act", "def act(x, scale):\n    return x\nimport os", Wrong.NO_EDIT),
        ("Model.act", "def act(x, scale):\nreturn x", Wrong.SYNTAX),
        ("Model.act", "", Wrong.NO_EDIT),
        ("Model", "class Model:\n    pass", Wrong.NOT_FOUND),
    ],
)
def test_a_function_that_is_not_there_or_not_whole_is_refused(name: str, source: str, wrong: Wrong):
    assert refused(NewFunction(name, source), script=FUNCTIONS).wrong is wrong


def test_a_function_that_is_there_twice_is_refused():
    assert refused(NewFunction("act", "def act(x):\n    return 1"), script=FUNCTIONS * 2).wrong is Wrong.AMBIGUOUS


REGION = ("# START", "# END")
OUTER = "import os\n# START\nA = 1\n# END\nB = 2\n"


@pytest.mark.parametrize("text", ["import os\n# START\n# END\nB = 2\n", OUTER.replace("A = 1", "A = 1\nB = 3"), OUTER])
def test_what_lies_between_the_markers_may_change(text: str):
    check_region({"train.py": OUTER}, {"train.py": text}, REGION)


@pytest.mark.parametrize(
    "text",
    [
        OUTER.replace("B = 2", "B = 3"),
        OUTER.replace("# END\n", ""),
        OUTER.replace("# START\n", ""),
        OUTER.replace("A = 1", "# END\nX = 1\n# START"),
        OUTER.replace("# START", "X = 1\n# START"),
        OUTER + "X = 1\n",
        "",
    ],
)
def test_outside_of_the_markers_nothing_may_change(text: str):
    with pytest.raises(EditError, match="only the lines between `# START` and `# END`") as error:
        check_region({"train.py": OUTER}, {"train.py": text}, REGION)
    assert error.value.wrong is Wrong.CONTRACT


def test_a_file_without_markers_may_not_change_where_a_region_is_set():
    with pytest.raises(EditError):
        check_region({"a.py": "A = 1\n"}, {"a.py": "A = 2\n"}, REGION)


@pytest.mark.parametrize(
    ("before", "new"),
    [
        ("a\nb\nc\n", "a\nx\nc\n"),
        ("a\r\nb\r\n", "a\r\nx\r\nb\r\n"),
        ("\ufeffa\nb", "\ufeffa\nb\nc"),
        ("a\nb", "a\nb\n"),
        ("a\u2028b\n\x0c\nc\rd\n", "a\u2028b\n\x0c\nc\re\n"),
        ("", "a\n"),
        ("a\n", ""),
        ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n", "-- a/x\n@@ -1 +1 @@\n-x\n"),
    ],
)
def test_the_recorded_diff_is_read_back_by_unidiff(before: str, new: str):
    diff = record_diff({"dir/train.py": before, "same.py": "x"}, {"dir/train.py": new, "same.py": "x"})
    assert diff.startswith("--- a/dir/train.py\n+++ b/dir/train.py\n@@ ")
    assert "same.py" not in diff


def test_no_change_has_no_diff():
    assert record_diff({"a": "x\n"}, {"a": "x\n"}) == ""

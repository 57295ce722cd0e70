"""Diffs and patches are read for what they remove and add: their counts, numbers and columns are never believed."""

import pytest
from edits_kit import DIFF, PATCH, blocks, changes, wrong

LR = ("\nLR = 0.15\nCLIP = 1.0  # of the norm", "\nLR = 0.3\nCLIP = 1.0  # of the norm")
BARE = ("LR = 0.15", "LR = 0.3")
HUNK = "-LR = 0.15\n+LR = 0.3\n"


@pytest.mark.parametrize(
    "text",
    [
        DIFF,
        f"```diff\n{DIFF}```",
        f"```\n{DIFF}```",
        f"```diff\n{DIFF}",
        f"```diff\ndiff --git a/train.py b/train.py\nindex 12..34 100644\n{DIFF}```",
        DIFF.replace("a/", "").replace("b/", ""),
        DIFF.replace("-9,3 +9,3", "-1,9 +1"),
        DIFF.replace("@@ -9,3 +9,3 @@", "@@ ... @@"),
        DIFF.replace("@@ -9,3 +9,3 @@", "@@"),
        DIFF.partition("\n+++")[2].partition("\n")[2],
        f"```diff\n{DIFF.partition(chr(10))[2]}```",
        f"```diff\n{DIFF.replace('+++ b/train.py' + chr(10), '')}```",
        DIFF.replace("\n \n", "\n\n"),
        DIFF.replace("a/train.py", "a/train.py\t2024-01-01").replace("b/train.py", "train.py 2024-01-01 00:00:00"),
        DIFF.replace("\n", "\r\n"),
        f"{DIFF}\\ No newline at end of file\n",
        f"I raise it.\n\n{DIFF}\nThis should help:\n\n- it is faster\n- and better\n",
        f"1. so\n\n   ```diff\n{''.join(f'   {line}' for line in DIFF.splitlines(keepends=True))}   ```\n",
        f"```diff\n{DIFF}\n\n```\n",
        f"```diff\n@@ ... @@\n class Net:\n     def forward(self, x):\n{DIFF}```",
    ],
)
def test_a_diff_is_read_whatever_its_headers_say(text):
    assert changes(text) == [LR]


def test_a_diff_without_a_hunk_header_is_one_hunk():
    assert changes(f"```diff\n{HUNK}```") == [BARE]


def test_context_has_a_reading_with_and_one_without_its_column():
    (block,) = blocks("```diff\n@@\n        x = self.up(x)\n-        return 1\n+        return 2\n```")
    sides = [(block.search, block.replace), *block.readings]
    assert (("        x = self.up(x)", "        return 1"), ("        x = self.up(x)", "        return 2")) in sides
    assert (("       x = self.up(x)", "        return 1"), ("       x = self.up(x)", "        return 2")) in sides
    assert sides[0][0][0] == "        x = self.up(x)", "the reading that the file has comes first"


def test_context_at_column_zero_may_lack_its_column():
    assert changes("```diff\n@@\nimport math\n-a\n+b\n     c\n```") == [
        ("import math\na\n    c", "import math\nb\n    c")
    ]


@pytest.mark.parametrize(
    ("header", "line", "headings"),
    [
        ("@@ -9,3 +9,3 @@", 9, ()),
        ("@@ -9 +9 @@ class Net:", 9, ("class Net:",)),
        ("@@ class Net:", None, ("class Net:",)),
        ("@@ class Net: @@", None, ("class Net:",)),
        ("@@ ... @@ def forward(self, x):", None, ("def forward(self, x):",)),
        ("@@ class Net:\n@@ def forward(self, x):", None, ("class Net:", "def forward(self, x):")),
        ("@@ line 9 @@", 9, ()),
        ("@@ -0,0 +1 @@", None, ()),
        ("@@ … @@", None, ()),
    ],
)
def test_a_hunk_header_gives_a_line_and_scopes(header, line, headings):
    for text in (f"```diff\n{header}\n{HUNK}```", PATCH.replace("@@", header)):
        (block,) = blocks(text)
        assert (block.line, block.headings, block.diff) == (line, headings, True)


def test_removed_lines_that_look_like_headers_are_removed_lines():
    text = "```diff\n@@\n--- usage: old\n+-- usage: new\n--- a.b\n```"
    assert changes(text) == [("-- usage: old\n-- a.b", "-- usage: new")]


def test_hunks_without_a_change_are_skipped_and_nothing_else_changes_nothing():
    idle = "@@ ... @@\n class Net:\n"
    assert changes(f"```diff\n{idle}@@\n{HUNK}```") == [BARE]
    assert wrong(f"```diff\n{idle}```") == "noop"
    assert wrong("*** Begin Patch\n*** Update File: train.py\n@@\n class Net:\n*** End Patch") == "noop"


def test_a_diff_that_goes_on_after_its_fence_is_refused():
    assert wrong(f"```diff\n@@\n{HUNK}```\n@@\n{HUNK}") == "markers"


def test_several_diffs_are_one_change():
    assert changes(f"```diff\n@@\n{HUNK}```\nand\n```diff\n@@\n-a\n+b\n```") == [BARE, ("a", "b")]


@pytest.mark.parametrize(
    "text",
    [
        PATCH,
        f"```\n{PATCH}```",
        f"```bash\napply_patch <<'EOF'\n{PATCH}EOF\n```",
        PATCH.replace("@@\n", ""),
        PATCH.replace("@@\n", "--- a/train.py\n+++ b/train.py\n@@ -9 +9 @@\n"),
        PATCH.replace("*** End Patch", "*** End of File\n*** End Patch"),
        "".join(f" {line} \n" if line.startswith("***") else f"{line}\n" for line in PATCH.splitlines()),
    ],
)
def test_a_patch_is_read_in_its_wrappings(text):
    assert changes(text) == [BARE]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (PATCH.replace("*** End Patch\n", ""), "markers"),
        (PATCH.replace("*** Begin Patch\n", ""), "markers"),
        (PATCH.replace("*** End Patch\n", PATCH), "markers"),
        ("*** Begin Patch\n*** End Patch", "no_edit"),
        ("*** Begin Patch\n*** Update File: train.py\n*** End Patch", "no_edit"),
    ],
)
def test_a_patch_without_its_envelope_or_without_hunks_is_refused(text, kind):
    assert wrong(text) == kind


def test_every_chunk_of_a_patch_is_a_block():
    two = PATCH.replace("*** End Patch", "@@ def schedule(progress):\n-    return 1.0\n*** End Patch")
    assert changes(two) == [BARE, ("    return 1.0", "")]

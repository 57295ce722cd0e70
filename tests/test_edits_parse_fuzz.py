"""Whatever a model writes, reading it ends soon, with edits or with a refusal."""

import time

import pytest
from edits_kit import BLOCK, CASES, CHANGED, DIFF, FILES, PATCH, RULES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.edits.answer.lazy import check_lazy
from agent.edits.answer.parse import parse
from agent.edits.blocks import Answer, Block
from agent.edits.errors import EditError

PIECES = [
    *BLOCK.splitlines(keepends=True),
    *DIFF.splitlines(keepends=True),
    *PATCH.splitlines(keepends=True),
    *(
        "```python\n",
        "```\n",
        "````\n",
        "~~~\n",
        "<think>",
        "</think>\n",
        "<|channel|>final<|message|>",
        "@@\n",
        "+",
        "-",
    ),
    *(
        "SET LR = ",
        "0.3 # x\n",
        "FUNCTION Net.forward\n",
        "def forward(self):\n    pass\n",
        "train.py\n",
        "prepare.py\n",
    ),
    *(
        '{"search": "a", ',
        '"replace": "b"}\n',
        "\\n",
        "&lt;",
        "\r\n",
        "\0",
        "\u200b",
        "\ud800",
        "# ...\n",
        "12 | x\n",
        "'\\d'",
    ),
    CHANGED,
]
REPLIES = [BLOCK, DIFF, PATCH, f"```python\n{CHANGED}```", *(case["reply"] for case in CASES.values())]
SECONDS = 20  # several times what the slowest needs on a busy machine
quick = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def read(text: str, **answer) -> None:
    try:
        parsed = parse(Answer(text, **answer), FILES, RULES)
        check_lazy(parsed, FILES)
    except EditError as error:
        assert str(error)
        return
    assert parsed.edits
    assert all(edit.path in (None, "train.py") for edit in parsed.edits)
    numbers = [edit.number for edit in parsed.edits if isinstance(edit, Block)]
    assert numbers == list(range(1, len(numbers) + 1))


@quick
@given(st.text(), st.booleans())
def test_any_text_is_read_or_refused(text, think_open):
    read(text, think_open=think_open)


@quick
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=30), st.booleans())
def test_any_heap_of_pieces_is_read_or_refused(pieces, promoted):
    text = "".join(pieces)
    read("" if promoted else text, reasoning=text if promoted else "")


@quick
@given(st.sampled_from(REPLIES), st.data())
def test_a_damaged_answer_is_read_or_refused(reply, data):
    lines = reply.split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "double", "swap", "cut", "put"])):
            case "drop":
                lines[at : at + 1] = [] if len(lines) > 1 else lines
            case "double":
                lines.insert(at, lines[at])
            case "swap":
                lines[at], lines[-1 - at] = lines[-1 - at], lines[at]
            case "cut":
                lines[at] = lines[at][: len(lines[at]) // 2]
            case _:
                lines.insert(at, data.draw(st.sampled_from(PIECES)))
    read("\n".join(lines))


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "a/",
            "=======\n",
            "<<<<<<< SEARCH\n",
            BLOCK,
            "```\n",
            "```python\nx = 1\n```\n",
            "<think>",
            "</think>\n",
            "@@\n",
        ),
        *(
            "-a\n+b\n@@ x\n",
            "{",
            '{"search":',
            "\\n",
            " ",
            "\n",
            "&amp;",
            "SET A = 1\n",
            "</s>",
            "# ... ",
            "1 | x\n",
            "(",
            "a.",
        ),
        *(
            "FUNCTION f\ndef f():\n  pass\n\n",
            "x = 1\n",
            "<|channel|>final",
            "\\n<<<<<<< SEARCH",
            "IDEA:\\n",
            "1",
            "\t#",
        ),
    ],
)
def test_an_endless_repetition_ends_soon(piece):
    text = (piece * (900_000 // len(piece)))[:900_000]
    began = time.monotonic()
    read("\n".join(text.split("\n")[:50_000]))
    read(f"SET LR = {text}")
    assert time.monotonic() - began < SECONDS

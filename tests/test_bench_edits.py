"""`agent bench edits`: right is what comes out as labelled, and what is wrong is listed with what came out."""

import json
import subprocess
from pathlib import Path

import pytest
from kit import AGENT

from agent.bench.edits import Case, lines, load_cases, run_cases
from agent.errors import UsageError

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "cases" / "edits"
SOURCE = """from prepare import evaluate_bpb

LR = 0.1
DEPTH = 4
val_bpb = evaluate_bpb(LR, DEPTH)
print("val_bpb:", val_bpb)
"""


def block(old: str, new: str) -> str:
    return f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


def case(reply: str, expect: str, **more: object) -> Case:
    fields = {"name": "a_case", "source": SOURCE, "reply": reply, "expect": expect, "why": "", "format": "sr"} | more
    return Case.model_validate(fields)


def outcome(reply: str, expect: str, **more: object) -> str:
    """What the bench says of one case; empty if it is right."""
    return run_cases([case(reply, expect, **more)])[0].got


FASTER = block("LR = 0.1", "LR = 0.2")
RESULT = SOURCE.replace("0.1", "0.2")
WITH_TORCH = RESULT.replace("LR =", "import torch\nLR =")
RIGHT: dict[str, tuple[str, str, dict[str, object]]] = {
    "applied": (FASTER, "applied", {"result": RESULT}),
    "applied by its tree": (FASTER, "applied", {"result": RESULT + "# end\n", "compare": "ast"}),
    "rejected by reading": (block("LR = 0.3", "LR = 0.2"), "rejected", {}),
    "rejected by a gate": (block("LR = 0.1", "LR = gain"), "rejected", {}),
    "a duplicate": (FASTER, "rejected", {"earlier": [RESULT.replace("0.2", "0.2  # high")]}),
    "no duplicate": (FASTER, "applied", {"result": RESULT, "earlier": [RESULT.replace("0.2", "0.3")]}),
    "a comment": (block("LR = 0.1", "LR = 0.1  # high"), "noop", {}),
    "nothing": (block("LR = 0.1", "LR = 0.1"), "noop", {}),
    "cut": (FASTER, "rejected", {"finish_reason": "length"}),
    "nothing at all": ("", "rejected", {}),
    "only thoughts": ("I think " + FASTER, "rejected", {"think_open": True}),
    "an answer as reasoning": ("", "applied", {"reasoning": FASTER, "result": RESULT}),
    "torch": (
        block("LR = 0.1", "import torch\nLR = 0.2"),
        "applied",
        {"result": WITH_TORCH},
    ),
    "what is installed but not for the cases": (block("LR = 0.1", "import click\nLR = 0.2"), "rejected", {}),
    "frozen": (block("val_bpb = evaluate_bpb(LR, DEPTH)", "val_bpb = 0.5"), "rejected", {}),
    "out of its region": (FASTER, "rejected", {"policy": {"editable_regions": {"start": "# A", "end": "# B"}}}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_outcome_is_right(name: str) -> None:
    reply, expect, more = RIGHT[name]
    assert outcome(reply, expect, **more) == ""


@pytest.mark.parametrize("name", RIGHT)
def test_the_other_labels_are_wrong_for_the_same_answer(name: str) -> None:
    reply, expect, more = RIGHT[name]
    for label in {"applied", "rejected", "noop"} - {expect}:
        assert outcome(reply, label, **{"result": "", **more}) != ""


def test_another_text_is_shown_by_its_first_line_that_differs() -> None:
    got = outcome(FASTER, "applied", result=RESULT.replace("DEPTH = 4", "DEPTH = 4 "))
    assert got.split("\n") == [
        "another text, first in line 4:",
        "       expected 'DEPTH = 4 \\n'",
        "       got      'DEPTH = 4\\n'",
    ]
    assert "'(end)'" in outcome(FASTER, "applied", result=RESULT + "x\n")
    assert "\\r\\n" in outcome(FASTER, "applied", result=RESULT.replace("\n", "\r\n"))


def test_a_refusal_that_was_not_expected_is_shown_with_its_reason() -> None:
    assert "gain" in outcome(block("LR = 0.1", "LR = gain"), "applied", result=RESULT)


def test_the_listing_ends_with_what_edits_cost_and_the_count() -> None:
    cases = [case(FASTER, "applied", result=RESULT), case(FASTER, "noop"), case("", "rejected")]
    listed = list(lines(run_cases(cases)))
    assert listed[0] == "wrong  a_case: expected noop, got applied"
    assert listed[1].startswith(f"output tokens: 16 an answer, {len(FASTER) / len(RESULT):.1%} of the whole file")
    assert f"{len(SOURCE)} characters" in listed[1]
    assert listed[2:] == ["2 of 3 right"]


def written(folder: Path, *cases: Case) -> Path:
    for number, one in enumerate(cases):
        (folder / f"{number}.json").write_text(one.model_dump_json())
    return folder


def test_the_command_says_by_its_exit_code_whether_all_are_right(tmp_path: Path) -> None:
    written(tmp_path, case(FASTER, "applied", result=RESULT))
    good = subprocess.run([AGENT, "bench", "edits", tmp_path], capture_output=True, text=True)
    assert (good.returncode, good.stdout.splitlines()[-1], good.stderr) == (0, "1 of 1 right", "")
    written(tmp_path, case(FASTER, "applied", result=RESULT), case(FASTER, "rejected"))
    bad = subprocess.run([AGENT, "bench", "edits", tmp_path], capture_output=True, text=True)
    assert (bad.returncode, bad.stdout.splitlines()[-1]) == (1, "1 of 2 right")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "0.json is no case: Invalid JSON"),
        ("[]", "0.json is no case: "),
        ('{"name": "x"}', "source: Field required"),
        (json.dumps({"name": "x", "source": "", "reply": "", "expect": "maybe"}), "expect: "),
        (json.dumps({"name": "x", "source": "", "reply": "", "expect": "noop", "policy": {"a": 1}}), "policy.a: "),
    ],
)
def test_a_file_that_is_no_case_is_named(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "0.json").write_text(content)
    with pytest.raises(UsageError) as caught:
        load_cases(tmp_path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_cases_is_a_mistake(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match="no cases"):
            load_cases(folder)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the labelled cases are not on this machine")
def test_the_labelled_cases_all_come_out_right() -> None:
    listed = list(lines(run_cases(load_cases(SHARED))))
    assert [line for line in listed if line.startswith("wrong")] == []

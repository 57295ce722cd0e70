"""Labelled answers of models: each leads to the file it should, or to a refusal. The static gates are not run here."""

import ast
import json
from pathlib import Path

import pytest

from agent.edits.blocks import Answer
from agent.edits.errors import EditError, Wrong
from agent.edits.read import read
from agent.edits.rules import Rules
from agent.edits.unified import record_diff

FOLDER = Path(__file__).resolve().parent.parent.parent / "shared" / "cases" / "edits"
CASES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PLACED = [name for name, case in CASES.items() if case["stage"] != "gate"]

pytestmark = pytest.mark.skipif(not CASES, reason="the folder of labelled cases, ../shared/cases/edits, is not here")


def outcome(case: dict) -> tuple[str, str | EditError]:
    """What becomes of a case: (applied, the new text) or (rejected or noop, the error)."""
    region = case.get("policy", {}).get("editable_regions")
    rules = Rules(("train.py",), ("prepare.py",), (region["start"], region["end"]) if region else None)
    answer = Answer(
        case["reply"],
        case.get("reasoning") or "",
        case.get("finish_reason") or "stop",
        bool(case.get("think_open")),
    )
    files = {"train.py": case["source"]}
    try:
        after = read(answer, files, rules).files
    except EditError as error:
        return ("noop" if error.wrong is Wrong.NOOP else "rejected"), error
    assert record_diff(files, after)
    return "applied", after["train.py"]


@pytest.mark.parametrize("name", PLACED)
def test_a_labelled_answer_leads_where_it_should(name: str):
    case = CASES[name]
    got, result = outcome(case)
    assert got == case["expect"], str(result)
    if got != "applied":
        assert len(str(result)) > 20, "a refusal says why"
    elif case.get("compare") == "ast":
        assert ast.dump(ast.parse(result)) == ast.dump(ast.parse(case["result"]))
    else:
        assert result == case["result"]

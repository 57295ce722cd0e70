"""A run that is cut and resumed asks its model word for word what it would have asked, but for the time left."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import tomli_w
from studies import study_in

from agent.loop import run
from agent.models.config import ModelConfig
from agent.state import State

_LEFT = re.compile(r"\. [^.]+ are left: enough for about \d+ more trainings?\.")


def setting(name: str, **constants: float) -> dict[str, str]:
    """An answer that `name` can use, on whatever code."""
    if name == "llm-constants":
        return {"content": json.dumps({"title": "a move", "why": "it may help", "constants": constants})}
    lines = "\n".join(f"SET {constant} = {value}" for constant, value in constants.items())
    return {"content": f"IDEA: a move to {constants}\nWHY: it may help\n\n{lines}\n"}


def run_of(folder: Path, name: str, replies: list[dict[str, str]]) -> State:
    """A run, or a resume of the one that is in `folder`, until there is no further reply."""
    folder.mkdir(exist_ok=True)
    script = folder / "replies.toml"
    script.write_text(tomli_w.dumps({"reply": replies}))
    model = ModelConfig(model="replies.toml", script=str(script))
    with study_in(folder, proposer=name, model=model, repeats=2, trials=99) as study:
        return run(study)


def prompts(folder: Path) -> list[str]:
    """sha256 of what was asked in each call, without the time that was left."""
    calls = [json.loads(path.read_text()) for path in sorted((folder / "run" / "calls").glob("*.json"))]
    told = [_LEFT.sub("", json.dumps(call["request"], sort_keys=True)) for call in calls]
    assert all("are left" not in each for each in told)
    return [hashlib.sha256(each.encode()).hexdigest() for each in told]


@pytest.mark.parametrize("name", ["code", "llm-constants"])
def test_a_resumed_run_asks_what_an_uninterrupted_one_would(tmp_path: Path, name: str) -> None:
    good = [setting(name, LR=lr, DEPTH=depth) for lr, depth in ((0.05, 4), (0.05, 7), (0.05, 9), (0.2, 9), (0.02, 9))]
    no_use = {"content": "a higher rate would do"}
    replies = [good[0], *[no_use] * 6, good[1], no_use, good[2], no_use, no_use, good[3], good[4]]
    whole = run_of(tmp_path / "whole", name, replies)
    assert (len(whole.trials), len(whole.voids)) == (6, 4)
    expected = prompts(tmp_path / "whole")
    begun = [call.number for call in whole.calls if call.purpose != "repair"]
    assert len({expected[number] for number in begun}) == len(begun) == 9, "each step changes what is asked"
    for cut in begun[1:]:
        folder = tmp_path / f"{cut}"
        before = run_of(folder, name, replies[:cut])
        assert len(before.calls) == cut
        after = run_of(folder, name, replies)
        assert after.session_after == (len(before.trials), len(before.voids))
        assert prompts(folder) == expected

"""Whole runs with a scripted model on the study that trains nothing: what is recorded, and what a resume does."""

import json
from pathlib import Path

import pytest
import tomli_w
from studies import Pretend, measured, study_in

from agent.executors.base import Done
from agent.history.call_store import CallStore
from agent.loop import run
from agent.models.base import ModelError
from agent.models.config import ModelConfig
from agent.models.line import Patience
from agent.nouns import End, Measurement
from agent.state import State
from sandbox.spec import Outcome, Phase


class Crashing(Pretend):
    """An executor in which code that says `boom` dies in its first second."""

    def next_measurement(self, timeout: float) -> Done | None:
        job = self.jobs.pop(0)
        if b"boom" not in job.code["train.py"]:
            return Done(job, measured(job))
        given = measured(job).model_dump() | {"seconds": {Phase.STARTUP: 0.5}, "loss": None, "tail": "NameError: boom"}
        return Done(job, Measurement.model_validate(given | {"outcome": Outcome.CRASH, "reason": "NameError: boom"}))


def edit(old: str, new: str) -> dict[str, str]:
    return {"content": f"IDEA: {new}\n\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"}


def a_run(folder: Path, *replies: dict, patience: float | None = None, **settings: object) -> State:
    """Run, or resume, with these replies to all calls of the run."""
    script = folder / "replies.toml"
    script.write_text(tomli_w.dumps({"reply": list(replies)}))
    model = ModelConfig(model="replies.toml", script=str(script))
    with study_in(folder, executor=Crashing, proposer="code", model=model, repeats=2, **settings) as study:
        if patience is not None:
            study.line.patience = Patience(patience)
        try:
            run(study)
        except ModelError:
            assert study.store.state.ended.by is End.FAILURE
        return study.store.state


LOWER, LOWEST = edit("LR = 0.1", "LR = 0.05"), edit("LR = 0.05", "LR = 0.02")
BOOM, WELL = edit("DEPTH = 4", "DEPTH = len('boom')"), edit("DEPTH = len('boom')", "DEPTH = 9")
NO_USE = edit("no such line", "other")
NIGHT = (LOWER, NO_USE, LOWEST, BOOM, WELL, NO_USE, NO_USE, LOWER, edit("DEPTH = 9", "DEPTH = 8"))


def told(state: State) -> list[tuple]:
    return [(t.parent, t.proposal.title, t.proposal.repairs, t.outcome, t.kept) for t in state.trials[1:]]


def test_a_night_of_edits_repairs_and_no_use_is_in_the_history_as_it_was(tmp_path):
    state = a_run(tmp_path, *NIGHT, trials=5)
    assert told(state) == [
        (0, "LR = 0.05", None, Outcome.OK, True),
        (1, "LR = 0.02", None, Outcome.OK, True),
        (2, "DEPTH = len('boom')", None, Outcome.CRASH, False),
        (2, "DEPTH = 9", 3, Outcome.OK, True),
        (4, "DEPTH = 8", None, Outcome.OK, False),
    ]
    assert [(before, void.wrong) for before, void in state.voids] == [(5, "not_found")]
    purposes = [call.purpose for call in state.calls]
    assert purposes == ["propose", "propose", "repair", "propose", "crash_repair", *["propose", "repair"] * 2]
    assert [call.number for call in state.calls] == list(range(9))
    assert len(list((tmp_path / "run" / "calls").glob("*.json"))) == 9
    assert state.ended.by is End.TRIALS


@pytest.mark.parametrize("trials", [1, 2, 3, 4])
def test_a_run_that_is_cut_anywhere_and_resumed_asks_and_tries_the_same(tmp_path, trials):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = a_run(tmp_path / "whole", *NIGHT, trials=5)
    before = a_run(tmp_path / "parts", *NIGHT[: calls_of(whole, trials)])
    assert len(before.trials) == trials + 1 and before.ended.by in (End.SEARCHED, End.FAILURE)
    after = a_run(tmp_path / "parts", *NIGHT)
    assert told(after)[:5] == told(whole)
    assert [c.purpose for c in after.calls if not c.error][:9] == [c.purpose for c in whole.calls]


def calls_of(state: State, trials: int) -> int:
    """Calls up to the proposal of a trial."""
    return state.trials[trials].proposal.calls[-1].number + 1


def test_during_an_outage_the_run_goes_on_with_constants_and_comes_back(tmp_path):
    down = {"error": "unreachable"}
    replies = (LOWER, down, down, {"content": "IDEA: in the middle\nSET DEPTH = 11\n"})
    state = a_run(tmp_path, *replies, patience=0.0, trials=4, on_model_outage="constants")
    assert [trial.proposal.source for trial in state.trials] == ["baseline", "code", "pattern", "pattern", "code"]
    assert all(t.proposal.why.startswith("instead of code: ") for t in state.trials if t.proposal.source == "pattern")
    assert state.trials[4].outcome is Outcome.OK and len(state.notes) == 2
    kept = [json.loads(p.read_text()) for p in sorted((tmp_path / "run" / "calls").glob("*.json"))]
    assert [bool(each["call"]["error"]) for each in kept] == [False, True, True, False]


def test_a_script_that_ends_in_a_repair_round_loses_no_call(tmp_path):
    state = a_run(tmp_path, LOWER, NO_USE)
    assert [(call.number, call.purpose, call.error) for call in state.calls] == [(0, "propose", ""), (1, "propose", "")]
    assert state.ended.by is End.SEARCHED


def test_calls_that_failed_verify_too(tmp_path):
    state = a_run(tmp_path, LOWER, {"error": "server"}, {"error": "bad_request"}, LOWEST)
    assert {call.error for call in state.calls} >= {"", "server", "bad_request"}
    assert list(CallStore(tmp_path / "run").problems(state.calls)) == []


def test_a_stored_call_that_was_altered_or_lost_is_found(tmp_path):
    state = a_run(tmp_path, LOWER, NO_USE, LOWEST)
    store = CallStore(tmp_path / "run")
    assert list(store.problems(state.calls)) == []
    answer = json.loads(store.path(0).read_text())
    answer["reply"]["text"] = "something else"
    store.path(0).write_text(json.dumps(answer))
    prompt = json.loads(store.path(1).read_text())
    prompt["request"]["messages"][0]["content"] = "you are somebody else"
    store.path(1).write_text(json.dumps(prompt))
    store.path(2).unlink()
    found = list(store.problems(state.calls))
    assert [problem.partition(" ")[0] for problem in found] == [f"calls/000{i}.json" for i in range(3)]

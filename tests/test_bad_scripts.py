"""Scripts that misbehave: each gets the outcome that fits, no number stands for a failure, and the run goes on."""

import pytest
from kit import CANDIDATE, ONE_TRIAL, SCRIPT, Desk, script_that

FLOOD = "import sys\nfor _ in range(200): sys.stdout.write(('x' * 124 + '\\n') * 8000)"  # 200 MB
WORD = "print('val_loss: FAIL')\nraise SystemExit"
BAD = {
    "never starts": (
        "import time; time.sleep(600)\n" + SCRIPT,
        'startup_seconds = 1',
        "timeout_startup",
        "its time was up after 1.",
    ),
    "writes NaN": (script_that("val_loss = float('nan')"), "", "diverged", "val_loss is nan"),
    "writes infinity": (script_that("val_loss = float('-inf')"), "", "diverged", "val_loss is -inf"),
    "prints no metric": (script_that("raise SystemExit(0)"), "", "crash", "ended without a line that matches"),
    "prints a word for the metric": (script_that(WORD), "", "crash", "'FAIL', which is no number"),
    "raises": (script_that("raise ValueError('the width is odd')"), "", "crash", "ValueError: the width is odd"),
    "exits with a code": (script_that("raise SystemExit(7)"), "", "crash", "exit code 7"),
    "kills itself": (script_that("import os; os.kill(os.getpid(), 11)"), "", "crash", "SIGSEGV"),
    "takes all memory": (script_that("x = bytearray(1 << 40)"), "", "oom_host", "MemoryError"),
}  # fmt: skip
FINE = {
    "prints that memory ran out": script_that("print('torch.OutOfMemoryError: CUDA out of memory. FAIL ERROR')"),
    "prints the metric before": script_that("print('val_loss: 0.000001\\nval_loss: nan')"),
    "hides the metric in a line": script_that("print('best val_loss: 0.0001', 'x val_loss: 3')"),
}


def value_of(constants: dict) -> float:
    """What `SCRIPT` reports for these constants."""
    return 1.0 + abs(constants["LR"] - 0.03) + constants["DROPOUT"] / 10 + abs(constants["WIDTH"] - 32) / 1000


@pytest.mark.parametrize("script, limits, outcome, reason", BAD.values(), ids=BAD)
def test_a_failure_is_told_from_all_others_and_carries_no_number(tmp_path, script, limits, outcome, reason):
    desk = Desk(tmp_path / "desk")
    desk.target(script, limits=limits)
    baseline_fails = CANDIDATE not in script
    desk.agent("run", "tiny", *ONE_TRIAL, "--name", "x", code=1 if baseline_fails else 0)
    trial = desk.agent("log", "x", "--json").json[-1]
    assert (trial["outcome"], trial["value"]) == (outcome, None)
    assert trial["measurements"][0]["loss"] is None
    assert reason in trial["measurements"][0]["reason"]
    assert trial["verdict"]["decision"] == "discard"
    if not baseline_fails:
        assert desk.events()[-1]["reason"] == "1 trial is done"


@pytest.mark.parametrize("script", FINE.values(), ids=FINE)
def test_what_looks_like_a_failure_and_is_none_counts(tmp_path, script):
    desk = Desk(tmp_path / "desk")
    desk.target(script)
    desk.agent("run", "tiny", *ONE_TRIAL, "--name", "x")
    trial = desk.agent("log", "x", "--json").json[-1]
    assert (trial["id"], trial["outcome"]) == (1, "ok")
    assert trial["value"] == pytest.approx(value_of(trial["proposal"]["constants"]), abs=1e-6)


@pytest.mark.parametrize("jail", ["auto", "none"])
def test_a_script_that_deletes_its_own_folder_harms_itself_alone(tmp_path, jail):
    desk = Desk(tmp_path / "desk")
    desk.target(script_that("import os, shutil; shutil.rmtree(os.getcwd(), ignore_errors=True)"))
    desk.agent("run", "tiny", *ONE_TRIAL, "--name", "x", "--sandbox", jail)
    assert desk.agent("log", "x", "--json").json[1]["outcome"] == "ok"
    desk.agent("verify", "x")


def test_a_flood_is_cut_in_the_log(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target(script_that(FLOOD))
    desk.agent("run", "tiny", *ONE_TRIAL, "--name", "x")
    log = desk.folder / "runs" / "x" / "logs" / "0001" / "train-0.log"
    assert 2**20 < log.stat().st_size < 2**22
    assert "bytes left out" in log.read_text()
    assert log.read_text().splitlines()[-1].startswith("val_loss: ")


CRASHES = {
    "an exception": ("raise KeyError('data')", "KeyError: 'data'"),
    "a missing package": ("import notthere", "ModuleNotFoundError: No module named 'notthere'"),
}


@pytest.mark.parametrize("does, says", CRASHES.values(), ids=CRASHES)
def test_a_script_that_does_not_run_as_it_is_ends_the_run_with_its_own_words(tmp_path, does, says):
    desk = Desk(tmp_path / "desk")
    desk.target(script_that(does, when="True"))
    done = desk.agent("run", "tiny", *ONE_TRIAL, "--name", "x", code=1)
    assert f"the script does not run as it is: {says}" in done.out
    assert len(desk.agent("log", "x", "--json").json) == 1
    assert desk.agent("status", "x", "--json").json["best"] is None
    desk.agent("verify", "x")


def test_a_failing_candidate_does_not_end_the_run(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target(script_that("raise ValueError('wide')", when="WIDTH != 16"))
    desk.agent("run", "tiny", "--trial-time", "1s", "--budget", "60s", "--repeats", "1", "--trials", "4", "--name", "x")
    trials = desk.agent("log", "x", "--json").json
    assert [trial["id"] for trial in trials] == [0, 1, 2, 3, 4]
    assert "crash" in [trial["outcome"] for trial in trials]
    desk.agent("verify", "x")

"""How a run ends: on time, at Ctrl-C once and twice, at SIGTERM and at kill -9; nothing is lost, and resume goes on."""

import os
import shutil
import signal
import sys
import time

import pytest
from kit import Desk, ended, killed, script_that
from sandbox_kit import tagged, wait_until_gone

from sandbox.keeper import GRACE_SECONDS

SLEEPS = script_that("import time; time.sleep(600)")
SLOW = script_that("import time; time.sleep(1.5)")
RUN = ("run", "tiny", "--trial-time", "1s", "--budget", "5m", "--repeats", "1", "--name", "x")


def stopped(desk: Desk, *signals: signal.Signals):
    """Run until trial 1 trains, then send signals, each once the one before has shown in the output."""
    process = desk.start(*RUN)
    try:
        desk.wait_for("proposed", 1)
        for index, number in enumerate(signals):
            time.sleep(0.5 * index)
            process.send_signal(number)
    except BaseException:
        killed(process)
        raise
    return ended(process)


def test_ctrl_c_once_finishes_the_running_trial_and_says_how_to_resume(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target(SLOW)
    done = stopped(desk, signal.SIGINT)
    assert done.code == 130
    assert "finishing the running trial; Ctrl-C again stops at once" in done.out
    assert "ended: stopped by the user" in done.out
    assert "next: `agent resume runs/x` goes on with this run" in done.out
    trials = desk.agent("log", "x", "--json").json
    assert [trial["outcome"] for trial in trials] == ["ok", "ok"]
    assert all(trial["verdict"] for trial in trials)
    desk.agent("verify", "x")


GIT = """#!{} -SE
import os, sys, time
if {!r} in sys.argv:
    open({!r}, "w").close()
    time.sleep(1)
os.execv({!r}, sys.argv)
"""


@pytest.mark.parametrize("command", ["fast-import", "cat-file"])
def test_a_terminals_ctrl_c_reaches_every_process_and_still_breaks_no_commit(tmp_path, command):
    """A terminal signals the whole process group, git included; here a slow one, so that it is surely running then."""
    shims = tmp_path / "bin"
    shims.mkdir()
    (shims / "git").write_text(GIT.format(sys.executable, command, str(tmp_path / "reached"), shutil.which("git")))
    (shims / "git").chmod(0o755)
    desk = Desk(tmp_path / "desk")
    desk.env["PATH"] = f"{shims}:{desk.env['PATH']}"
    desk.target()
    process = desk.start(*RUN)
    try:
        desk.wait_for("closed", 0)
        (tmp_path / "reached").unlink(missing_ok=True)
        if command == "fast-import":
            desk.wait_until((tmp_path / "reached").exists)
        os.killpg(process.pid, signal.SIGINT)
    except BaseException:
        killed(process)
        raise
    assert ended(process).code == 130
    assert desk.agent("verify", "x", "--json").json["problems"] == []


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)], ids=["Ctrl-C twice", "SIGTERM"]
)
def test_a_stop_at_once_keeps_the_trial_open_and_resume_finishes_it(tmp_path, signals):
    desk = Desk(tmp_path / "desk")
    desk.target(SLEEPS)
    began = time.monotonic()
    done = stopped(desk, *signals)
    assert time.monotonic() - began < 60  # of the 600 that the trial sleeps
    assert done.code == 130
    assert "trial 1 stays open: a resume runs it again" in done.out
    desk.agent("verify", "x")
    before = desk.events()
    (desk.folder / "runs" / "x" / "train.py").write_text("my own edit\n")
    again = desk.start("resume", "x")
    try:
        desk.wait_until(lambda: (desk.folder / "runs" / "x" / "work" / "0001-0" / "train.py").exists())
        again.send_signal(signal.SIGTERM)
    finally:
        assert ended(again).code == 130
    assert desk.events()[: len(before)] == before
    assert sum(event["kind"] == "proposed" for event in desk.events()) == 2
    assert (desk.folder / "runs" / "x" / "train.py").read_text() == "my own edit\n"


def test_a_killed_run_leaves_no_process_and_can_be_read_and_resumed(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target(SLEEPS)
    process = desk.start(*RUN)
    try:
        desk.wait_for("proposed", 1)
        desk.wait_until(lambda: len(tagged(str(desk.folder / "runs"))) > 0)
    finally:
        killed(process)
    assert wait_until_gone(str(desk.folder), 20) == []
    status = desk.agent("status", "x", "--json").json
    assert (status["live"], status["open_trials"]) == (False, [1])
    assert status["standing"].startswith("killed: `agent resume x`")
    trials = desk.agent("log", "x", "--json").json
    assert [trial["outcome"] for trial in trials] == ["ok", None]
    for command in (("status", "x"), ("log",), ("show", "x", "1"), ("diff", "x", "1"), ("best",), ("verify",)):
        assert desk.agent(*command).out
    assert "trial 1 is still open: only its diff is known" in desk.agent("diff", "x", "0", "1", code=2).err


def test_the_budget_ends_on_time_and_cuts_the_running_trial(tmp_path):
    """The trial sleeps far beyond the budget, whose end alone can stop it: its own limits are minutes away."""
    desk = Desk(tmp_path / "desk")
    desk.target(SLEEPS)
    began = time.monotonic()
    done = desk.agent("run", "tiny", "--trial-time", "0.1s", "--budget", "11.5s", "--repeats", "1", "--name", "x")
    outside = time.monotonic() - began
    status = desk.agent("status", "x", "--json").json
    assert 11 < status["elapsed_seconds"] <= 11.5 + 1.0 + GRACE_SECONDS
    assert outside < 11.5 + 1.0 + GRACE_SECONDS + 5  # start and end of the program itself, on a busy machine
    assert status["open_trials"] == [1]
    assert "ended: the budget is used" in done.out
    assert "`agent resume runs/x" in done.out
    desk.agent("verify", "x")


def test_a_larger_budget_goes_on_where_the_old_one_ended(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target(script_that("import time; time.sleep(0.6)", when="True"))
    first = desk.agent("run", "tiny", "--trial-time", "0.1s", "--budget", "11.5s", "--repeats", "9", "--name", "x")
    assert "ended: the budget is used" in first.out
    before = desk.agent("status", "x", "--json").json
    desk.agent("resume", "x", "--budget", "15s")
    after = desk.agent("status", "x", "--json").json
    assert before["elapsed_seconds"] <= 12.8 < after["elapsed_seconds"] <= 15 + 1 + GRACE_SECONDS
    assert sum(after["trials"].values()) > sum(before["trials"].values())

"""A run that is killed at any moment and resumed has the history of one that was not."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from studies import study_in, toy_target

from agent.errors import UsageError
from agent.history.call_store import CallStore
from agent.history.events import Session
from agent.history.heartbeat import beating, last_beat
from agent.history.ledger import Ledger, trial_ref
from agent.history.verify import verify
from agent.loop import run
from agent.reading import open_run
from agent.session import Changes, session_after
from agent.state import State


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


def history(state: State) -> list[tuple[object, ...]]:
    """What has to be equal: everything but times and commits, which hold times."""
    return [
        (t.id, t.parent, t.proposal, t.diff, t.code_sha256, t.losses, t.outcome, t.verdict and t.verdict.decision)
        for t in state.trials
    ]


def check(folder: Path) -> State:
    """The state of a run whose journal and git agree entirely."""
    found = open_run(folder)
    ledger = Ledger(folder)
    assert verify(found.state, (folder / "journal.jsonl").read_bytes(), ledger, CallStore(folder)) == []
    assert set(ledger.trial_refs()) == {t.id for t in found.state.closed_trials}
    ledger.close()
    return found.state


def uninterrupted(folder: Path, **settings: object) -> State:
    with study_in(folder, **settings) as study:
        return run(study)


def kill_at_write(monkeypatch: pytest.MonkeyPatch, number: int, torn: bool) -> None:
    """Die when the journal's line `number` is on disk, or with only half of it there."""
    real, count = os.fsync, 0

    def fsync(file: int) -> None:
        nonlocal count
        count += 1
        if count == number:
            size = os.fstat(file).st_size
            if torn:
                os.ftruncate(file, size - 20)
            raise Killed
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("proposer", ["random", "cma"])
@pytest.mark.parametrize("torn", [False, True], ids=["line written", "line torn"])
def test_killed_at_every_journal_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proposer: str, torn: bool
) -> None:
    expected = uninterrupted(tmp_path / "whole", proposer=proposer)
    events = expected.seq + 1
    assert len(expected.trials) == 7
    for number in range(2, events + 1):
        folder = tmp_path / f"killed-{number}"
        with monkeypatch.context() as patch:
            kill_at_write(patch, number, torn)
            with pytest.raises(Killed):
                uninterrupted(folder, proposer=proposer)
        with study_in(folder) as study:
            run(study)
        assert history(check(folder / "run")) == history(expected), f"killed at event {number}"
        shutil.rmtree(folder)


def test_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = uninterrupted(tmp_path / "whole")
    folder, kills = tmp_path / "killed", 0
    generator = random.Random(7)
    for _ in range(40):
        with monkeypatch.context() as patch:
            kill_at_write(patch, generator.randint(2, 9), torn=generator.random() < 0.5)
            try:
                with study_in(folder) as study:
                    run(study)
                break
            except Killed:
                kills += 1
    with study_in(folder) as study:
        run(study)
    assert kills > 3
    assert history(check(folder / "run")) == history(expected)


def test_a_lost_ref_and_commit_are_made_again_with_the_same_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_write(patch, 4, torn=False)  # started, proposed, measured x 1 of 3 ...
        uninterrupted(tmp_path / "killed")
    with study_in(tmp_path / "killed") as study:
        run(study)
    folder = tmp_path / "killed" / "run"
    state = check(folder)
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    committed = max(i for i, line in enumerate(lines) if b'"kind":"committed"' in line)
    (folder / "journal.jsonl").write_bytes(b"".join(lines[:committed]))  # as if killed before the commit was noted
    ledger = Ledger(folder)
    last = state.closed_trials[-1]
    ledger._repo.git.update_ref("-d", trial_ref(last.id))
    ledger.close()
    with study_in(tmp_path / "killed") as study:
        assert study.store.state.trials[last.id].commit == last.commit


def test_what_a_killed_git_and_a_killed_session_left_is_cleared_away(tmp_path: Path) -> None:
    uninterrupted(tmp_path)
    folder = tmp_path / "run"
    state = open_run(folder).state
    for stale in ("index.lock", "HEAD.lock", "refs/trials/0003.lock", "refs/heads/best.lock"):
        (folder / ".git" / stale).touch()
    ledger = Ledger(folder)
    ledger.break_locks()
    ledger._repo.git.update_ref("-d", "refs/trials/0004")
    ledger._repo.git.update_ref("refs/heads/best", state.started.root if state.started else "")
    ledger.close()
    (folder / ".git" / "index.lock").touch()
    (folder / "work" / "0009-0").mkdir(parents=True)
    with study_in(tmp_path) as study:
        run(study)
    assert not (folder / "work").exists()
    check(folder)


def test_a_target_with_files_of_the_runs_own_names_does_no_harm(tmp_path: Path) -> None:
    target = toy_target(tmp_path / "target")
    for name in ("journal.jsonl", "result.json", "lock", "heartbeat", "run.toml"):
        (target / name).write_text("mine")
    for name in ("logs", "work"):
        (target / name).mkdir()
        (target / name / "x.py").write_text("mine")
    state = uninterrupted(tmp_path)
    assert state.started is not None
    assert set(state.started.files) == {"train.py", "target.toml"}
    assert len(check(tmp_path / "run").trials) == 7


def test_a_weaker_jail_at_resume_has_to_be_asked_for_by_name(tmp_path: Path) -> None:
    strong = Session(
        budget_seconds=1,
        jail="namespace",
        why="",
        promises=("files", "time"),
        pid=1,
        host="",
        hardware="",
        software="",
    )
    weak = strong.model_copy(update={"jail": "none", "promises": ("time",), "budget_seconds": 9.0})
    with pytest.raises(UsageError, match="would not keep files"):
        session_after(strong, weak, Changes(), sign=1)
    assert session_after(strong, weak, Changes(sandbox="none"), sign=1).jail == "none"
    assert session_after(weak, strong, Changes(goal=0.9), sign=-1).target_loss == -0.9
    assert session_after(weak, strong, Changes(budget=7.0, trials=4), sign=1).budget_seconds == 7.0


def test_a_heartbeat_is_always_a_whole_number(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    assert last_beat(path) is None
    with beating(path, lambda: 12.25):
        while last_beat(path) is None:
            time.sleep(0.01)
        assert last_beat(path) == 12.25
    with beating(path, lambda: 3.5):
        while last_beat(path) == 12.25:
            time.sleep(0.01)
    assert last_beat(path) == 3.5


def test_time_spent_by_a_killed_session_stays_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_write(patch, 6, torn=False)
        uninterrupted(tmp_path)
    before = open_run(tmp_path / "run").state.elapsed
    (tmp_path / "run" / "heartbeat").write_text(f"{before + 100:.3f}")
    with study_in(tmp_path) as study:
        assert study.store.state.elapsed >= before + 100
        run(study)
    assert check(tmp_path / "run").elapsed >= before + 100


SLOW = """
import time
LR = 0.1
DEPTH = 4
for step in range(3):
    print(f"step {step} loss {LR}", flush=True)
    time.sleep(0.05)
print("val_loss:", (LR - 0.02) ** 2 + 0.01 * abs(DEPTH - 9))
"""


@pytest.mark.slow
def test_kill_9_at_random_moments_of_a_real_run(tmp_path: Path) -> None:
    target = toy_target(tmp_path / "target")
    (target / "train.py").write_text(SLOW)
    command = [sys.executable, "-m", "agent"]
    common = ["--runs-dir", str(tmp_path / "runs")]
    start = [*command, "run", str(target), "--budget", "10m", "--trials", "8", "--name", "r", "--proposer", "random"]
    whole = subprocess.run([*start[:-3], "whole", *start[-2:], *common], capture_output=True, text=True, timeout=120)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    generator = random.Random(3)
    arguments = start
    kills = 0
    for _ in range(30):
        process = subprocess.Popen([*arguments, *common], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.wait(generator.uniform(0.5, 2.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, errors = process.communicate()
        journal = tmp_path / "runs" / "r" / "journal.jsonl"
        if not journal.exists() or not journal.stat().st_size:
            shutil.rmtree(tmp_path / "runs" / "r", ignore_errors=True)
            continue
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
        if process.returncode == 0:
            break
        arguments = [*command, "resume", "r"]
        time.sleep(0.2)
    last = subprocess.run([*command, "resume", "r", *common], capture_output=True, text=True, timeout=120)
    assert last.returncode == 0, last.stderr
    assert kills >= 2
    state = check(tmp_path / "runs" / "r")
    assert history(state) == history(open_run(tmp_path / "runs" / "whole").state)

"""The journal and the ledger: nothing is lost, nothing is believed that does not hold together."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from agent.bench.history import begin, code_of, measure_history, write_trial
from agent.errors import AgentError, UsageError
from agent.history.call_store import CallStore
from agent.history.events import Noted
from agent.history.fast_import import BEST, Entry
from agent.history.journal import Journal, read
from agent.history.ledger import Ledger, trial_ref
from agent.history.store import Store
from agent.history.verify import verify
from agent.reading import open_run
from agent.state import State, fold_all

AT = "2026-01-02T03:04:05.678+00:00"


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def written(path: Path, count: int) -> None:
    journal = Journal(path)
    for number in range(count):
        journal.append(Noted(text=f"note {number} ☃"), float(number))
    journal.close()


def test_a_journal_reads_back_what_was_appended(tmp_path: Path) -> None:
    written(tmp_path / "j", 5)
    replay = read(tmp_path / "j")
    assert [record.seq for record in replay.records] == [0, 1, 2, 3, 4]
    assert fold_all(replay.records).notes == tuple(f"note {i} ☃" for i in range(5))


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_dropped_and_writing_goes_on(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    written(path, 3)
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path)
    assert len(journal.records) == 2
    assert journal.torn > 0
    journal.append(Noted(text="after"), 9.0)
    journal.close()
    assert [r.seq for r in read(path).records] == [0, 1, 2]


@pytest.mark.parametrize("line", [0, 1, 2])
def test_damage_in_a_complete_line_is_an_error_that_names_it(tmp_path: Path, line: int) -> None:
    path = tmp_path / "j"
    written(path, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b"note", b"nota")
    path.write_bytes(b"".join(lines))
    with pytest.raises(AgentError, match=f"line {line + 1} |line {line + 2} "):  # its event, or the chain behind it
        read(path)
    lines[line] = b"{garbage\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(AgentError, match=f"line {line + 1} "):
        read(path)


def test_a_removed_line_is_noticed(tmp_path: Path) -> None:
    written(tmp_path / "j", 4)
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(AgentError, match="line 2 "):
        read(tmp_path / "j")


def test_a_failed_write_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j"
    written(path, 2)
    before = path.read_bytes()
    journal = Journal(path)
    real = os.pwrite

    def full(file: int, data: bytes, offset: int) -> int:
        if offset > len(before):
            raise OSError(28, "No space left on device")
        return real(file, data[:9], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(AgentError, match=r"No space left.*agent resume"):
            journal.append(Noted(text="does not fit"), 1.0)
    assert path.read_bytes() == before
    journal.append(Noted(text="fits"), 1.0)
    journal.close()
    assert len(read(path).records) == 3


def test_the_same_entry_gives_the_same_commit(tmp_path: Path) -> None:
    hashes = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        ledger = Ledger(tmp_path / name)
        root = ledger.commit(Entry(BEST, None, "root\n", AT, code_of(0)))
        trial = Entry(trial_ref(1), root, "one\n", AT, code_of(1), {"loss": 1})
        hashes.append((root, ledger.commit(trial), ledger.commit(trial)))
        ledger.close()
    assert hashes[0] == hashes[1]
    assert hashes[0][1] == hashes[0][2]


def test_odd_file_names_and_contents_survive(tmp_path: Path) -> None:
    code = {'we"ird\\ näme.py': b"a\r\nb\0\xff", "deep/er/x.py": b"", "last": b"no newline"}
    ledger = Ledger(tmp_path)
    commit = ledger.commit(Entry(BEST, None, "odd\n", AT, code))
    assert ledger.code(commit) == code
    assert ledger.show_best()
    assert {p: (tmp_path / p).read_bytes() for p in code} == code
    ledger.close()


def test_the_users_git_configuration_and_environment_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer, run = tmp_path / "outer", tmp_path / "run"
    outer.mkdir()
    run.mkdir()
    git(outer, "init", "-q")
    config = "[commit]\n gpgsign = true\n[core]\n hooksPath = /nonexistent\n autocrlf = true\n"
    (tmp_path / ".gitconfig").write_text(config)
    with monkeypatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        patch.setenv("GIT_DIR", str(outer / ".git"))
        patch.setenv("GIT_WORK_TREE", str(outer))
        patch.setenv("GIT_INDEX_FILE", str(outer / ".git" / "index"))
        patch.setenv("GIT_AUTHOR_NAME", "")
        ledger = Ledger(run)
        root = ledger.commit(Entry(BEST, None, "x\n", AT, {"a.py": b"a\r\n"}))
        assert ledger.show_best()
        ledger.close()
    assert git(run, "rev-parse", "best") == root
    assert git(run, "log", "-1", "--format=%an <%ae> %ct", "best") == "agent <agent@localhost> 1767323045"
    assert (run / "a.py").read_bytes() == b"a\r\n"
    assert not (outer / ".git" / "index").exists()


def test_the_work_tree_follows_best_and_spares_the_users_edits(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        begin(store, code_of(0))
        write_trial(store, 0)
        assert (tmp_path / "train.py").read_bytes() == code_of(0)["train.py"]
        (tmp_path / "train.py").write_text("my own edit\n")
        for trial in range(1, 41):  # the 40th is kept
            write_trial(store, trial)
        assert (tmp_path / "train.py").read_text() == "my own edit\n"
        assert "your own edits" in store.state.notes[-1]
        git(tmp_path, "checkout", "-q", "--", "train.py")
        store.heal(99.0)
    assert (tmp_path / "train.py").read_bytes() == code_of(40)["train.py"]


def made_up_run(folder: Path, trials: int) -> tuple[State, Ledger]:
    measure_history(folder, trials)
    return open_run(folder).state, Ledger(folder)


def test_git_tells_the_story(tmp_path: Path) -> None:
    state, ledger = made_up_run(tmp_path, 42)
    assert verify(state, (tmp_path / "journal.jsonl").read_bytes(), ledger, CallStore(tmp_path)) == []
    ledger.close()
    assert git(tmp_path, "log", "--format=%s", "best").splitlines() == [
        "trial 40: keep 1.9960 (-0.0001) made up",
        "trial 0: keep 2.0000 (-0.0001) made up",
        "made up",
    ]
    assert git(tmp_path, "status", "--porcelain") == ""
    changed = git(tmp_path, "diff", "--name-only", "best~1", "best").splitlines()
    assert changed == ["result.json", "train.py"]
    trailers = git(tmp_path, "log", "-1", "--format=%(trailers:only)", "trials/0040")
    assert "Trial: 40\nOutcome: ok\nLoss: 1.996000\n" in trailers
    journal = git(tmp_path, "show", "refs/journal:journal.jsonl")
    assert (tmp_path / "journal.jsonl").read_text().startswith(journal)


def test_verify_names_what_does_not_agree(tmp_path: Path) -> None:
    state, ledger = made_up_run(tmp_path, 6)
    journal = (tmp_path / "journal.jsonl").read_bytes()
    original, parent = ledger.resolve(trial_ref(3)), ledger.resolve(trial_ref(0))
    message, _, result = ledger.describe(original)
    code = ledger.code(original)

    def found(entry: Entry) -> str:
        forged = ledger.commit(entry)
        changed = state.trials[3].model_copy(update={"commit": forged})
        trials = (*state.trials[:3], changed, *state.trials[4:])
        return "; ".join(verify(replace(state, trials=trials), journal, ledger, CallStore(tmp_path)))

    sound = Entry(trial_ref(3), parent, message, state.trials[3].closed_at or "", code, result)
    assert found(sound) == ""
    assert "message" in found(replace(sound, message=message.replace("trial 3", "trial 9")))
    assert "result.json" in found(replace(sound, result={**result, "value": 0.1}))
    assert "code in git" in found(replace(sound, code={**code, "train.py": b"x = 1\n"}))
    assert "another parent" in found(replace(sound, parent=ledger.resolve(trial_ref(1))))
    ledger.commit(sound)
    git(tmp_path, "update-ref", "-d", "refs/trials/0005")
    (problem,) = verify(state, journal, ledger, CallStore(tmp_path))
    assert problem.startswith("trial 5: its ref is not where the journal says: see `git update-ref refs/trials/0005 ")
    git(tmp_path, "update-ref", "refs/trials/0099", original)
    assert any("no such closed trial" in p for p in verify(state, journal, ledger, CallStore(tmp_path)))
    git(tmp_path, "update-ref", "refs/heads/best", original)
    assert any("branch best" in p for p in verify(state, journal, ledger, CallStore(tmp_path)))
    ledger.close()


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(UsageError, match=f"process {os.getpid()} is working on"):
        Store(tmp_path)
    with Store(tmp_path) as again:
        assert again.state.seq == -1

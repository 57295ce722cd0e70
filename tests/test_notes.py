"""What users say to a run while it runs."""

from pathlib import Path
from threading import Timer

import pytest
from kit import Desk, ended, killed
from studies import Pretend, study_in

from agent.history.events import Word
from agent.history.inbox import Inbox
from agent.loop import run
from agent.nouns import End


def left(folder: Path, word: Word, text: str = "") -> Inbox:
    inbox = Inbox(folder / "run")
    inbox.leave(word, text)
    return inbox


def test_words_are_journalled_in_order_and_their_files_removed(tmp_path: Path) -> None:
    with study_in(tmp_path) as study:
        left(tmp_path, Word.NOTE, "first")
        inbox = left(tmp_path, Word.BAN, "second")
        state = run(study)
    assert [(said.word, said.text) for _, said in state.said] == [(Word.NOTE, "first"), (Word.BAN, "second")]
    assert inbox.waiting() == ()


def test_a_word_journalled_before_a_kill_is_not_heard_twice(tmp_path: Path) -> None:
    with study_in(tmp_path) as study:
        inbox = left(tmp_path, Word.NOTE, "once")
        (said,) = inbox.waiting()
        study.store.append(said, 0.0)  # and then the process is killed: the file is still there
        state = run(study)
    assert [s.text for _, s in state.said] == ["once"]
    assert inbox.waiting() == ()


def test_stop_finishes_the_running_trial_and_ends_the_run(tmp_path: Path) -> None:
    class Says(Pretend):
        def submit(self, job, deadline):
            super().submit(job, deadline)
            if job.trial == 2:
                left(tmp_path, Word.STOP)

    with study_in(tmp_path, executor=Says) as study:
        state = run(study)
    assert state.ended is not None and state.ended.by is End.USER
    assert len(state.closed_trials) == 3 and not state.open_trials


def test_a_stop_left_for_an_earlier_session_does_not_end_the_next(tmp_path: Path) -> None:
    with study_in(tmp_path) as study:
        left(tmp_path, Word.STOP)
        state = run(study)
    assert state.ended is not None and state.ended.by is End.TRIALS


def test_a_pause_opens_no_trial_until_go_on(tmp_path: Path) -> None:
    seen: list[int] = []
    with study_in(tmp_path) as study:
        inbox = left(tmp_path, Word.PAUSE)

        def go_on() -> None:
            seen.append(len(study.store.state.trials))
            inbox.leave(Word.GO_ON)

        later = Timer(0.6, go_on)
        later.start()
        state = run(study)
        later.join()
    assert seen == [1], "the baseline, and nothing else, was opened in the pause"
    assert len(state.trials) == 7


def test_a_file_that_is_no_word_is_put_aside(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.leave(Word.NOTE, "fine")
    (tmp_path / "inbox" / "0.note.json").write_text("{")
    assert [said.text for said in inbox.waiting()] == ["fine"]
    assert [said.text for said in inbox.waiting()] == ["fine"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "desk")


def test_a_note_reaches_a_running_run_and_stop_ends_it(desk: Desk) -> None:
    desk.target("import time\nLR = 0.1\ntime.sleep(0.3)\nprint(f'val_loss: {LR}')\n")
    process = desk.start("run", "tiny", "--budget", "300s", "--trial-time", "1s", "--name", "x", "--sandbox", "none")
    try:
        desk.wait_for("closed", 0)
        assert "hears it within a second" in desk.agent("note", "x", "try less").out
        desk.wait_until(lambda: any(e["kind"] == "said" and e["text"] == "try less" for e in desk.events()))
        desk.agent("note", "x", "--stop")
        done = ended(process, 30)
    finally:
        killed(process)
    assert done.code == 130
    assert "you said: note: try less" in done.out
    assert desk.agent("verify", "x").code == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "write a text"),
        (("--ban",), "agent note RUN --ban"),
        (("--pause", "text"), "takes no text"),
        (("--pause", "--stop"), "choose one"),
    ],
)
def test_what_cannot_be_said_gets_one_sentence(desk: Desk, words: tuple[str, ...], part: str) -> None:
    desk.target()
    desk.agent("run", "tiny", "--budget", "60s", "--trial-time", "1s", "--trials", "1", "--name", "x", "--repeats", "1")
    done = desk.agent("note", "x", *words, code=2)
    assert part in done.err and done.err.count("\n") == 1


def test_a_note_to_a_run_that_has_ended_waits_for_its_resume(desk: Desk) -> None:
    desk.target()
    desk.agent("run", "tiny", "--budget", "60s", "--trial-time", "1s", "--trials", "1", "--name", "x", "--repeats", "1")
    assert "when it is resumed" in desk.agent("note", "x", "more depth").out
    desk.agent("resume", "x", "--trials", "2")
    assert any(e["kind"] == "said" and e["text"] == "more depth" for e in desk.events())
    assert "is not running" in desk.agent("note", "x", "--stop", code=2).err

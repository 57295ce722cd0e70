"""The views: the live picture at any size and with any text, the plain lines, and a real terminal afterwards."""

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
import time

import pytest
from kit import AGENT, QUICK, Desk, killed, script_that
from rich.cells import cell_len
from rich.console import Console

from agent.code import digest
from agent.config import RunConfig
from agent.curve import Curve
from agent.history.events import Session, Started
from agent.nouns import Decision, Measurement, Proposal, Trial, Verdict
from agent.state import State
from agent.target import Metric, Target
from agent.ui.live import picture
from agent.ui.spark import spark
from agent.ui.words import result_lines, trial_line
from agent.workshop import Follow, Job
from sandbox.spec import Outcome, Phase

WILD = {
    "markup": "[red]warm[/red] [/] [link=x]up",
    "html": "<script>alert(1)</script> & more",
    "lines": "first\nsecond\r\nthird\tfourth\x0bfifth\u2028sixth",
    "control characters": "\x1b[2J\x1b]0;owned\x07 \x9b31m bell\x07 \x00",
    "direction": "abc \u202e\u2066 def",
    "very long": "wider MLP " * 300,
    "wide characters": "幅を広げる" * 60,
    "nothing": "",
}
PATTERN = re.compile(r"^step (?P<step>\d+) loss (?P<loss>\S+)")


def state_with(title: str, trials: int = 100, name: str = "mar5", metric: str = "val_loss") -> State:
    """A run whose trials all have this title; every third failed, every tenth was kept."""
    session = Session(
        budget_seconds=600, jail="none", why="x", promises=(), pid=1, host="h", hardware="2 cores", software=""
    )
    what = Metric(name=metric, pattern="(.*)")
    target = Target(name="tiny", edit=("train.py",), run=("true",), metric=what)
    settings = RunConfig.model_validate({"budget": 600})
    started = Started(
        name=name, folder="/x", settings=settings, target=target, files={}, root="0" * 40, session=session
    )
    made = tuple(_trial(i, title) for i in range(trials))
    kept = [t.id for t in made if t.kept]
    return State(started=started, session=session, trials=made, best=max(kept, default=None), elapsed=300.0)


def _trial(number: int, title: str) -> Trial:
    failed = number % 3 == 2
    measured = Measurement(
        seed=1,
        outcome=Outcome.OOM_HOST if failed else Outcome.OK,
        loss=None if failed else 2.0 - number / 1000,
        seconds={Phase.TRAIN: 25.0},
        total_seconds=30.0,
        code_sha256=digest({}),
        jail="none",
        self_reported=True,
    )
    decision = Decision.DISCARD if failed or number % 10 else Decision.KEEP
    return Trial(
        id=number,
        parent=0 if number else None,
        proposal=Proposal(source="llm", title=title),
        diff="",
        code_sha256=digest({}),
        measurements=(measured,),
        verdict=Verdict(decision=decision, reason="r", gain=None if failed else 0.1),
    )


def following(trial: int) -> Follow:
    curve = Curve(PATTERN)
    for step in range(1000):
        curve.feed(f"step {step} loss {9 - step / 200:.3f}")
    return Follow(Job(trial, 0, {}, digest({}), 1), curve, threading.Event(), phase=Phase.TRAIN, phase_seconds=3.0)


def drawn(state: State, running: int, size: tuple[int, int]) -> list[str]:
    console = Console(file=io.StringIO(), width=size[0], height=size[1], force_terminal=True, color_system=None)
    follows = tuple(following(i) for i in range(running))
    console.print(picture(state, follows, (301.0, time.monotonic()), size))
    return console.file.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=str)
@pytest.mark.parametrize("title", WILD.values(), ids=WILD)
def test_the_picture_fits_the_terminal_whatever_a_title_says(title, size):
    for trials, running in ((0, 1), (1, 0), (100, 1), (100, 4)):
        lines = drawn(state_with(title, trials), running, size)
        assert len(lines) < size[1]
        assert {cell_len(line) for line in lines} == {size[0]}
        assert all(line.isprintable() for line in lines), [line for line in lines if not line.isprintable()]


def test_the_picture_uses_the_height_it_has():
    assert [len(drawn(state_with("x"), 1, (80, height))) for height in (24, 60)] == [23, 59]


def test_text_that_looks_like_markup_is_shown_as_it_is():
    lines = "\n".join(drawn(state_with(WILD["markup"], name="[bold]run[/]", metric="[/]loss"), 1, (200, 60)))
    for text in (WILD["markup"], "[bold]run[/]", "[/]loss"):
        assert text in lines


def test_the_picture_shows_what_runs_what_is_best_and_that_it_is_self_reported():
    lines = "\n".join(drawn(state_with("wider MLP"), 1, (80, 24)))
    assert re.search(r"budget .* 5m 01s of 10m", lines)
    assert re.search(r"now .* trial 0 .*: wider MLP", lines)
    assert re.search(r"train 3s, 0 B +loss 4\.0\d+ █", lines)
    assert re.search(r"best +val_loss \(self-reported\) 1.9100 \(trial 90\), baseline 2.0000", lines)
    assert "99  discard" in lines and "98  oom_host" in lines


@pytest.mark.parametrize("title", WILD.values(), ids=WILD)
def test_a_plain_line_is_one_line_whatever_a_title_says(title):
    state = state_with(title, 3)
    ok, failed = trial_line(state, state.trials[1]), trial_line(state, state.trials[2])
    assert len(ok.splitlines()) == 1 and ok.isprintable()
    assert len(failed.splitlines()) == 2  # the second says why
    assert all(line.isprintable() for line in result_lines(state))


def test_plain_output_has_one_line_a_trial_and_no_control_characters(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target()
    out = desk.agent("run", "tiny", *QUICK, "--name", "x", env=desk.env | {"TERM": "xterm", "FORCE_COLOR": "1"}).out
    assert [int(n) for n in re.findall(r"^\[ +\d+s\] trial (\d+) ", out, re.MULTILINE)] == [0, 1, 2, 3]
    assert len(re.findall(r"^\[ +\d+s\] baseline, training \d: 1\.\d{4}$", out, re.MULTILINE)) == 2
    assert out.replace("\n", "").isprintable()


def test_a_spark_has_the_width_and_the_ends_of_its_curve():
    assert spark([], 10) == spark([1.0], 0) == ""
    assert spark([3.0, 1.0, 2.0], 10) == "█▁▅"
    assert spark([2.0] * 5, 10) == "▁▁▁▁▁"
    falling = spark([1000.0 - i for i in range(997)], 40)
    assert len(falling) == 40
    assert (falling[0], falling[-1]) == ("█", "▁") and sorted(falling, reverse=True) == list(falling)


class Screen:
    """As much of a terminal as the live view uses; unknown sequences are an error."""

    def __init__(self, height: int) -> None:
        self.lines, self.row, self.column, self.height, self.cursor = [""], 0, 0, height, True

    def feed(self, text: str) -> None:
        for sequence, letter in re.findall(r"(\x1b\[[?0-9;]*[A-Za-z])|([^\x1b])", text):
            self._control(sequence) if sequence else self._letter(letter)
        assert text.count("\x1b") == len(re.findall(r"\x1b\[[?0-9;]*[A-Za-z]", text))

    def _control(self, sequence: str) -> None:
        if sequence.endswith("A"):
            self.row = max(0, len(self.lines) - self.height, self.row - int(sequence[2:-1]))
        elif sequence == "\x1b[2K":
            self.lines[self.row] = ""
        elif sequence in ("\x1b[?25l", "\x1b[?25h"):
            self.cursor = sequence.endswith("h")
        else:
            assert sequence.endswith("m"), sequence

    def _letter(self, letter: str) -> None:
        if letter == "\r":
            self.column = 0
        elif letter == "\n":
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
        else:
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
            self.column += 1


def test_a_real_terminal_is_clean_after_ctrl_c(tmp_path):
    desk = Desk(tmp_path / "desk", {"TERM": "xterm-256color"})
    desk.target(script_that("import time; time.sleep(1.5)"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    line = ["setsid", "--ctty", AGENT, "run", "tiny", *QUICK[:-2], "--name", "x"]
    process = subprocess.Popen(line, cwd=desk.folder, env=desk.env, stdin=theirs, stdout=theirs, stderr=theirs)
    seen, pressed, until = b"", False, time.monotonic() + 60
    try:
        while time.monotonic() < until and not (process.poll() is not None and not select.select([ours], [], [], 0)[0]):
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 65536)
            if not pressed and any(e["kind"] == "proposed" and e["trial"] == 1 for e in desk.events()):
                time.sleep(0.6)  # for the picture to show it
                os.write(ours, b"\x03")
                pressed = True
    finally:
        killed(process)
    assert process.returncode == 130
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
    text = seen.decode()
    assert "now" in text and "trial 1: " in text and "╭" in text  # there was a picture
    screen = Screen(24)
    screen.feed(text)
    left = "\n".join(screen.lines)
    assert screen.cursor and screen.lines[-1] == ""
    assert not set(left) & set("╭╮╰╯│─━")
    assert left.count("finishing the running trial") == left.count("ended: stopped by the user") == 1
    assert "`agent resume runs/x` goes on with this run" in left
    assert re.search(r"^ +1 +(keep|discard) +1\.\d{4}", left, re.MULTILINE)

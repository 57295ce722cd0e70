"""What end-to-end tests share: tiny targets that train in milliseconds, and the real command run on them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

AGENT = str(Path(sys.executable).with_name("agent"))
QUICK = ("--trial-time", "1s", "--budget", "60s", "--repeats", "2", "--trials", "3")
ONE_TRIAL = ("--trial-time", "1s", "--budget", "60s", "--repeats", "1", "--trials", "1")

CONSTANTS = "LR = 0.01\nDROPOUT = 0.2\nWIDTH = 16\n"
PROGRESS = 'for step in range(3):\n    print(f"step {step} loss {2.0 - step / 10:.3f}", flush=True)\n'
LOSS = "val_loss = 1.0 + abs(LR - 0.03) + DROPOUT / 10 + abs(WIDTH - 32) / 1000\n"
SCRIPT = CONSTANTS + PROGRESS + LOSS + 'print(f"val_loss: {val_loss:.6f}")\n'
CANDIDATE = "(LR, DROPOUT, WIDTH) != (0.01, 0.2, 16)"  # true in every trial but the baseline


def script_that(does: str, when: str = CANDIDATE) -> str:
    """A script that does something before it reports its metric."""
    body = "".join(f"    {line}\n" for line in does.splitlines())
    return f"{CONSTANTS}{PROGRESS}{LOSS}if {when}:\n{body}print(f'val_loss: {{val_loss:.6f}}')\n"


METRIC = "name = \"val_loss\"\npattern = '^val_loss: (\\S+)'"
TOML = """name = "tiny"
edit = ["train.py"]
run = ["python", "train.py"]
{top}
[metric]
{metric}
[progress]
pattern = '^step (?P<step>\\d+) loss (?P<loss>\\S+)'
[limits]
memory = "2GiB"
{limits}
{rest}
"""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@dataclass
class Desk:
    """A folder to work in, with a home of its own, and the command to run there."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        home = self.folder.parent / f"{self.folder.name}.home"
        home.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(exist_ok=True)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **self.env}

    def target(self, script: str = SCRIPT, name: str = "tiny", **parts: str) -> Path:
        """A target below the folder; `parts` are pieces of its target.toml."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(script)
        pieces = {"top": "", "metric": METRIC, "limits": "", "rest": ""} | parts
        (folder / "target.toml").write_text(TOML.format(**pieces))
        return folder

    def agent(self, *arguments: str, code: int | None = 0, env: dict[str, str] | None = None, timeout: float = 90):
        """Run the command to its end; `code` is the exit code it must have."""
        line = [AGENT, *map(str, arguments)]
        done = subprocess.run(
            line, cwd=self.folder, env=env or self.env, capture_output=True, text=True, timeout=timeout
        )
        assert code is None or done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        said = done.stderr if "--json" in arguments else done.stdout + done.stderr  # a record may quote one
        assert "Traceback" not in said, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start the command in a process group of its own; end it with `ended`, and with `killed` in case."""
        return subprocess.Popen(
            [AGENT, *map(str, arguments)],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def events(self, run: str = "x") -> list[dict]:
        """The journalled events of a run so far."""
        journal = self.folder / "runs" / run / "journal.jsonl"
        lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
        return [json.loads(line)["event"] for line in lines]

    def wait_until(self, happened: Callable[[], bool], seconds: float = 40) -> None:
        """Until something has happened to run `x`."""
        until = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < until, f"not within {seconds} s; events so far: {self.events()}"
            time.sleep(0.05)

    def wait_for(self, kind: str, trial: int) -> None:
        """Until an event of a trial of run `x` is journalled."""
        self.wait_until(lambda: any(e["kind"] == kind and e.get("trial") == trial for e in self.events()))

    def contents(self) -> dict[str, bytes]:
        """Every file below the folder."""
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}


def ended(process: subprocess.Popen, seconds: float = 60) -> Done:
    """The result of a started command."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        killed(process)
    assert "Traceback" not in out + err, err
    return Done(process.returncode, out, err)


def killed(process: subprocess.Popen) -> None:
    """Kill a started command, if it still runs, and wait for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)


def is_one_sentence(done: Done) -> bool:
    """Whether all that was said of an error is one line, to stderr."""
    return done.err.startswith("agent: ") and done.err.count("\n") == 1


def in_own_mounts(*options: str) -> list[str]:
    """The beginning of a command line that sees this machine with some mounts changed; skips where it cannot."""
    line = ["bwrap", "--dev-bind", "/", "/", *options]
    try:
        works = subprocess.run([*line, "true"], capture_output=True, timeout=20).returncode == 0
    except FileNotFoundError:
        works = False
    if not works:
        pytest.skip("bubblewrap does not work here, which makes the disk that this test needs")
    return line

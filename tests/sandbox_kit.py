"""What the sandbox's tests share: all jails, a short way to run a script in one, a search for what it left."""

import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox.classify import classify
from sandbox.jail import Jail, pick
from sandbox.spec import Evidence, Finding, JailUnavailable, Limits, Phase, Spec, Watch
from sandbox.supervise import run

GIB = 2**30
LEVELS = ("none", "landlock", pytest.param("namespace", marks=pytest.mark.jail))
CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


def jail_of(level: str, *reach: Path) -> Jail:
    """The jail of a level that can reach these paths; skips the test where it does not work."""
    try:
        return pick(level, reach).jail
    except JailUnavailable as error:
        pytest.skip(str(error))


@dataclass
class Ran:
    """One run: what was seen, read and left."""

    evidence: Evidence
    finding: Finding
    lines: list[str]
    samples: list
    log: Path
    seconds: float
    left: list[int]  # processes that carry this run's own tag


@dataclass
class Runner:
    """Runs Python code as a trial below a temporary folder."""

    jail: Jail
    folder: Path
    tag: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def work(self) -> Path:
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        return work

    def spec(self, code: str, seconds: float = 30.0, limits: Limits | None = None, **more) -> Spec:
        (self.work / "train.py").write_text(code)
        more.setdefault("phases", ((Phase.TRAIN, seconds),))
        env = {"TEST_TAG": self.tag, **more.pop("env", {})}
        return Spec(("python", "train.py"), self.work, env, limits=limits or Limits(2 * GIB), **more)

    def __call__(self, code: str, watch: dict | None = None, **more) -> Ran:
        lines, samples = [], []
        calls = {"on_line": lines.append, "on_sample": lambda *sample: samples.append(sample), **(watch or {})}
        began = time.monotonic()
        evidence = run(self.spec(code, **more), self.jail, Watch(self.folder / "log", **calls))
        seconds = time.monotonic() - began
        left = tagged(self.tag)
        return Ran(evidence, classify(evidence), lines, samples, self.folder / "log", seconds, left)


def tagged(tag: str) -> list[int]:
    """Processes of this machine that carry `tag` in their environment or command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if tag.encode() in text:
                found.append(int(entry.name))
    return found


def wait_until_gone(tag: str, seconds: float) -> list[int]:
    """What is still tagged after at most `seconds`."""
    until = time.monotonic() + seconds
    while (left := tagged(tag)) and time.monotonic() < until:
        time.sleep(0.02)
    return left

"""Plays the agent: runs one attack as a trial, in a process of its own with a key in its environment.

A process of its own, because an attack that ends, stops or traces what runs it must be seen to do so. It reads a job
from its standard input and writes what came of it to its standard output, both JSON; `assault` starts it.
"""

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox.attacks.traces import forms
from sandbox.attacks.victim import HARNESS
from sandbox.jail import pick
from sandbox.spec import Limits, Mount, Phase, SandboxError, Spec, Watch
from sandbox.supervise import run

LIMITS = Limits(
    memory_bytes=2**30,
    processes=200,
    disk_bytes=2**28,
    files=20_000,
    output_bytes=2**26,
    log_bytes=2**18,
)
HINTS = ("ATTACK SUCCESS", "ATTACK BLOCKED")
MOST_LINES = 500  # of hints kept


@dataclass(frozen=True)
class Job:
    """One attack to run: the jail's level, where, what the attacker is told, seconds, and what must not be printed."""

    level: str
    folder: str
    work: str
    log: str
    targets: str
    seconds: float
    secrets: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What the harness saw.

    Attributes:
        error: the sandbox's own failure; empty when it has none, and then the rest is told.
        promises: of the jail.
        end: why it was stopped; empty when it ended by itself.
        status: raw wait status.
        processes: most of them at a time.
        hints: the attacker's own word.
        leaks: lines of output that hold a secret.
        signals: that the harness was sent.
        tail: the end of the output.
    """

    error: str = ""
    promises: tuple[str, ...] = ()
    end: str = ""
    status: int | None = None
    processes: int = 0
    hints: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    signals: tuple[int, ...] = ()
    tail: str = ""


def main() -> None:
    """Runs the job on standard input."""
    job = Job(**json.loads(sys.stdin.readline()))
    signals: list[int] = []
    harmless = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE)
    for number in signal.valid_signals() - set(harmless):
        signal.signal(number, lambda number, _: signals.append(number))
    try:
        report = assault(job, signals)
    except SandboxError as error:
        report = Report(error=f"{type(error).__name__}: {error}")
    sys.stdout.write(json.dumps(vars(report)) + "\n")


def assault(job: Job, signals: list[int]) -> Report:
    """Runs one attack.

    Raises:
        SandboxError: the jail cannot be had, does not start it, or leaves some of it alive.
    """
    folder, work = Path(job.folder), Path(job.work)
    mounts = (Mount(folder / "lib", str(folder / "lib")), Mount(folder / "harness/prepare.py", "prepare.py"))
    jail = pick(job.level, (work.parent, *(mount.source for mount in mounts))).jail
    spec = Spec(
        argv=("python", "train.py"),
        work=work,
        env={"ATTACK_TARGETS": job.targets.replace(json.dumps(HARNESS), str(os.getpid()))},
        phases=((Phase.TRAIN, job.seconds),),
        limits=LIMITS,
        mounts=mounts,
    )
    secret = forms(job.secrets)
    hints: list[str] = []
    leaks: list[str] = []

    def hear(line: str) -> None:
        if line.startswith(HINTS) and len(hints) < MOST_LINES:
            hints.append(line)
        if secret.search(line) and len(leaks) < MOST_LINES:
            leaks.append(line)

    seen = run(spec, jail, Watch(Path(job.log), on_line=hear))
    promises = tuple(sorted(jail.promises()))
    end = str(seen.stopped or "")
    peak, tail = seen.peak_processes, seen.tail[-2000:]
    return Report("", promises, end, seen.wait_status, peak, tuple(hints), tuple(leaks), tuple(signals), tail)

"""Runs attacks as trials and judges from outside whether the jail contained them: `assail(paths, level)`.

Each attack meets a fresh victim (`victim`) and a harness in a process of its own (`harness`). What it did is read from
what is outside (`witness`): files, sockets, processes, limits and sizes, before and after, and secrets in its output or
its work folder. Its own lines `ATTACK SUCCESS ...` count only where its header demands that it be blocked and says
nothing else (`expectations`): some things leave no trace.

Not covered: what an attack does to the kernel itself, and reads that leave no trace and are not printed.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sandbox import ruleset
from sandbox.attacks.expectations import Demand, Expected, read
from sandbox.attacks.family import adopting
from sandbox.attacks.harness import LIMITS, Job, Report
from sandbox.attacks.victim import PLACE, Victim, laid_out
from sandbox.attacks.witness import Witness
from sandbox.launch import PACKAGE
from sandbox.spec import Promise, SandboxError, Stopped

SECONDS = 20.0
SECONDS_OF_CLOCK = 2.0  # where the clock has to end it
LATE_SECONDS = 30.0  # beyond its time, in which the harness has to be done
BEGUN = "ATTACK BLOCKED nothing yet: it has begun"  # printed before an attack's first line
CLAIM = "ATTACK SUCCESS "
EXAMPLE = "`# EXPECT: all levels: BLOCKED`"
NEEDS = {  # words of a claim -> the promise without which it counts nothing: a hole that the jail states
    "cmdline": Promise.PROCESSES,
    "process list": Promise.PROCESSES,
    "effective capabilities": Promise.KERNEL,
}
HARNESS = "import sys; sys.path.insert(0, sys.argv[1]); from sandbox.attacks.harness import main; main()"


@dataclass(frozen=True)
class Verdict:
    """What came of one attack.

    Attributes:
        name: of the attack.
        expected: what its header demands.
        failure: why it could not be tried at all; empty when it was.
        breaches: what was seen from outside.
        claims: its own word of success.
        excused: claims that count nothing, each with the promise that the jail does not make here.
        seconds: it took.
    """

    name: str
    expected: Expected
    failure: str
    breaches: tuple[str, ...]
    claims: tuple[str, ...]
    excused: tuple[str, ...]
    seconds: float

    @property
    def contained(self) -> bool:
        """Whether the jail held, as far as the header lets its own word count."""
        counts = self.claims if self.expected.demand is not Demand.OUTSIDE else ()
        return not self.breaches and not counts and not self.failure

    @property
    def as_expected(self) -> bool:
        """Whether that is what the header demands, or better."""
        return not self.failure and (self.contained or self.expected.demand is Demand.OPEN)

    def line(self) -> str:
        """One line for people."""
        word = "contained" if self.contained else "not tried" if self.failure else "not contained"
        notes = [] if self.contained else [self.failure, *self.breaches, *self.claims[:3]]
        if self.contained and self.expected.demand is Demand.OPEN:
            notes.append("better than expected")
        notes += [f"not counted: {claim}" for claim in self.excused] if self.contained else []
        note = "; ".join(note for note in notes if note)[:400]
        mark = "ok  " if self.as_expected else "FAIL"
        end = f", ended by {self.expected.end}" if self.expected.end else ""
        expected = f"(expected: {self.expected.demand.value}{end})"
        return f"{mark} {self.name:28} {word:13} {expected}{': ' if note else ''}{note}"


def load(place: Path) -> list[Path]:
    """The attacks of a folder, by name, or the one that `place` itself is.

    Raises:
        SandboxError: there is none, or one cannot be read or does not say what to expect.
    """
    if not place.exists():
        raise SandboxError(f"there is no {place}: name a folder of attacks, or one of them")
    paths = sorted(place.glob("*.py")) if place.is_dir() else [place]
    if not paths:
        raise SandboxError(f"there are no attacks in {place}: name a folder of .py files with a line like {EXAMPLE}")
    for path in paths:
        try:
            header = read(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise SandboxError(f"{path} cannot be read as a script ({error}): leave it out") from error
        if not header.texts:
            where = "among the comments at its top"
            raise SandboxError(f"{path} does not say what to expect of it: write a line like {EXAMPLE} {where}")
    return paths


def assail(paths: Iterable[Path], level: str, place: Path = PLACE) -> Iterator[Verdict]:
    """Runs the attacks one after the other in a jail of `level`, and judges each.

    Args:
        paths: the scripts.
        level: of the jail, as it is called (`auto` has to be resolved before).
        place: folder for the victims; not in /tmp, where a jail would hide them by chance.

    Raises:
        SandboxError: a victim cannot be laid out.
    """
    abi = ruleset.abi()
    for path in paths:
        text = path.read_text(encoding="utf-8")
        expected = read(text).at(level, abi)
        with adopting(), laid_out(place) as victim:
            yield _one(path.stem, text, expected, level, victim)


def _one(name: str, text: str, expected: Expected, level: str, victim: Victim) -> Verdict:
    """Runs one attack on one victim."""
    (victim.work / "train.py").write_text(f"print({BEGUN!r}, flush=True)\n{text}")
    clock = expected.end is Stopped.TIME or "clock" in name
    seconds = SECONDS_OF_CLOCK if clock else SECONDS
    folder, work, log = str(victim.folder), str(victim.work), str(victim.log)
    job = Job(level, folder, work, log, victim.targets(), seconds, victim.secrets)
    witness = Witness(victim)
    began = time.monotonic()
    report, breaches = _harnessed(job, victim, witness)
    took = time.monotonic() - began
    breaches += witness.seen(text) + _told(report, expected)
    claims = [hint for hint in report.hints if hint.startswith(CLAIM)]
    excused = {claim: promise for claim in claims if (promise := _needed(claim)) and promise not in report.promises}
    counted = tuple(claim for claim in claims if claim not in excused)
    failure = "" if report.error.startswith("SurvivorsLeft") else report.error
    if not failure and not report.hints and not breaches:
        failure = f"the attack did not run: {report.tail[-300:]}"
    excuses = tuple(f"{claim.removeprefix(CLAIM)} ({promise} is not promised)" for claim, promise in excused.items())
    return Verdict(name, expected, failure, tuple(breaches), counted, excuses, took)


def _needed(claim: str) -> Promise | None:
    """The promise without which a claim counts nothing."""
    return next((promise for word, promise in NEEDS.items() if word in claim), None)


def _harnessed(job: Job, victim: Victim, witness: Witness) -> tuple[Report, list[str]]:
    """Has the harness run the attack; its report, and what could be seen meanwhile."""
    line = [sys.executable, "-I", "-c", HARNESS, str(PACKAGE.parent)]
    env = {"SECRET_API": victim.key, "HOME": str(victim.folder / "home"), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(
            line,
            env=env,
            cwd=victim.folder / "harness",
            stdin=subprocess.PIPE,
            stdout=told,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdin is not None  # a pipe was asked for
            process.stdin.write(json.dumps(vars(job)) + "\n")
            process.stdin.flush()
            breaches = witness.follow(process, job.seconds + LATE_SECONDS)
        report = _report(told)
        if report is None and not breaches:
            errors.seek(0)
            report = Report(error=f"the harness failed: {errors.read()[-500:]}")
    return report or Report(hints=(BEGUN,)), breaches


def _report(told: IO[str]) -> Report | None:
    """What the harness wrote; None when it came to no end."""
    told.seek(0)
    said = told.read()
    if not said.endswith("}\n"):
        return None
    fields: dict[str, Any] = json.loads(said)
    for name, one in fields.items():
        fields[name] = tuple(one) if isinstance(one, list) else one
    return Report(**fields)


def _told(report: Report, expected: Expected) -> list[str]:
    """What the harness has to say."""
    found = [f"printed a secret: {line[:80]}" for line in report.leaks[:3]]
    found += [f"the harness got signal {number}" for number in report.signals]
    if report.processes > LIMITS.processes and report.end != Stopped.PROCESSES:
        found.append(f"{report.processes} processes, and it was not ended for it")
    if report.error.startswith("SurvivorsLeft"):
        found.append(report.error)
    ends = {Stopped.DISK: ("disk", "free_disk")}.get(expected.end, (expected.end,)) if expected.end else ()
    if ends and not report.error and report.end not in ends:
        found.append(f"ended by {report.end or 'itself'}, not by {expected.end}")
    return found

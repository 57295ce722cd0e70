"""What running in a jail costs: start, supervision, the end, and by how much memory can pass its limit.

Measured with real programs on this machine, each thing against a bare twin where there is one, alternating, so that
other load falls on both. For `agent bench spawn`; nothing here is part of a run.
"""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.jail import Jail
from sandbox.spec import Limits, Phase, SandboxError, Spec, Stopped, Watch
from sandbox.supervise import run

GIB = 2**30
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
SETTLE_SECONDS = 0.5  # the start of a trial is no part of the quiet one
RATE = 10**9  # bytes a second
STEP = 10**7

STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(10):
    if os.fork() == 0:
        time.sleep(600)
print("ready", flush=True)
time.sleep(600)
"""
GREEDY = f"""
import mmap, time
kept, began = [], time.monotonic()
while True:
    kept.append(mmap.mmap(-1, {STEP}))
    kept[-1][::4096] = bytes({-(-STEP // 4096)})
    print(len(kept) * {STEP}, flush=True)
    time.sleep(max(0, began + len(kept) * {STEP / RATE} - time.monotonic()))
"""


@dataclass(frozen=True)
class Rounds:
    """How often, and for how long, things are measured."""

    starts: int = 30
    quiet_seconds: float = 10.0
    kills: int = 20
    greedy: int = 3


@dataclass(frozen=True)
class Costs:
    """What was measured in one jail.

    Attributes:
        bare_seconds, jailed_seconds: start to end of a Python that does nothing, alone and in the jail; pair by pair.
        quiet_share: share of a core that this process used while a trial slept.
        kill_seconds: from the decision until nobody of eleven processes that ignore SIGTERM was left.
        limit_bytes: the memory limit of the greedy program.
        overshoot_bytes: what it had beyond that when it was ended, by its own account or ours, whichever is more.
        rate: bytes a second at which it really grew.
    """

    jail: str
    bare_seconds: tuple[float, ...]
    jailed_seconds: tuple[float, ...]
    quiet_share: float
    kill_seconds: tuple[float, ...]
    limit_bytes: int
    overshoot_bytes: tuple[int, ...]
    rate: float

    @property
    def overhead_seconds(self) -> float:
        """What the jail adds to a start: the median of the differences within the pairs."""
        pairs = zip(self.jailed_seconds, self.bare_seconds, strict=True)
        return statistics.median(jailed - bare for jailed, bare in pairs)


def measure(jail: Jail, folder: Path, rounds: Rounds) -> Costs:
    """Measures everything, in about half a minute; `folder` is empty, and can be reached by the jail's programs.

    Raises:
        SandboxError: the sandbox failed, or a program did not end as it must.
    """
    starts = [(_bare(folder), _jailed(jail, folder)) for _ in range(rounds.starts)]
    grown = [_overshoot(jail, folder) for _ in range(rounds.greedy)]
    return Costs(
        jail=jail.name,
        bare_seconds=tuple(bare for bare, _ in starts),
        jailed_seconds=tuple(jailed for _, jailed in starts),
        quiet_share=_quiet_share(jail, folder, rounds.quiet_seconds),
        kill_seconds=tuple(_kill_seconds(jail, folder) for _ in range(rounds.kills)),
        limit_bytes=GIB,
        overshoot_bytes=tuple(beyond for beyond, _ in grown),
        rate=statistics.median(rate for _, rate in grown),
    )


def _bare(folder: Path) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], cwd=folder, env=ENV, check=True)
    return time.monotonic() - began


def _jailed(jail: Jail, folder: Path) -> float:
    with _work(folder) as work:
        began = time.monotonic()
        evidence = run(_spec(work, "pass"), jail, Watch(folder / "log"))
        seconds = time.monotonic() - began
    if evidence.wait_status != 0:
        raise SandboxError(f"a program that does nothing ended with {evidence.wait_status}: {evidence.tail[-200:]}")
    return seconds


def _quiet_share(jail: Jail, folder: Path, seconds: float) -> float:
    """Processor time of this whole process while a trial sleeps; between two samples, so without its start and end."""
    seen: list[tuple[float, float]] = []
    with _work(folder) as work:
        spec = _spec(work, f"import time; time.sleep({seconds + SETTLE_SECONDS + 0.5})")
        watch = Watch(folder / "log", on_sample=lambda *_: seen.append((time.monotonic(), time.process_time())))
        run(spec, jail, watch)
    kept = [one for one in seen if one[0] - seen[0][0] >= SETTLE_SECONDS]
    if len(kept) < 2:
        raise SandboxError("a trial that slept was not sampled: run `agent doctor`")
    return (kept[-1][1] - kept[0][1]) / (kept[-1][0] - kept[0][0])


def _kill_seconds(jail: Jail, folder: Path) -> float:
    cancel = threading.Event()
    watch = Watch(folder / "log", on_line=lambda line: cancel.set() if line == "ready" else None, cancel=cancel)
    with _work(folder) as work:
        evidence = run(_spec(work, STUBBORN), jail, watch)
    if evidence.stopped is not Stopped.CANCELLED or evidence.kill_seconds is None:
        raise SandboxError(f"a program that waits to be killed ended by itself: {evidence.tail[-200:]}")
    return evidence.kill_seconds


def _overshoot(jail: Jail, folder: Path) -> tuple[int, float]:
    """Bytes beyond the limit, and the rate at which the program got there."""
    said: list[tuple[float, int]] = []
    watch = Watch(folder / "log", on_line=lambda line: said.append((time.monotonic(), int(line))) if line else None)
    with _work(folder) as work:
        evidence = run(_spec(work, GREEDY), jail, watch)
    if not (evidence.stopped is Stopped.MEMORY or evidence.group_oom_kills) or len(said) < 2:
        raise SandboxError(f"a program beyond its memory limit was not ended for it: {evidence.tail[-200:]}")
    rate = (said[-1][1] - said[0][1]) / (said[-1][0] - said[0][0])
    return max(0, said[-1][1] - GIB, evidence.peak_memory_bytes - GIB), rate


@contextmanager
def _work(folder: Path) -> Iterator[Path]:
    """A fresh work folder, as each trial has one."""
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as work:
        yield Path(work)


def _spec(work: Path, code: str) -> Spec:
    return Spec(("python", "-c", code), work, ENV, ((Phase.TRAIN, 120.0),), Limits(GIB, processes=64))

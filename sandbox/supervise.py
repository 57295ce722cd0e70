"""Runs one untrusted program in a jail and tells what was seen: `run(spec, jail, watch) -> Evidence`.

One loop reads output, measures, and keeps deadlines; whatever happens, an exception from a callback included,
nothing of the program is alive when it returns. It may be called from any thread, many at a time: it keeps no
global state and touches no signal handler. A program that floods its output is slowed down to what half a
core can read.

Trusted programs (preparing data, judging) run the same way with `sandbox.unconfined.Unconfined()`.
"""

import contextlib
import dataclasses
import os
import re
import secrets
import selectors
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sandbox import launch, meter
from sandbox.jail import Jail
from sandbox.output import Lines, Log
from sandbox.phases import Phases
from sandbox.spec import Evidence, SandboxError, Spec, Stopped, Watch
from sandbox.stub import GRACE_SECONDS
from sandbox.tree import PATIENCE_SECONDS, Tree

TICK_SECONDS = 0.1
SAMPLE_SECONDS = 0.2  # between two calls of `on_sample`
DISK_SECONDS = 1.0
SCAN_SECONDS = 5.0
READ_BYTES = 2**16
SHARE = 0.1  # of a core at most for measuring: what takes long is done less often

T = TypeVar("T")


def run(spec: Spec, jail: Jail, watch: Watch) -> Evidence:
    """Runs `spec` in `jail` to its end.

    Raises:
        SandboxError: the jail did not start the program; nothing can be said about it.
        SurvivorsLeft: processes of the program could not be killed.
    """
    token = secrets.token_hex(16)
    marked = dataclasses.replace(spec, env={**spec.env, meter.MARKER: token})
    kills = meter.kernel_oom_kills()
    with contextlib.closing(Log(watch.log, spec.limits.log_bytes)) as log:
        running = _Running(spec, watch, log)
        with Tree(jail.wrap(marked), launch.loader(spec), token, spec.limits.memory_bytes) as tree:
            running.loop(tree)
        if not running.started:
            raise SandboxError(f"the jail {jail.name!r} could not start the program: {running.complaint()}")
        return running.evidence(jail.name, meter.kernel_oom_kills() - kills, time.monotonic())


class _Running:
    """One run between its start and its end."""

    def __init__(self, spec: Spec, watch: Watch, log: Log) -> None:
        self._spec, self._watch, self._log = spec, watch, log
        self._selector = selectors.DefaultSelector()
        self._lines = Lines()
        self._said = b""  # by the stub
        self._wait_status: int | None = None
        self._stopped: Stopped | None = None
        self._end_at: float | None = None  # of the program itself, or when it was stopped
        self._gone_at: float | None = None  # of the stub, and with it everybody
        self._now = time.monotonic()
        self._phases = Phases(spec.phases, spec.ready, self._now)
        self._next = dict.fromkeys(("tick", "memory", "disk", "sample"), self._now)
        self._next["scan"] = self._now + SCAN_SECONDS
        self._memory = self._peak = self._output_bytes = 0
        self._reading = 0.0  # seconds in this tick
        self._open = True  # the output

    @property
    def started(self) -> bool:
        """Whether the program was reached at all."""
        return b"started\n" in self._said

    def complaint(self) -> str:
        """Why it was not: the stub's word, or the last line of output."""
        said = self._said.decode(errors="replace").strip().removeprefix("failed ")
        return said or (self._log.tail().splitlines() or ["it said nothing; run `agent doctor`"])[-1]

    def loop(self, tree: Tree) -> None:
        """Follows the program until it and its output have ended, or until patience has."""
        with self._selector:
            self._selector.register(tree.control, selectors.EVENT_READ, self._hear)
            self._listen(tree.output)
            while not self._over():
                for key, _ in self._selector.select(max(0.0, self._next["tick"] - self._now)):
                    key.data(key.fd)
                self._now = time.monotonic()
                if self._due("tick", TICK_SECONDS):
                    self._tick(tree)
                    self._listen(tree.output)
            self._take(self._lines.end())

    def evidence(self, jail: str, kernel_oom_kills: int, buried_at: float) -> Evidence:
        """What was seen."""
        return Evidence(
            jail=jail,
            wait_status=self._wait_status,
            stopped=self._stopped,
            phase=self._phases.current,
            seconds=self._phases.close(self._end_at or self._gone_at or buried_at),
            peak_memory_bytes=self._peak,
            memory_limit_bytes=self._spec.limits.memory_bytes,
            kernel_oom_kills=kernel_oom_kills,
            output_bytes=self._output_bytes,
            tail=self._log.tail(),
            kill_seconds=buried_at - self._end_at if self._stopped and self._end_at else None,
        )

    def _over(self) -> bool:
        if self._gone_at is not None:
            return not self._open or self._now - self._gone_at > PATIENCE_SECONDS
        return self._end_at is not None and self._now - self._end_at > GRACE_SECONDS + PATIENCE_SECONDS

    def _due(self, what: str, every: float) -> bool:
        if self._now < self._next[what]:
            return False
        self._next[what] = self._now + every
        return True

    def _listen(self, output: int) -> None:
        """Reads output again, after a pause at the latest with the next tick."""
        self._reading = 0.0
        if self._open and output not in self._selector.get_map():
            self._selector.register(output, selectors.EVENT_READ, self._read)

    def _read(self, descriptor: int) -> None:
        began = time.monotonic()
        chunk = os.read(descriptor, READ_BYTES)
        self._open = bool(chunk)
        self._output_bytes += len(chunk)
        self._take(self._lines.feed(chunk))
        self._reading += time.monotonic() - began
        if not chunk or self._reading > TICK_SECONDS / 2:
            self._selector.unregister(descriptor)

    def _take(self, lines: list[str]) -> None:
        for line in lines:
            self._log.add(line)
            self._phases.hear(line, self._now)
            self._watch.on_line(line)

    def _hear(self, control: int) -> None:
        """What the stub says. Its end is the end of everybody in the jail."""
        try:
            chunk = os.read(control, 4096)
        except ConnectionResetError:  # it has ended without reading our `end`
            chunk = b""
        self._said += chunk
        if chunk:
            if status := re.search(rb"^status (\d+)\n", self._said, re.MULTILINE):
                self._wait_status = int(status[1])
                self._end_at = self._end_at or time.monotonic()
        else:
            self._gone_at = time.monotonic()
            self._selector.unregister(control)

    def _tick(self, tree: Tree) -> None:
        if self._end_at is not None or self._gone_at is not None:
            return
        reason = self._reason(tree.meter)
        if reason is not None:
            self._stopped, self._end_at = reason, self._now
            tree.end()
        elif self._due("sample", SAMPLE_SECONDS):
            self._watch.on_sample(self._phases.current, self._phases.spent(self._now), self._memory)

    def _reason(self, gauge: meter.Meter) -> Stopped | None:
        """Why the program has to be ended now."""
        watch, limits = self._watch, self._spec.limits
        if watch.cancel.is_set() or (watch.deadline is not None and self._now >= watch.deadline):
            return Stopped.CANCELLED
        self._measure("scan", SCAN_SECONDS, gauge.scan)
        sample = self._measure("memory", 0.0, gauge.sample)
        if sample is not None:
            self._memory, self._peak = sample.memory_bytes, max(self._peak, sample.memory_bytes)
            if sample.memory_bytes > limits.memory_bytes:
                return Stopped.MEMORY
            if sample.processes > limits.processes:
                return Stopped.PROCESSES
        used = self._measure("disk", DISK_SECONDS, partial(meter.folder_bytes, self._spec.work, limits.disk_bytes))
        if used is not None and used > limits.disk_bytes:
            return Stopped.DISK
        return Stopped.TIME if self._phases.late(self._now) else None

    def _measure(self, what: str, every: float, act: Callable[[], T]) -> T | None:
        """Measures if that is due; the next time is later when this one took long."""
        began = time.monotonic()
        if began < self._next[what]:
            return None
        result = act()
        now = time.monotonic()
        self._next[what] = now + max(every, (now - began) / SHARE)
        return result

"""Runs one untrusted program in a jail and tells what was seen: `run(spec, jail, watch) -> Evidence`.

One loop reads output and keeps deadlines, and asks `sandbox.watchdog` about everything else; whatever happens, an
exception from a callback included, nothing of the program is alive when it returns. It may be called from any thread,
many at a time: it keeps no global state and touches no signal handler. A flood of output is read with half a core.

Trusted programs (preparing data, judging) run the same way with `sandbox.unconfined.Unconfined()`.
"""

import contextlib
import dataclasses
import os
import re
import secrets
import selectors
import time
from collections.abc import Iterator
from functools import partial

from sandbox import cgroup, gpu, identity, launch, meter
from sandbox.folders import DiskWatch, writable
from sandbox.group import Group
from sandbox.jail import Jail
from sandbox.keeper import GRACE_SECONDS
from sandbox.output import Lines, Log
from sandbox.phases import Phases
from sandbox.spec import Evidence, GpuMemoryHeld, SandboxError, Spec, Stopped, Watch
from sandbox.tree import PATIENCE_SECONDS, Tree
from sandbox.watchdog import Watchdog

SAMPLE_SECONDS = 0.2  # between two calls of `on_sample`
READ_BYTES = 2**14  # at once: what is cut into lines before the next look at the clock
READING_SECONDS = 0.025  # in each tick of at least twice that: half a core
LAST_LOOK_SECONDS = 0.02  # at the folders it has left
GPU_RELEASE_SECONDS = 10.0
POLITE = (Stopped.TIME, Stopped.STALLED, Stopped.CANCELLED)  # the other limits are being passed further meanwhile


def run(spec: Spec, jail: Jail, watch: Watch) -> Evidence:
    """Runs `spec` in `jail` to its end.

    Raises:
        SandboxError: the jail did not start the program, or a lock of it does not shut; nothing can be said about it.
        SurvivorsLeft: processes of the program could not be killed.
        GpuMemoryHeld: they are gone, but their GPU memory is not given back.
    """
    meter.require_lists()
    token = secrets.token_hex(16)
    kills = meter.kernel_oom_kills()
    with _own_user(spec, jail) as user, cgroup.made(token, spec.limits) as group:
        env = {**spec.env, **gpu.cap(spec), meter.MARKER: token}
        spec = dataclasses.replace(spec, env=env, user=user, held=group is not None)
        gauge, disk = gpu.gauge(spec), DiskWatch(spec)
        with contextlib.closing(Log(watch.log, spec.limits.log_bytes)) as log:
            follow = partial(meter.Meter, token=token, user=user)
            with Tree(jail.wrap(spec), launch.loader(spec), follow, group) as tree:
                running = _Running(spec, watch, log, tree, Watchdog(spec, tree.meter, disk, gauge))
                running.loop()
            evidence = running.evidence(jail.name)
        _await_release(gauge, tree.meter)
        evidence = dataclasses.replace(evidence, kernel_oom_kills=meter.kernel_oom_kills() - kills)
        return evidence if group is None else _by_group(evidence, group)


@contextlib.contextmanager
def _own_user(spec: Spec, jail: Jail) -> Iterator[int | None]:
    """A user for this program alone, where the jail wants one: it is given what the program may write to."""
    if not jail.own_user:
        yield None
        return
    with identity.claimed() as user:
        identity.give(user, writable(spec))
        yield user


def _by_group(evidence: Evidence, group: Group) -> Evidence:
    """Evidence with what the kernel counted in the control group.

    Its peak counts pages of files too, which the kernel takes back: it is the program's need only when it killed.
    """
    kills, peak = group.oom_kills(), evidence.peak_memory_bytes
    return dataclasses.replace(
        evidence, group_oom_kills=kills, peak_memory_bytes=max(peak, group.peak_bytes()) if kills else peak
    )


def _await_release(gauge: gpu.Gauge | None, processes: meter.Meter) -> None:
    """Returns when the GPUs are free again of what the program held."""
    if gauge is not None and not gauge.released(processes.ever, GPU_RELEASE_SECONDS):
        held = gauge.held(processes.ever)
        raise GpuMemoryHeld(f"{held}, {GPU_RELEASE_SECONDS:.0f} s after its end: see `nvidia-smi`, then resume")


class _Running:
    """One run between its start and its end."""

    def __init__(self, spec: Spec, watch: Watch, log: Log, tree: Tree, watchdog: Watchdog) -> None:
        self._spec, self._watch, self._log, self._tree, self._watchdog = spec, watch, log, tree, watchdog
        self._selector = selectors.DefaultSelector()
        self._lines = Lines()
        self._said = b""  # by the stub
        self._wait_status: int | None = None
        self._stopped: Stopped | None = None
        self._end_at: float | None = None  # of the program itself, or when it was stopped
        self._started = self._gone = False  # the program; the stub, and with it everybody
        self._now = self._tick_at = self._sample_at = time.monotonic()
        self._phases = Phases(spec.phases, spec.begins, self._now)
        self._output_bytes = 0
        self._reading = 0.0  # seconds in this tick
        self._open = True  # the output

    def loop(self) -> None:
        """Follows the program until it has ended, sees to it that nobody is left, and takes the rest of its output."""
        with self._selector:
            self._selector.register(self._tree.control, selectors.EVENT_READ, self._hear)
            self._listen()
            while not self._over():
                heard = self._selector.select(max(0.0, self._tick_at - self._now))
                self._now = time.monotonic()  # when the lines came, by which a phase begins
                for key, _ in heard:
                    key.data(key.fd)
                self._now = time.monotonic()
                if self._now >= self._tick_at:
                    self._tick_at = self._now + self._watchdog.pace
                    self._tick()
                    self._listen()
        self._tree.bury()
        self._drain()

    def evidence(self, jail: str) -> Evidence:
        """What was seen.

        Raises:
            SandboxError: the program was never reached.
        """
        if not self._started and self._stopped is not Stopped.CANCELLED:
            raise SandboxError(f"the jail {jail!r} could not start the program: {self._complaint()}")
        self._watchdog.disk.finish(LAST_LOOK_SECONDS)
        memory, buried_at = self._watchdog.memory, self._tree.buried_at or self._now
        return Evidence(
            jail=jail,
            wait_status=self._wait_status,
            stopped=self._stopped,
            phase=self._phases.current,
            seconds=self._phases.close(self._end_at or buried_at),
            peak_memory_bytes=memory.peak,
            memory_limit_bytes=self._spec.limits.memory_bytes,
            kernel_oom_kills=0,
            output_bytes=self._output_bytes,
            tail=self._log.tail(),
            kill_seconds=buried_at - self._end_at if self._stopped and self._end_at else None,
            peak_gpu_bytes=self._watchdog.peak_gpu,
            gpu_limit_bytes=None if self._watchdog.peak_gpu is None else self._spec.limits.gpu_bytes,
            peak_processes=memory.processes,
            disk_bytes=self._watchdog.disk.usage.bytes,
            disk_files=self._watchdog.disk.usage.files,
        )

    def _complaint(self) -> str:
        """Why the program was not reached: the stub's word, or the last line of output."""
        said = [line for line in self._said.decode(errors="replace").splitlines() if line != "ready"]
        printed = self._log.tail().splitlines()[-1:] or ["it said nothing; run `agent doctor`"]
        return (said or printed)[-1].removeprefix("failed ")

    def _over(self) -> bool:
        if self._gone:
            return True
        return self._end_at is not None and self._now - self._end_at > GRACE_SECONDS + PATIENCE_SECONDS

    def _listen(self) -> None:
        """Reads output again, after a pause at the latest with the next tick."""
        self._reading = 0.0
        if self._open and not self._flooded and self._tree.output not in self._selector.get_map():
            self._selector.register(self._tree.output, selectors.EVENT_READ, self._read)

    def _read(self, descriptor: int) -> None:
        began = time.monotonic()
        chunk = os.read(descriptor, READ_BYTES)
        self._open = bool(chunk)
        self._output_bytes += len(chunk)
        self._take(self._lines.feed(chunk))
        self._reading += time.monotonic() - began
        if self._flooded:
            self._tick_at = self._now
        if not chunk or self._flooded or self._reading > READING_SECONDS:
            self._selector.unregister(descriptor)

    @property
    def _flooded(self) -> bool:
        return self._output_bytes > self._spec.limits.output_bytes

    def _drain(self) -> None:
        """What is still in the pipe: for a moment only, because somebody whom we could not find may hold it."""
        os.set_blocking(self._tree.output, False)
        until = time.monotonic() + PATIENCE_SECONDS
        with contextlib.suppress(BlockingIOError):
            while self._open and time.monotonic() < until:
                chunk = os.read(self._tree.output, READ_BYTES)
                self._open = bool(chunk)
                self._output_bytes += len(chunk)
                self._take(self._lines.feed(chunk))
        self._take(self._lines.end())

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
        if not chunk:
            self._gone = True
            self._selector.unregister(control)
        if b"ready\n" in chunk:
            self._tree.admit()
        if b"started\n" in chunk:
            self._started = True
            self._tree.meter.settle()
        if status := re.search(rb"^status (\d+)\n", self._said, re.MULTILINE):
            self._wait_status = int(status[1])
            self._end_at = self._end_at or time.monotonic()

    def _tick(self) -> None:
        if self._end_at is not None or self._gone:
            return
        reason = self._reason()
        if reason is not None:
            self._stopped, self._end_at = reason, time.monotonic()
            self._tree.end(politely=reason in POLITE)
        elif self._now >= self._sample_at:
            self._sample_at = self._now + SAMPLE_SECONDS
            memory = self._watchdog.memory.memory
            self._watch.on_sample(self._phases.current, self._phases.spent(self._now), memory)

    def _reason(self) -> Stopped | None:
        """Why the program has to be ended now."""
        watch = self._watch
        if watch.cancel.is_set() or (watch.deadline is not None and self._now >= watch.deadline):
            return Stopped.CANCELLED
        found = self._watchdog.reason(self._now, self._output_bytes) if self._started else None
        return found or (Stopped.TIME if self._phases.late(self._now) else None)

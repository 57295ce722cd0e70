"""Decides when a running program must be ended, and how closely it has to be looked at for that.

Looking costs, so it is done the more often the nearer a limit is, and seldom where it takes long. In between, counts
that the machine keeps anyway (free memory, number of tasks, free disk) call for a look as soon as they have moved by
half of what is left, whoever moved them. Measured: less than 1 % of a core for a trial of 1 to 40 processes.
"""

import os
import time
from dataclasses import dataclass

from sandbox.folders import DiskWatch
from sandbox.gpu import Gauge
from sandbox.meter import Meter, Sample
from sandbox.processes import read
from sandbox.spec import Limits, Spec, Stopped

CALM_TICK, CLOSE_TICK = 0.1, 0.01  # seconds between two ticks: the limit of memory far away, in reach
TICKS_TO_LIMIT = 4  # at least, at that speed:
BYTES_A_SECOND = 4e9  # what a program may take, for planning the next look
OFTEN, SELDOM = 0.25, 2.0  # seconds between two looks where nothing is near: as cheap ones, as dear ones
YOUNG = 4  # who has just started changes faster: the next look comes after this part of its age
CALM_SHARE, CLOSE_SHARE, ALARM_SHARE = 0.002, 0.01, 0.2  # of a core for looking: far from a limit, near it, called
SCAN_SECONDS = 5.0
GPU_SECONDS = 0.2
STALL_LOOKS = 8  # in one period of `Limits.stall_seconds`
IDLE_CORE, IDLE_BYTES = 0.01, 2**14  # a second: less than both is no activity
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Machine:
    """What the machine counts anyway: bytes of memory that can be had, processes and threads."""

    available: int
    tasks: int

    @classmethod
    def now(cls) -> "Machine":
        """Its counts at this moment."""
        text = read("/proc/meminfo").partition(b"MemAvailable:")[2]
        return cls(int(text.split(None, 1)[0]) * 1024, int(read("/proc/loadavg").split()[3].partition(b"/")[2]))


class MemoryWatch:
    """Looks at memory and number of processes of a tree.

    Attributes:
        memory: bytes when last known exactly.
        peak: the highest of those.
        processes: the highest number of processes.
        reach: seconds in which the limit of memory can be reached.
    """

    def __init__(self, meter: Meter, limits: Limits) -> None:
        self._meter, self._limits = meter, limits
        self.memory = self.peak = self.processes = 0
        self.reach = 0.0
        self._began = time.monotonic()
        self._before = Machine.now()
        self._last = Sample(0, 0, True)
        self._closely = self._before, self._last  # at the last exact look
        self._due = self._exact_due = self._overdue = self._not_before = 0.0

    def look(self, now: float) -> Stopped | None:
        """Looks as closely as is due; the reason to end the program, if there is one."""
        machine = Machine.now()
        alarm = now >= self._not_before and self._alarming(machine)
        if now < self._due and not alarm:
            return None
        began = time.thread_time()  # on a busy machine the clock on the wall would make us look too seldom
        sample = self._meter.sample()
        if self._closer(sample, machine, now):
            sample = self._meter.sample(exact=True)
            cost = time.thread_time() - began
            self._exact_due, self._overdue = now + cost / CALM_SHARE, now + max(SELDOM, cost / CALM_SHARE)
            self._closely = machine, sample
        self._before, self._last = machine, sample
        self._note(sample)
        self._plan(sample, time.monotonic(), time.thread_time() - began)
        if sample.memory_bytes > self._limits.memory_bytes:
            return Stopped.MEMORY
        return Stopped.PROCESSES if sample.processes > self._limits.processes else None

    def _alarming(self, machine: Machine) -> bool:
        """Whether half of what is left may have been used since the last look."""
        room = self._limits.memory_bytes - self._last.memory_bytes
        places = self._limits.processes - self._last.processes
        taken, started = self._before.available - machine.available, machine.tasks - self._before.tasks
        return 2 * taken > room or 2 * started > places

    def _closer(self, sample: Sample, machine: Machine, now: float) -> bool:
        """Whether the quick look does not do: it may count too much, or not see where memory has gone."""
        before, closely = self._closely
        taken, seen = before.available - machine.available, sample.memory_bytes - closely.memory_bytes
        hidden = 2 * (taken - seen) > self._limits.memory_bytes - closely.memory_bytes
        higher = not sample.exact and sample.memory_bytes > self.peak and now >= self._exact_due
        return (
            hidden
            or higher
            or now >= self._overdue
            or (not sample.exact and sample.memory_bytes > self._limits.memory_bytes)
        )

    def _note(self, sample: Sample) -> None:
        self.processes = max(self.processes, sample.processes)
        if sample.exact:
            self.memory = sample.memory_bytes
            self.peak = max(self.peak, self.memory)

    def _plan(self, sample: Sample, now: float, cost: float) -> None:
        """When to look again: before the limit can be reached, as far as looking is cheap."""
        self.reach = max(0, self._limits.memory_bytes - sample.memory_bytes) / BYTES_A_SECOND
        latest = min(SELDOM, max(OFTEN, cost / CALM_SHARE), (now - self._began) / YOUNG)
        self._due = now + max(CLOSE_TICK, cost / CLOSE_SHARE, min(self.reach, latest))
        self._not_before = now + cost / ALARM_SHARE


class StallWatch:
    """Finds a program that does nothing any more: no output, hardly any processor time or transfer, no GPU at work.

    One that waits in the kernel for a disk or a driver (state D) does nothing either, unless bytes arrive.
    """

    def __init__(self, meter: Meter, gauge: Gauge | None, seconds: float) -> None:
        self._meter, self._gauge, self._seconds = meter, gauge, seconds
        self._since = self._due = time.monotonic()
        self._ticks = self._moved = self._output = 0

    def look(self, now: float, output_bytes: int) -> bool:
        """Whether it has stalled."""
        if now < self._due:
            return False
        self._due = now + self._seconds / STALL_LOOKS
        ticks, moved = self._meter.activity()
        if output_bytes != self._output or self._active(ticks, moved, now - self._since):
            self._since, self._ticks, self._moved, self._output = now, ticks, moved, output_bytes
        return now - self._since > self._seconds

    def _active(self, ticks: int, moved: int, seconds: float) -> bool:
        used, carried = ticks - self._ticks, moved - self._moved
        if used < 0 or carried < 0:  # somebody has ended, and with them their counts
            return True
        busy = used / TICKS_A_SECOND > IDLE_CORE * seconds or carried > IDLE_BYTES * seconds
        return busy or (self._gauge is not None and self._gauge.busy())


class Watchdog:
    """All limits of one run but its deadlines.

    Attributes:
        memory: what is known of its memory and processes.
        disk: what is known of its folders.
        peak_gpu: highest GPU memory seen; None without a gauge.
    """

    def __init__(self, spec: Spec, meter: Meter, disk: DiskWatch, gauge: Gauge | None) -> None:
        self._limits, self._meter, self._gauge = spec.limits, meter, gauge
        self.memory, self.disk = MemoryWatch(meter, spec.limits), disk
        self.peak_gpu = None if gauge is None else 0
        stall = spec.limits.stall_seconds
        self._stall = None if stall is None else StallWatch(meter, gauge, stall)
        self._scan_due = time.monotonic() + SCAN_SECONDS
        self._gpu_due = 0.0

    @property
    def pace(self) -> float:
        """Seconds to the next look."""
        return max(CLOSE_TICK, min(CALM_TICK, self.memory.reach / TICKS_TO_LIMIT))

    def reason(self, now: float, output_bytes: int) -> Stopped | None:
        """Why the program has to be ended now, if it has."""
        if output_bytes > self._limits.output_bytes:
            return Stopped.OUTPUT
        if now >= self._scan_due:
            self._meter.scan()
            self._scan_due = now + max(SCAN_SECONDS, (time.monotonic() - now) / CALM_SHARE)
        found = self.memory.look(now) or self._gpu(now) or self.disk.look(now, self._meter.on_disk)
        return found or self._stalled(now, output_bytes)

    def _gpu(self, now: float) -> Stopped | None:
        if self._gauge is None or self.peak_gpu is None or now < self._gpu_due:
            return None
        began = time.monotonic()
        used = self._gauge.used_bytes(self._meter.ever)
        ended = time.monotonic()
        self._gpu_due = ended + max(GPU_SECONDS, (ended - began) / CLOSE_SHARE)
        self.peak_gpu = max(self.peak_gpu, used)
        limit = self._limits.gpu_bytes
        return Stopped.GPU_MEMORY if limit is not None and used > limit else None

    def _stalled(self, now: float, output_bytes: int) -> Stopped | None:
        return Stopped.STALLED if self._stall is not None and self._stall.look(now, output_bytes) else None

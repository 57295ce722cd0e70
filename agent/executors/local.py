"""Trials on this machine: one thread a slot, each watching one program at a time."""

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from agent.curve import Curve
from agent.executors.base import Done
from agent.nouns import Measurement
from agent.trial import measure
from agent.workshop import Cut, Follow, Job, Workshop, compiled_progress


class LocalExecutor:
    """Runs jobs in `slots` threads. Setting `cancel` ends all that run."""

    def __init__(self, shop: Workshop, cancel: threading.Event, slots: int = 1) -> None:
        self._shop, self._cancel, self._slots = shop, cancel, slots
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="trial")
        self._jobs: dict[Future[Measurement | None], Follow] = {}

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return len(self._jobs) < self._slots

    @property
    def busy(self) -> bool:
        """Whether a slot is taken."""
        return bool(self._jobs)

    def submit(self, job: Job, deadline: float) -> None:
        """Start a job in a free slot."""
        follow = Follow(job, Curve(compiled_progress(self._shop.target)), self._cancel, deadline)
        self._jobs[self._threads.submit(_measure_or_cut, self._shop, follow)] = follow

    def next_measurement(self, timeout: float) -> Done | None:
        """The next job to end within `timeout` seconds."""
        ended, _ = wait(self._jobs, timeout, FIRST_COMPLETED)
        for future in ended:
            follow = self._jobs.pop(future)
            return Done(follow.job, future.result())
        return None

    def running(self) -> tuple[Follow, ...]:
        """What runs now."""
        return tuple(self._jobs.values())

    def close(self) -> None:
        """End what runs; returns when nothing is left."""
        self._cancel.set()
        self._threads.shutdown(wait=True)


def _measure_or_cut(shop: Workshop, follow: Follow) -> Measurement | None:
    try:
        return measure(shop, follow)
    except Cut:
        return None

"""What an executor is: it takes jobs while it has room and hands back measurements as they come."""

from dataclasses import dataclass
from typing import Protocol

from agent.nouns import Measurement
from agent.workshop import Follow, Job


@dataclass(frozen=True)
class Done:
    """A job that has ended; `measurement` is None when it was cut by the end of the budget or by the user."""

    job: Job
    measurement: Measurement | None


class Executor(Protocol):
    """Where jobs run."""

    @property
    def has_room(self) -> bool:
        """Whether another job can start now."""

    @property
    def busy(self) -> bool:
        """Whether a job is running or has ended without being handed back."""

    def submit(self, job: Job, deadline: float) -> None:
        """Start a job; it is cut at the monotonic time `deadline`. Only while `has_room`."""

    def next_measurement(self, timeout: float) -> Done | None:
        """The next job to end; None if none does within `timeout` seconds.

        Raises:
            AgentError, SandboxError: the house failed. A failing candidate is a measurement.
        """

    def running(self) -> tuple[Follow, ...]:
        """What runs now, for the views."""

    def close(self) -> None:
        """End what runs and give everything back."""

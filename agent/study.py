"""What one session of a run works with: its parts, how its user stops it, and how it speaks."""

import threading
from dataclasses import dataclass, field
from typing import Protocol

from agent.budget import Clock, Plan
from agent.config import RunConfig
from agent.executors.base import Executor
from agent.history.events import Event
from agent.history.store import Store
from agent.models.base import Watch
from agent.models.line import Line
from agent.proposers.base import Proposer
from agent.space import Space
from agent.state import State
from agent.target import Target


@dataclass
class Stop:
    """What the user asked for: `soon` after the running trial, `now` at once. Set from signal handlers."""

    soon: threading.Event = field(default_factory=threading.Event)
    now: threading.Event = field(default_factory=threading.Event)

    @property
    def asked(self) -> bool:
        """Whether the user asked for an end, either way."""
        return self.soon.is_set() or self.now.is_set()


class Voice(Protocol):
    """How a session speaks to its user."""

    def say(self, line: str) -> None:
        """One line."""

    def tell(self, state: State, event: Event) -> None:
        """An event, and the state after it."""


@dataclass(frozen=True)
class Study:
    """Everything one session of a run works with."""

    config: RunConfig
    target: Target
    space: Space
    plan: Plan
    store: Store
    proposer: Proposer
    line: Line | None
    watch: Watch | None
    executor: Executor
    clock: Clock
    stop: Stop
    voice: Voice

    def append(self, event: Event) -> State:
        """Journal an event, and tell the user. Returns the state after it."""
        state = self.store.append(event, self.clock.elapsed())
        self.voice.tell(state, event)
        return state

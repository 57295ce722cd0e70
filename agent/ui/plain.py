"""The plain view: one line a trial, for logs, pipes and terminals that cannot move their cursor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from agent.history.events import Closed, Event, Measured
from agent.state import State
from agent.study import Study
from agent.text import clean
from agent.ui.words import aside, shown, trial_line
from agent.units import show_duration


class Plain:
    """Writes lines to `out` as events come."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def say(self, line: str) -> None:
        """Write one line."""
        self._out.write(clean(line) + "\n")
        self._out.flush()

    def tell(self, state: State, event: Event) -> None:
        """Write what is worth a line of its own."""
        match event:
            case Closed():
                self.say(trial_line(state, state.trials[event.trial]))
            case Measured() if event.trial == 0 and event.measurement.loss is not None:
                count = len(state.trials[0].measurements)
                loss = shown(state, event.measurement.loss)
                self.say(f"[{show_duration(state.elapsed):>7}] baseline, training {count}: {loss}")
            case _ if (line := aside(state, event)) is not None:
                self.say(line)
            case _:
                pass

    @contextmanager
    def watching(self, study: Study) -> Iterator[None]:
        """While a study runs: nothing more, plain lines follow events alone."""
        yield

"""The phases of one run: which one it is in, since when, whether its time is up. The clock is the caller's."""

import re

from sandbox.spec import Phase

LONGEST_LINE = 500  # a pattern may be slow on long lines


class Phases:
    """Phases with a number of seconds each; the first line of output that matches `ready` ends the first."""

    def __init__(self, phases: tuple[tuple[Phase, float], ...], ready: re.Pattern[str] | None, now: float) -> None:
        self._phases, self._since, self._at = phases, now, 0
        self._ready = ready if len(phases) > 1 else None
        self._seconds: dict[Phase, float] = {}

    @property
    def current(self) -> Phase:
        """The phase it is in."""
        return self._phases[self._at][0]

    def hear(self, line: str, now: float) -> None:
        """Takes notice of a line of output."""
        if self._ready is not None and self._ready.search(line[:LONGEST_LINE]):
            self.close(now)
            self._at, self._since, self._ready = 1, now, None

    def spent(self, now: float) -> float:
        """Seconds in the current phase."""
        return max(0.0, now - self._since)

    def late(self, now: float) -> bool:
        """Whether the time of the current phase is up."""
        return self.spent(now) > self._phases[self._at][1]

    def close(self, now: float) -> dict[Phase, float]:
        """Ends the current phase; the seconds of all so far."""
        self._seconds[self.current] = self.spent(now)
        return self._seconds

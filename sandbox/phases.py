"""The phases of one run: which one it is in, since when, whether its time is up. The clock is the caller's."""

import re

from sandbox.spec import Phase

LONGEST_LINE = 500  # a pattern may be slow on long lines


class Phases:
    """Phases with a number of seconds each; a line of output that matches a later phase's pattern begins that one.

    The smoke phase has no seconds of its own: it shares those of the phase before it.
    """

    def __init__(
        self,
        phases: tuple[tuple[Phase, float], ...],
        begins: tuple[tuple[Phase, re.Pattern[str]], ...],
        now: float,
    ) -> None:
        self._limits, self._begins = dict(phases), list(begins)
        self._now = phases[0][0]
        self._since = self._shared_since = now
        self._seconds: dict[Phase, float] = {}

    @property
    def current(self) -> Phase:
        """The phase it is in."""
        return self._now

    def hear(self, line: str, now: float) -> None:
        """Takes notice of a line of output."""
        for at, (phase, pattern) in enumerate(self._begins):
            if pattern.search(line[:LONGEST_LINE]):
                self.close(now)
                self._now, self._since = phase, now
                if phase is not Phase.SMOKE:
                    self._shared_since = now
                del self._begins[: at + 1]
                return

    def spent(self, now: float) -> float:
        """Seconds in the current phase."""
        return max(0.0, now - self._since)

    def late(self, now: float) -> bool:
        """Whether the time of the current phase is up."""
        limit = self._limits[Phase.STARTUP if self._now is Phase.SMOKE else self._now]
        return now - self._shared_since > limit

    def close(self, now: float) -> dict[Phase, float]:
        """Ends the current phase; the seconds of all so far."""
        self._seconds[self.current] = self.spent(now)
        return self._seconds

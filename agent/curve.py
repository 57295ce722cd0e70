"""The training curve as the script prints it. For looking at only: nothing is decided by it."""

import math
import re
import time
from collections.abc import Callable

from agent.metric import NoMetric, parse_float
from agent.nouns import CurvePoint

_MOST_POINTS = 512
_KEPT_POINTS = 64
_LONGEST_LINE = 500  # a pattern may be slow on long lines


class Curve:
    """Collects (seconds, step, loss) from output lines; memory stays bounded by dropping every other point."""

    def __init__(self, pattern: re.Pattern[str] | None = None, now: Callable[[], float] = time.monotonic) -> None:
        """`pattern` has the named groups step and loss; without one nothing is collected."""
        self._pattern, self._now = pattern, now
        self._began: float | None = None
        self._stride = self._seen = 0
        self.points: tuple[CurvePoint, ...] = ()

    def feed(self, line: str) -> None:
        """Take one line of output; lines that are no progress are passed over."""
        match = self._pattern.search(line[:_LONGEST_LINE]) if self._pattern else None
        if match is None:
            return
        now = self._now()
        self._began = now if self._began is None else self._began
        self._seen += 1
        if self._seen & ((1 << self._stride) - 1):
            return
        try:
            loss, step = parse_float(match["loss"]), int(match["step"])
        except (NoMetric, ValueError, TypeError):
            return  # the script's own words, of which nothing depends
        if math.isfinite(loss):
            self.points = (*self.points, CurvePoint(seconds=round(now - self._began, 3), step=step, loss=loss))
        if len(self.points) > _MOST_POINTS:
            self.points = self.points[1::2]
            self._stride += 1

    def thinned(self) -> tuple[CurvePoint, ...]:
        """At most 64 points, evenly chosen, the last one always among them."""
        count = len(self.points)
        if count <= _KEPT_POINTS:
            return self.points
        return tuple(self.points[round(i * (count - 1) / (_KEPT_POINTS - 1))] for i in range(_KEPT_POINTS))

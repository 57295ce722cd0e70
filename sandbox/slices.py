"""Long counts done in slices: a program that makes them long holds up nothing else.

A count is an iterator that tells, now and then and at its end, the bytes that it has found so far on each device.
"""

import time
from collections.abc import Callable, Iterator

Bytes = dict[int, int]  # device -> bytes
SLICE_SECONDS = 0.05


class Slices:
    """One count, begun again whenever it has come to its end."""

    def __init__(self) -> None:
        self._counting: Iterator[Bytes] | None = None
        self._so_far: Bytes = {}
        self._whole: Bytes = {}

    def look(self, begin: Callable[[], Iterator[Bytes]], seconds: float = SLICE_SECONDS) -> Bytes:
        """Goes on for at most `seconds`: the last whole count, or what this one has found so far where that is more.

        Args:
            begin: begins the count anew.
            seconds: after which it is left for the next look.
        """
        until = time.monotonic() + seconds
        if self._counting is None:
            self._counting, self._so_far = begin(), {}
        for found in self._counting:
            self._so_far = found
            if time.monotonic() > until:
                return {on: max(found.get(on, 0), self._whole.get(on, 0)) for on in {*found, *self._whole}}
        self._counting, self._whole = None, self._so_far
        return self._whole

"""Questions to a model within one time limit for all of them: what preflight's probes ask with.

Unlike `agent.models.line` it waits out no outage: who looks at a model wants to know now.
"""

from dataclasses import replace

from agent.models.base import Model, ModelError, Reply, Request, Trouble, Watch

_PASSING = (Trouble.RATE_LIMITED, Trouble.SERVER, Trouble.CUT)
_TRIES, _PAUSE, _LONGEST_PAUSE = 3, 1.0, 10.0
_LEAST_SECONDS = 2.0  # for one question, however late it is


class Asker:
    """Asks `model`; all questions together take about `seconds`."""

    def __init__(self, model: Model, watch: Watch, seconds: float) -> None:
        self.label = model.label
        self._model, self._watch = model, watch
        self._until = watch.clock() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; not positive when there are none."""
        return self._until - self._watch.clock()

    @property
    def pieces(self) -> int:
        """Pieces that the last answer came in, whole or not: about its tokens."""
        return self._watch.tokens

    @property
    def pieces_per_second(self) -> float:
        """Of the last answer, from the question to its end or ours."""
        return self.pieces / max(self._watch.clock() - self._watch.began, 1e-3)

    def ask(self, request: Request, most_seconds: float) -> Reply:
        """An answer within `most_seconds`, and within what is left. What may pass is tried three times.

        Raises:
            ModelError: none came.
            Interrupted: the watch ended it.
        """
        for number in range(1, _TRIES + 1):
            self._watch.tokens, self._watch.began = 0, self._watch.clock()
            try:
                seconds = max(_LEAST_SECONDS, min(most_seconds, self.left))
                return self._model.complete(replace(request, seconds=seconds), self._watch)
            except ModelError as error:
                pause = min(error.retry_after or _PAUSE, _LONGEST_PAUSE)
                if error.trouble not in _PASSING or number == _TRIES or pause > self.left:
                    raise
                self._watch.sleep(pause)
        raise AssertionError("the last try returns or raises")

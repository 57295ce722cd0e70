"""What ties a language model to a run: where its calls are booked, what stops them, and what it is shown.

It is made before the run's folder exists, so that a model that cannot be asked leaves nothing behind, and bound to the
run afterwards.
"""

import time

from agent.budget import Clock, expected_seconds
from agent.calls import Call, ModelFacts
from agent.code import Code
from agent.errors import UsageError
from agent.history.call_store import CallStore
from agent.history.events import Noted
from agent.history.inbox import Inbox
from agent.models.base import Interrupted, ModelError, Reply, Request, Trouble, Watch
from agent.models.choose import open_model
from agent.models.config import ModelConfig
from agent.models.line import Line, Patience
from agent.models.preflight import PREFLIGHT_SECONDS, preflight
from agent.proposers.base import Workbench
from agent.study import Study, Voice
from agent.target import Target

_OUTAGE_SECONDS = 600.0
_PREFLIGHT_SHARE, _LEAST_PREFLIGHT = 0.1, 20.0  # of what is left of the budget; seconds
_CHECK_SECONDS = 0.5  # how often the inbox is looked at while an answer is waited for


class Asking:
    """The model of one session. `made` is how many calls the run has booked before."""

    def __init__(self, config: ModelConfig, clock: Clock, budget: float, voice: Voice, made: int = 0) -> None:
        """Raises UsageError: the model is not named in a way that we know."""
        self._config, self._clock, self._budget, self._voice = config, clock, budget, voice
        self._study: Study | None = None
        self._looked = 0.0
        self._stopping = False
        self.watch = Watch(cancelled=self._cancelled, deadline=self._deadline, say=voice.say)
        self._model = open_model(config, made)
        self.line = Line(self._model, self.watch, Patience(), made, self._keep)

    def preflight(self) -> ModelFacts:
        """What this session knows about its model, by trying it.

        Raises:
            ModelError, UsageError: it cannot be used; the sentence says what to do.
        """
        if self._config.warning:
            self._voice.say(self._config.warning)
        self._voice.say(f"trying the model {self._model.label}")
        left = self._budget - self._clock.elapsed()
        seconds = max(_LEAST_PREFLIGHT, min(PREFLIGHT_SECONDS, _PREFLIGHT_SHARE * left))
        try:
            facts = preflight(self._model, self._config, self.watch, seconds)
        except Interrupted as late:
            raise UsageError(
                f"the budget was used before {self._model.label} had shown what it can do: give a larger --budget"
            ) from late
        self.line.expect(facts.tokens_per_second, facts.prompt_tokens_per_second)
        return facts

    def workbench(self, target: Target, brief: str) -> Workbench:
        """What a proposer works with; not before `bind`."""
        return Workbench(target, brief, self._code_of, self.line, self._note, self._voice.say)

    def bind(self, study: Study) -> None:
        """The run is there."""
        self._study = study
        session = study.store.state.session
        if session is not None and session.on_model_outage != "wait":
            self.line.patience = Patience(_OUTAGE_SECONDS)

    def _bound(self) -> Study:
        if self._study is None:
            raise ValueError("the model is not bound to a run")
        return self._study

    def _code_of(self, trial: int | None) -> Code:
        return self._bound().store.code_of(trial)

    def _note(self, text: str) -> None:
        self._bound().append(Noted(text=text))

    def _keep(self, call: Call, request: Request, answer: Reply | ModelError) -> None:
        if isinstance(answer, ModelError) and answer.trouble is Trouble.ENDED:
            return  # a script without a further reply was not asked anything
        CallStore(self._bound().store.paths.folder).keep(call, request, answer)

    def _cancelled(self) -> bool:
        if self._study is None:
            return False
        if (now := time.monotonic()) - self._looked > _CHECK_SECONDS:
            self._looked, self._stopping = now, Inbox(self._study.store.paths.folder).asks_to_stop()
        return self._stopping or self._study.stop.asked

    def _deadline(self) -> float:
        """An answer is of no use once the budget has no room for the trial that would follow."""
        if self._study is None:
            return self._clock.at(self._budget)
        return self._clock.at(self._budget - expected_seconds(self._study.store.state, self._study.target.limits))

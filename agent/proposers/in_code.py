"""The constants of trials as their code has them.

A model that edits code may change a constant of the search space too, or take it away, and its proposal does not name
it. A search over constants that went by proposals alone would set it back to what it was before.
"""

from collections.abc import Callable
from dataclasses import replace

from agent.code import Code
from agent.edits.constants import Constant, find
from agent.nouns import Trial, Value
from agent.proposers.configurations import Configuration
from agent.space import Knob, Space
from agent.state import State


class InCode:
    """Reads constants from the code of closed trials, each once.

    Args:
        space: the space of the script as it was brought.
        code_of: code of a closed trial; of the script as it was brought for None.
    """

    def __init__(self, space: Space, code_of: Callable[[int | None], Code]) -> None:
        self._space, self._code_of = space, code_of
        self._read: dict[int | None, Configuration] = {}

    def values(self, trial: int | None) -> Configuration:
        """The constants of the space that can be set in a closed trial's code, with their values there."""
        if trial not in self._read:
            code = self._code_of(trial)
            files = {knob.file for knob in self._space.knobs}
            found = {(path, c.name): c for path in files for c in _constants(code[path])}
            known = ((knob, found.get((knob.file, knob.name))) for knob in self._space.knobs)
            self._read[trial] = {k.name: value for k, c in known if (value := _value(k, c)) is not None}
        return self._read[trial]

    def trial(self, trial: Trial) -> Trial:
        """The trial, as if its proposal had named the constants that its code has."""
        edited = trial.verdict is not None and trial.void is None and trial.diff and not trial.proposal.constants
        if not edited:
            return trial
        proposal = trial.proposal.model_copy(update={"constants": self.values(trial.id)})
        return trial.model_copy(update={"proposal": proposal})

    def state(self, state: State) -> State:
        """The state with all its trials so."""
        return replace(state, trials=tuple(self.trial(trial) for trial in state.trials))

    def space(self, trial: int | None) -> Space:
        """The part of the space that a closed trial's code still has."""
        left = self.values(trial)
        return replace(self._space, knobs=tuple(knob for knob in self._space.knobs if knob.name in left))


def _constants(content: bytes) -> tuple[Constant, ...]:
    """The constants of a file; code that does not parse has none that could be set."""
    try:
        return find(content.decode())
    except SyntaxError:
        return ()


def _value(knob: Knob, constant: Constant | None) -> Value | None:
    """The constant's value; None if it cannot be set, or holds what the knob has no place for."""
    if constant is None or not constant.usable or constant.value is None:
        return None
    try:
        knob.encode(constant.value)
    except ValueError:
        return None
    return constant.value

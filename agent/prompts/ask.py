"""Everything a prompt is made from. Nothing is read here: the same ask gives the same prompt, on any machine."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.calls import ModelFacts
from agent.edits.rules import Rules
from agent.space import Space
from agent.state import State
from agent.target import Target


@dataclass(frozen=True)
class Ask:
    """What a model is asked about.

    Attributes:
        state: the run so far.
        target: the target.
        files: path -> text of the editable files as they are shown: those of the trial that the edit starts from.
        brief: the research brief of the script's owner; empty for none.
        facts: the model's contract, context and answer length.
        rules: what must stay.
        space: the script's constants.
        parent: the trial whose code `files` are, if it is not the champion.
        widen: how strongly to ask for a different kind of change: 0 not at all, 1, or 2.
        tries: how many came to nothing since something was kept: the reason to widen.
    """

    state: State
    target: Target
    files: Mapping[str, str]
    brief: str
    facts: ModelFacts
    rules: Rules
    space: Space
    parent: int | None = None
    widen: int = 0
    tries: int = 0

"""While the language model does not answer, a search over constants goes on in its place: by name in every record.

Only if the user asked for it. Every ask tries the model first, so that it is back as soon as it answers.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from agent.errors import UsageError
from agent.models.line import Outage
from agent.nouns import Proposal, Trial
from agent.proposers.base import Exhausted, Proposer, Rehearses, Setup
from agent.proposers.dialogue import workbench_of
from agent.proposers.in_code import InCode
from agent.state import State

INSTEAD = "pattern"  # the search that goes on

_WHY = "instead of {source}: the model has not answered since {since}; "
_SINCE = re.compile(r"instead of .+: the model has not answered since (\d\d:\d\d); ")


class Sourced(Proposer, Protocol):
    """A proposer that says what it is called in records."""

    source: str


class DuringOutage:
    """`primary`, and whenever it raises `Outage` the search that `make_other` makes.

    The other search is made anew for each of its proposals, from the constants that the champion's code still has and
    from all closed trials: so it starts from what the model has made of the code.

    Args:
        primary: asks a language model.
        make_other: makes a search over constants.
        setup: what both are made from.

    Raises:
        UsageError: there is no constant to search.
    """

    def __init__(self, primary: Sourced, make_other: Callable[[Setup], Sourced], setup: Setup) -> None:
        self._primary, self._make_other, self._setup = primary, make_other, setup
        self._bench = workbench_of(setup, primary.source)
        self._other_source = make_other(setup).source
        self._in_code = InCode(setup.space, self._bench.code_of)

    def ask(self, state: State) -> Proposal:
        """The primary's proposal, or the other's with the outage as its reason.

        Raises:
            What the primary raises. Outage: there is one, and the other search has nothing left to propose.
        """
        try:
            proposal = self._primary.ask(state)
        except Outage as outage:
            return self._instead(state, outage)
        if self._since(state):
            self._bench.note(f"the model answers again: {self._primary.source} proposes again")
        return proposal

    def rehearse(self, state: State) -> None:
        """The primary's, if it has one. Raises PromptTooLong."""
        if isinstance(self._primary, Rehearses):
            self._primary.rehearse(state)

    def tell(self, trial: Trial) -> None:
        """The other search is told all of them when it is made."""
        self._primary.tell(trial)

    def _instead(self, state: State, outage: Outage) -> Proposal:
        since = self._since(state)
        if not since:
            since = f"{datetime.fromisoformat(state.at).astimezone():%H:%M}"
            self._bench.note(f"{outage}; {self._other_source} proposes instead of {self._primary.source} meanwhile")
        try:
            proposal = self._other(state)
        except (Exhausted, UsageError) as nothing:
            raise Outage(f"{outage}; and {self._other_source} cannot go on: {nothing}", outage.trouble) from nothing
        why = _WHY.format(source=self._primary.source, since=since) + proposal.why
        return proposal.model_copy(update={"why": why, "calls": self._bench.line.drain()})

    def _other(self, state: State) -> Proposal:
        space, seen = self._in_code.space(state.best), self._in_code.state(state)
        other = self._make_other(replace(self._setup, space=space))
        for trial in seen.closed_trials:
            other.tell(trial)
        return other.ask(seen)

    def _since(self, state: State) -> str:
        """Since when the model had not answered when the last trial was proposed; empty if it had.

        Only the other search's own words tell: a model may write whatever it likes.
        """
        last = state.trials[-1].proposal if state.trials else None
        match = _SINCE.match(last.why) if last and last.source == self._other_source else None
        return match[1] if match else ""

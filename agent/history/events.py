"""The events of a run. The journal is a list of them; `agent.state.fold` gives them their meaning."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from agent.config import RunConfig
from agent.nouns import End, Measurement, Noun, Proposal, Verdict, Void
from agent.target import Target


class Session(Noun):
    """Who runs the run now: written at the start and at each resume.

    Attributes:
        budget_seconds: wall-clock budget of the whole run.
        max_trials: stop after this many closed trials beside the baseline; None for no such end.
        target_loss: stop as soon as a kept trial is at or below it; None for no such end.
        jail: name of the jail; why: the sentence that says how it was chosen.
        promises: what it enforces.
        pid, host, hardware: where it runs.
        software: versions of the agent, Python and torch.
    """

    budget_seconds: float
    max_trials: int | None = None
    target_loss: float | None = None
    jail: str
    why: str
    promises: tuple[str, ...]
    pid: int
    host: str
    hardware: str
    software: str


class Started(Noun):
    """The run exists: its settings, its target and the session that began it.

    Attributes:
        folder: the user's folder it was started on.
        settings: every setting that shapes the search.
        target: target.toml with overrides applied.
        files: sha256 of each file of the target's snapshot.
        large: files too large to be code, which trials see in place.
        data_sha256: digest of the prepared data; empty for a target without.
        root: the commit that holds the snapshot.
    """

    kind: Literal["started"] = "started"
    name: str
    folder: str
    settings: RunConfig
    target: Target
    files: dict[str, str]
    large: tuple[str, ...] = ()
    data_sha256: str = ""
    root: str
    session: Session


class Resumed(Noun):
    """A later session goes on. `lost_seconds` were spent after the last event of the session before."""

    kind: Literal["resumed"] = "resumed"
    session: Session
    lost_seconds: float = 0.0


class Proposed(Noun):
    """A trial is open: from here on its id is taken.

    `void` is its outcome if that is known without training (it does not apply, or is a duplicate).
    """

    kind: Literal["proposed"] = "proposed"
    trial: int
    parent: int | None
    proposal: Proposal
    diff: str
    code_sha256: str
    propose_seconds: float
    void: Void | None = None


class Measured(Noun):
    """One training of an open trial has ended."""

    kind: Literal["measured"] = "measured"
    trial: int
    measurement: Measurement


class Closed(Noun):
    """A trial has its verdict."""

    kind: Literal["closed"] = "closed"
    trial: int
    verdict: Verdict


class Committed(Noun):
    """A closed trial is in git. The commit follows from the journal, so it can be made again after a crash."""

    kind: Literal["committed"] = "committed"
    trial: int
    commit: str


class Noted(Noun):
    """Something a reader should know that is no trial: a torn line dropped, a trial cut by the end of the budget."""

    kind: Literal["noted"] = "noted"
    text: str


class Ended(Noun):
    """A session has ended, by what and why in a sentence. One that was killed has no such event."""

    kind: Literal["ended"] = "ended"
    by: End
    reason: str


Event = Annotated[
    Started | Resumed | Proposed | Measured | Closed | Committed | Noted | Ended, Field(discriminator="kind")
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class Record(Noun):
    """One line of the journal.

    Attributes:
        seq: 0 for the first line, then one more each.
        prev: sha256 of the line before (its bytes without the newline); empty for the first.
        at: wall-clock time (ISO 8601, UTC), for people.
        elapsed: budget seconds used when it was written: sums over sessions, and does not run between them.
        event: what happened.
    """

    seq: int
    prev: str
    at: str
    elapsed: float
    event: Event

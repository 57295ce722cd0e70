"""The events of a run. The journal is a list of them; `agent.state.fold` gives them their meaning."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from agent.calls import Call, ModelFacts
from agent.config import RunConfig, WhatInOutage
from agent.models.config import ModelConfig
from agent.noun import Noun
from agent.nouns import End, Measurement, Proposal, Verdict, Void
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
        model: what is known of the language model; None for a search without.
        backend: how it is reached; on_model_outage: what to do when it does not answer.
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
    model: ModelFacts | None = None
    backend: ModelConfig | None = None
    on_model_outage: WhatInOutage = "wait"


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
    shape_sha256: str = ""
    propose_seconds: float
    void: Void | None = None


class Voided(Noun):
    """A language model's proposal came to nothing. It is no trial: it took time and tokens, and nothing was trained.

    Attributes:
        source: who proposed.
        wrong: what kind of failure: one of `agent.edits.errors.Wrong` where the answer was of no use, of
            `agent.models.base.Trouble` where there was none, or `interrupted`.
        reason: the sentence, as the model and the user were told it.
        title: the idea, if it had a title.
        parent: the trial it wanted to change.
        same_as: the earlier trial that it repeats, if it is a duplicate.
        repairs: the trial whose crash it was to repair.
        calls: calls of models, the failed ones included.
        seconds: wall-clock.
    """

    kind: Literal["voided"] = "voided"
    source: str
    wrong: str
    reason: str
    title: str = ""
    parent: int | None = None
    same_as: int | None = None
    repairs: int | None = None
    calls: tuple[Call, ...] = ()
    seconds: float


class Word(StrEnum):
    """What a user may say to a run."""

    NOTE = "note"  # goes into the next prompts
    BAN = "ban"  # what never to try; stays in every prompt
    PAUSE = "pause"
    GO_ON = "go_on"
    STOP = "stop"  # after the running trial


class Said(Noun):
    """The user said something to the run while it ran, or before a resume. `id` tells one saying from another."""

    kind: Literal["said"] = "said"
    word: Word
    text: str = ""
    id: str = ""


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
    Started | Resumed | Proposed | Voided | Said | Measured | Closed | Committed | Noted | Ended,
    Field(discriminator="kind"),
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

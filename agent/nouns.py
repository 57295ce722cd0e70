"""The nouns that modules exchange: Proposal, Measurement, Verdict, Trial. Frozen, and to and from JSON.

They hold facts and check themselves when built; they know nothing of git, of files or of processes. A loss exists
exactly when the outcome is `ok`, and is then finite: no number ever stands for a failure.
"""

import math
from enum import StrEnum

from pydantic import Field, field_validator, model_validator

from agent.calls import Call
from agent.noun import Noun
from agent.text import one_line
from sandbox.spec import Kind, Outcome, Phase, Promise

Scalar = bool | int | float | str
Value = Scalar | tuple[Scalar, ...]


class Proposal(Noun):
    """One change somebody proposes.

    Attributes:
        source: who made it (`baseline`, `random`, `cma`, ...).
        title: one line.
        why: the reason, in a sentence or two.
        constants: constants of the script to set; those not named stay as the parent has them.
        patch: instead, a unified diff against the parent's code, made by us. Empty in the journal, where the event
            that opens the trial has the diff.
        parent: the trial whose code it changes; None for the champion.
        repairs: the trial whose crash it repairs: both are one idea.
        calls: calls of language models that led to it, failed ones included.
    """

    source: str
    title: str
    why: str = ""
    constants: dict[str, Value] = {}
    patch: str = ""
    parent: int | None = None
    repairs: int | None = None
    calls: tuple[Call, ...] = ()

    @field_validator("title")
    @classmethod
    def _one_line(cls, title: str) -> str:
        return one_line(title)


class CurvePoint(Noun):
    """One point of a training curve as the script printed it: a claim of the script, for looking at only."""

    seconds: float
    step: int
    loss: float


class Measurement(Noun):
    """One training of a trial's code, seen from outside.

    Attributes:
        seed: what the script was handed as its seed.
        outcome: how it ended.
        reason: one sentence; empty when ok.
        kind: how it ended, finer than the outcome; None where that is not the end of a program.
        tail: end of its output if it failed, cleaned and capped: the script's own words.
        loss: the value to minimise (a metric to maximise is negated); None unless ok.
        seconds: wall-clock seconds by phase.
        total_seconds: wall-clock seconds of everything, hand-overs included.
        peak_memory_bytes: highest host memory of the tree.
        memory_limit_bytes: the limit it ran under.
        peak_gpu_bytes: highest memory of the tree on one GPU; None where none was seen.
        gpu_limit_bytes: the limit of that; None for none.
        numbers: numbers that belong to the outcome (bytes requested, in use, ...).
        curve: thinned training curve.
        code_sha256: digest of the files that ran, read back from disk at launch.
        jail: the jail it ran in.
        promises: what that jail enforced.
        self_reported: whether the loss is the script's own word.
    """

    seed: int
    outcome: Outcome
    reason: str = ""
    kind: Kind | None = None
    tail: str = ""
    loss: float | None = None
    seconds: dict[Phase, float] = {}
    total_seconds: float
    peak_memory_bytes: int = 0
    memory_limit_bytes: int = 0
    peak_gpu_bytes: int | None = None
    gpu_limit_bytes: int | None = None
    numbers: dict[str, int] = {}
    curve: tuple[CurvePoint, ...] = ()
    code_sha256: str
    jail: str
    promises: tuple[Promise, ...] = ()
    self_reported: bool = False

    @model_validator(mode="after")
    def _loss_exactly_when_ok(self) -> "Measurement":
        if (self.outcome is Outcome.OK) != (self.loss is not None):
            raise ValueError(f"outcome {self.outcome} with loss {self.loss}: a loss exists exactly when ok")
        if self.loss is not None and not math.isfinite(self.loss):
            raise ValueError(f"loss {self.loss} is not finite: that is outcome diverged, without a loss")
        return self


class Void(Noun):
    """The outcome of a proposal that needs no training to be known: it does not apply, or is a duplicate."""

    outcome: Outcome
    reason: str


class Decision(StrEnum):
    """What becomes of a measured trial."""

    KEEP = "keep"
    DISCARD = "discard"
    REPEAT = "repeat"
    QUARANTINE = "quarantine"


class End(StrEnum):
    """What ended a session."""

    BUDGET = "budget"
    USER = "user"
    TRIALS = "trials"
    TARGET = "target"
    SEARCHED = "searched"  # the proposer has nothing left to propose
    STUCK = "stuck"  # proposals that need no training, again and again
    BASELINE = "baseline"  # the script does not run as it is
    FAILURE = "failure"  # of the house, the language model included


class Verdict(Noun):
    """A decision with its reason.

    Attributes:
        gain: by how much the loss fell against the champion; None without a loss.
        margin: the gain that was asked for.
    """

    decision: Decision
    reason: str
    gain: float | None = None
    margin: float | None = None


class Trial(Noun):
    """One attempt, from proposal to verdict.

    Attributes:
        id: 0 is the baseline; ids are consecutive.
        parent: id of the trial whose code it changes; None for the baseline.
        diff: unified diff of the editable files against the parent.
        code_sha256: digest of all its files.
        shape_sha256: digest of its editable files' syntax trees, without docstrings and formatting: equal for code
            that does the same.
        propose_seconds: wall-clock seconds the proposal took.
        void: its outcome, if no training was needed to know it; it has no measurements then.
        measurements: its trainings so far, in order.
        closed_at, closed_seq: when (ISO 8601, UTC) and in which journal line its verdict was recorded.
        commit: its commit in the run's repository.
    """

    id: int
    parent: int | None
    proposal: Proposal
    diff: str
    code_sha256: str
    shape_sha256: str = ""
    propose_seconds: float = 0.0
    void: Void | None = None
    measurements: tuple[Measurement, ...] = ()
    verdict: Verdict | None = None
    closed_at: str | None = None
    closed_seq: int | None = None
    commit: str | None = None

    @property
    def losses(self) -> tuple[float, ...]:
        """Losses of its successful trainings."""
        return tuple(m.loss for m in self.measurements if m.loss is not None)

    @property
    def loss(self) -> float | None:
        """Mean loss over its trainings; None as soon as one of them failed, or before the first."""
        return sum(self.losses) / len(self.losses) if self.losses and self.outcome is Outcome.OK else None

    @property
    def outcome(self) -> Outcome | None:
        """Outcome of its first training that failed, else ok; None before the first."""
        if self.void is not None:
            return self.void.outcome
        failed = [m.outcome for m in self.measurements if m.outcome is not Outcome.OK]
        return failed[0] if failed else (Outcome.OK if self.measurements else None)

    @property
    def failure(self) -> str | None:
        """Why it has no loss, in one sentence; None if it has one, or may get one."""
        if self.void is not None:
            return self.void.reason
        return next((m.reason for m in self.measurements if m.outcome is not Outcome.OK), None)

    @property
    def kept(self) -> bool:
        """Whether its verdict is keep."""
        return self.verdict is not None and self.verdict.decision is Decision.KEEP


class Seconds(Noun):
    """Wall-clock by use. `overhead` is what is left of the elapsed time."""

    propose: float = 0.0
    startup: float = 0.0
    train: float = 0.0
    judge: float = 0.0
    repeat: float = Field(0.0, description="train and judge seconds of repeated trainings (already in those)")
    overhead: float = 0.0

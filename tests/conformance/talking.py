"""Runs made by hand around a scripted model: what a proposer asks, and what becomes of what it proposes."""

from dataclasses import replace
from pathlib import Path

import tomli_w

from agent.calls import Contract, ModelFacts
from agent.code import Code, diff, digest
from agent.config import RunConfig
from agent.edits.apply import apply
from agent.edits.gates.shape import shape
from agent.history.events import Session, Started, Voided
from agent.knobs import Range
from agent.models.base import Request, Watch
from agent.models.line import Line, Patience
from agent.models.scripted import Scripted
from agent.nouns import Decision, Measurement, Proposal, Trial, Verdict
from agent.proposers.base import NoProposal, Proposer, Setup, Workbench
from agent.registry import PROPOSERS, load
from agent.space import find_space
from agent.state import State
from agent.target import Target
from sandbox.spec import Outcome, Phase

SCRIPT = """import math

WIDTH = 32  # hidden channels
RATE = 0.1  # learning rate
MODE = "plain"


def activation(x):
    return max(x, 0.0)


def schedule(step, steps):
    return RATE * (1.0 - step / steps)


for step in range(10):
    loss = activation(math.cos(schedule(step, 10)) * WIDTH)
    print("step", step, "loss", loss)
"""
RANGES = {
    "WIDTH": Range(low=8, high=256, pow2=True),
    "RATE": Range(low=0.001, high=1.0, log=True),
    "MODE": Range(choices=("plain", "gated")),
}
TARGET = Target.model_validate(
    {
        "name": "toy",
        "edit": ["train.py"],
        "run": ["python", "train.py"],
        "metric": {"name": "val_err", "judge": "judge.py", "answer": "answer.py"},
        "limits": {"train_seconds": 60},
    }
)
FACTS = ModelFacts(name="replies.toml", endpoint="scripted", contract=Contract.BLOCKS)


def edit(old: str, new: str, idea: str = "an idea", why: str = "it may help") -> dict[str, str]:
    """A reply with one block."""
    block = f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"
    return {"content": f"IDEA: {idea}\nWHY: {why}\n\n{block}"}


def rate(value: float) -> dict[str, str]:
    """A reply that sets the learning rate."""
    return edit("RATE = 0.1  # learning rate", f"RATE = {value}  # learning rate", f"a rate of {value}")


NONSENSE = edit("no such line", "other")


class Talk:
    """A run so far, and the model that will answer with `replies`."""

    def __init__(self, folder: Path, *replies: dict, script: str = SCRIPT, facts: ModelFacts = FACTS, **bench) -> None:
        path = folder / "replies.toml"
        path.write_text(tomli_w.dumps({"reply": list(replies)}))
        code = {"train.py": script.encode(), "judge.py": b"", "answer.py": b""}
        self.codes: dict[int | None, Code] = {None: code, 0: code}
        self.requests: list[Request] = []
        self.purposes: list[str] = []
        self.notes: list[str] = []
        self.stop = False
        self.said: list[str] = []
        watch = Watch(cancelled=lambda: self.stop, say=self.said.append)
        patience = Patience(outage_seconds=0.0)  # the first failure is an outage
        self.line = Line(Scripted(path), watch, patience, 0, self._keep)
        self.space = find_space({"train.py": script}, RANGES)
        given = {"target": TARGET, "brief": "", "code_of": self.codes.__getitem__}
        self.bench = Workbench(line=self.line, note=self.notes.append, **(given | bench))
        self.setup = Setup(self.space, 7, self.bench)
        self.state = State(
            started=_started(),
            session=_session(facts),
            at="2026-01-02T03:04:05+00:00",
        )
        self.close(Proposal(source="baseline", title="the script as it is"), 1.0, decision=Decision.KEEP)

    def _keep(self, call, request, answer) -> None:
        self.requests.append(request)
        self.purposes.append(call.purpose)

    def proposer(self, name: str = "code") -> Proposer:
        return load(PROPOSERS, name, "proposer")(self.setup)

    def close(self, proposal: Proposal, *measured: Measurement | float, decision: Decision | None = None) -> Trial:
        """The proposal as a closed trial: kept if its loss is lower than the champion's, unless `decision` says."""
        trial = self.open(proposal)
        found = tuple(m if isinstance(m, Measurement) else measurement(Outcome.OK, loss=m) for m in measured)
        best = self.state.champion
        trial = trial.model_copy(update={"measurements": found})
        better = trial.loss is not None and (best is None or best.loss is None or trial.loss < best.loss)
        decision = decision or (Decision.KEEP if better else Decision.DISCARD)
        verdict = Verdict(decision=decision, reason="as measured", margin=0.01)
        trial = trial.model_copy(update={"verdict": verdict, "closed_seq": 10 * trial.id})
        trials = (*self.state.trials[:-1], trial)
        self.state = replace(self.state, trials=trials, best=trial.id if trial.kept else self.state.best)
        return trial

    def open(self, proposal: Proposal) -> Trial:
        """The proposal as an open trial."""
        number = len(self.state.trials)
        parent = self.state.best if proposal.parent is None else proposal.parent
        before = self.codes[parent] if number else self.codes[None]
        after = apply(proposal, before, self.space).code
        self.codes[number] = after
        trial = Trial(
            id=number,
            parent=parent,
            proposal=proposal.model_copy(update={"patch": "", "parent": None}),
            diff=diff(before, after),
            code_sha256=digest(after),
            shape_sha256=shape({"train.py": after["train.py"].decode()}),
        )
        self.state = replace(self.state, trials=(*self.state.trials, trial))
        return trial

    def void(self, nothing: NoProposal) -> None:
        """Journal a proposal that came to nothing."""
        event = Voided(**vars(nothing), seconds=1.0)
        self.state = replace(self.state, voids=(*self.state.voids, (len(self.state.trials), event)))

    def script(self, trial: int) -> str:
        return self.codes[trial]["train.py"].decode()

    def conversation(self, number: int) -> str:
        """All that was sent in a call."""
        return "\n".join(message.content for message in self.requests[number].messages)


def measurement(outcome: Outcome, train: float = 60.0, **values: object) -> Measurement:
    given = {"seed": 1, "outcome": outcome, "total_seconds": 66.0, "code_sha256": "", "jail": "none"}
    seconds = {Phase.STARTUP: 2.0, Phase.TRAIN: train}
    return Measurement.model_validate(given | {"seconds": seconds} | values)


def crashed(train: float = 0.5) -> Measurement:
    tail = "Traceback (most recent call last):\nNameError: name 'warp' is not defined"
    return measurement(Outcome.CRASH, train, reason="NameError: name 'warp' is not defined", tail=tail)


def patched(script: str, old: str, new: str, **values: object) -> Proposal:
    """A change of `script` as `code` would propose it."""
    after = script.replace(old, new)
    assert after != script
    change = diff({"train.py": script.encode()}, {"train.py": after.encode()})
    return Proposal.model_validate({"source": "code", "title": f"{old} -> {new}", "patch": change} | values)


def _started() -> Started:
    config = RunConfig.model_validate({"budget": "5h"})
    return Started(name="toy", folder="toy", settings=config, target=TARGET, files={}, root="", session=_session(FACTS))


def _session(facts: ModelFacts) -> Session:
    return Session(
        budget_seconds=18000.0,
        jail="none",
        why="",
        promises=(),
        pid=1,
        host="here",
        hardware="2 cores",
        software="",
        model=facts,
    )

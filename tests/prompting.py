"""Made-up runs for tests of prompts: a small script, and one trial of every kind."""

from dataclasses import replace

from agent.calls import Contract, ModelFacts
from agent.code import diff
from agent.edits.rules import Rules
from agent.history.events import Said, Session, Voided, Word
from agent.knobs import Range
from agent.nouns import CurvePoint, Decision, Measurement, Proposal, Trial, Verdict
from agent.prompts.ask import Ask
from agent.space import find_space
from agent.state import State
from agent.target import Metric, Target, TargetLimits
from sandbox.spec import Outcome, Phase

SCRIPT = '''"""Fit a small network. ```not a fence```"""

import torch
from prepare import batches, evaluate

WIDTH = 32      # hidden channels
RATE = 0.1      # learning rate, per step
MODE = "plain"  # "plain" or "gated"


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(8, WIDTH)
        self.outer = torch.nn.Linear(WIDTH, 1)

    def forward(self, x):
        return self.outer(torch.relu(self.inner(x)))


net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
for step, (x, y) in enumerate(batches()):
    loss = ((net(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
val_err = evaluate(net)
print(f"val_err: {val_err}")
'''
WIDER = SCRIPT.replace("WIDTH = 32 ", "WIDTH = 64 ")
SILU = WIDER.replace("torch.relu", "torch.nn.functional.silu")
RANGES = {
    "WIDTH": Range(low=8, high=256, pow2=True),
    "RATE": Range(low=0.001, high=1.0, log=True),
    "MODE": Range(choices=("plain", "gated")),
}
TARGET = Target(
    name="toy-net",
    edit=("train.py",),
    run=("python", "train.py"),
    metric=Metric(name="val_err", pattern="^val_err: (.*)$"),
    limits=TargetLimits.model_validate({"train_seconds": 60, "memory": "2GiB", "vram": "8GiB"}),
)
RULES = Rules(
    editable=("train.py",),
    protected=("prepare.py",),
    frozen=("from prepare import batches, evaluate", "val_err = evaluate(net)", "print(f'val_err: {val_err}')"),
    modules=("prepare",),
    metric="val_err",
)
SESSION = Session(
    budget_seconds=18000,
    jail="namespace",
    why="",
    promises=(),
    pid=1,
    host="here",
    hardware="8 x x86_64, 32 GiB, one made-up GPU",
    software="",
)
BRIEF = "# Brief\n\nMake it better, one change at a time. Simple wins."
FACTS = ModelFacts(name="tiny", endpoint="http://localhost:1", context_tokens=32768, max_output_tokens=4096)
CURVE = tuple(CurvePoint(seconds=1.5 * i, step=100 * i, loss=round(2.0 / (1 + i), 4)) for i in range(1, 41))
TRACEBACK = (
    "step 0\nTraceback (most recent call last):\n"
    '  File "train.py", line 24, in <module>\n    loss = ((net(x) - y) ** 2).mean()\n'
    '  File "train.py", line 18, in forward\n    return self.outer(self.gate(x) * self.inner(x))\n'
    "RuntimeError: The size of tensor a (32) must match the size of tensor b (64)"
)


def patch(before: str, after: str) -> str:
    return diff({"train.py": before.encode()}, {"train.py": after.encode()})


def ok(loss: float, **values: object) -> Measurement:
    return measurement(Outcome.OK, loss=loss, curve=CURVE, peak_memory_bytes=500 * 2**20, **values)


def measurement(outcome: Outcome, **values: object) -> Measurement:
    given = {"seconds": {Phase.STARTUP: 4.0, Phase.TRAIN: 60.0}, "memory_limit_bytes": 2 * 2**30} | values
    return Measurement.model_validate(
        {"seed": 1, "outcome": outcome, "total_seconds": 66.0, "code_sha256": "", "jail": "none"} | given
    )


def trial(
    number: int, parent: int | None, title: str, change: str, *measured: Measurement, gain: float | None = None
) -> Trial:
    keep = number == 0 or (gain or 0.0) > 0.01
    verdict = Verdict(decision=Decision.KEEP if keep else Decision.DISCARD, reason="", gain=gain, margin=0.01)
    return Trial(
        id=number,
        parent=parent,
        proposal=Proposal(source="code" if number else "baseline", title=title, why=f"the reason for {title}"),
        diff=change,
        code_sha256="",
        propose_seconds=6.0,
        measurements=measured,
        verdict=verdict,
        closed_seq=number,
    )


def every_kind() -> tuple[Trial, ...]:
    """A baseline, two kept changes, and one attempt for each of the ways to fail."""
    oom = {"requested_bytes": 2 * 2**30, "in_use_bytes": 7 * 2**30, "limit_bytes": 8 * 2**30}
    gated = SILU.replace('MODE = "plain"', 'MODE = "gated"')
    slow = SILU.replace("RATE = 0.1 ", "RATE = 0.02")
    crashed = trial(
        6,
        2,
        "gate the hidden layer",
        patch(SILU, gated),
        measurement(Outcome.CRASH, reason=TRACEBACK.splitlines()[-1], tail=TRACEBACK),
    )
    repair = trial(7, 6, "gate, with the right shape", patch(gated, gated + "# shape\n"), ok(0.95), gain=-0.05)
    diverged = measurement(Outcome.DIVERGED, reason="val_err is inf")
    return (
        trial(0, None, "the script as it is", "", ok(1.01), ok(1.0), ok(0.99)),
        trial(1, 0, "twice the width", patch(SCRIPT, WIDER), ok(0.95), gain=0.05),
        trial(2, 1, "SiLU for ReLU", patch(WIDER, SILU), ok(0.90), gain=0.05),
        trial(3, 2, "a lower rate", patch(SILU, slow), ok(0.92), gain=-0.02),
        trial(4, 2, "much wider", patch(SILU, SILU.replace("64", "256")), measurement(Outcome.OOM_GPU, numbers=oom)),
        trial(5, 2, "a rate a little higher", patch(SILU, SILU.replace("0.1 ", "0.12")), ok(0.895), gain=0.005),
        crashed,
        repair.model_copy(update={"proposal": repair.proposal.model_copy(update={"repairs": 6})}),
        trial(8, 2, "a rate of 1", patch(SILU, SILU.replace("0.1 ", "1.0 ")), diverged),
    )


def a_run(trials: tuple[Trial, ...] = every_kind()) -> State:
    void = Voided(
        source="code", wrong="duplicate", reason="same as trial 3, discarded", title="lower the rate", seconds=9.0
    )
    return State(
        session=SESSION,
        trials=trials,
        best=max(t.id for t in trials if t.kept),
        elapsed=700.0,
        voids=((6, void),),
        said=(
            (2, Said(word=Word.BAN, text="no other optimizer")),
            (7, Said(word=Word.NOTE, text="try the initialisation")),
        ),
    )


def an_ask(contract: Contract = Contract.BLOCKS, **changes: object) -> Ask:
    """What is asked about `a_run`; `changes` are of the ask or, where it has no such field, of the model's facts."""
    facts = {k: v for k, v in changes.items() if k in ModelFacts.model_fields}
    ask = Ask(
        state=a_run(),
        target=TARGET,
        files={"train.py": SILU},
        brief=BRIEF,
        facts=FACTS.model_copy(update={"contract": contract, **facts}),
        rules=RULES,
        space=find_space({"train.py": SCRIPT}, RANGES),
    )
    return replace(ask, **{k: v for k, v in changes.items() if k not in facts})

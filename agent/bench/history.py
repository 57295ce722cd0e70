"""How fast a long history is: writing a trial's journal lines and commit, and opening a run of many trials again."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.code import Code, diff, digest, fingerprints
from agent.config import RunConfig
from agent.history.events import Closed, Measured, Proposed, Session, Started
from agent.history.fast_import import BEST, Entry
from agent.history.store import Store
from agent.nouns import CurvePoint, Decision, Measurement, Proposal, Value, Verdict
from agent.proposers.base import Setup
from agent.proposers.cma_es import CmaEs
from agent.space import find_space
from agent.target import Metric, Target
from sandbox.spec import Outcome, Phase

_KNOBS = 14
_KEEP_EVERY = 40
_AT = "2026-01-01T00:00:00.000+00:00"


@dataclass(frozen=True)
class Times:
    """Seconds: of each trial's writing, and of opening the run again (replay, check of git, telling the proposer)."""

    write: tuple[float, ...]
    resume: float
    journal_bytes: int

    def lines(self) -> list[str]:
        """What was measured, with what was aimed at."""
        ordered = sorted(self.write)
        ninety_nine = ordered[int(0.99 * (len(ordered) - 1))]
        return [
            f"trials         {len(self.write)}, journal {self.journal_bytes / 1e6:.1f} MB",
            f"write a trial  median {1e3 * statistics.median(ordered):.1f} ms, 99 % {1e3 * ninety_nine:.1f} ms, "
            f"longest {1e3 * ordered[-1]:.1f} ms (aim: below 50 ms)",
            f"last hundred   median {1e3 * statistics.median(self.write[-100:]):.1f} ms",
            f"resume         {self.resume:.2f} s (aim: below 3 s at 2,000 trials)",
        ]


def measure_history(folder: Path, trials: int, tick: Callable[[int], None] = lambda trial: None) -> Times:
    """Write a run of `trials` made-up trials into the empty folder `folder`, and open it again."""
    seconds: list[float] = []
    with Store(folder) as store:
        begin(store, code_of(0))
        for trial in range(trials):
            began = time.perf_counter()
            write_trial(store, trial)
            seconds.append(time.perf_counter() - began)
            tick(trial)
    began = time.perf_counter()
    with Store(folder) as store:
        store.heal(store.state.elapsed)
        proposer = CmaEs(Setup(find_space({"train.py": code_of(0)["train.py"].decode()}, {}), seed=0))
        for closed in store.state.closed_trials:
            proposer.tell(closed)
        proposer.ask(store.state)
    return Times(tuple(seconds), time.perf_counter() - began, (folder / "journal.jsonl").stat().st_size)


def code_of(version: int) -> Code:
    """A script of the usual size whose constants depend on `version`."""
    knobs = "".join(f"LR_{i} = {0.01 * (1 + (version * (i + 1)) % 97):.4f}  # a knob\n" for i in range(_KNOBS))
    body = "".join(f"def layer_{i}(x):\n    return x * {i}\n\n\n" for i in range(150))
    return {"train.py": (knobs + body).encode(), "prepare.py": b"DATA = 1\n"}


def begin(store: Store, code: Code) -> None:
    """Journal the start of a made-up run."""
    root = store.ledger.commit(Entry(BEST, None, "made up\n", _AT, code))
    session = Session(
        budget_seconds=1e8, jail="none", why="made up", promises=(), pid=0, host="", hardware="", software=""
    )
    metric = Metric(name="loss", pattern="(.*)")
    target = Target(name="made-up", edit=("train.py",), run=("true",), metric=metric)
    store.append(
        Started(
            name="made-up",
            folder="",
            settings=RunConfig.model_validate({"budget": 1e8}),
            target=target,
            files=fingerprints(code),
            root=root,
            session=session,
        ),
        0.0,
    )
    store.heal(0.0)


def write_trial(store: Store, trial: int) -> None:
    """Journal and commit one made-up trial; every 40th is kept."""
    for event in _events(store, trial):
        store.append(event, float(trial))


def _events(store: Store, trial: int) -> Iterator[Proposed | Measured | Closed]:
    parent = store.state.best
    before = store.code_of(parent)
    code = code_of(trial)
    constants: dict[str, Value] = {f"LR_{i}": round(0.01 * (1 + (trial * (i + 1)) % 97), 4) for i in range(_KNOBS)}
    yield Proposed(
        trial=trial,
        parent=parent,
        proposal=Proposal(source="cma" if trial else "baseline", title="made up", constants=constants),
        diff=diff(before, code),
        code_sha256=digest(code),
        propose_seconds=0.0,
    )
    loss = 2.0 - 1e-4 * trial
    yield Measured(
        trial=trial,
        measurement=Measurement(
            seed=trial,
            outcome=Outcome.OK,
            loss=loss,
            seconds={Phase.TRAIN: 30.0},
            total_seconds=30.0,
            curve=tuple(CurvePoint(seconds=float(i), step=i, loss=2.0) for i in range(64)),
            code_sha256=digest(code),
            jail="none",
        ),
    )
    keep = trial % _KEEP_EVERY == 0
    yield Closed(
        trial=trial,
        verdict=Verdict(decision=Decision.KEEP if keep else Decision.DISCARD, reason="made up", gain=1e-4),
    )

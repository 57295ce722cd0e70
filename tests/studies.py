"""A study on a target of three lines, with an executor that trains nothing: for tests of the loop and the history."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.assemble import MakeExecutor, new_run, resumed_run
from agent.budget import Clock
from agent.code import digest
from agent.config import RunConfig
from agent.executors.base import Done
from agent.history.events import Event
from agent.nouns import Measurement
from agent.session import Changes
from agent.state import State
from agent.study import Study
from agent.workshop import Follow, Job, Workshop
from sandbox.spec import Outcome, Phase

SCRIPT = "LR = 0.1\nDEPTH = 4\nprint('val_loss:', 1.0)\n"
TARGET = """
name = "toy"
edit = ["train.py"]
run = ["python", "train.py"]
[metric]
name = "val_loss"
pattern = '^val_loss: (\\S+)'
[limits]
train_seconds = 1
memory = "1GiB"
[space]
LR = { low = 0.001, high = 1.0, log = true }
DEPTH = { low = 1, high = 12 }
"""


class Silent:
    """A voice that says nothing."""

    def say(self, line: str) -> None:
        pass

    def tell(self, state: State, event: Event) -> None:
        pass


class Pretend:
    """An executor that measures a function of the code and the seed at once; a depth of 7 runs out of memory."""

    def __init__(self, shop: Workshop, cancel: threading.Event) -> None:
        self.jobs: list[Job] = []

    @property
    def has_room(self) -> bool:
        return not self.jobs

    @property
    def busy(self) -> bool:
        return bool(self.jobs)

    def submit(self, job: Job, deadline: float) -> None:
        self.jobs.append(job)

    def next_measurement(self, timeout: float) -> Done | None:
        return Done(self.jobs[0], measured(self.jobs.pop(0)))

    def running(self) -> tuple[Follow, ...]:
        return ()

    def close(self) -> None:
        pass


def measured(job: Job) -> Measurement:
    values: dict[str, float] = {}
    exec("\n".join(job.code["train.py"].decode().splitlines()[:2]), values)
    failed = values["DEPTH"] == 7
    loss = (values["LR"] - 0.02) ** 2 + 0.01 * abs(values["DEPTH"] - 9) + 1e-4 * (job.seed % 7)
    return Measurement(
        seed=job.seed,
        outcome=Outcome.OOM_HOST if failed else Outcome.OK,
        reason="out of memory" if failed else "",
        loss=None if failed else loss,
        seconds={Phase.TRAIN: 1.0},
        total_seconds=1.0,
        code_sha256=digest(job.code),
        jail="none",
    )


def toy_target(folder: Path, script: str = SCRIPT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(script)
    (folder / "target.toml").write_text(TARGET)
    return folder


@contextmanager
def study_in(
    folder: Path, script: str = SCRIPT, executor: MakeExecutor = Pretend, **settings: object
) -> Iterator[Study]:
    """The study of the run in `folder / "run"`: a new one, or the one that is there, resumed."""
    run = folder / "run"
    if (run / "journal.jsonl").exists() and (run / "journal.jsonl").stat().st_size:
        with resumed_run(run, Changes(), Silent(), executor) as study:
            yield study
        return
    values = {"budget": "1h", "proposer": "random", "trials": 6, "sandbox": "none"} | settings
    config = RunConfig.model_validate(values)
    with new_run(config, toy_target(folder / "target", script), run, Clock(), Silent(), executor) as study:
        yield study

"""Who runs a run, where and with what: the facts about a session that are journalled at its start."""

import os
import platform
import re
import socket
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from agent.calls import ModelFacts
from agent.config import RunConfig, WhatInOutage
from agent.errors import UsageError
from agent.history.events import Session
from agent.models.config import ModelConfig
from agent.shown import kept
from agent.target import Target
from agent.units import show_size
from sandbox.jail import Picked
from sandbox.spec import Promise


def session_of(config: RunConfig, target: Target, picked: Picked, model: ModelFacts | None = None) -> Session:
    """The session of this process."""
    goal = config.target_loss
    return Session(
        budget_seconds=config.budget,
        max_trials=config.trials,
        target_loss=None if goal is None else target.metric.sign * goal,
        jail=picked.jail.name,
        why=picked.why,
        promises=tuple(sorted(kept(picked.jail, target))),
        pid=os.getpid(),
        host=socket.gethostname(),
        hardware=hardware(),
        software=software(),
        model=model,
        backend=config.model,
        on_model_outage=config.on_model_outage,
    )


@dataclass(frozen=True)
class Changes:
    """What a resume may change; None leaves it as it was.

    Attributes:
        budget: new total budget, seconds.
        trials: new number of trials to stop after.
        goal: new metric to stop at.
        sandbox: another jail.
        require: other promises that it has to keep.
        model: another language model.
        on_model_outage: what to do when it does not answer.
    """

    budget: float | None = None
    trials: int | None = None
    goal: float | None = None
    sandbox: str | None = None
    require: tuple[Promise, ...] | None = None
    model: ModelConfig | None = None
    on_model_outage: WhatInOutage | None = None

    def settings(self, config: RunConfig, before: Session) -> RunConfig:
        """The run's settings with what this resume, or an earlier one, changed of its language model."""
        if self.model is not None and before.backend is None:
            raise UsageError(
                f"the run searches by {config.proposer}, without a model: start a new run to search with one"
            )
        if self.on_model_outage is not None and before.backend is None:
            raise UsageError(f"the run searches by {config.proposer}, without a model: leave out --on-model-outage")
        changed: dict[str, object] = {
            "require": config.require if self.require is None else self.require,
            "model": self.model or before.backend,
            "on_model_outage": self.on_model_outage or before.on_model_outage,
        }
        return config.model_copy(update=changed)


def session_after(before: Session, now: Session, changes: Changes, sign: int) -> Session:
    """The session of a resume: on this machine, with the goals of the one before as changed; loss = sign * metric.

    Raises:
        UsageError: this machine keeps fewer promises than the run began with, and no jail was asked for by name.
    """
    lost = sorted(set(before.promises) - set(now.promises))
    if lost and changes.sandbox is None:
        raise UsageError(
            f"the run was jailed by {before.jail}; here {now.jail} would not keep {', '.join(lost)} ({now.why}): "
            f"mend that, or say --sandbox {now.jail}"
        )
    goals = {
        "budget_seconds": changes.budget or before.budget_seconds,
        "max_trials": changes.trials or before.max_trials,
        "target_loss": before.target_loss if changes.goal is None else sign * changes.goal,
    }
    return now.model_copy(update=goals)


def software() -> str:
    """Versions that a result may depend on."""
    names = {"agent": "autoresearch-agent", "torch": "torch"}
    found = [f"{name} {version(package)}" for name, package in names.items() if _installed(package)]
    return ", ".join([*found, f"python {platform.python_version()}"])


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def host_memory() -> int:
    """Bytes of memory of this machine."""
    return int(psutil.virtual_memory().total)


def hardware() -> str:
    """One line about this machine: processors, memory, GPUs."""
    gpus = [
        match[1].strip()
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        if (match := re.search(r"Model:(.*)", path.read_text()))
    ]
    cores = len(os.sched_getaffinity(0))
    return ", ".join([f"{cores} x {platform.machine()}", show_size(host_memory()), *(gpus or ["no GPU"])])

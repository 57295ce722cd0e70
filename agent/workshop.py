"""What all trials of a run share, and how one program of a trial is started, followed and ended."""

import hashlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.code import Code
from agent.config import program_environment
from agent.curve import Curve
from agent.target import Target
from sandbox.jail import Jail
from sandbox.spec import Evidence, Limits, Mount, Phase, Promise, Spec, Stopped, Watch
from sandbox.supervise import run


@dataclass(frozen=True)
class Data:
    """What the target's `prepare` made.

    Attributes:
        train, questions, answers: folders for the training, for the answering program, and for the judge.
        sha256: digest of the data.
        masks: (path, what to show in its place): files of this machine that hold validation text, and would be seen.
    """

    train: Path
    questions: Path
    answers: Path
    sha256: str
    masks: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True)
class Job:
    """One training to do: repeat number `repeat` of trial `trial`, with `code`.

    `startup_seconds` is how long its start-up may take; None leaves that to the target.
    """

    trial: int
    repeat: int
    code: Code
    seed: int
    startup_seconds: float | None = None


@dataclass(frozen=True)
class Workshop:
    """What all trials of a run have in common.

    Attributes:
        target: the target.
        jail: the jail for every program of a trial.
        work: (trial, repeat) -> work folder.
        logs: trial -> folder of its logs.
        data: prepared data; None for a target without.
        mounts: what every training may read beside its code.
        gpu: whether GPUs are shown.
    """

    target: Target
    jail: Jail
    work: Callable[[int, int], Path]
    logs: Callable[[int], Path]
    data: Data | None = None
    mounts: tuple[Mount, ...] = ()
    gpu: bool = False

    def protecting(self, mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
        """The mounts that protect files, if the jail can show files read-only; else the plain copies have to do."""
        return mounts if Promise.FILES in self.jail.promises() else ()

    def data_mount(self, part: str) -> tuple[Mount, ...]:
        """One folder of the data: `train` (shown as `data`), `questions` or `answers`; nothing without data."""
        if self.data is None:
            return ()
        folders = {"train": self.data.train, "questions": self.data.questions, "answers": self.data.answers}
        return (Mount(folders[part], "data" if part == "train" else part),)

    def masks(self) -> tuple[Mount, ...]:
        """What hides validation text that the jail would show otherwise."""
        masks = self.data.masks if self.data else ()
        return self.protecting(tuple(Mount(instead, path) for path, instead in masks))

    def limits(self) -> Limits:
        """The target's limits, as the sandbox takes them."""
        limits = self.target.limits
        return Limits(
            memory_bytes=limits.memory,
            gpu_bytes=limits.vram,
            processes=limits.processes,
            disk_bytes=limits.disk,
            free_disk_bytes=limits.free_disk,
            stall_seconds=limits.stall_seconds,
        )

    def spec(self, argv: tuple[str, ...], work: Path, phases: tuple[tuple[Phase, float], ...]) -> Spec:
        """A spec with what never changes filled in."""
        return Spec(argv=argv, work=work, env=program_environment(), phases=phases, limits=self.limits(), gpu=self.gpu)


@dataclass
class Follow:
    """How a running job is followed and ended: written by its thread, read by the views.

    Attributes:
        job: what runs.
        curve: what the script prints of its training.
        cancel: set to end the job now.
        deadline: `time.monotonic()` at which it is ended.
        phase, phase_seconds, memory_bytes: where it is.
    """

    job: Job
    curve: Curve
    cancel: threading.Event
    deadline: float | None = None
    began: float = field(default_factory=time.monotonic)
    phase: Phase = Phase.STARTUP
    phase_seconds: float = 0.0
    memory_bytes: int = 0

    def sample(self, phase: Phase, seconds: float, memory: int) -> None:
        """Take note of where the program is."""
        self.phase, self.phase_seconds, self.memory_bytes = phase, seconds, memory


class Cut(Exception):
    """The job was ended by us (end of the budget, or the user): nothing was measured."""


def launch(spec: Spec, shop: Workshop, follow: Follow, log: str, on_line: Callable[[str], None]) -> Evidence:
    """Run one program of a job in the run's jail.

    Raises:
        Cut: it was ended by `follow.cancel` or at `follow.deadline`.
        SandboxError: the sandbox failed.
    """
    watch = Watch(
        log=shop.logs(follow.job.trial) / f"{log}-{follow.job.repeat}.log",
        on_line=on_line,
        on_sample=follow.sample,
        cancel=follow.cancel,
        deadline=follow.deadline,
    )
    evidence = run(spec, shop.jail, watch)
    if evidence.stopped is Stopped.CANCELLED:
        raise Cut
    return evidence


def seed_of(run_seed: int, trial: int, repeat: int) -> int:
    """The seed handed to one training: a function of the run's seed, the trial and the repeat."""
    return int.from_bytes(hashlib.sha256(f"{run_seed}/{trial}/{repeat}".encode()).digest()[:4], "big") >> 1


def compiled_progress(target: Target) -> re.Pattern[str] | None:
    """The compiled progress pattern of a target that has one."""
    return re.compile(target.progress.pattern) if target.progress else None

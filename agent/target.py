"""The target: what may be edited, how it runs, what is measured. Read from the target.toml in the user's folder."""

import re
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from agent.config import apply_overrides, checked
from agent.errors import UsageError
from agent.knobs import Range
from agent.noun import Noun
from agent.units import Duration, Size


class Metric(Noun):
    """What is measured.

    Attributes:
        name: as the user calls it, `val_bpb`.
        goal: minimize or maximize.
        judge: trusted program of the target's folder that scores what `answer` wrote; never shown to the script.
        answer: program that runs the edited code's model on the questions, in a jail of its own.
        pattern: instead of a judge: a regular expression with one group for the number in the script's own output.
            The number is then the script's word, and marked as self-reported everywhere.
    """

    name: str = Field(min_length=1)
    goal: Literal["minimize", "maximize"] = "minimize"
    judge: str | None = None
    answer: str | None = None
    pattern: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Metric":
        if (self.judge is None) == (self.pattern is None):
            raise ValueError("give either judge = \"judge.py\" or pattern = '^val_loss: (\\S+)', and not both")
        if self.judge is not None and self.answer is None:
            raise ValueError('a judge needs answer = "answer.py", the program that asks the trained model')
        if self.pattern is not None and _compiled(self.pattern).groups != 1:
            raise ValueError("pattern must have exactly one group, around the number")
        return self

    @property
    def self_reported(self) -> bool:
        """Whether the number is the script's own word."""
        return self.judge is None

    def shown(self, loss: float) -> float:
        """The metric in the user's terms."""
        return self.sign * loss

    @property
    def sign(self) -> int:
        """loss = sign * metric: a metric to maximise is negated, so that lower is always better inside."""
        return 1 if self.goal == "minimize" else -1


class Progress(Noun):
    """How to read the training curve: a pattern with the named groups `step` and `loss`.

    The first line that matches begins the training phase. Whatever else it reads is for looking at; nothing is decided
    by it.

    Attributes:
        pattern: of a line of progress.
        smoke: of the line that begins the smoke step, if the script has one: full-size steps before its time counts.
    """

    pattern: str
    smoke: str | None = None

    @field_validator("smoke")
    @classmethod
    def _is_pattern(cls, smoke: str | None) -> str | None:
        if smoke is not None:
            _compiled(smoke)
        return smoke

    @field_validator("pattern")
    @classmethod
    def _named_groups(cls, pattern: str) -> str:
        if not {"step", "loss"} <= set(_compiled(pattern).groupindex):
            raise ValueError("progress pattern needs the named groups (?P<step>...) and (?P<loss>...)")
        return pattern


class TargetLimits(Noun):
    """Limits of one trial.

    Attributes:
        train_seconds, startup_seconds, judge_seconds: wall-clock of each phase, on our clock.
        memory: host memory of the script and everything it starts.
        vram: memory on each GPU; None for all there is.
        processes: how many processes at a time.
        disk: bytes of each file, and of all it leaves in its folder together.
        free_disk: bytes that must stay free on the disk: below that the run stops, and no trial is to blame.
        stall_seconds: how long it may do nothing at all: no output, no processor time, no GPU; None for no such limit.
        network: whether it may use the network.
    """

    train_seconds: Duration = 300.0
    startup_seconds: Duration = 120.0
    judge_seconds: Duration = 120.0
    memory: Size = 8 * 2**30
    vram: Size | None = None
    processes: int = Field(256, ge=1)
    disk: Size = 4 * 2**30
    free_disk: Size = 2**28
    stall_seconds: Duration | None = 120.0
    network: bool = False


class Target(Noun):
    """A target.toml, checked.

    Attributes:
        edit: files that may change, relative to the target's folder; everything else is read-only.
        run: the command; `python` means the interpreter that runs the agent.
        brief: research brief for the LLM.
        prepare: trusted command, run once a run outside the jail; its last line of output is a JSON object with the
            folders `train`, `questions` and `answers` and the `sha256` of the data.
        mounts: further folders the script may read, such as `~/.cache/mydata`.
        hide: files that neither the training nor the answering program sees, such as what prepares the data.
    """

    name: str = Field(min_length=1)
    edit: tuple[str, ...] = Field(min_length=1)
    run: tuple[str, ...] = Field(min_length=1)
    brief: str | None = None
    prepare: tuple[str, ...] | None = None
    mounts: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    metric: Metric
    progress: Progress | None = None
    limits: TargetLimits = TargetLimits.model_validate({})
    space: dict[str, Range] = {}

    @field_validator("edit", "hide")
    @classmethod
    def _inside(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if Path(path).is_absolute() or ".." in Path(path).parts:
                raise ValueError(f"{path!r} must lie inside the target's folder")
        return tuple(Path(path).as_posix() for path in paths)

    def hidden(self) -> set[str]:
        """Files that the training never sees: the judge's, and what is to be hidden."""
        return {*self.hide, *filter(None, (self.metric.judge, self.metric.answer))}


def load_target(folder: Path, overrides: tuple[str, ...] = ()) -> Target:
    """Read and check `folder/target.toml`, with `--set` overrides applied.

    Raises:
        UsageError: no folder, no target.toml, bad TOML, an unknown or wrong key, or an editable file that is missing.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: name the folder of your training script")
    path = folder / "target.toml"
    if not path.is_file():
        raise UsageError(f"{folder} has no target.toml: `agent init {folder}` writes one by looking at your script")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    target = checked(Target, apply_overrides(table, overrides), str(path))
    needed = (*target.edit, *filter(None, (target.brief, target.metric.judge, target.metric.answer)))
    for name in needed:
        if not (folder / name).is_file():
            raise UsageError(f"{path} names {name}, but there is no such file in {folder}")
    return target


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error

"""What `agent init DIR` reads off a folder of scripts: what to edit, what is measured, how long it trains.

Everything here is a guess for a person to confirm, made from the syntax trees alone: nothing runs, nothing
outside of the given texts is looked at.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agent.edits.constants import find, parse
from agent.home_folders import home_folders
from agent.printed import Line, Often, printed_lines

_MAXIMIZE = frozenset(
    ("acc", "accuracy", "f1", "bleu", "r2", "auc", "auroc", "map", "iou", "miou", "dice", "psnr", "ssim")
    + ("rouge", "reward", "return", "score", "precision", "recall", "top1", "pearson", "spearman")
)
_MINIMIZE = frozenset(
    ("loss", "bpb", "bpc", "bpd", "perplexity", "ppl", "error", "err", "rmse", "mse", "mae", "wer", "cer")
    + ("nll", "ce", "entropy", "fid")
)
_HELD_OUT = frozenset(("val", "valid", "validation", "test", "eval", "dev", "heldout", "holdout"))
_TRAIN = frozenset(("train", "training", "tr"))
_FILLER = frozenset(("the", "is", "was", "of", "on", "final", "best", "average", "avg", "mean", "overall"))
_LOSS = frozenset(("loss", "nll", "bpb", "ppl", "perplexity"))
_STEP = ("step", "steps", "iter", "iters", "iteration", "it", "update", "batch", "epoch")  # the best first
_TIME = re.compile(
    r"(train(ing)?_|budget_|wall_)*(time|seconds|secs|minutes|mins|hours)(_budget|_limit)?(_seconds|_secs|_s)?"
)
_TIME_UNITS = {"minutes": 60.0, "mins": 60.0, "hours": 3600.0}


@dataclass(frozen=True)
class MetricLine:
    """A printed metric.

    Attributes:
        name: as the script calls it, `val_bpb`.
        goal: which way is better, by its name.
        pattern: regular expression with one group around the number, for `re.search` on one line.
        file: the script that prints it.
        note: what makes the guess a weak one; empty for nothing.
    """

    name: str
    goal: Literal["minimize", "maximize"]
    pattern: str
    file: str
    note: str = ""


@dataclass(frozen=True)
class Found:
    """What could be read off a folder. None or empty: not found.

    Attributes:
        edit: the file to edit.
        metric: how the metric is printed.
        progress: regular expression with the named groups `step` and `loss`.
        train_seconds: seconds that one training takes by its own constants.
        home_folders: folders below the user's home that the scripts name, as `~/.cache/name`.
        autoresearch: the layout of karpathy/autoresearch (train.py, prepare.py, program.md).
        unreadable: .py files that are no valid Python and were not looked at.
    """

    edit: str | None
    metric: MetricLine | None
    progress: str | None
    train_seconds: float | None
    home_folders: tuple[str, ...]
    autoresearch: bool
    unreadable: tuple[str, ...]


def inspect(files: Mapping[str, str]) -> Found:
    """Read a folder's scripts.

    Args:
        files: path below the folder -> text; other than .py files only their names count.
    """
    trees: dict[str, ast.Module] = {}
    unreadable = []
    for path in sorted(p for p in files if p.endswith(".py")):
        try:
            trees[path] = parse(files[path])
        except SyntaxError:
            unreadable.append(path)
    edit = file_to_edit(trees)
    order = sorted(trees, key=lambda path: path != edit)  # the edited file first
    lines = {path: printed_lines(trees[path]) for path in order}
    return Found(
        edit=edit,
        metric=next((m for m in (metric_line(path, lines[path]) for path in order) if m), None),
        progress=next((p for p in (progress_pattern(lines[path]) for path in order) if p), None),
        train_seconds=next((s for s in (_train_seconds(files[path]) for path in order) if s), None),
        home_folders=home_folders(trees.values()),
        autoresearch={"train.py", "prepare.py", "program.md"} <= set(files),
        unreadable=tuple(unreadable),
    )


def file_to_edit(trees: Mapping[str, ast.Module]) -> str | None:
    """train.py, else main.py, else the only file that trains, else the only one that can be run; or None."""
    for name in ("train.py", "main.py"):
        if name in trees:
            return name
    for looks_right in (_trains, _runs, lambda tree: True):
        candidates = [path for path, tree in trees.items() if looks_right(tree)]
        if len(candidates) == 1:
            return candidates[0]
    return None


def metric_line(path: str, lines: tuple[Line, ...]) -> MetricLine | None:
    """The metric among `lines`: held-out before training, printed once before often, later before earlier."""
    best: tuple[tuple[int, int, int], MetricLine] | None = None
    for position, line in enumerate(lines):
        for hole, label in enumerate(line.labels):
            goal = _goal(label)
            if goal is None:
                continue
            held_out = _held_out_at(line, hole)
            rank = (held_out, -line.often, position)
            found = MetricLine(
                name="_".join([w for w in label.split("_") if w not in _FILLER][-3:]),
                goal=goal,
                pattern=line.pattern({hole: f"({line.number(hole)})"}),
                file=path,
                note=_doubt(held_out, line.often),
            )
            if best is None or rank >= best[0]:
                best = rank, found
    return best[1] if best else None


def progress_pattern(lines: tuple[Line, ...]) -> str | None:
    """For the most frequent line with both a step and a loss; one without held-out losses before others."""
    best: tuple[tuple[int, int, int], str] | None = None
    for line in lines:
        labels = line.labels
        steps = [(_STEP.index(last), hole) for hole, last in enumerate(map(_last, labels)) if last in _STEP]
        losses = [(_held_out(label), hole) for hole, label in enumerate(labels) if _words(label) & _LOSS]
        if not steps or not losses or line.often is Often.ONCE:
            continue
        (step_rank, step), (_, loss) = min(steps), min(losses)
        pattern = line.pattern({step: r"(?P<step>\d+)", loss: f"(?P<loss>{line.number(loss)})"})
        rank = (-line.often, max(losses)[0], step_rank)
        if best is None or rank < best[0]:
            best = rank, pattern
    return best[1] if best else None


def _goal(label: str) -> Literal["minimize", "maximize"] | None:
    for word in reversed(label.split("_")):
        if word in _MAXIMIZE:
            return "maximize"
        if word in _MINIMIZE:
            return "minimize"
    return None


def _held_out(text: str) -> int:
    """2 for a held-out set, 1 for no word about it, 0 for training."""
    return 2 if _words(text) & _HELD_OUT else 0 if _words(text) & _TRAIN else 1


def _held_out_at(line: Line, hole: int) -> int:
    """The same for a number in a line: by its label, or where that says nothing, by all text before it."""
    by_label = _held_out(line.labels[hole])
    return by_label if by_label != 1 else _held_out(" ".join(line.text[: hole + 1]))


def _words(text: str) -> set[str]:
    return set(re.split(r"[\W_]+", text.lower()))


def _doubt(held_out: int, often: Often) -> str:
    doubts = [] if held_out == 2 else ["nothing says that it is measured on held-out data"]
    if often is not Often.ONCE:
        doubts.append("it is printed again and again: the last one counts")
    return "; ".join(doubts)


def _last(label: str) -> str:
    return label.rpartition("_")[2]


def _train_seconds(source: str) -> float | None:
    for constant in find(source):
        name, value = constant.name.lower().removeprefix("max_").strip("_"), constant.value
        if isinstance(value, int | float) and value > 0 and _TIME.fullmatch(name):
            return value * next((factor for unit, factor in _TIME_UNITS.items() if unit in name), 1.0)
    return None


def _trains(tree: ast.Module) -> bool:
    """Whether it trains: `.backward()` or `.fit()` is called."""
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(isinstance(called, ast.Attribute) and called.attr in ("backward", "fit") for called in calls)


def _runs(tree: ast.Module) -> bool:
    return any(isinstance(n, ast.Constant) and n.value == "__main__" for n in ast.walk(tree))

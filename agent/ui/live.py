"""The live view: a picture of the run that is drawn anew a few times a second.

It pulls: `picture` is a pure function from the state and what runs now to something that rich can draw.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agent.history.events import Event
from agent.models.base import Watch
from agent.nouns import Trial
from agent.state import State, seconds_by_use
from agent.study import Study
from agent.text import clean
from agent.ui.spark import spark
from agent.ui.words import aside, change, fate, metric_label, number, peak_memory, shown, train_seconds
from agent.units import show_duration, show_size
from agent.workshop import Follow

_COLOURS = {"keep": "green", "discard": "default", "open": "cyan"}
_LAST_ROWS = 30
_OTHER_LINES = 7  # of the picture: frame, budget, best, head of the table, and one to spare


class Live:
    """Draws on `console`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._study: Study | None = None
        self._live = RichLive(console=console, get_renderable=self._draw, refresh_per_second=4, transient=True)

    def say(self, line: str) -> None:
        """Print one line above the picture."""
        self._console.print(clean(line), markup=False, highlight=False)

    def tell(self, state: State, event: Event) -> None:
        """Print what should stay on the screen after the run."""
        if (line := aside(state, event)) is not None:
            self.say(line)

    @contextmanager
    def watching(self, study: Study) -> Iterator[None]:
        """Draw `study` while it runs; afterwards its trials stay on the screen as a table."""
        self._study = study
        with self._live:
            yield
        self._console.print(_trials(study.store.state, rows=_LAST_ROWS))

    def _draw(self) -> RenderableType:
        study = self._study
        if study is None:
            return ""
        size = self._console.size
        now = (study.clock.elapsed(), time.monotonic())
        return picture(study.store.state, study.executor.running(), now, (size.width, size.height), study.watch)


def on_terminal() -> Live:
    """A live view on the terminal."""
    return Live(Console())


def picture(
    state: State,
    running: tuple[Follow, ...],
    now: tuple[float, float],
    size: tuple[int, int],
    asking: Watch | None = None,
) -> RenderableType:
    """The whole picture.

    Args:
        state: the run.
        running: what runs now.
        now: budget seconds used, and the monotonic time.
        size: columns and lines of the terminal.
        asking: the call of a language model that goes on.
    """
    width, height = size
    rows = max(3, height - _OTHER_LINES - 2 * len(running))
    parts: list[RenderableType] = [_budget(state, now[0], width)]
    parts += [_running(follow, state, now[1], width) for follow in running]
    if asking is not None and asking.doing:
        seconds, tokens = show_duration(max(0.0, now[1] - asking.began)), f", {asking.tokens} tokens"
        head = Text.assemble(("asking ", "bold"), f"{asking.doing}, {seconds}{tokens if asking.tokens else ''}")
        parts.append(head)
    parts += [_best(state, width), _trials(state, rows)]
    name = state.started.name if state.started else "run"
    return Panel(Group(*parts), title=Text(name, style="bold"), title_align="left", width=width)


def _budget(state: State, elapsed: float, width: int) -> RenderableType:
    total = state.session.budget_seconds if state.session else 1.0
    used = seconds_by_use(state)
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        Text("budget", style="bold"),
        ProgressBar(total=total, completed=min(elapsed, total), width=max(10, width // 3)),
        Text(f"{show_duration(elapsed)} of {show_duration(total)}"),
    )
    split = (
        f"train {show_duration(used.train)}, judge {show_duration(used.judge)}, start-up {show_duration(used.startup)}"
        + (f", ask {show_duration(used.propose)}" if used.propose >= 1 else "")
    )
    return Group(grid, Text(f"       {split}", style="dim", overflow="ellipsis", no_wrap=True))


def _running(follow: Follow, state: State, now: float, width: int) -> RenderableType:
    job, points = follow.job, follow.curve.points
    title = state.trials[job.trial].proposal.title if job.trial < len(state.trials) else ""
    again = f" (training {job.repeat + 1})" if job.repeat or job.trial == 0 else ""
    head = Text.assemble(("now    ", "bold"), f"trial {job.trial}{again}: {title}", overflow="ellipsis", no_wrap=True)
    where = f"       {follow.phase} {show_duration(follow.phase_seconds)}, {show_size(follow.memory_bytes)}"
    curve = f"  loss {number(points[-1].loss)} " if points else ""
    line = Text(where + curve, style="dim", no_wrap=True)
    line.append(spark([p.loss for p in points], max(8, width - len(where + curve) - 6)), style="cyan")
    return Group(head, line)


def _best(state: State, width: int) -> RenderableType:
    champion, baseline = state.champion, state.baseline
    if champion is None or baseline is None:
        return Text.assemble(("best   ", "bold"), "the baseline is being measured")
    noise = "" if state.noise is None else f" ± {state.noise:.4f}"
    text = f"{metric_label(state)} {shown(state, champion.loss)} (trial {champion.id}), "
    text += f"baseline {shown(state, baseline.loss)}{noise}  "
    line = Text.assemble(("best   ", "bold"), (text, "green"), no_wrap=True)
    line.append(spark(staircase(state), max(8, width - len(text) - 13)), style="green")
    return line


def staircase(state: State) -> list[float]:
    """The champion's loss after each closed trial."""
    steps: list[float] = []
    for trial in state.closed_trials:
        if trial.kept and trial.loss is not None:
            steps.append(trial.loss)
        elif steps:
            steps.append(steps[-1])
    return steps


def _trials(state: State, rows: int) -> RenderableType:
    table = Table(box=None, padding=(0, 1), expand=True)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in (state.metric.name, "change", "train", "memory"):
        table.add_column(Text(name), justify="right", no_wrap=True)
    table.add_column("what", no_wrap=True, overflow="ellipsis", ratio=1)
    for trial in state.closed_trials[-rows:]:
        table.add_row(*_cells(state, trial), style=_style(trial))
    return table


def _cells(state: State, trial: Trial) -> list[Text]:
    seconds = train_seconds(trial)
    return [
        Text(cell)
        for cell in (
            str(trial.id),
            fate(trial),
            shown(state, trial.loss),
            change(state, trial),
            "-" if seconds is None else f"{seconds:.0f}s",
            peak_memory(trial),
            trial.proposal.title,
        )
    ]


def _style(trial: Trial) -> str:
    return _COLOURS.get(fate(trial), "red")

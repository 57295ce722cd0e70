"""What was tried, in sections: what was kept, a line for each old attempt, the latest attempts with their diffs.

Everything is told oldest first and in windows that move in steps, so that from one prompt to the next the text mostly
grows at its end: servers keep what they computed for the unchanged beginning. The windows bound the text, however
long the run; what falls out of them is counted in the text.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agent.edits.errors import Wrong
from agent.history.events import Voided
from agent.nouns import Trial
from agent.prompts.ask import Ask
from agent.prompts.clean import fenced, line, quoted
from agent.prompts.figures import Figures, fate, figures_of
from agent.prompts.fit import GivesWay, Section, Version
from agent.prompts.texts import part
from agent.units import counted
from sandbox.spec import Outcome

_KEPT, _LEDGER, _DIFFS, _REFUSED = 40, 48, 4, 8
_CLOSEST = 8  # old attempts that came nearest to being kept stay in the ledger
_DIFF_LINES, _DIFF_CHARS = 40, 2400


@dataclass(frozen=True)
class Past:
    """The closed trials of a run, divided as the prompt tells them.

    Attributes:
        figures: how its numbers are written.
        closed: all of them, oldest first.
        kept: the kept trials, the baseline first.
        lost: the others, oldest first; those that are told with their diffs begin at `recent`.
    """

    figures: Figures
    closed: tuple[Trial, ...]
    kept: tuple[Trial, ...]
    lost: tuple[Trial, ...]
    recent: int


def past_of(ask: Ask) -> Past:
    """The past of the run that is asked about."""
    closed = ask.state.closed_trials
    lost = tuple(t for t in closed if not t.kept)
    return Past(
        figures=figures_of(ask.state, ask.target.metric),
        closed=closed,
        kept=tuple(t for t in closed if t.kept),
        lost=lost,
        recent=window(len(lost), _DIFFS),
    )


def window(count: int, size: int) -> int:
    """Where to begin so that between `size` and twice as many of `count` are shown; moves in steps of `size`."""
    return max(0, (count - size) // size * size)


def kept(past: Past) -> Section:
    """The kept changes: value, gain with its interval, title."""
    count = len(past.kept)
    steps = ((12, GivesWay.KEPT_SHORT), (3, GivesWay.KEPT))
    return Section(
        "user",
        _kept_from(past, window(count, _KEPT)),
        lambda: [_kept_from(past, count - few, when) for few, when in steps if count > few],
    )


def _kept_from(past: Past, begin: int, when: GivesWay | None = None) -> Version:
    lines = [_kept_line(past, at) for at in range(begin, len(past.kept))]
    text = part("history", "kept", lines="\n".join(lines)) if lines else ""
    return Version(text, counted(begin, "earlier kept change") if begin else "", when)


def _kept_line(past: Past, at: int) -> str:
    trial, figures = past.kept[at], past.figures
    gain = trial.verdict.gain if trial.verdict else None
    better = ""
    if at and gain is not None:
        better = f", {figures.gain(gain, (len(trial.losses), len(past.kept[at - 1].losses)))}"
    return f"- trial {trial.id}: {figures.mean(trial)}{better}: {line(trial.proposal.title)}"


def ledger(past: Past) -> Section:
    """A line for each attempt that is not told with its diff."""
    steps = (
        (24, _CLOSEST, GivesWay.LEDGER_HALF),
        (12, 4, GivesWay.LEDGER_QUARTER),
        (4, 0, GivesWay.LEDGER_FEW),
        (0, 0, GivesWay.LEDGER),
    )
    begin = window(past.recent, _LEDGER)
    shorter = [(past.recent - few, close, when) for few, close, when in steps if past.recent - begin > few]
    return Section("user", _ledger_from(past, begin, _CLOSEST), lambda: [_ledger_from(past, *step) for step in shorter])


def _ledger_from(past: Past, begin: int, closest: int, when: GivesWay | None = None) -> Version:
    """The ledger from the `begin`-th lost attempt on, with the `closest` best of those before it."""
    older = past.lost[:begin]
    measured = [(t.verdict.gain, t.id) for t in older if t.verdict and t.verdict.gain is not None]
    close = {number for _, number in sorted(measured, reverse=True)[:closest]}
    told = [*(t for t in older if t.id in close), *past.lost[begin : past.recent]]
    text = part("history", "ledger", lines="\n".join(ledger_line(past.figures, t) for t in told)) if told else ""
    return Version(text, _counted([t for t in older if t.id not in close]), when)


def _counted(trials: list[Trial]) -> str:
    """`41 older attempts (39 not better, 2 crash)`; empty for none."""
    fates = Counter("not better" if t.outcome is Outcome.OK else str(t.outcome).replace("_", " ") for t in trials)
    by_fate = ", ".join(f"{count} {name}" for name, count in fates.most_common())
    return f"{counted(len(trials), 'older attempt')} ({by_fate})" if trials else ""


def ledger_line(figures: Figures, trial: Trial) -> str:
    """`- trial 17, on trial 12: 0.9950, worse by 0.0007: wider MLP`."""
    return f"- {_headline(figures, trial)}: {line(trial.proposal.title, 100)}"


def _headline(figures: Figures, trial: Trial) -> str:
    on = "" if trial.parent is None else f", on trial {trial.parent}"
    repairs = "" if trial.proposal.repairs is None else f", repairs trial {trial.proposal.repairs}"
    return f"trial {trial.id}{on}{repairs}: {fate(figures, trial)}"


def diffs(past: Past) -> Section:
    """The latest attempts that were not kept: diff, outcome, numbers, the end of a crash's output."""
    count = len(past.lost) - past.recent
    steps = (
        (4, GivesWay.DIFFS_SHORT),
        (2, GivesWay.DIFFS_TWO),
        (1, GivesWay.DIFFS_ONE),
        (0, GivesWay.DIFFS),
    )
    shorter = [(few, when) for few, when in steps if count > few]
    return Section("user", _diffs_of(past, count), lambda: [_diffs_of(past, few, when) for few, when in shorter])


def _diffs_of(past: Past, few: int, when: GivesWay | None = None) -> Version:
    """The latest `few` attempts with their diffs, and a line for each one before them."""
    begin = len(past.lost) - few
    lines = [ledger_line(past.figures, t) for t in past.lost[past.recent : begin]]
    attempts = [*(["\n".join(lines)] if lines else []), *(_detailed(past.figures, t) for t in past.lost[begin:])]
    text = part("history", "diffs", attempts="\n\n".join(attempts)) if attempts else ""
    return Version(text, f"{counted(len(lines), 'diff')} of these" if lines else "", when)


def _detailed(figures: Figures, trial: Trial) -> str:
    parts = [f"### {_headline(figures, trial)}", f"Idea: {line(trial.proposal.title)}"]
    if trial.proposal.why:
        parts[-1] += f"\nWhy: {line(trial.proposal.why, 300)}"
    if trial.diff:
        parts.append(fenced(quoted(trial.diff, _DIFF_LINES, _DIFF_CHARS), "diff"))
    tail = crash_tail(trial, 8, 800)
    return "\n".join([*parts, *([tail] if tail else [])])


def crash_tail(trial: Trial, most_lines: int, most_chars: int) -> str:
    """The end of what a crashed trial printed, fenced; empty for other outcomes, and for none."""
    died = next((m for m in trial.measurements if m.outcome is Outcome.CRASH and m.tail), None)
    if died is None:
        return ""
    return part("history", "tail", log=fenced(quoted(died.tail, most_lines, most_chars, keep="tail"), "text"))


def refused(ask: Ask) -> Section:
    """Answers that could not be used: a line for each of the latest."""
    voids = [(before, void) for before, void in ask.state.voids if void.wrong in set(Wrong)]  # not what a server did
    count = len(voids)
    begin = window(count, _REFUSED)
    steps = ((3, GivesWay.REFUSED_SHORT), (0, GivesWay.REFUSED))
    return Section(
        "user",
        _refused_from(voids, begin),
        lambda: [_refused_from(voids, count - few, when) for few, when in steps if count - begin > few],
    )


def _refused_from(voids: Sequence[tuple[int, Voided]], begin: int, when: GivesWay | None = None) -> Version:
    lines = []
    for before, void in voids[begin:]:
        title = f'"{line(void.title, 80)}": ' if void.title else ""
        lines.append(f"- after trial {before - 1}: {line(void.wrong, 20)}: {title}{line(void.reason, 200)}")
    text = part("history", "refused", lines="\n".join(lines)) if lines else ""
    return Version(text, counted(begin, "earlier refused proposal") if begin else "", when)

"""Where the run stands, in sections: the code, the noise, how it trains, what the owner said, what is left."""

import statistics
from collections.abc import Sequence

from agent.budget import expected_seconds
from agent.history.events import Said, Word
from agent.nouns import CurvePoint, Trial
from agent.prompts.ask import Ask
from agent.prompts.clean import fenced, line, said, source
from agent.prompts.figures import Figures
from agent.prompts.fit import GivesWay, Section, Version, fixed
from agent.prompts.texts import part
from agent.prompts.touched import often_touched, touched
from agent.units import counted, show_duration, show_size
from sandbox.spec import Phase

_NOTE_TRIALS = 10  # for how many trials a note is told
_CURVE_POINTS = 7
_WIDEN_OVER = 24  # attempts that are looked at for what was changed often


def code(ask: Ask, figures: Figures, crashed: Trial | None = None, shown: bool = True) -> Section:
    """The editable files, whole and without line numbers; or that they are not `shown`."""
    if not shown:
        return Section("user", Version(part("situation", "code_left_out"), "the code itself"))
    files = [f"`{path}`:\n{fenced(source(text), _language(path))}" for path, text in ask.files.items()]
    return fixed("user", "\n\n".join([part("situation", "code", which=_which(ask, figures, crashed)), *files]))


def _language(path: str) -> str:
    return "python" if path.endswith(".py") else ""


def _which(ask: Ask, figures: Figures, crashed: Trial | None) -> str:
    metric, champion = ask.target.metric.name, ask.state.champion
    if crashed is not None:
        return part("situation", "crashed", trial=crashed.id)
    if champion is None:
        return ""
    best = {"trial": champion.id, "metric": metric, "value": figures.mean(champion)}
    if ask.parent is None or ask.parent == champion.id:
        return part("situation", "best", **best)
    start = ask.state.trials[ask.parent]
    told = {"trial": start.id, "metric": metric, "value": figures.mean(start)}
    return part("situation", "earlier", **told, best=champion.id, best_value=figures.mean(champion))


def noise(ask: Ask, figures: Figures) -> Section:
    """What differences mean nothing, and what a change has to gain."""
    metric, baseline = ask.target.metric.name, ask.state.baseline
    if baseline is None:
        return fixed("user", "")
    if figures.noise is None:
        told = [part("situation", "no_noise", metric=metric)]
    else:
        noise = figures.amount(figures.noise)
        told = [part("situation", "noise", metric=metric, noise=noise, times=len(baseline.losses))]
    margins = (t.verdict.margin for t in reversed(ask.state.trials) if t.verdict and t.verdict.margin is not None)
    margin = next(margins, None)
    if margin is not None:
        told.append(part("situation", "margin", margin=figures.amount(margin)))
    return fixed("user", "\n".join(told))


def curve(ask: Ask) -> Section:
    """The champion's training curve in a few points, its peak memory, and whether it still fell at the end."""
    champion = ask.state.champion
    measured = champion.measurements[-1] if champion and champion.measurements else None
    if measured is None or len(measured.curve) < 2:
        return fixed("user", "")
    points = measured.curve
    last = len(points) - 1
    few = [points[round(i * last / (_CURVE_POINTS - 1))] for i in range(_CURVE_POINTS)] if last > 5 else points
    told = part(
        "situation",
        "curve",
        points="seconds: loss",
        steps=points[-1].step,
        seconds=f"{measured.seconds.get(Phase.TRAIN, points[-1].seconds):.0f}",
        curve=", ".join(f"{p.seconds:.3g}: {p.loss:.4g}" for p in few),
        trend=_trend(points),
    )
    if measured.peak_memory_bytes and measured.memory_limit_bytes:
        peak, limit = show_size(measured.peak_memory_bytes), show_size(measured.memory_limit_bytes)
        told += f"\nIts peak host memory was {peak} of {limit}."
    return Section("user", Version(told), lambda: [Version("", "how the best version trains", GivesWay.CURVE)])


def _trend(points: Sequence[CurvePoint]) -> str:
    """Whether the last quarter lies below the one before it by more than they scatter; too few points say nothing."""
    quarter = len(points) // 4
    if quarter < 3:
        return ""
    before = [p.loss for p in points[-2 * quarter : -quarter]]
    end = [p.loss for p in points[-quarter:]]
    fall = statistics.mean(before) - statistics.mean(end)
    scatter = (statistics.variance(before) / len(before) + statistics.variance(end) / len(end)) ** 0.5
    if abs(fall) <= 2 * scatter:
        return "At the end it was flat, as far as the scatter shows."
    return f"At the end it was still {'falling' if fall > 0 else 'rising'}: by {abs(fall):.3g} over the last quarter."


def owner(ask: Ask) -> Section:
    """The owner's bans, which all stay, and recent notes with their age, of which the newest stays."""
    now = len(ask.state.trials)
    bans = [f"- {said(s.text)}" for _, s in ask.state.said if s.word is Word.BAN]
    notes = [_note(now - then, s) for then, s in ask.state.said if s.word is Word.NOTE and now - then < _NOTE_TRIALS]
    steps = ((8, GivesWay.NOTES_HALF), (3, GivesWay.NOTES_FEW), (1, GivesWay.NOTES))
    return Section(
        "user",
        _owner_of(bans, notes, len(notes)),
        lambda: [_owner_of(bans, notes, few, when) for few, when in steps if len(notes) > few],
    )


def _owner_of(bans: Sequence[str], notes: Sequence[str], few: int, when: GivesWay | None = None) -> Version:
    """All of `bans`, and the newest `few` of `notes`, which are sorted oldest first."""
    missing = len(notes) - few
    told = [part("situation", "owner")] if bans or notes else []
    told += [part("situation", "bans", bans="\n".join(bans))] if bans else []
    told += [part("situation", "notes", notes="\n".join(notes[missing:]))] if notes else []
    return Version("\n\n".join(told), counted(missing, "older note") if missing else "", when)


def _note(age: int, note: Said) -> str:
    when = "new" if age == 0 else f"{counted(age, 'trial')} ago"
    return f"- ({when}) {said(note.text)}"


def now(ask: Ask) -> Section:
    """What is running, what time is left, and for about how many more trainings."""
    state, session = ask.state, ask.state.session
    told = []
    running = [f"trial {t.id} ({line(t.proposal.title, 100)})" for t in state.open_trials]
    if running:
        told.append(f"In training now, result unknown: {', '.join(running)}.")
    if session is not None:
        left = max(0.0, session.budget_seconds - state.elapsed)
        latest = [t.propose_seconds for t in state.trials[-5:]] or [0.0]
        more = int(left / (expected_seconds(state, ask.target.limits) + statistics.mean(latest)))
        if session.max_trials is not None:
            more = min(more, max(0, session.max_trials + 1 - len(state.trials)))
        spent = f"{show_duration(left)} of {show_duration(session.budget_seconds)} are left"
        done = counted(len(state.closed_trials), "trial")
        told.append(f"Done: {done}. {spent}: enough for about {counted(more, 'more training')}.")
    return fixed("user", part("situation", "now", facts="\n".join(told)) if told else "")


def widen(ask: Ask, lost: Sequence[Trial], kinds: bool) -> Section:
    """Asks for another kind of change, by what was changed often and what was not; empty unless it is to widen.

    `kinds`: whether to name kinds of change to code.
    """
    if not ask.widen:
        return fixed("user", "")
    latest = lost[-_WIDEN_OVER:]
    told = [part("situation", f"widen_{min(ask.widen, 2)}", attempts=ask.tries)]
    often = often_touched(latest)
    changed = frozenset(name for t in latest for name in touched(t))
    untouched = [knob.name for knob in ask.space.knobs if knob.name not in changed]
    if often and (kinds or untouched):
        told.append(part("situation", "often", often=", ".join(f"{name} ({n} times)" for name, n in often)))
    if untouched:
        told.append(part("situation", "untouched", untouched=", ".join(untouched[:20])))
    if kinds:
        told.append(part("situation", "kinds"))
    return fixed("user", "\n".join(told))

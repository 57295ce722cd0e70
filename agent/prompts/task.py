"""The system message: role and goal, the target's contract, the brief. The same in every prompt of a session."""

from typing import Literal

from agent.prompts.ask import Ask
from agent.prompts.clean import fenced, line, said
from agent.prompts.fit import GivesWay, Section, Version, fixed
from agent.prompts.texts import part
from agent.units import show_duration, show_size

_BRIEF_CHARS = 24_000


def task(ask: Ask, kind: Literal["code", "constants"]) -> tuple[Section, ...]:
    """The sections of the system message, for edits of code or for values of constants."""
    metric = ask.target.metric
    lower = metric.goal == "minimize"
    role = part("task", kind, metric=metric.name, better="lower" if lower else "higher", best=_extreme(lower))
    contract = [_target(ask), *(_rules(ask) if kind == "code" else [])]
    return (
        fixed("system", role),
        fixed("system", "\n\n".join(contract)),
        _brief(ask.brief),
        fixed("system", part("task", "data")),
    )


def _extreme(lower: bool) -> str:
    return "lowest" if lower else "highest"


def _target(ask: Ask) -> str:
    target, session = ask.target, ask.state.session
    metric, limits = target.metric, target.limits
    judged = "read from what the script prints" if metric.self_reported else "measured by a judge outside the script"
    vram = f" and {show_size(limits.vram)} of GPU memory" if limits.vram else ""
    return part(
        "task",
        "target",
        name=line(target.name),
        files=", ".join(ask.files),
        metric=metric.name,
        direction="lower is better" if metric.goal == "minimize" else "higher is better",
        judged=judged,
        train=show_duration(limits.train_seconds),
        startup=show_duration(limits.startup_seconds),
        memory=show_size(limits.memory),
        vram=vram,
        machine=line(session.hardware) if session and session.hardware else "not known",
        network="there is one" if limits.network else "there is none",
    )


def _rules(ask: Ask) -> list[str]:
    rules = ask.rules
    told = []
    if rules.region is not None:
        told.append(part("task", "region", start=rules.region[0], end=rules.region[1]))
    if rules.frozen:
        told.append(part("task", "frozen", statements=fenced("\n".join(rules.frozen), "python")))
    if rules.modules:
        told.append(part("task", "modules", modules=", ".join(rules.modules)))
    return told


def _brief(brief: str) -> Section:
    whole = brief.strip()
    if not whole:
        return fixed("system", "")
    steps = ((len(whole) // 2, GivesWay.BRIEF_HALF), (min(600, len(whole) // 4), GivesWay.BRIEF_SHORT))
    full = _brief_of(whole, min(len(whole), _BRIEF_CHARS))
    return Section("system", full, lambda: [_brief_of(whole, most, when) for most, when in steps])


def _brief_of(whole: str, most: int, when: GivesWay | None = None) -> Version:
    missing = len(whole) - most
    left_out = f"the last {missing} characters of the brief" if missing else ""
    return Version(part("task", "brief", brief=said(whole[:most], most)), left_out, when)

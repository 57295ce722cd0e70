"""The constants in prompts: their values and ranges, what was measured with which, and the JSON schema of an answer."""

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from agent.edits.constants import Constant, find
from agent.edits.literals import NotLiteral, evaluate
from agent.nouns import Trial, Value
from agent.prompts.ask import Ask
from agent.prompts.clean import line
from agent.prompts.figures import Figures, fate
from agent.prompts.fit import GivesWay, Section, Version, fixed
from agent.prompts.history import Past, window
from agent.prompts.texts import part
from agent.space import Knob, Space
from agent.units import counted

_MEASURED = 20  # evaluations told with their values: up to twice as many
_ASSIGNED = re.compile(r"^\+(?P<name>[A-Za-z_]\w*)[ \t]*(?::[^=\n]+)?=(?P<value>[^=].*)$", re.MULTILINE)


def constants_schema(space: Space) -> dict[str, Any]:
    """JSON schema of an answer: a title, why, and a value within its range for every constant."""
    values = {knob.name: _schema(knob) for knob in space.knobs}
    words: dict[str, Any] = {"type": "string"}
    return _object({"title": words, "why": words, "constants": _object(values)})


def _object(properties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _schema(knob: Knob) -> dict[str, Any]:
    if knob.kind == "categorical":
        return {"enum": [list(c) if isinstance(c, tuple) else c for c in knob.choices]}
    if knob.pow2:
        return {"type": "integer", "enum": [knob.decode((i + 0.5) / n) for n in [knob.size() or 1] for i in range(n)]}
    kind = "integer" if knob.kind == "int" else "number"
    return {"type": kind, "minimum": knob.low, "maximum": knob.high}


def listed(ask: Ask, heading: str, now: Mapping[str, Constant]) -> Section:
    """Every constant of the code as it is `now`, with its value, its range and the comment behind it."""
    lines = [_line(knob, now[knob.name]) for knob in ask.space.knobs if knob.name in now]
    return fixed("user", part("values", heading, lines="\n".join(lines)))


def present(ask: Ask) -> dict[str, Constant]:
    """The constants of the space as the code has them; one that an edit took away is missing."""
    found = {(path, c.name): c for path in {k.file for k in ask.space.knobs} for c in find(ask.files[path])}
    return {k.name: found[k.file, k.name] for k in ask.space.knobs if (k.file, k.name) in found}


def _line(knob: Knob, constant: Constant) -> str:
    comment = line(constant.comment.lstrip("# "), 120)
    value = "" if constant.value is None else f", now {_json(constant.value)}"
    return f"- {knob.name}: {_range(knob)}{value}{f' ({comment})' if comment else ''}"


def _range(knob: Knob) -> str:
    if knob.kind == "categorical":
        return f"one of {', '.join(_json(choice) for choice in knob.choices)}"
    ends = f"from {knob.low:.6g} to {knob.high:.6g}" if knob.kind == "float" else f"from {knob.low} to {knob.high}"
    if knob.pow2:
        return f"power of two {ends}"
    kind = "number" if knob.kind == "float" else "whole number"
    return f"{kind} {ends}{', on a log scale' if knob.log else ''}"


def incumbent(ask: Ask, figures: Figures, now: Mapping[str, Constant]) -> Section:
    """The values of the code as it is `now`, as JSON, with what it reached."""
    values = {name: constant.value for name, constant in now.items() if constant.value is not None}
    champion = ask.state.champion
    if champion is None or (ask.parent is not None and ask.parent != champion.id):
        return fixed("user", part("values", "start", constants=_json_object(values)))
    metric, value = ask.target.metric.name, figures.mean(champion)
    best = part("values", "best", trial=champion.id, metric=metric, value=value, constants=_json_object(values))
    return fixed("user", best)


def measured(ask: Ask, past: Past) -> Section:
    """The latest evaluations with all their values, and what came of each; failures too."""
    closed = past.closed
    steps = ((12, GivesWay.LEDGER_HALF), (6, GivesWay.LEDGER_QUARTER), (2, GivesWay.LEDGER_FEW))
    begin = window(len(closed), _MEASURED)
    shorter = [(len(closed) - few, when) for few, when in steps if len(closed) - begin > few]
    return Section(
        "user", _measured_from(ask, past, begin), lambda: [_measured_from(ask, past, *step) for step in shorter]
    )


def _measured_from(ask: Ask, past: Past, begin: int, when: GivesWay | None = None) -> Version:
    known: dict[int, Mapping[str, Value | None]] = {}
    lines = [_evaluation(ask, past.figures, t, known) for t in past.closed[begin:]]
    text = part("values", "measured", lines="\n".join(lines)) if lines else ""
    return Version(text, counted(begin, "earlier trial") if begin else "", when)


def _evaluation(ask: Ask, figures: Figures, trial: Trial, known: dict[int, Mapping[str, Value | None]]) -> str:
    values = _json_object({k: v for k, v in values_of(ask, trial, known).items() if v is not None})
    code = f' and other code ("{line(trial.proposal.title, 80)}")' if _other_code(trial, ask.space.own) else ""
    on = "" if trial.parent is None else f", on trial {trial.parent}"
    return f"- trial {trial.id}{on}{', kept' if trial.kept else ''}: {values}{code} -> {fate(figures, trial)}"


def values_of(ask: Ask, trial: Trial, known: dict[int, Mapping[str, Value | None]]) -> Mapping[str, Value | None]:
    """The constants of the space in a trial's code, from its ancestors' diffs; None for one that is no literal there.

    `known` remembers what was found for other trials.
    """
    lineage = [trial]
    while lineage[-1].parent is not None and lineage[-1].id not in known:
        lineage.append(ask.state.trials[lineage[-1].parent])
    values: Mapping[str, Value | None] = known.get(lineage[-1].id, ask.space.own)
    for each in reversed(lineage):
        if each.id not in known:
            known[each.id] = {**values, **_assigned(each, ask.space.own)}
        values = known[each.id]
    return values


def _assigned(trial: Trial, own: Mapping[str, Value]) -> dict[str, Value | None]:
    found: dict[str, Value | None] = {name: value for name, value in trial.proposal.constants.items() if name in own}
    for match in _ASSIGNED.finditer(trial.diff):
        if match["name"] in own:
            found[match["name"]] = _literal(match["value"])
    return found


def _other_code(trial: Trial, own: Mapping[str, Value]) -> bool:
    """Whether its diff changes lines that are not assignments of the space's constants."""
    lines = [each for each in trial.diff.splitlines() if each.startswith(("+", "-")) and each[1:].strip()]
    changed = [_ASSIGNED.match(f"+{each[1:]}") for each in lines if not each.startswith(("--- ", "+++ "))]
    return any(match is None or match["name"] not in own for match in changed)


def _literal(text: str) -> Value | None:
    try:
        return evaluate(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, NotLiteral, ValueError):
        return None


def _json(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json_object(values: Mapping[str, Value]) -> str:
    return json.dumps(dict(values), ensure_ascii=False)

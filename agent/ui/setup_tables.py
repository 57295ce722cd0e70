"""What there is before a run as text: the search space of a script, and what the doctor found."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from agent.doctor import Check
from agent.space import Space
from agent.ui.tables import add_row, blank_table, draw

_LONG = 100  # characters: a sentence that the command ends with instead


def space_table(space: Space) -> str:
    """The knobs of a space, and what is left alone with its reason."""
    table = blank_table("constant", "value", "range", "how", "note")
    for knob in space.knobs:
        values = ", ".join(map(str, knob.choices)) if knob.choices else f"{knob.low:g} to {knob.high:g}"
        scale = "log " if knob.log else "powers of two " if knob.pow2 else ""
        how = f"{scale}{knob.kind}{', inferred' if knob.inferred else ''}"
        add_row(table, knob.name, str(knob.value), values, how, knob.note)
    lines = [draw(table)] if space.knobs else ["no constant can be searched"]
    if space.left_alone:
        alone = blank_table("left alone", "why")
        for constant in space.left_alone:
            add_row(alone, constant.name, constant.reason)
        lines += ["", draw(alone)]
    return "\n".join(lines)


def space_record(space: Space) -> dict[str, Any]:
    """A space for machines."""
    return {"knobs": [asdict(knob) for knob in space.knobs], "left_alone": [asdict(c) for c in space.left_alone]}


def checks_table(checks: Sequence[Check]) -> str:
    """What the doctor found."""
    table = blank_table("", "what", "found", "next step")
    for column in table.columns[2:]:  # sentences
        column.no_wrap = False
    for column in table.columns[:2]:
        column.min_width = max(len(check.name) for check in checks) if column is table.columns[1] else 2
    for check in checks:
        step = check.advice if len(check.advice) < _LONG else "see below"
        add_row(table, "ok" if check.fine else "!!", check.name, check.found, step)
    return draw(table)

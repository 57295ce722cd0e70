"""The last section of a prompt: what to answer, in which form, and how it is read."""

from agent.calls import Contract
from agent.prompts.ask import Ask
from agent.prompts.clean import fence_for
from agent.prompts.texts import part


def form(ask: Ask, crashed: bool = False, shown: bool = True) -> str:
    """The form of an edit in the contract of `ask.facts`. `shown`: whether the prompt shows the code."""
    names = _names(ask, crashed)
    head = part("form", "head_crashed" if crashed else "head")
    match ask.facts.contract:
        case Contract.BLOCKS | Contract.FEW_BLOCKS:
            body = _blocks(ask, names)
        case Contract.FILE:
            body = _file(ask, names)
        case Contract.SET:
            body = _set(ask, names, shown)
    return "\n\n".join([head, *_thinking(ask), body])


def form_of_values(ask: Ask) -> str:
    """The form of an answer with values of constants."""
    skeleton = ", ".join(f'"{knob.name}": <value>' for knob in ask.space.knobs)
    return "\n\n".join([part("form", "json", skeleton=skeleton), *_thinking(ask)])


def _blocks(ask: Ask, names: dict[str, str]) -> str:
    example = _unused("retry_wait", ask)
    count = [part("form", f"count_{ask.facts.contract.value}"), *_several(ask, "<<<<<<< SEARCH line")]
    values = {"count": " ".join(count), "stays": _stays(ask), "example": example}
    return part("form", "blocks", **names, **values)


def _file(ask: Ask, names: dict[str, str]) -> str:
    bar = max((fence_for(text) for text in ask.files.values()), key=len)
    stays = " ".join([_stays(ask), *_several(ask, "opening fence")])
    return part("form", "file", **names, bar=bar, stays=stays)


def _set(ask: Ask, names: dict[str, str], shown: bool) -> str:
    function = part("form", "function") + "\n" if shown else ""
    example = _unused("OVEN_HEAT", ask)
    return part("form", "set", **names, function=function, stays=_stays(ask), example=example)


def _names(ask: Ask, crashed: bool) -> dict[str, str]:
    """What is filled into every form: the file, and what the IDEA line says."""
    metric = ask.target.metric
    move = "fall" if metric.goal == "minimize" else "rise"
    idea = part("form", "idea_crashed") if crashed else part("form", "idea", metric=metric.name, move=move)
    return {"idea": idea, "file": next(iter(ask.files)) if len(ask.files) == 1 else "the file"}


def _several(ask: Ask, what: str) -> list[str]:
    return [part("form", "several_files", what=what)] if len(ask.files) > 1 else []


def _stays(ask: Ask) -> str:
    only = "stays_files" if len(ask.files) == 1 else "stays_several"
    told = [part("form", only, files=", ".join(ask.files))]
    return " ".join([*told, *([part("form", "stays_frozen")] if ask.rules.frozen else [])])


def _thinking(ask: Ask) -> list[str]:
    if ask.facts.thinking == "none":
        return []
    return [part("form", "thinking", tokens=f"{ask.facts.max_output_tokens:,}")]


def _unused(name: str, ask: Ask) -> str:
    """A name that is in none of the files, so that an example that is copied is not found there."""
    while any(name in text for text in ask.files.values()):
        name += "_"
    return name

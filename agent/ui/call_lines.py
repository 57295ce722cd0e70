"""What language models were asked and what it cost, as text. Pure functions."""

from collections import Counter
from typing import Any

from agent.calls import spent
from agent.edits.errors import Wrong
from agent.history.call_store import CallStore
from agent.nouns import Trial
from agent.reading import Run
from agent.state import State
from agent.units import show_duration


def model_lines(state: State) -> list[str]:
    """What the language model is, and what asking it has cost; nothing for a run without one."""
    facts, used = (state.session.model if state.session else None), spent(state.calls)
    if facts is None and not used.calls:
        return []
    lines = [f"model {facts.label}, asked for {facts.contract}"] if facts else []
    if used.calls:
        share = f", {used.seconds / state.elapsed:.0%} of the time" if state.elapsed else ""
        cost = f", ${used.cost:.2f}" if used.cost else ""
        failed = f", {used.failed} of them unanswered" if used.failed else ""
        tokens = f"{used.prompt_tokens:,} tokens in and {used.completion_tokens:,} out"
        lines.append(f"{used.calls} calls{failed}: {tokens} in {show_duration(used.seconds)}{share}{cost}")
    kinds = Counter(void.wrong for _, void in state.voids if void.wrong in set(Wrong))
    if kinds:
        told = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        lines.append(f"proposals without a usable answer: {told}; calls/ in the run's folder has them")
    return lines


def call_lines(run: Run, trial: Trial) -> list[str]:
    """What asking for this trial took, and where prompt and reply are."""
    return [
        f"  {call.purpose:<9} {call.model}, {call.prompt_tokens:,} tokens in, {call.completion_tokens:,} out, "
        f"{call.seconds:.0f}s{f', {call.error}' if call.error else ''}: {CallStore(run.folder).path(call.number)}"
        f"{f' (after {call.because})' if call.because else ''}"
        for call in trial.proposal.calls
    ]


def conversation_lines(call: dict[str, Any]) -> list[str]:
    """A stored call, as it was sent and as it came back."""
    lines = [f"# call {call['call']['number']}: {call['call']['purpose']}, {call['call']['model']}"]
    for message in call["request"]["messages"]:
        lines += [f"## {message['role']}", message["content"]]
    reply = call["reply"]
    if "error" in reply:
        return [*lines, "## no answer", reply["error"]]
    lines += ["## thinking", reply["reasoning"]] if reply["reasoning"] else []
    return [*lines, f"## answer ({reply['finish_reason']})", reply["text"]]

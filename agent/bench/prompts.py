"""How long and how large the prompts of a long run are: a made-up history, rendered again and again."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from agent.bench.history import code_of
from agent.calls import Contract, ModelFacts
from agent.code import diff
from agent.edits.rules import Rules
from agent.history.events import Said, Session, Voided, Word
from agent.models.base import Message
from agent.nouns import CurvePoint, Decision, Measurement, Proposal, Trial, Verdict
from agent.prompts.ask import Ask
from agent.prompts.fit import tokens
from agent.prompts.render import constants, crash_repair, propose
from agent.space import find_space
from agent.state import State
from agent.target import Metric, Target
from sandbox.spec import Outcome, Phase

_TIMES = 20
_CONTEXT, _ANSWER = 131_072, 8_192
_KEEP_EVERY, _CRASH_EVERY, _OOM_EVERY = 25, 7, 11


@dataclass(frozen=True)
class Rendered:
    """One kind of prompt: median and longest milliseconds of rendering, and its estimated tokens."""

    name: str
    median: float
    longest: float
    tokens: int

    def line(self) -> str:
        """What was measured, with what was aimed at."""
        return (
            f"{self.name:<24} {self.tokens:>7,} tokens  median {self.median:5.1f} ms, longest {self.longest:5.1f} ms "
            f"(aim: below 50 ms)"
        )


def measure_prompts(trials: int) -> list[str]:
    """Render every kind of prompt for a made-up run of `trials` trials: a line each."""
    state = made_up_state(trials)
    kinds: dict[str, tuple[Callable[[Ask], tuple[Message, ...]], Ask]]
    kinds = {f"propose, {c.value}": (propose, made_up_ask(state, c)) for c in Contract}
    ask = made_up_ask(state, Contract.BLOCKS)
    crashed = next((t for t in state.trials if t.outcome is Outcome.CRASH), state.trials[-1])
    kinds["llm-constants"] = (constants, ask)
    kinds["crash repair"] = (partial(crash_repair, trial=crashed), ask)
    return [_measured(name, render, which).line() for name, (render, which) in kinds.items()]


def made_up_ask(state: State, contract: Contract) -> Ask:
    """What a model with a large context is asked in a made-up run."""
    files = {"train.py": code_of(state.best or 0)["train.py"].decode()}
    facts = ModelFacts(
        name="made-up", endpoint="none", contract=contract, context_tokens=_CONTEXT, max_output_tokens=_ANSWER
    )
    return Ask(
        state=state,
        target=Target(name="made-up", edit=("train.py",), run=("true",), metric=Metric(name="loss", pattern="(.*)")),
        files=files,
        brief="Make it better.",
        facts=facts,
        rules=Rules(("train.py",)),
        space=find_space(files, {}),
        widen=2,
        tries=24,
    )


def made_up_state(trials: int) -> State:
    """A run of `trials` closed trials with diffs, curves, crashes, out-of-memories, refused proposals and notes."""
    session = Session(
        budget_seconds=1e6, jail="none", why="", promises=(), pid=0, host="", hardware="8 cores", software=""
    )
    void = Voided(source="code", wrong="not_found", reason="the lines to find are not there " * 5, seconds=1.0)
    closed = tuple(_trial(number) for number in range(trials))
    return State(
        session=session,
        trials=closed,
        best=max(t.id for t in closed if t.kept),
        elapsed=30.0 * trials,
        voids=tuple((n, void) for n in range(1, trials, 3)),
        said=((0, Said(word=Word.BAN, text="no dropout")), (trials, Said(word=Word.NOTE, text="less warm-up"))),
    )


def _trial(number: int) -> Trial:
    keep = number % _KEEP_EVERY == 0
    decision = Decision.KEEP if keep else Decision.DISCARD
    measured = _measurement(number, keep)
    gain = None if measured.loss is None else 1e-4 * (number % 9)
    parent = (number - 1) // _KEEP_EVERY * _KEEP_EVERY if number else None
    title = f"change {number}: a title of the usual length, which says what changes and why"
    return Trial(
        id=number,
        parent=parent,
        proposal=Proposal(source="code" if number else "baseline", title=title, why="it should help " * 10),
        diff=diff(code_of(parent), code_of(number)) if parent is not None else "",
        code_sha256="",
        propose_seconds=5.0,
        measurements=(measured,) * (1 if number else 3),
        verdict=Verdict(
            decision=decision,
            reason="made up",
            gain=gain,
            margin=1e-3,
        ),
        closed_seq=number,
    )


def _measurement(number: int, keep: bool) -> Measurement:
    outcome = Outcome.OK
    if not keep:
        outcome = {0: Outcome.CRASH}.get(number % _CRASH_EVERY, outcome)
        outcome = {0: Outcome.OOM_GPU}.get(number % _OOM_EVERY, outcome)
    curve = tuple(CurvePoint(seconds=float(i), step=i, loss=2.0 - i / 100) for i in range(64))
    return Measurement(
        seed=number,
        outcome=outcome,
        reason="" if outcome is Outcome.OK else "RuntimeError: shapes cannot be multiplied",
        tail="" if outcome is Outcome.OK else '  File "train.py", line 7, in <module>\n' * 100,
        loss=2.0 - 1e-4 * number if outcome is Outcome.OK else None,
        numbers={"requested_bytes": 2**31} if outcome is Outcome.OOM_GPU else {},
        seconds={Phase.TRAIN: 30.0},
        total_seconds=30.0,
        curve=curve if outcome is Outcome.OK else (),
        code_sha256="",
        jail="none",
    )


def _measured(name: str, render: Callable[[Ask], tuple[Message, ...]], ask: Ask) -> Rendered:
    took = []
    messages: tuple[Message, ...] = ()
    for _ in range(_TIMES):
        began = time.perf_counter()
        messages = render(ask)
        took.append(1e3 * (time.perf_counter() - began))
    size = sum(tokens(message.content, ask.facts.chars_per_token) for message in messages)
    return Rendered(name, statistics.median(took), max(took), size)

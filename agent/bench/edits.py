"""Labelled answers of models, run through the reading of edits and the gates: how many come out as they should.

A case says what a model was shown, what it answered, and what must become of it. The policy of the cases is built
here as rules: `train.py` may change, `prepare.py` is protected, and the script reports its metric itself.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.edits.blocks import Answer
from agent.edits.errors import EditError, Wrong
from agent.edits.gates.guard import check
from agent.edits.gates.selfreport import frozen_in
from agent.edits.gates.shape import shape
from agent.edits.read import read
from agent.edits.rules import Rules
from agent.errors import UsageError

_SCRIPT = "train.py"
_MODULES = ("prepare",)
_PATTERN = r"val_\w+\W+(\S+)"
_CHARS_PER_TOKEN = 3.5  # of code; the ratio does not depend on it
_BUGS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Region(BaseModel):
    """Comments between which the script may change."""

    start: str
    end: str


class Policy(BaseModel):
    """What a case asks for beyond the common policy."""

    model_config = ConfigDict(extra="forbid")
    editable_regions: Region | None = None


class Case(BaseModel):
    """One labelled answer; fields that only describe it are ignored.

    Attributes:
        source: the script as the model was shown it; reply: what it answered.
        expect: what must become of the answer; result: the script afterwards, if it applies.
        compare: whether the result must be equal byte for byte, or its syntax tree only.
        earlier: sources of earlier trials, which must not be tried again.
    """

    name: str
    source: str
    reply: str | None
    expect: Literal["applied", "rejected", "noop"]
    result: str | None = None
    compare: Literal["text", "ast"] = "text"
    format: str = ""
    finish_reason: str = "stop"
    reasoning: str | None = None
    think_open: bool = False
    policy: Policy = Policy()
    earlier: list[str] = []


@dataclass(frozen=True)
class Finding:
    """What came of a case, in words if it is wrong: `got` is empty where it is right."""

    case: Case
    got: str = ""


def load_cases(folder: Path) -> list[Case]:
    """All cases of a folder, by name of file.

    Raises:
        UsageError: no folder, no cases in it, or a file that is none.
    """
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not paths:
        raise UsageError(f"there are no cases in {folder}: name a folder of .json files, one labelled answer each")
    return [_case(path) for path in paths]


def run_cases(cases: Sequence[Case]) -> list[Finding]:
    """What comes of each case."""
    return [Finding(case, _got(case)) for case in cases]


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """The wrong cases, what edits cost against whole files, and the count."""
    for finding in findings:
        if finding.got:
            yield f"wrong  {finding.case.name}: expected {finding.case.expect}, got {finding.got}"
    edits = [f.case for f in findings if f.case.expect == "applied" and f.case.format != "whole" and f.case.result]
    if edits:
        yield _cost(edits)
    yield f"{sum(not finding.got for finding in findings)} of {len(findings)} right"


def rules_for(case: Case) -> Rules:
    """The cases' policy. torch and numpy count as installed, nothing else does."""
    region = case.policy.editable_regions
    return Rules(
        editable=(_SCRIPT,),
        protected=("prepare.py",),
        region=(region.start, region.end) if region else None,
        frozen=frozen_in({_SCRIPT: case.source}, _MODULES, _PATTERN, "val_"),
        modules=_MODULES,
        pattern=_PATTERN,
        installed=("torch", "numpy"),
    )


def _case(path: Path) -> Case:
    try:
        return Case.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path} is no case: {where + ': ' if where else ''}{first['msg']}") from error


def _got(case: Case) -> str:
    """What came of a case, in words; empty if that is what must."""
    try:
        text = _applied(case)
    except EditError as error:
        outcome = "noop" if error.wrong is Wrong.NOOP else "rejected"
        if outcome == case.expect and str(error).strip():
            return ""
        return f"{outcome} ({error.wrong}): {str(error).strip() or 'without a reason'}".replace("\n", "\n       ")
    except _BUGS as error:  # a fault of ours: it is counted, and the other cases still run
        return f"a bug: {type(error).__name__}: {error}"
    if case.expect != "applied":
        return "applied"
    return _difference(case, text)


def _applied(case: Case) -> str:
    rules, files = rules_for(case), {_SCRIPT: case.source}
    answer = Answer(case.reply or "", case.reasoning or "", case.finish_reason, case.think_open)
    after = read(answer, files, rules).files
    check(files, after, rules)
    if shape(after) in {shape({_SCRIPT: source}) for source in case.earlier}:
        raise EditError("this is the same code as an earlier trial: change something else", Wrong.DUPLICATE)
    return after[_SCRIPT]


def _difference(case: Case, text: str) -> str:
    expected = case.result or ""
    if text == expected or case.compare == "ast" and shape({_SCRIPT: text}) == shape({_SCRIPT: expected}):
        return ""
    pairs = zip(_lines(expected), _lines(text), strict=False)
    number, (old, new) = next((n, pair) for n, pair in enumerate(pairs, start=1) if pair[0] != pair[1])
    return f"another text, first in line {number}:\n       expected {old!r}\n       got      {new!r}"


def _lines(text: str) -> list[str]:
    return [*text.splitlines(keepends=True), "(end)"]


def _cost(cases: Sequence[Case]) -> str:
    """Tokens of the replies against those of the whole file that each leads to."""
    ratio = statistics.median(len(case.reply or "") / max(1, len(case.result or "")) for case in cases)
    reply = statistics.median(len(case.reply or "") for case in cases) / _CHARS_PER_TOKEN
    source = statistics.median(len(case.source) for case in cases)
    return (
        f"output tokens: {reply:.0f} an answer, {ratio:.1%} of the whole file (medians of {len(cases)} applied edits; "
        f"the median source has {source:.0f} characters)"
    )

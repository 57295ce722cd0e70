"""What an attack's header says must come of it at a level: `read(text).at(level, abi)`. Pure text.

A header is comment lines at the top of a script: `# MUST HAPPEN: ...` and `# EXPECT: ...`. The second is free text for
people: a piece for each level (`none=... landlock/none: ... all levels: ...`), each beginning with a verdict or a
description. What is not said counts as a demand: a level without a piece, and a file without a header, must be
contained, so that a text that is not understood can only make the judge stricter.
"""

import operator
import re
from dataclasses import dataclass
from enum import Enum

from sandbox.spec import Stopped

LEVELS = ("none", "landlock", "namespace")
_NAME = r"(?:none|landlock|namespace|all(?: levels)?|every level|everywhere|any level)"
_PIECE = re.compile(rf"\b({_NAME}(?:\s*(?:/|,|and|&|\+)\s*{_NAME})*)\s*[=:]", re.IGNORECASE)
_FIELD = re.compile(r"#\s*([A-Z][A-Z ]+):(.*)")
_NOT = r"(?P<not>\b(?:no|not|nothing|never|without)\b[^,;.]*)?"  # "not reachable" is no hole
_OPEN = re.compile(
    rf"{_NOT}\b(?:success|succeeds|hole|depends|n/?a|reachable|readable|visible|possible|open|allowed|exposed)\b",
    re.IGNORECASE,
)
_SHUT = re.compile(r"\b(?:blocked|contained|denied)\b", re.IGNORECASE)
_ONLY_OUTSIDE = re.compile(
    r"\b(?:if|unless|when|where|at most|harmless|private|killed|bounded|partly|but)\b", re.IGNORECASE
)
_ABI = re.compile(
    r"(?:on |from |at |with |below |under |before |until |since )*ABI\s*(<=|>=|<|>|≤|≥|=+)?\s*(\d+)(\+)?", re.IGNORECASE
)
_OPERATORS = {"<": operator.lt, "<=": operator.le, "≤": operator.le, ">": operator.gt, "=": operator.eq}
_ENDS = (  # how a text begins that names the end it wants -> that end
    (r"time ?out|time limit|\(?ended by the time", Stopped.TIME),
    (r"output[_ ]limit", Stopped.OUTPUT),
    (r"(?:killed|stopped|ended) by the disk|disk[_ ](?:limit|watchdog|full)", Stopped.DISK),
    (r"(?:killed|stopped|ended) by the memory|memory[_ ](?:limit|watchdog)|oom_host", Stopped.MEMORY),
    (r"process(?:es)?[_ ]limit\b", Stopped.PROCESSES),
    (r"stalled", Stopped.STALLED),
)


class Demand(Enum):
    """How much must hold."""

    OPEN = "a hole is allowed"
    OUTSIDE = "contained, seen from outside"  # the attacker's own word counts nothing
    STRICT = "contained"  # its word counts too: what it did may leave no trace


@dataclass(frozen=True)
class Expected:
    """What must come of an attack at one level; `end` is the only way in which it may be ended, None for any."""

    demand: Demand
    end: Stopped | None = None


@dataclass(frozen=True)
class Header:
    """The header of an attack: what must happen, and the texts by level."""

    must: str
    texts: dict[str, str]

    def at(self, level: str, abi: int) -> Expected:
        """What must come of it at `level` on a kernel whose Landlock has this ABI (0 for none)."""
        return expected(self.texts.get(level, "BLOCKED"), abi)


def read(script: str) -> Header:
    """The header of a script."""
    fields: dict[str, str] = {}
    name = ""
    for line in script.splitlines():
        if not line.startswith("#"):
            break
        if found := _FIELD.match(line):
            name = found[1].strip()
            fields[name] = found[2].strip()
        elif name:
            fields[name] += " " + line.lstrip("#").strip()
    return Header(fields.get("MUST HAPPEN", ""), _pieces(fields.get("EXPECT", "")))


def _pieces(text: str) -> dict[str, str]:
    """The text of each level that is named, `same` resolved."""
    marks = list(_PIECE.finditer(_blank(text)))  # what is in parentheses names no level
    if not marks:
        return dict.fromkeys(LEVELS, text) if text else {}
    found: dict[str, str] = {}
    common = last = ""
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        said = text[mark.end() : after.start() if after else len(text)].strip(" ;,")
        last = last if said.lower().startswith("same") else said
        names = [level for level in LEVELS if level in mark[1].lower()]
        common = common if names else last
        found |= dict.fromkeys(names, last)
    return dict.fromkeys(LEVELS, common) | found if common else found


def _blank(text: str) -> str:
    """The text with spaces for what is in parentheses, as long as before."""
    while (shorter := re.sub(r"\([^()]*\)", lambda found: " " * len(found[0]), text)) != text:
        text = shorter
    return text


def expected(text: str, abi: int) -> Expected:
    """What one level's text demands."""
    plain = re.sub(r"\s+", " ", _blank(text)).strip()
    if condition := _ABI.search(plain):
        return Expected(_by_abi(plain, condition, abi))
    if condition := _ABI.search(text):
        return Expected(_by_abi(text, condition, abi))
    first_open, first_shut = _hole(plain), _SHUT.search(plain)
    if first_open and (not first_shut or first_open.start() < first_shut.start() or " but " in plain):
        return Expected(Demand.OPEN)
    end = next((end for pattern, end in _ENDS if re.match(pattern, plain, re.IGNORECASE)), None)
    if re.search(r"\bor\b", plain):
        end = None
    strict = first_shut and not _ONLY_OUTSIDE.search(text)
    return Expected(Demand.STRICT if strict else Demand.OUTSIDE, end)


def _hole(text: str) -> re.Match[str] | None:
    """The first word that allows a hole."""
    return next((found for found in _OPEN.finditer(text) if not found["not"]), None)


def _by_abi(plain: str, condition: re.Match[str], abi: int) -> Demand:
    """The verdict before (else after) a condition on the ABI holds where that is true; where not, the other one."""
    before = re.split(r"[,;]", plain[: condition.start()])[-1]
    beside = before if _hole(before) or _SHUT.search(before) else plain[condition.end() :]
    open_there = _hole(beside) is not None and not _SHUT.match(beside.strip(" :="))
    number = int(condition[2])
    if re.search(r"below|under|before|until", condition[0], re.IGNORECASE):
        true = abi < number
    elif condition[1] in _OPERATORS:
        true = _OPERATORS[condition[1]](abi, number)
    else:  # >=, from, since, N+, or just a number
        true = abi >= number
    return Demand.OPEN if open_there is true else Demand.STRICT

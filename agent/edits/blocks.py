"""What parsing a model's answer yields, and what locating and applying starts from. Data only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """A model's answer as it came.

    Attributes:
        text: message content.
        reasoning: message.reasoning or reasoning_content.
        finish_reason: as the server says.
        think_open: thinking was on and the chat template put the opening `<think>` into the prompt.
    """

    text: str
    reasoning: str = ""
    finish_reason: str = "stop"
    think_open: bool = False


@dataclass(frozen=True)
class Block:
    """One place to change: these lines become those lines.

    Attributes:
        number: counts from 1, for messages.
        search, replace: lines without line ends.
        path: the file as the model named it, decorations stripped; None if it named none.
        headings: `@@ def f` scopes that narrow where to look, outermost first.
        line: 1-based line number the model stated; only ever a tie-break.
        readings: further (search, replace) pairs to try if the first is nowhere: the other reading of diff context
            without its column, the block without line-number prefixes, unescaped, and so on; in this order.
        diff: whether it came from a diff or patch (its search lines are context and removed lines).
    """

    number: int
    search: tuple[str, ...]
    replace: tuple[str, ...]
    path: str | None = None
    headings: tuple[str, ...] = ()
    line: int | None = None
    readings: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    diff: bool = False


@dataclass(frozen=True)
class WholeFile:
    """A complete new text for a file; `path` is None if the model named none."""

    text: str
    path: str | None = None


@dataclass(frozen=True)
class SetLine:
    """`SET NAME = expression`: a module-level constant becomes a literal or arithmetic of literals."""

    name: str
    expression: str
    path: str | None = None


@dataclass(frozen=True)
class NewFunction:
    """`FUNCTION Class.method` with a complete new definition."""

    name: str
    source: str
    path: str | None = None


Edit = Block | WholeFile | SetLine | NewFunction


@dataclass(frozen=True)
class Parsed:
    """What an answer asks for.

    Attributes:
        edits: in the order of the answer.
        form: `blocks`, `diff`, `patch`, `json`, `file`, `set`: what the model wrote, whatever it was asked for.
        title: its `IDEA:` line, or the first line of prose; empty for none.
        why: its `WHY:` paragraph, or further prose before the edits; empty for none.
    """

    edits: tuple[Edit, ...]
    form: str
    title: str = ""
    why: str = ""


@dataclass(frozen=True)
class Edited:
    """The editable files after an answer was applied.

    Attributes:
        files: every editable file, changed or not.
        parsed: what the answer asked for.
    """

    files: dict[str, str]
    parsed: Parsed

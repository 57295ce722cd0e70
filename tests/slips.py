"""How models misquote a file: edits of real code, and the same edits with a slip, for tests of what becomes of them."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent

from agent.edits.placement.document import Document
from agent.edits.placement.tokens import code_of, comment_at

Lines = list[str]
Slip = Callable[[str, random.Random], str]


@dataclass(frozen=True)
class Change:
    """One line of a window of a file changes, or one line is inserted before it.

    Attributes:
        text: the file.
        start, stop: rows of the window.
        row: of the line that changes.
        new: the line that takes its place.
        inserted: whether the old line stays, below the new one.
    """

    text: str
    start: int
    stop: int
    row: int
    new: str
    inserted: bool

    @property
    def lines(self) -> Lines:
        return list(Document.of(self.text).lines)

    @property
    def search(self) -> Lines:
        return self.lines[self.start : self.stop]

    @property
    def at(self) -> int:
        """Index of the line that changes in `search`."""
        return self.row - self.start

    def replaced(self, search: Lines) -> Lines:
        """The new side for a quotation of as many lines as `search` has."""
        kept = search[self.at :] if self.inserted else search[self.at + 1 :]
        return [*search[: self.at], self.new, *kept]

    @property
    def wanted(self) -> Lines:
        """The lines of the file as it should be afterwards."""
        lines = self.lines
        return [*lines[: self.row], self.new, *(lines[self.row :] if self.inserted else lines[self.row + 1 :])]


def random_change(text: str, random: random.Random) -> Change:
    """A change of one line of code in a window of one to eight lines."""
    lines = Document.of(text).lines
    rows = [row for row, line in enumerate(lines) if code_of(line) and not line.lstrip().startswith(('"', "'"))]
    row = random.choice(rows)
    start = max(0, row - random.randrange(5))
    stop = min(len(lines), row + 1 + random.randrange(4))
    code, behind = lines[row][: comment_at(lines[row])].rstrip(), lines[row][comment_at(lines[row]) :]
    gap = lines[row][len(code) : comment_at(lines[row])] if behind else ""
    inserted = random.random() < 0.3
    blanks = code[: len(code) - len(code.lstrip())]
    new = (
        f"{blanks}new_name = {random.randrange(10**6)}"
        if inserted
        else f"{code}_{random.randrange(10**6)}{gap}{behind}"
    )
    return Change(text, start, stop, row, new, inserted)


def said(lines: Lines) -> list[tuple[str, ...]]:
    """What lines say: their code, line by line."""
    return [code for line in lines if (code := code_of(line))]


def keeps(change: Change, result: str) -> bool:
    """Whether the file became what it should, and every line that should stay is there byte for byte, in order."""
    after = Document.of(result).lines
    stay = [line for row, line in enumerate(change.lines) if row != change.row or change.inserted]
    found = iter(after)
    return said(list(after)) == said(change.wanted) and all(line in found for line in stay)


def stands_elsewhere(change: Change, search: Lines) -> bool:
    """Whether the code of `search` stands in the file at another place than the change's, as lines or inside one."""
    code, wanted = said(change.lines), said(search)
    own = len(said(change.lines[: change.start]))
    inside = len(wanted) == 1 and any(
        wanted[0] == line[at : at + len(wanted[0])] != line for line in code for at in range(len(line))
    )
    return inside or any(at != own and code[at : at + len(wanted)] == wanted for at in range(len(code)))


def outdented(change: Change, random: random.Random) -> tuple[Lines, Lines]:
    """Both sides at the left margin."""
    new = change.replaced(change.search)
    both = dedent("\n".join([*change.search, *new])).split("\n")
    return both[: len(change.search)], both[len(change.search) :]


def without_comments(change: Change, random: random.Random) -> tuple[Lines, Lines]:
    """Comments left out on both sides."""
    sides = (change.search, change.replaced(change.search))
    search, new = ([line[: comment_at(line)].rstrip() for line in side if not _is_comment(line)] for side in sides)
    return search, new


def without_blank_lines(change: Change, random: random.Random) -> tuple[Lines, Lines]:
    """Blank lines left out on both sides."""
    search, new = ([line for line in side if line.strip()] for side in (change.search, change.replaced(change.search)))
    return search, new


def typo_in_context(change: Change, random: random.Random) -> tuple[Lines, Lines]:
    """One character of a line that stays is another one, on both sides."""
    return _in_context(change, random, _typo)


def other_number_in_context(change: Change, random: random.Random) -> tuple[Lines, Lines]:
    """A number of a line that stays is another one, on both sides."""
    return _in_context(change, random, _other_number)


def renamed_in_context(change: Change, random: random.Random) -> tuple[Lines, Lines]:
    """A name in a line that stays is another one, on both sides."""
    return _in_context(change, random, _renamed)


def misquoted(change: Change, random: random.Random) -> tuple[Lines, Lines]:
    """A slip in the code of the very line that changes."""
    slip = random.choice([_typo, _other_number, _renamed])
    search = change.search
    line = search[change.at]
    cut = comment_at(line)
    search[change.at] = slip(line[:cut], random) + line[cut:]
    return search, change.replaced(search)


def a_line_left_out(change: Change, random: random.Random) -> tuple[Lines, Lines]:
    """A line of code that stays is missing on both sides."""
    search, new = change.search, change.replaced(change.search)
    rows = [at for at, line in enumerate(search) if at != change.at and code_of(line)]
    if rows:
        gone = random.choice(rows)
        del search[gone]
        del new[gone + (1 if change.inserted and gone >= change.at else 0)]
    return search, new


CONTEXT_SLIPS: tuple[Callable[[Change, random.Random], tuple[Lines, Lines]], ...] = (
    outdented,
    without_comments,
    without_blank_lines,
    typo_in_context,
    other_number_in_context,
    renamed_in_context,
    a_line_left_out,
)


def _in_context(
    change: Change, random: random.Random, slip: Callable[[str, random.Random], str]
) -> tuple[Lines, Lines]:
    search = change.search
    rows = [at for at, line in enumerate(search) if at != change.at and code_of(line)]
    if rows:
        at = random.choice(rows)
        search[at] = slip(search[at], random)
    return search, change.replaced(search)


def _typo(line: str, random: random.Random) -> str:
    letters = [at for at, character in enumerate(line) if character.isalpha()]
    if not letters:
        return line
    at = random.choice(letters)
    return line[:at] + random.choice(["", "q", line[at] * 2]) + line[at + 1 :]


def _other_number(line: str, random: random.Random) -> str:
    return re.sub(r"\d+", lambda found: f"{found[0]}7", line, count=1)


def _renamed(line: str, random: random.Random) -> str:
    names = re.findall(r"[A-Za-z_]\w{2,}", line)
    return re.sub(rf"\b{name}\b", f"{name}_2", line) if names and (name := random.choice(names)) else line


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")

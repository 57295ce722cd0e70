"""One line of code as tokens, for comparing lines by what they say instead of how they are typed.

Line by line, because a quoted snippet has no beginning: what a line means inside a long string is not known here.
It treats the file and the quotation alike, which is all that a comparison needs. Other languages than Python work as
far as their strings and `#` comments look alike.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

TYPOGRAPHIC = str.maketrans(
    {
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u200a\u202f\u205f\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ""),
        "…": "...",
    }
)
_TOKEN = re.compile(
    r"""
      (?P<comment>\#.*)
    | (?P<string>[rRbBuUfFtT]{0,2}(?:
        \"\"\"(?:[^\\]|\\.)*?(?:\"\"\"|$) | '''(?:[^\\]|\\.)*?(?:'''|$)
        | "(?:[^"\\]|\\.)*(?:"|\\?$) | '(?:[^'\\]|\\.)*(?:'|\\?$)))
    | (?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?\w*)
    | (?P<name>\w+)
    | (?P<operator>\*\*=?|//=?|>>=?|<<=?|->|\.\.\.|[-+*/%&|^@<>=!:]=|\S)
    """,
    re.VERBOSE,
)
_QUOTED = re.compile(r"(?P<prefix>[a-zA-Z]*)(?P<quote>['\"])(?P<body>[^'\"\\]*)(?P=quote)")


@dataclass(frozen=True)
class Token:
    """A token of code in plain characters and double quotes, and where it stands in its line."""

    text: str
    start: int
    end: int


def tokens(line: str) -> Iterator[Token]:
    """The code tokens of `line`; its comment is left out."""
    for found in _TOKEN.finditer(line):
        if found.lastgroup != "comment":
            yield Token(_canonical(found.group()), found.start(), found.end())


def code_of(line: str) -> tuple[str, ...]:
    """The code tokens of `line` as they are compared: typographic characters made plain."""
    return tuple(token.text for token in tokens(line.translate(TYPOGRAPHIC)))


def comment_at(line: str) -> int:
    """Where the comment of `line` starts, or its end if it has none."""
    found = next((found for found in _TOKEN.finditer(line) if found.lastgroup == "comment"), None)
    return found.start() if found else len(line.rstrip())


def plain(line: str) -> str:
    """`line` in plain characters, without blanks around it."""
    return line.translate(TYPOGRAPHIC).strip()


def _canonical(text: str) -> str:
    quoted = _QUOTED.fullmatch(text)
    return f'{quoted["prefix"].lower()}"{quoted["body"]}"' if quoted else text

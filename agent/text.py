"""Words of a model, a server or a program, made fit for a record, a sentence or a terminal.

Such text may hold half a character (JSON can escape one), which no file takes, and control characters, which move a
cursor or set a title. `agent.ui.visible` shows such characters instead, where what stands there is the matter.
"""

from sandbox.output import clean as clean_line


def clean(text: str) -> str:
    """The text without control sequences and with plain line ends; a half character is a question mark."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(clean_line(each.encode(errors="replace")) for each in lines)


def one_line(text: str) -> str:
    """The text as one clean line, with single blanks."""
    return " ".join(" ".join(map(clean, text.splitlines())).split())

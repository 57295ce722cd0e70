"""Output of an untrusted program: bytes in, clean short lines out, and a file of its head and tail.

Lines end at a newline or a carriage return, so that each state of a progress bar is a line; empty lines are
dropped, a long line is cut. Nothing that reaches a terminal, a prompt or a file from here can move a cursor
or hide text.
"""

import re
import unicodedata
from pathlib import Path

LINE_BYTES = 4096
CUT = " [line cut]"
_ESCAPE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, links
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS, SOS, PM, APC
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x1b[ -/]*[0-~]?"  # the rest
)


def clean(line: bytes) -> str:
    """One line as text: invalid UTF-8 replaced; control sequences and direction characters removed."""
    text = line.decode("utf-8", errors="replace")
    if text.isprintable():
        return text
    text = _ESCAPE.sub("", text)
    return "".join(c for c in text if c == "\t" or c.isprintable() or unicodedata.category(c) == "Zs")


class Lines:
    """Splits a stream into clean lines; how the stream is cut into chunks makes no difference."""

    def __init__(self) -> None:
        self._partial = b""  # of the line that has not ended: its first LINE_BYTES + 1 bytes

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that end in this chunk."""
        *ended, rest = chunk.replace(b"\r", b"\n").split(b"\n")
        if not ended:
            self._partial = (self._partial + rest[: LINE_BYTES + 1])[: LINE_BYTES + 1]
            return []
        ended[0] = self._partial + ended[0][: LINE_BYTES + 1]
        self._partial = rest[: LINE_BYTES + 1]
        return self._finished(ended)

    def end(self) -> list[str]:
        """The last line, if it has no end."""
        line, self._partial = self._partial, b""
        return self._finished([line])

    def _finished(self, ended: list[bytes]) -> list[str]:
        lines = [clean(line[:LINE_BYTES]) + (CUT if len(line) > LINE_BYTES else "") for line in ended if line]
        return [line for line in lines if line]


class Log:
    """A file that keeps the first and last half of `size` bytes; the tail is written when it is closed."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = path.open("wb")
        self._half = max(1, size // 2)
        self._head = 0  # bytes in the file
        self._total = 0  # bytes given
        self._recent = bytearray()  # the last of them, between one and two halves

    def add(self, line: str) -> None:
        """Keeps one line."""
        data = line.encode() + b"\n"
        if self._head == self._total and self._total + len(data) <= self._half:
            self._file.write(data)
            self._file.flush()
            self._head += len(data)
        self._total += len(data)
        self._recent += data
        if len(self._recent) > 2 * self._half:
            del self._recent[: -self._half]

    def tail(self) -> str:
        """The end of the output in whole lines, at most half of the size."""
        recent = bytes(self._recent[-self._half :])
        if len(recent) < self._total:
            recent = recent[recent.find(b"\n") + 1 :]
        return recent.decode()

    def close(self) -> None:
        """Writes the tail, with a note of what was left out."""
        tail = self.tail().encode()
        left_out = self._total - len(tail) - self._head
        with self._file as file:
            if left_out > 0:
                file.write(f"[... {left_out} bytes left out ...]\n".encode())
            file.write(tail[max(0, -left_out) :])

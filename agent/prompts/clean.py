"""What others wrote, made fit for a prompt: log lines, reasons, titles, diffs.

Such text is data. It loses control characters and the tokens with which chat templates begin and end messages, it is
cut to a length and says so, and it stands in a fence longer than any it holds. The script's own source is the
exception: a model has to copy its lines, so only line ends are made uniform.
"""

import re

from sandbox.output import clean

_CHAT_TOKEN = re.compile(
    r"<(?=\|)|(?<=\|)>|<(?=<SYS>>|/?(?:s|bos|eos|think|thinking|system|user|assistant|tool_call|tool_response"
    r"|start_of_turn|end_of_turn)>)|\[(?=/?(?:INST|THINK|TOOL_CALLS)\])"
)
_FENCE = re.compile(r"`{3,}")


def line(text: str, most: int = 160) -> str:
    """One clean line of at most about `most` characters."""
    flat = _FENCE.sub("'''", " ".join(" ".join(_clean_lines(text[: 20 * most])).split()))
    return flat if len(flat) <= most else f"{flat[:most].rstrip()} [cut]"


def quoted(text: str, most_lines: int, most_chars: int, keep: str = "head") -> str:
    """Clean lines of `text`, the first or (`keep="tail"`) the last of them; what is missing is said in a line."""
    lines = _clean_lines(text.strip("\n"))
    ordered = lines[::-1] if keep == "tail" else lines
    kept: list[str] = []
    room = most_chars
    for each in ordered[:most_lines]:
        short = each if len(each) <= 300 else f"{each[:300]} [line cut]"
        room -= len(short) + 1
        if room < 0:
            break
        kept.append(short)
    missing = len(lines) - len(kept)
    said = [f"[{missing} {'earlier' if keep == 'tail' else 'more'} lines are not shown]"] if missing else []
    return "\n".join([*said, *kept[::-1]] if keep == "tail" else [*kept, *said])


def said(text: str, most: int = 1500) -> str:
    """What the user or the brief says: trusted words of several lines, cleaned; cut and marked beyond `most`."""
    whole = "\n".join(_clean_lines(text.strip()))
    return whole if len(whole) <= most else f"{whole[:most].rstrip()} [cut: {len(whole) - most} more characters]"


def fenced(text: str, label: str = "") -> str:
    """`text` in a fence that is longer than any run of backticks inside."""
    bar = fence_for(text)
    return f"{bar}{label}\n{text.rstrip(chr(10))}\n{bar}"


def fence_for(text: str) -> str:
    """A fence that no run of backticks in `text` closes."""
    longest = max((len(run) for run in _FENCE.findall(text)), default=2)
    return "`" * max(3, longest + 1)


def source(text: str) -> str:
    """A file as a model is shown it: without a byte order mark, and with plain line ends."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _clean_lines(text: str) -> list[str]:
    if text.isascii() and text.isprintable() and "<" not in text and "[" not in text:
        return [text]
    lines = [clean(each.encode(errors="replace")) for each in text.replace("\r", "\n").split("\n")]
    return [_CHAT_TOKEN.sub(lambda found: f"{found[0]} " if found[0] != ">" else " >", each) for each in lines]

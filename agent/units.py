"""'5h', '24GiB' and back: durations in seconds, sizes in bytes, as people write and read them."""

import re
from typing import Annotated

from pydantic import BeforeValidator

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12,
    "ki": 2**10, "kib": 2**10, "mi": 2**20, "mib": 2**20, "gi": 2**30, "gib": 2**30, "ti": 2**40, "tib": 2**40,
}  # fmt: skip
_TEN_YEARS = 3652 * 86400.0
_NUMBER = r"\d+(?:\.\d+)?"


def parse_duration(text: str | int | float) -> float:
    """Seconds from '90', '30s', '5m', '1h30m', '2d' or a number of seconds.

    Raises:
        ValueError: anything else, zero, negative and endless durations included.
    """
    compact = str(text).strip().lower().replace(" ", "")
    if isinstance(text, int | float):
        seconds = float(text)
    elif re.fullmatch(_NUMBER, compact):
        seconds = float(compact)
    elif re.fullmatch(rf"(?:{_NUMBER}[smhd])+", compact):
        parts = re.findall(rf"({_NUMBER})([smhd])", compact)
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    else:
        raise ValueError(f"{text!r} is no duration: write 90s, 30m, 5h or 1h30m")
    if not 0 < seconds < _TEN_YEARS:
        raise ValueError(f"{text!r} is no duration: it must be longer than zero and shorter than ten years")
    return seconds


def parse_size(text: str | int) -> int:
    """Bytes from '16GiB', '500 MB' or a number of bytes.

    Raises:
        ValueError: anything else, zero included.
    """
    match = re.fullmatch(rf"({_NUMBER})\s*([a-z]*)", str(text).strip().lower())
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"{text!r} is no size: write 500MB, 16GiB or a number of bytes")
    size = int(float(match[1]) * _BYTES[match[2]])
    if size <= 0:
        raise ValueError(f"{text!r} is no size: it must be more than zero")
    return size


def show_duration(seconds: float) -> str:
    """'42s', '5m 10s', '3h 05m': two units at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes}m {rest:02d}s" if rest else f"{minutes}m"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours}h {minutes:02d}m" if minutes else f"{hours}h"


def show_size(size: int) -> str:
    """'512 MiB', '1.5 GiB'."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}" if size < 1000 * scale else f"{size / scale:.0f} {unit}"
    return f"{size} B"


Duration = Annotated[float, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]


def counted(number: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"

"""A self-reported metric: the last line of the script's output that matches the declared pattern, and nothing else."""

import math
import re

_LONGEST_LINE = 500  # a pattern may be slow on long lines
_FLOAT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf(?:inity)?|nan)", re.IGNORECASE)


class NoMetric(Exception):
    """The output holds no number where the pattern says. The message is one sentence."""


def parse_float(text: str) -> float:
    """A number in full: `9.979e-01`, `-.5`, `nan`, `inf`.

    Raises:
        NoMetric: `text` is anything else, a number with something before or behind it included.
    """
    if not _FLOAT.fullmatch(text):
        raise NoMetric(f"the metric line says {text[:40]!r}, which is no number")
    return float(text)


def last_metric(output: str, pattern: str) -> float:
    """The number in the last line of `output` that `pattern` matches; may be infinite or nan.

    Raises:
        NoMetric: no line matches, or the last one that does holds no number.
    """
    compiled = re.compile(pattern)
    for line in reversed(output.splitlines()):
        if match := compiled.search(line[:_LONGEST_LINE]):
            return parse_float(match[1] or "")
    raise NoMetric(f"the script ended without a line that matches {pattern!r}")


def is_number(value: float) -> bool:
    """Whether a metric is a result: finite. Anything else is divergence."""
    return math.isfinite(value)

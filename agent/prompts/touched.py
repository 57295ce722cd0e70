"""What a trial changed, by name: constants, assigned names, functions and classes on the changed lines of its diff.

Enough to say "MATRIX_LR was changed nine times of late". It is a word to the model, and decides nothing.
"""

import re
from collections import Counter
from collections.abc import Sequence

from agent.nouns import Trial

_CHANGED = re.compile(
    r"^[-+](?![-+]{2} )[ \t]*"
    r"(?:(?:async )?(?:def|class) (?P<scope>\w+)"
    r"|(?P<name>[A-Za-z_][\w.]*)[ \t]*(?::[^=\n]+)?(?:[-+*/|&@]|//|\*\*)?=[^=])",
    re.MULTILINE,
)
_OFTEN, _MOST = 3, 5


def touched(trial: Trial) -> frozenset[str]:
    """Names that the trial set anew."""
    found = {match["scope"] or match["name"] for match in _CHANGED.finditer(trial.diff)}
    return frozenset(found | set(trial.proposal.constants if not trial.diff else ()))


def often_touched(trials: Sequence[Trial]) -> list[tuple[str, int]]:
    """Names that at least three of `trials` changed, with how many did, most often first; at most five."""
    counts = Counter(name for trial in trials for name in sorted(touched(trial)))
    return [(name, n) for name, n in counts.most_common(_MOST) if n >= _OFTEN]

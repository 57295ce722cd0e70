"""What a model's change may touch. Data only; `agent.edits.gates.guard.rules_of` finds it for a target."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rules:
    """What a change may touch.

    Attributes:
        editable: the files that may change.
        protected: the other files of the target: neither edited, nor named in new string literals.
        region: (start marker, end marker) comments, where only what lies between them may change; None for all.
        frozen: statements (as `ast.unparse` writes them) that must be in the code, once for each time here: for a
            script that reports its own metric, the imports from protected modules, the assignment that takes the
            metric from them, and the lines that print it.
        modules: protected modules (`prepare`), whose names may neither be assigned nor have attributes assigned.
        metric: name of the metric, for messages.
        pattern: what a line that reports the metric looks like, for a script that does so itself: statements that
            print such a line may not be added. Empty where a judge measures.
        needed: top-level functions and classes that other files of the target use: they stay, and take what they took.
        installed: third-party modules that may newly be imported: what this interpreter has (`here`), anything if
            trials run in another interpreter (`unknown`), or exactly these.
    """

    editable: tuple[str, ...]
    protected: tuple[str, ...] = ()
    region: tuple[str, str] | None = None
    frozen: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    metric: str = "the metric"
    pattern: str = ""
    needed: tuple[str, ...] = ()
    installed: tuple[str, ...] | Literal["here", "unknown"] = "here"

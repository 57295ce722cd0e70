"""Which jail a run gets. The choice is made by trying, told in a sentence, never made weaker in silence."""

from dataclasses import dataclass
from typing import Protocol

from sandbox.bubblewrap import probe
from sandbox.spec import JailUnavailable, Promise, Spec
from sandbox.unconfined import Unconfined

LEVELS = ("auto", "namespace", "none")
OPEN = "running without a jail: the edited script can read, write and reach all that you can"


class Jail(Protocol):
    """How a program is confined: `wrap` gives the command line that runs the stub, and by it the program."""

    @property
    def name(self) -> str:
        """Its name in records."""

    def promises(self) -> frozenset[Promise]:
        """What it enforces on this machine."""

    def wrap(self, spec: Spec) -> list[str]:
        """The command line for `spec`. Changes nothing."""


@dataclass(frozen=True)
class Picked:
    """A jail and the sentence that says why it is this one."""

    jail: Jail
    why: str


def pick(level: str) -> Picked:
    """The jail for a level: `namespace`, `none`, or `auto` for the strongest that works here.

    Raises:
        JailUnavailable: the level is unknown, or was asked for by name and does not work here.
    """
    if level not in LEVELS:
        raise JailUnavailable(f"there is no jail {level!r}: choose one of {', '.join(LEVELS)}")
    if level == "none":
        return Picked(Unconfined(), f"jail 'none' was asked for; {OPEN}")
    try:
        jail = probe()
    except JailUnavailable as error:
        if level == "namespace":
            raise
        return Picked(Unconfined(), f"{error}; {OPEN}")
    missing = sorted(set(Promise) - jail.promises())
    holds = f"all but {', '.join(missing)}" if missing else "every promise"
    return Picked(jail, f"bubblewrap works here and keeps {holds}")

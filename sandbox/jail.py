"""Which jail a run gets. The choice is made by trying, told in a sentence, never made weaker in silence."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sandbox import bubblewrap, landlock
from sandbox.spec import JailUnavailable, Promise, Spec
from sandbox.unconfined import Unconfined

CONFINING = ("namespace", "landlock")  # strongest first
LEVELS = ("auto", *CONFINING, "none")
NOT_LINUX = "trials need Linux: run the agent on a Linux machine, or in a virtual machine or container of one"
OPEN = "running without a jail: the edited script can read, write and reach all that you can"


class Jail(Protocol):
    """How a program is confined: `wrap` gives the command line that runs the stub, and by it the program."""

    @property
    def name(self) -> str:
        """Its name in records."""

    @property
    def own_user(self) -> bool:
        """Whether a program becomes a user of its own, whom `run` names in `Spec.user`: so it is under root."""

    @property
    def short(self) -> str:
        """Why it is not a form that keeps more, and the next step, in one clause; empty where no other would."""

    def promises(self) -> frozenset[Promise]:
        """What it enforces on this machine."""

    def wrap(self, spec: Spec) -> list[str]:
        """The command line for `spec`. Changes nothing."""


@dataclass(frozen=True)
class Picked:
    """A jail and the sentence that says why it is this one."""

    jail: Jail
    why: str


def pick(level: str, reach: tuple[Path, ...] = ()) -> Picked:
    """The jail for a level: `auto` takes the strongest that works here, `namespace` or `landlock`.

    Args:
        level: one of `LEVELS`.
        reach: existing files and folders that a trial has to reach: the form of the jail that is taken can show them.

    Raises:
        JailUnavailable: this is not Linux, the level is unknown, does not work here, or is `auto` and nothing that
            confines works: a run without a jail has to be asked for by name.
    """
    if level not in LEVELS:
        raise JailUnavailable(f"there is no jail {level!r}: choose one of {', '.join(LEVELS)}")
    if sys.platform != "linux":
        raise JailUnavailable(NOT_LINUX)
    if level == "none":
        return Picked(Unconfined(), f"jail 'none' was asked for; {OPEN}")
    if level != "auto":
        return _told(_PROBES[level](reach))
    try:
        return _told(bubblewrap.probe(reach))
    except JailUnavailable as better:
        try:
            jail = landlock.probe(reach)
        except JailUnavailable as error:
            advice = "mend one of the two, or run without a jail: --sandbox none"
            raise JailUnavailable(f"no jail works here: {better}; {error}; {advice}") from error
        return Picked(jail, f"{better}; {_told(jail).why}")


_PROBES: dict[str, Callable[[tuple[Path, ...]], Jail]] = {"namespace": bubblewrap.probe, "landlock": landlock.probe}


def _told(jail: Jail) -> Picked:
    program = {"namespace": "bubblewrap"}.get(jail.name, jail.name)
    short = f" ({jail.short})" if jail.short else ""
    return Picked(jail, f"{program} works here and keeps {kept(jail)}{short}")


def kept(jail: Jail) -> str:
    """What it keeps, in words: `every promise`, or all but those that are missing."""
    missing = sorted(set(Promise) - jail.promises())
    return f"all but {', '.join(missing)}" if missing else "every promise"

"""`agent doctor`: what this machine has and can enforce, found out by trying, with the next step for each gap."""

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from agent.session import hardware
from agent.units import show_size
from sandbox.cgroup import delegation
from sandbox.jail import CONFINING, Picked, pick
from sandbox.selfcheck import Check as Tried
from sandbox.selfcheck import selfcheck
from sandbox.spec import JailUnavailable, Promise

_LEAST_DISK = 2 * 2**30


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        fine: whether it is as it should be.
        found: what was found.
        advice: the next step; empty if fine.
        needed: whether a run is impossible without it.
    """

    name: str
    fine: bool
    found: str
    advice: str = ""
    needed: bool = False


def examine() -> tuple[Check, ...]:
    """All checks; takes a few seconds, most of them for trying the sandbox."""
    return (_python(), _git(), _torch(), _gpu(), Check("machine", True, hardware()), _disk(), *_sandbox())


def _python() -> Check:
    return Check("python", True, platform.python_version())


def _git() -> Check:
    found = shutil.which("git")
    return Check("git", found is not None, found or "not installed", "" if found else "apt install git", needed=True)


def _torch() -> Check:
    try:
        return Check("torch", True, importlib.metadata.version("torch"))
    except importlib.metadata.PackageNotFoundError:
        return Check("torch", False, "not installed", "pip install torch: our own target needs it")


def _gpu() -> Check:
    found = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return Check("gpu", True, ", ".join(found) or "none: trials run on the processor")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    writable = os.access(Path.cwd(), os.W_OK)
    found = f"{show_size(free)} free in {Path.cwd()}" + ("" if writable else ", which is read-only")
    advice = "" if free > _LEAST_DISK and writable else "make room, or choose another --runs-dir"
    return Check("disk", not advice, found, advice)


def _sandbox() -> tuple[Check, ...]:
    """Each level, the one that `--sandbox auto` takes, and every promise of it attacked."""
    found = {level: _tried(level) for level in CONFINING}
    levels = [_level(level, tried) for level, tried in found.items()]
    taken = next((tried for tried in found.values() if isinstance(tried, Picked)), None)
    if taken is None:
        advice = "mend one of the two above; until then a run needs --sandbox none, by name"
        levels.append(Check("sandbox", False, "none: an edited script could do what you can do", advice, needed=True))
    else:
        levels.append(Check("sandbox", True, f"a run takes {taken.jail.name} unless told otherwise"))
    tried = selfcheck((taken or pick("none")).jail)
    promises = [_promise(promise, [check for check in tried if check.promise is promise]) for promise in Promise]
    return (*levels, _memory(), *promises)


def _level(level: str, tried: Picked | str) -> Check:
    if isinstance(tried, Picked):
        return Check(f"sandbox {level}", True, tried.why)
    found, _, advice = tried.partition(": ")
    return Check(f"sandbox {level}", False, found, advice or found)


def _tried(level: str) -> Picked | str:
    """What came of trying a level: the jail, or why it does not work here and the next step."""
    try:
        return pick(level)
    except JailUnavailable as error:
        return str(error)


def _memory() -> Check:
    """How the limit of host memory is kept."""
    found = delegation()
    how = found.how if found.works else f"by a watchdog; {found.how}"
    return Check("memory limit", True, how, "" if found.works else found.advice)


def _promise(promise: Promise, tried: list[Tried]) -> Check:
    through = [check for check in tried if not check.held]
    if not through:
        return Check(f"  {promise}", True, f"holds against: {', '.join(check.name for check in tried)}")
    if not tried[0].promised:
        found = f"not promised by the best level here, and open: {', '.join(check.name for check in through)}"
        return Check(f"  {promise}", False, found, "see the levels above")
    broken = [f"{check.name} ({check.detail})" for check in through]
    return Check(f"  {promise}", False, f"broken: {'; '.join(broken)}", "report this: it is a bug")

"""`agent doctor`: what this machine has and can enforce, found out by trying, with the next step for each gap."""

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from agent.session import hardware
from agent.units import show_size
from sandbox.jail import pick
from sandbox.selfcheck import Check as Tried
from sandbox.selfcheck import selfcheck

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
    """The jail that `--sandbox auto` picks, and every promise of it attacked."""
    picked = pick("auto")
    strong = picked.jail.name != "none"
    advice = "" if strong else "apt install bubblewrap: without it an edited script can do what you can do"
    level = Check("sandbox", strong, f"{picked.jail.name}: {picked.why}", advice)
    return (level, *(_promise(check) for check in selfcheck(picked.jail)))


def _promise(tried: Tried) -> Check:
    if tried.held:
        return Check(f"  {tried.promise}", True, f"holds: {tried.name}")
    if not tried.promised:
        return Check(f"  {tried.promise}", True, f"not promised, and does not hold: {tried.name}")
    return Check(f"  {tried.promise}", False, f"broken: {tried.name}: {tried.detail}", "report this: it is a bug")

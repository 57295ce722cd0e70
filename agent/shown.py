"""What of this machine a trial is shown beside its code, and the jail that can show it."""

from pathlib import Path

from agent.config import home
from agent.errors import UsageError
from agent.target import Target
from sandbox import gpu
from sandbox.jail import Jail, Picked, pick
from sandbox.spec import JailUnavailable, Mount, Promise

NETWORKED = frozenset({Promise.NETWORK, Promise.SOCKETS})  # abstract sockets belong to the network, too


def mounts_of(target: Target, folder: Path, large: tuple[str, ...]) -> tuple[Mount, ...]:
    """What the target names, and its files that are too large for a run's history.

    Raises:
        UsageError: something is not there.
    """
    named = tuple(Mount(home() / m[2:] if m.startswith("~/") else folder / m, m) for m in target.mounts)
    mounts = (*named, *(Mount(folder / path, path) for path in large))
    missing = next((mount.source for mount in mounts if not mount.source.exists()), None)
    if missing:
        raise UsageError(f"the target needs {missing}, which is not there: prepare your data, or correct its mounts")
    return mounts


def has_gpu() -> bool:
    """Whether this machine has a GPU that trials are shown."""
    return Path("/dev/nvidiactl").exists()


def unwatched(target: Target) -> str | None:
    """A sentence where a limit of the target binds nobody here; None where all do."""
    if target.limits.vram is None or not has_gpu() or gpu.library() is not None:
        return None
    return "limits.vram is not kept here: the driver's management library (NVML) does not answer"


def kept(jail: Jail, target: Target) -> frozenset[Promise]:
    """What the jail keeps for this target: less where the target itself allows the network."""
    return jail.promises() - NETWORKED if target.limits.network else jail.promises()


def jail_for(level: str, target: Target, mounts: tuple[Mount, ...], run_folder: Path) -> Picked:
    """The jail of a level whose programs reach the run's folder and the mounts.

    Raises:
        JailUnavailable: there is none.
    """
    above = next(parent for parent in run_folder.resolve().parents if parent.is_dir())
    picked = pick(level, (above, *(mount.source for mount in mounts)))
    if target.limits.network:
        return Picked(picked.jail, f"{picked.why}; but the target has limits.network = true")
    return picked


def demand(picked: Picked, target: Target, required: tuple[Promise, ...]) -> Picked:
    """The jail, if it keeps what was required.

    Raises:
        JailUnavailable: it is not.
    """
    missing = ", ".join(sorted(set(required) - kept(picked.jail, target)))
    if missing and picked.jail.name == "none":
        raise JailUnavailable(
            f"--sandbox none does not keep {missing}, which --require asks for: leave out one of the two"
        )
    if missing:
        advice = f"({picked.why}); `agent doctor` says what would improve this machine"
        raise JailUnavailable(f"{picked.jail.name} does not keep {missing}, which --require asks for {advice}")
    return picked

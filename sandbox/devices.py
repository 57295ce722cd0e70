"""The devices of a jail with its own /dev: which nodes a program that may use a GPU is shown, and under what number.

Written from the documentation of the drivers of NVIDIA, AMD and WSL. Only NVIDIA's nodes can be shown one by one: a
program whose environment lists GPUs in CUDA_VISIBLE_DEVICES gets those and no other, whatever it does to that variable.
"""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sandbox.gpu import shown
from sandbox.spec import SandboxError

CONTROL = ("nvidiactl", "nvidia-uvm*", "nvidia-modeset", "nvidia-caps", "kfd", "dri", "dxg")  # of /dev
FILES = ("/sys/devices", "/sys/module", "/sys/bus/pci", "/sys/class", "/run/nvidia-persistenced", "/opt/rocm")


def nodes(env: Mapping[str, str], root: Path = Path("/")) -> list[Path]:
    """The device nodes (and folders of them) for a program with this environment, on the machine below `root`."""
    found = [path for pattern in CONTROL for path in (root / "dev").glob(pattern)]
    chosen = picked(env, root)
    if chosen is None:
        return sorted([*found, *(root / "dev").glob("nvidia[0-9]*")])
    return sorted([*found, *(root / f"dev/nvidia{minor}" for minor in chosen)])


def renumbered(env: Mapping[str, str], root: Path = Path("/")) -> dict[str, str]:
    """The variable that names the same GPUs where only those are shown: CUDA counts the ones that it can open.

    UUIDs stay as they are.
    """
    chosen = picked(env, root)
    if chosen is None or not all(name.isdigit() for name in shown(env) or ()):
        return {}
    places = [gpu.minor for gpu in gpus(root) if gpu.minor in chosen]
    return {"CUDA_VISIBLE_DEVICES": ",".join(str(places.index(minor)) for minor in chosen)}


def picked(env: Mapping[str, str], root: Path) -> list[int] | None:
    """The minor numbers of the nodes of the listed GPUs, in their order; None if all are to be shown.

    Those are parts of GPUs, are named by UUIDs that the driver does not tell, or numbered in an order that cannot be
    known here: CUDA counts unequal GPUs by speed unless told otherwise.
    """
    names, every = shown(env), gpus(root)
    if names is None:
        return None
    by_place = env.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({gpu.model for gpu in every}) == 1
    told = bool(every) and all(gpu.uuid.startswith("GPU-") and "?" not in gpu.uuid for gpu in every)
    if not all(by_place if name.isdigit() else told and name.startswith("GPU-") for name in names):
        return None
    found = []
    for name in names:
        gpu = _named(name, every)
        if gpu is None:  # CUDA shows none of those behind it either
            break
        found.append(gpu.minor)
    return found


class Gpu(NamedTuple):
    """One of NVIDIA's GPUs, as its driver tells."""

    minor: int
    model: str
    uuid: str  # question marks as long as nothing has used it; empty where the driver has no such line


def _named(name: str, every: list[Gpu]) -> Gpu | None:
    """The GPU of a number or of the beginning of a UUID; None if there is none."""
    if name.isdigit():
        return every[int(name)] if int(name) < len(every) else None
    return next((gpu for gpu in every if gpu.uuid.startswith(name)), None)


def gpus(root: Path) -> list[Gpu]:
    """NVIDIA's GPUs that have a node, by their place on the bus."""
    found = []
    for folder in sorted((root / "proc/driver/nvidia/gpus").glob("*")):
        lines = (folder / "information").read_text(errors="replace").splitlines()
        told = {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        if (root / f"dev/nvidia{told.get('Device Minor')}").exists():
            found.append(Gpu(int(told["Device Minor"]), told.get("Model", ""), told.get("GPU UUID", "")))
    return found


def refuse_closed(shown_nodes: list[Path]) -> None:
    """For a program that becomes a user of its own, in no group: it would run without its GPU and not say so.

    Raises:
        SandboxError: a node is not open to everybody.
    """
    for node in shown_nodes:
        status = node.stat()
        if stat.S_ISCHR(status.st_mode) and status.st_mode & 0o006 != 0o006:
            raise SandboxError(f"{node} is closed to the user that a trial becomes: as root, `chmod a+rw {node}`")

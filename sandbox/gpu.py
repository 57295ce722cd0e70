"""GPU memory and activity of a program's tree, seen from outside through NVIDIA's management library (NVML).

`gauge` polls: it is what enforces a limit of GPU memory. `cap` is a help for honest scripts: torch's allocator then
refuses with a clean out-of-memory error before the limit is reached; a script can lift that cap, the gauge it cannot.

Written from the documentation of NVML and CUDA; the choice of devices and the arithmetic are tested, but no GPU has
run this yet. Nothing is measured or promised for GPUs of other makers.
"""

import contextlib
import itertools
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import allocator
from sandbox.processes import born
from sandbox.spec import SandboxError, Spec

DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # without either of them nothing is imported
SLACK_BYTES = 256 * 2**20  # a device total may stay above its former level by this much
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Device:
    """A GPU or a part of one: its name for people, NVML's handle, and the bytes in use when the gauge was made."""

    name: str
    handle: Any
    level: int


class Gauge:
    """What the GPUs of one program's slot are used for. NVML is the module `pynvml`, or what has its functions.

    Where the driver tells the memory of each process, under numbers that are those of this machine's process list, the
    tree's own is counted. Where it does not (many containers, MIG without the right, WSL), what is above the level of
    the device when the gauge was made counts as the tree's: the slot must then be nobody else's.

    Processes are given with the time they were born (`processes.born`): a number used again is somebody else's.

    Every method raises SandboxError when NVML does not answer any more.
    """

    def __init__(self, nvml: Any, handles: Sequence[tuple[str, Any]]) -> None:
        self._nvml = nvml
        self._devices = [Device(name, handle, self._memory(handle).used) for name, handle in handles]

    def used_bytes(self, births: Mapping[int, int]) -> int:
        """Bytes that these processes hold on that GPU where they hold most."""
        return max(self._used(device, births) for device in self._devices)

    def total_bytes(self) -> int:
        """Size of the smallest of the GPUs."""
        return min(int(self._memory(device.handle).total) for device in self._devices)

    def busy(self) -> bool:
        """Whether any of the GPUs has computed lately; one that cannot tell (MIG) counts as busy."""
        return any(self._busy(device) for device in self._devices)

    def held(self, births: Mapping[int, int]) -> str:
        """What is not given back of the memory of processes that have ended; empty if nothing."""
        return "; ".join(filter(None, (self._held(device, births) for device in self._devices)))

    def released(self, births: Mapping[int, int], seconds: float) -> bool:
        """Waits up to `seconds` until nothing is held: the driver frees memory some time after the end."""
        until = time.monotonic() + seconds
        while self.held(births):
            if time.monotonic() >= until:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _used(self, device: Device, births: Mapping[int, int]) -> int:
        processes = self._processes(device)
        if _told(processes):
            return sum(processes[pid] or 0 for pid in _own(processes, births))
        return max(0, int(self._memory(device.handle).used) - device.level)

    def _held(self, device: Device, births: Mapping[int, int]) -> str:
        processes = self._processes(device)
        above = self._memory(device.handle).used - device.level
        if _told(processes):
            left = _own(processes, births) if above > 0 else []  # else those numbers are of another process list
            return f"{device.name} holds memory of the ended process {', '.join(map(str, left))}" if left else ""
        return f"{device.name} holds {above / 2**30:.1f} GiB more than before the trial" if above > SLACK_BYTES else ""

    def _busy(self, device: Device) -> bool:
        try:
            return bool(self._ask("nvmlDeviceGetUtilizationRates", device.handle).gpu > 0)
        except self._nvml.NVMLError_NotSupported:
            return True

    def _processes(self, device: Device) -> dict[int, int | None]:
        """Process -> bytes, None where the driver does not say; computing and drawing lists may repeat a process."""
        found: dict[int, int | None] = {}
        for kind in ("Compute", "Graphics"):
            with contextlib.suppress(self._nvml.NVMLError_NotSupported):
                for process in self._ask(f"nvmlDeviceGet{kind}RunningProcesses", device.handle):
                    known = (found.get(process.pid), process.usedGpuMemory)
                    found[process.pid] = max((size for size in known if size is not None), default=None)
        return found

    def _memory(self, handle: Any) -> Any:
        return self._ask("nvmlDeviceGetMemoryInfo", handle)

    def _ask(self, function: str, handle: Any) -> Any:
        with _answering(self._nvml):
            return getattr(self._nvml, function)(handle)


def _told(processes: Mapping[int, int | None]) -> bool:
    """Whether the driver tells the memory of each process, by numbers that mean something here."""
    known = bool(processes) and None not in processes.values()
    return known and any(Path(f"/proc/{pid}").exists() for pid in processes)


def _own(processes: Iterable[int], births: Mapping[int, int]) -> list[int]:
    """Those of `processes` that are in `births`, alive or ended; not who was given the number of one that has ended."""
    return sorted(pid for pid in processes if pid in births and born(pid) in (births[pid], None))


@contextlib.contextmanager
def _answering(nvml: Any) -> Iterator[None]:
    """A driver that fails is the house's failure; what it does not support is for the caller to judge."""
    try:
        yield
    except nvml.NVMLError_NotSupported:
        raise
    except nvml.NVMLError as error:
        raise SandboxError(f"the GPU's driver does not answer ({error}): look at `nvidia-smi`") from error


def gauge(spec: Spec) -> Gauge | None:
    """A gauge of the GPUs that `spec` is shown; None if it is shown none, or there is no NVIDIA driver.

    Raises:
        SandboxError: there is a driver, and it does not answer.
    """
    if not spec.gpu or not any(Path(path).exists() for path in DRIVERS):
        return None
    nvml = library()
    return None if nvml is None else gauge_with(nvml, spec.env)


def library() -> Any | None:
    """NVML, started; None where it is not installed. It is never shut down: starting it again would be slow.

    Raises:
        SandboxError: it does not start, although its library and its driver are there.
    """
    import pynvml

    with _answering(pynvml):
        try:
            pynvml.nvmlInit()
        except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
            return None
    return pynvml


def gauge_with(nvml: Any, env: Mapping[str, str]) -> Gauge | None:
    """The gauge of the GPUs that a program with this environment is shown; None for none.

    None too for GPUs that have no memory of their own (GB10): what a program has there is memory of the host.
    """
    try:
        with _answering(nvml):
            handles = _handles(nvml, env)
        return Gauge(nvml, handles) if handles else None
    except nvml.NVMLError_NotSupported:
        return None


def shown(env: Mapping[str, str]) -> tuple[str, ...] | None:
    """The numbers and UUIDs in CUDA_VISIBLE_DEVICES, up to the first that is neither (as CUDA does); None for all."""
    text = env.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return None
    names = (name.strip() for name in text.split(","))
    return tuple(itertools.takewhile(lambda name: re.fullmatch(r"\d+|(GPU|MIG)-[\w/-]+", name), names))


def _handles(nvml: Any, env: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Names and handles of the shown GPUs.

    CUDA may number unequal GPUs by speed, NVML numbers by place: a number could then be any, and all are watched.
    """
    every = [(f"GPU {k}", nvml.nvmlDeviceGetHandleByIndex(k)) for k in range(nvml.nvmlDeviceGetCount())]
    names = shown(env)
    if names is None:
        return every
    by_place = env.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({nvml.nvmlDeviceGetName(h) for _, h in every}) == 1
    if not by_place and any(name.isdigit() for name in names):
        return every
    found = []
    for name in names:
        one = _handle(nvml, every, name)
        if one is None:  # CUDA shows none of those behind it either
            break
        found.append(one)
    return found


def _handle(nvml: Any, every: Sequence[tuple[str, Any]], name: str) -> tuple[str, Any] | None:
    """The GPU of a number, of the beginning of a UUID, or the part of a GPU of a MIG name; None if there is none."""
    if name.isdigit():
        return every[int(name)] if int(name) < len(every) else None
    if name.startswith("GPU-"):
        return next((one for one in every if nvml.nvmlDeviceGetUUID(one[1]).startswith(name)), None)
    try:
        return name, nvml.nvmlDeviceGetHandleByUUID(name)
    except (nvml.NVMLError_NotFound, nvml.NVMLError_InvalidArgument):
        return None


def cap(spec: Spec) -> dict[str, str]:
    """Environment that makes torch's allocator keep to the limit of GPU memory; empty where that cannot be done.

    It can from torch 2.10 on, in programs of the Python that runs the agent: of others the version is not known.
    """
    limit = spec.limits.gpu_bytes
    if limit is None or not spec.gpu or not allocator.reads_fraction(spec.argv[0]):
        return {}
    found = gauge(spec)
    return {} if found is None else allocator.setting(spec.env, limit, found.total_bytes())

"""GPU memory as the driver tells it: whose it is, which GPUs, when it is given back, and the allocator's cap.

The driver is played: an object with the functions of NVML that are used, raising NVML's own errors.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
import torch

from sandbox import allocator, gpu
from sandbox.processes import born
from sandbox.spec import Limits, Phase, SandboxError, Spec

MIB, GIB = 2**20, 2**30
ME, NOBODY = os.getpid(), 2**22 + 1  # the second is no number of a process on Linux
MINE, GONE = {ME: born(ME)}, {NOBODY: 17}


@dataclass
class Card:
    """One GPU: what it says of itself."""

    uuid: str
    used: int = 300 * MIB
    total: int = 80 * GIB
    model: str = "H200"
    busy: int | None = 0  # percent; None for a card that cannot tell
    computing: dict[int, int | None] | None = field(default_factory=dict)
    drawing: dict[int, int | None] = field(default_factory=dict)


class Driver:
    """NVML's functions for some cards; a handle is the card itself."""

    NVMLError = pynvml.NVMLError
    NVMLError_NotSupported = pynvml.NVMLError_NotSupported
    NVMLError_NotFound = pynvml.NVMLError_NotFound
    NVMLError_InvalidArgument = pynvml.NVMLError_InvalidArgument

    def __init__(self, *cards: Card):
        self.cards, self.lost = cards, False

    def nvmlDeviceGetCount(self):
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, k):
        return self.cards[k]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        for card in self.cards:
            if card.uuid == uuid:
                return card
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetUUID(self, card):
        return card.uuid

    def nvmlDeviceGetName(self, card):
        return card.model

    def nvmlDeviceGetMemoryInfo(self, card):
        if self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        if card.total == 0:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(used=card.used, total=card.total)

    def nvmlDeviceGetUtilizationRates(self, card):
        if card.busy is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=card.busy)

    def nvmlDeviceGetComputeRunningProcesses(self, card):
        if card.computing is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in card.computing.items()]

    def nvmlDeviceGetGraphicsRunningProcesses(self, card):
        return [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in card.drawing.items()]


def gauge_of(*cards: Card, **env: str) -> gpu.Gauge:
    found = gpu.gauge_with(Driver(*cards), env)
    assert found is not None
    return found


def spec(tmp_path: Path, **more) -> Spec:
    more.setdefault("env", {})
    return Spec(("python", "train.py"), tmp_path, phases=((Phase.TRAIN, 1.0),), limits=Limits(GIB, 8 * GIB), **more)


def test_only_the_memory_of_the_tree_counts_where_the_driver_tells_it():
    card = Card("GPU-a", used=9 * GIB, computing={ME: 2 * GIB, os.getppid(): 6 * GIB})
    assert gauge_of(card).used_bytes(MINE | GONE) == 2 * GIB


def test_a_number_that_was_given_to_somebody_else_is_no_more_the_trees():
    """The trial's process had our number and has ended: what we hold is not its, neither used nor held."""
    card, earlier = Card("GPU-a", computing={ME: 2 * GIB}), {ME: born(ME) - 1}
    gauge = gauge_of(card)
    card.used = 9 * GIB
    assert gauge.used_bytes(earlier) == 0 and gauge.used_bytes(MINE) == 2 * GIB
    assert gauge.held(earlier) == "" and gauge.held(MINE) != ""


@pytest.mark.parametrize(
    ("listed", "used"),
    [
        pytest.param({NOBODY: GIB}, 300 * MIB, id="numbers of another process list"),
        pytest.param({NOBODY: GIB, ME: GIB}, 300 * MIB, id="of another list, one of which is used here too"),
        pytest.param({NOBODY: None, ME: None}, 400 * MIB, id="no sizes"),
    ],
)
def test_a_number_alone_holds_nothing(listed, used):
    """In a container the driver may tell numbers of the host: one of them is by chance that of an ended process."""
    card = Card("GPU-a", computing=listed)
    gauge = gauge_of(card)
    card.used = used
    assert gauge.held(GONE) == ""


def test_a_process_that_computes_and_draws_counts_once():
    card = Card("GPU-a", computing={ME: 2 * GIB}, drawing={ME: 3 * GIB})
    assert gauge_of(card).used_bytes(MINE) == 3 * GIB


def test_the_fullest_gpu_is_what_counts():
    cards = Card("GPU-a", computing={ME: GIB}), Card("GPU-b", computing={ME: 4 * GIB})
    assert gauge_of(*cards).used_bytes(MINE) == 4 * GIB


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param({}, id="nothing, as in containers"),
        pytest.param({ME: None}, id="no numbers, as under WSL"),
        pytest.param({NOBODY: 2 * GIB}, id="numbers of another process list"),
        pytest.param(None, id="no support"),
    ],
)
def test_a_driver_that_tells_no_processes_is_read_by_what_is_above_the_former_level(listed):
    card = Card("GPU-a", used=GIB)
    gauge = gauge_of(card)
    card.computing, card.used = listed, 6 * GIB
    assert gauge.used_bytes(MINE) == 5 * GIB
    card.used = 0
    assert gauge.used_bytes(MINE) == 0


def test_activity_of_any_shown_gpu_counts_and_one_that_cannot_tell_counts_as_active():
    assert not gauge_of(Card("GPU-a"), Card("GPU-b")).busy()
    assert gauge_of(Card("GPU-a"), Card("GPU-b", busy=3)).busy()
    assert gauge_of(Card("GPU-a"), Card("MIG-b", busy=None)).busy()
    assert not gauge_of(Card("GPU-a"), Card("GPU-b", busy=3), CUDA_VISIBLE_DEVICES="0").busy()


def test_memory_of_an_ended_process_is_named_until_it_is_given_back():
    card = Card("GPU-a", computing={NOBODY: GIB, ME: GIB})
    gauge = gauge_of(card)
    card.used += GIB
    assert not gauge.released(GONE, 0.1)
    assert gauge.held(GONE) == f"GPU 0 holds memory of the ended process {NOBODY}"
    card.computing = {ME: GIB}
    assert gauge.released(GONE, 0.1) and gauge.held(GONE) == ""


def test_where_processes_are_not_told_the_level_has_to_come_back():
    card = Card("GPU-a", used=GIB)
    gauge = gauge_of(card)
    card.used = 3 * GIB
    assert not gauge.released(GONE, 0.1)
    assert gauge.held(GONE) == "GPU 0 holds 2.0 GiB more than before the trial"
    card.used = GIB + 200 * MIB
    assert gauge.released(GONE, 0.1)


def test_memory_of_others_does_not_keep_a_slot_closed_where_the_driver_tells_processes():
    card = Card("GPU-a", computing={ME: GIB})
    gauge = gauge_of(card)
    card.used, card.computing = 9 * GIB, {ME: 9 * GIB}
    assert gauge.released(GONE, 0.1)


def test_a_gpu_that_is_lost_is_a_failure_of_the_house():
    driver = Driver(Card("GPU-a"))
    gauge = gpu.gauge_with(driver, {})
    driver.lost = True
    with pytest.raises(SandboxError, match=r"GPU is lost.*nvidia-smi"):
        gauge.used_bytes(MINE)
    with pytest.raises(SandboxError):
        gpu.gauge_with(driver, {})


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["GPU 0", "GPU 1", "GPU 2"]),
        ("2,0", ["GPU 2", "GPU 0"]),
        (" 1 ", ["GPU 1"]),
        ("GPU-bb", ["GPU 1"]),
        ("0,7,1", ["GPU 0"]),
        ("1,-1,0", ["GPU 1"]),
        ("MIG-x", ["MIG-x"]),
        ("MIG-gone", None),
        ("", None),
        ("-1", None),
        ("NoDevFiles", None),
    ],
)
def test_the_gpus_are_those_that_cuda_shows(visible, names):
    class Mig(Driver):
        def nvmlDeviceGetCount(self):
            return 3

    driver = Mig(Card("GPU-aa1"), Card("GPU-bb1"), Card("GPU-cc1"), Card("MIG-x"))
    env = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    found = gpu.gauge_with(driver, env)
    assert (None if found is None else [device.name for device in found._devices]) == names


def test_numbers_of_unequal_gpus_mean_any_unless_the_order_is_said():
    cards = Card("GPU-a", model="T4", computing={ME: GIB}), Card("GPU-b", computing={ME: 2 * GIB})
    assert gauge_of(*cards, CUDA_VISIBLE_DEVICES="0").used_bytes(MINE) == 2 * GIB
    assert gauge_of(*cards, CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID").used_bytes(MINE) == GIB


def test_gpus_without_memory_of_their_own_have_no_gauge():
    assert gpu.gauge_with(Driver(Card("GPU-a", total=0)), {}) is None


@pytest.mark.skipif(any(Path(path).exists() for path in gpu.DRIVERS), reason="there is a driver here")
def test_without_a_driver_there_is_no_gauge_and_no_cap(tmp_path):
    assert gpu.library() is None
    assert gpu.gauge(spec(tmp_path, gpu=True)) is None and gpu.cap(spec(tmp_path, gpu=True)) == {}


def test_nothing_of_nvidia_is_imported_for_a_trial_without_a_gpu():
    code = """
import sys, pathlib
from sandbox import gpu
from sandbox.spec import Limits, Phase, Spec
spec = Spec(("python", "x.py"), pathlib.Path("."), {}, ((Phase.TRAIN, 1.0),), Limits(2**30, 2**30))
assert gpu.gauge(spec) is None and gpu.cap(spec) == {} and "pynvml" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_cap_leaves_room_for_the_context_and_is_the_share_of_the_gpu():
    name, value = allocator.setting({}, 8 * GIB, 80 * GIB).popitem()
    assert (name, value) == ("PYTORCH_ALLOC_CONF", "per_process_memory_fraction:0.0938")  # 7.5 of 80


def test_a_limit_as_large_as_the_gpu_caps_nothing_and_one_below_the_context_refuses_all():
    assert allocator.setting({}, 80 * GIB, 80 * GIB) == {}
    assert allocator.setting({}, 100 * MIB, GIB) == {"PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.0000"}


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_the_cap_joins_what_is_set_under_the_name_that_torch_reads(name):
    theirs = "per_process_memory_fraction:0.9,roundup_power2_divisions:[256:1,512:2],expandable_segments:True"
    cap = allocator.setting({name: theirs}, 8 * GIB + 512 * MIB, 80 * GIB)
    kept = "roundup_power2_divisions:[256:1,512:2],expandable_segments:True"
    assert cap == {name: f"{kept},per_process_memory_fraction:0.1000"}


def test_only_a_torch_that_knows_the_option_is_given_it():
    header = Path(torch.__file__).parent / "include" / "c10" / "cuda" / "CUDAAllocatorConfig.h"
    assert allocator.reads_fraction(sys.executable) == (allocator.FRACTION in header.read_text())
    assert allocator.reads_fraction("torchrun") == allocator.reads_fraction(sys.executable)
    assert not allocator.reads_fraction("/usr/bin/env") and not allocator.reads_fraction("no-such-program")

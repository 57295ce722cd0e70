"""Which device nodes of NVIDIA a jail shows, by what CUDA_VISIBLE_DEVICES lists: never one that is not listed."""

import pytest

from sandbox import devices

UNKNOWN = "GPU-????????-????-????-????-????????????"
CARDS = {"GPU-aa1": ("H200", 0), "GPU-ab2": ("T4", 2), "GPU-bb3": ("H200", 1)}  # by place: UUID -> model, minor number


def machine(root, cards=CARDS):
    """A machine with unequal GPUs, as files below `root`."""
    (root / "dev").mkdir(parents=True)
    for at, (uuid, (model, minor)) in enumerate(cards.items()):
        folder = root / f"proc/driver/nvidia/gpus/0000:0{at}:00.0"
        folder.mkdir(parents=True)
        text = (
            f"Model: \t\t {model}\nIRQ:   \t\t 16\nGPU UUID: \t {uuid}\nBus Type: \t PCIe\nDevice Minor: \t {minor}\n"
        )
        (folder / "information").write_text(text)
        (root / f"dev/nvidia{minor}").touch()
    return root


def minors(root, visible, **env):
    nodes = devices.nodes({"CUDA_VISIBLE_DEVICES": visible, **env}, root)
    return [int(node.name.removeprefix("nvidia")) for node in nodes]


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles"])
def test_where_none_is_listed_none_is_shown_however_unequal_they_are(tmp_path, visible):
    root = machine(tmp_path)
    assert minors(root, visible) == []
    assert devices.renumbered({"CUDA_VISIBLE_DEVICES": visible}, root) == {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(
    ("visible", "shown"),
    [
        ("GPU-ab2", [2]),
        ("GPU-b", [1]),  # CUDA takes the beginning of one
        ("GPU-bb3,GPU-aa1", [0, 1]),
        ("GPU-aa1,GPU-gone,GPU-bb3", [0]),  # CUDA reads up to the first that is not there
        ("GPU-gone", []),
    ],
)
def test_a_uuid_shows_that_gpu_alone_and_stays_its_name(tmp_path, visible, shown):
    root = machine(tmp_path)
    assert minors(root, visible) == shown
    assert devices.renumbered({"CUDA_VISIBLE_DEVICES": visible}, root) == {}


def test_numbers_and_uuids_together_need_an_order_that_is_known(tmp_path):
    root = machine(tmp_path)
    assert minors(root, "1,GPU-aa1") == [0, 1, 2]
    assert minors(root, "1,GPU-aa1", CUDA_DEVICE_ORDER="PCI_BUS_ID") == [0, 2]


def test_a_uuid_that_the_driver_does_not_tell_yet_may_be_any(tmp_path):
    assert minors(machine(tmp_path, {**CARDS, UNKNOWN: ("T4", 3)}), "GPU-aa1") == [0, 1, 2, 3]


def test_a_part_of_a_gpu_may_be_of_any(tmp_path):
    assert minors(machine(tmp_path), "MIG-aa1") == [0, 1, 2]

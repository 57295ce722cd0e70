"""Memory of a whole tree: who is counted, shared pages, the watchdog."""

import os
import subprocess
import sys
import time
from functools import partial

import pytest
from sandbox_kit import GIB, LEVELS, Runner, jail_of

from sandbox.folders import owned_bytes, usage
from sandbox.meter import MARKER, Meter
from sandbox.processes import born, memory, shares, unlinked
from sandbox.slices import Slices
from sandbox.spec import Limits, Outcome, Stopped

GROW = "import time\na = []\nfor _ in range(40): a.append(bytearray(b'x' * 2**24)); time.sleep(0.02)\ntime.sleep(5)"


@pytest.fixture(params=LEVELS)
def runner(request, tmp_path):
    return Runner(jail_of(request.param, tmp_path), tmp_path)


def test_a_program_above_its_limit_is_ended_with_numbers(runner):
    ran = runner(GROW, limits=Limits(2**28))
    assert ran.evidence.stopped is Stopped.MEMORY and ran.finding.outcome is Outcome.OOM_HOST
    assert 2**28 < ran.finding.numbers["in_use_bytes"] < 2**29 and ran.finding.numbers["limit_bytes"] == 2**28


def test_children_count_together(runner):
    code = "import os\n[os.fork() for _ in range(2)]\n" + GROW.replace("range(40)", "range(8)")
    ran = runner(code, limits=Limits(2**28))  # 4 x 128 MiB
    assert ran.evidence.stopped is Stopped.MEMORY and ran.left == []


def test_pages_shared_by_forked_workers_count_once(runner):
    touched = "a = bytearray(2**28)\na[::4096] = b'x' * 2**16\n"  # in place: no moment holds it twice
    code = f"import os, time\n{touched}[os.fork() for _ in range(2)]\ntime.sleep(1.2)\nprint('ok')"
    ran = runner(code, limits=Limits(2**29))  # 4 x 256 MiB resident, 256 MiB in truth
    assert ran.finding.outcome is Outcome.OK
    assert 2**28 < ran.evidence.peak_memory_bytes < 2**29


def test_peak_and_samples_see_what_was_used(runner):
    ran = runner("import time\na = bytearray(2**27)\na[::4096] = b'x' * 2**15\ntime.sleep(1.1)")
    assert 2**27 < ran.evidence.peak_memory_bytes < 2**28
    assert ran.samples[-1][2] > 2**27


def test_one_allocation_beyond_all_bounds_fails_by_itself(runner):
    ran = runner("a = bytearray(6 * 2**30)", limits=Limits(GIB))
    assert ran.finding.outcome is Outcome.OOM_HOST and "MemoryError" in ran.finding.reason


def test_memory_in_files_without_a_name_counts(runner):
    code = "import os, time\nf = [os.memfd_create('x') for _ in range(4)]\nfor k in f: os.write(k, bytes(2**27))\n"
    assert runner(code + "time.sleep(20)", limits=Limits(2**28)).evidence.stopped is Stopped.MEMORY


def test_a_file_that_is_only_mapped_is_no_memory(runner):
    code = """
import mmap
with open("f", "wb") as f:
    for _ in range(16): f.write(bytes(2**24))
f = open("f", "rb")
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
import time
for _ in range(8): sum(m[::4096]); time.sleep(0.1)
"""
    ran = runner(code, limits=Limits(2**27))
    assert ran.finding.outcome is Outcome.OK and ran.evidence.peak_memory_bytes < 2**26


@pytest.mark.jail
def test_what_lies_in_the_jails_own_temporary_folders_is_memory(tmp_path):
    runner = Runner(jail_of("namespace", tmp_path), tmp_path)
    code = """
import os, time
for folder in ("/tmp", "/dev/shm"):
    with open(folder + "/x", "wb") as f: f.write(bytes(2**26 - 2**22))
a = bytearray(b"x" * 160 * 2**20)
time.sleep(20)
"""
    ran = runner(code, limits=Limits(2**28))
    assert ran.evidence.stopped is Stopped.MEMORY and ran.evidence.peak_memory_bytes > 2**28


def test_torch_with_threads_and_loader_workers_runs_within_its_limits(runner):
    code = """
import torch
class Data(torch.utils.data.Dataset):
    def __init__(self): self.x = torch.randn(64, 1000)
    def __len__(self): return 64
    def __getitem__(self, k): return self.x[k]
if __name__ == "__main__":
    torch.set_num_threads(4)
    model = torch.nn.Linear(1000, 1000)
    for x in torch.utils.data.DataLoader(Data(), batch_size=8, num_workers=2):
        model(x).square().mean().backward()
    torch.save(model.state_dict(), "model.pt")
    print("done", torch.get_num_threads())
"""
    ran = runner(code, seconds=60)
    assert ran.lines == ["done 4"] and ran.finding.outcome is Outcome.OK


def test_many_descriptors_are_looked_at_in_slices():
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(400)]
    nameless = os.memfd_create("x")
    try:
        os.write(nameless, bytes(2**20))
        slices, device = Slices(), os.fstat(nameless).st_dev
        looks = [slices.look(partial(unlinked, [os.getpid()]), seconds=0).get(device, 0) for _ in range(20)]
        assert looks[0] == 0 and looks[1] == 0 and looks[-1] >= 2**20
    finally:
        for descriptor in (*held, nameless):
            os.close(descriptor)


def test_many_files_in_shared_memory_are_looked_at_in_slices(tmp_path):
    for k in range(400):
        (tmp_path / str(k)).write_text("x")
    slices, begin = Slices(), partial(owned_bytes, tmp_path, os.getuid())
    looks = [sum(slices.look(begin, seconds=0).values()) for _ in range(20)]
    whole = sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir())
    assert looks[0] < looks[2] < whole and looks[-1] == whole


@pytest.fixture
def sleeper():
    """A process that is no child of ours in name: only its environment says whose it is."""
    line = [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(60)"]
    process = subprocess.Popen(line, env={MARKER: "token"}, start_new_session=True, stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_who_left_the_tree_is_found_by_its_marker_and_remembered(sleeper):
    root = subprocess.Popen(["/bin/true"])
    root.wait()
    meter = Meter(root.pid, "token")
    assert meter.sample().processes == 0
    meter.scan()
    assert meter.sample().processes == 1 and meter.survivors() == [sleeper.pid]
    sleeper.kill()
    sleeper.wait()
    assert meter.sample().processes == 0 and meter.survivors() == []


def test_who_carries_another_marker_is_left_alone(sleeper):
    assert Meter(os.getpid(), "other").survivors() == [sleeper.pid]  # as our child, not by its marker
    meter = Meter(sleeper.pid, "other")
    assert meter.survivors() == []


def test_a_zombie_is_not_alive():
    process = subprocess.Popen(["/bin/true"])
    time.sleep(0.2)
    assert born(process.pid) is None and memory(process.pid) == shares(process.pid) == (0, 0)
    process.wait()


def test_usage_of_folders_follows_no_link_and_survives_a_missing_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"x" * 100000)
    (tmp_path / "out").write_bytes(b"x" * 10**6)
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "same").hardlink_to(tmp_path / "in" / "a")
    found = usage([tmp_path / "in", tmp_path / "nothing"])
    assert 100000 <= found.bytes < 200000 and found.files == 4


def test_many_empty_files_count(tmp_path):
    for k in range(100):
        (tmp_path / str(k)).touch()
    assert usage([tmp_path]).bytes >= 100 * 4096 and usage([tmp_path]).files == 100

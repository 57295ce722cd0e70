"""The limits beside time and memory: output, stall, disk, processes, and that a run leaves nothing in the agent."""

import dataclasses
import os
import resource
import shutil
import threading
from pathlib import Path

import pytest
from sandbox_kit import GIB, LEVELS, Runner, jail_of

from sandbox import leftovers
from sandbox.folders import free, usage
from sandbox.launch import limits, most_tasks, tasks
from sandbox.removing import remove
from sandbox.spec import Limits, Mount, Outcome, Phase, SandboxError, Stopped
from sandbox.unconfined import Unconfined

FLOOD = "import os\nb = {} * 2**16\nwhile True: os.write(1, b)"
STRANGER = 59_500  # a user who is nobody, and no trial's
WRITER = """
b = bytes(2**23)
for k in range(40):
    with open(f"f{k}", "wb") as f:
        for _ in range(8): f.write(b)
import time; time.sleep(9)
"""


@pytest.fixture(params=LEVELS)
def runner(request, tmp_path):
    return Runner(jail_of(request.param, tmp_path), tmp_path)


@pytest.mark.parametrize("line", ["b'A'", "b'loss 1\\n'", "b'\\r'"])
def test_a_flood_of_output_is_ended_and_little_of_it_is_kept(runner, line):
    ran = runner(FLOOD.format(line), limits=Limits(GIB, output_bytes=2**22, log_bytes=2**16))
    assert ran.evidence.stopped is Stopped.OUTPUT and 2**22 < ran.evidence.output_bytes < 2**24
    assert ran.log.stat().st_size < 2**16 + 100 and ran.evidence.kill_seconds < 2 and ran.left == []


def test_who_does_nothing_has_stalled(runner):
    ran = runner("print('x', flush=True)\nimport time; time.sleep(20)", limits=Limits(GIB, stall_seconds=0.8))
    assert ran.evidence.stopped is Stopped.STALLED and ran.finding.outcome is Outcome.STALLED
    assert ran.evidence.seconds[Phase.TRAIN] > 0.8


BUSY = {
    "output": "for _ in range(12): print('x', flush=True); time.sleep(0.2)",
    "processor": "until = time.monotonic() + 2.4\nwhile time.monotonic() < until: pass",
    "a child's processor": "until = time.monotonic() + 2.4\nif os.fork() == 0:\n"
    "    while time.monotonic() < until: pass\nelse: os.wait()",
    "reading": "for _ in range(12): open('/proc/self/maps').read() * 9; time.sleep(0.2); "
    "f = open('f', 'wb'); f.write(bytes(2**17)); f.close()",
}


@pytest.mark.parametrize("what", BUSY)
def test_who_does_something_has_not_stalled(runner, what):
    ran = runner("import os, time\n" + BUSY[what], limits=Limits(GIB, stall_seconds=1.2))
    assert ran.finding.outcome is Outcome.OK


def test_a_fast_writer_is_stopped_soon_after_its_limit(runner):
    ran = runner(WRITER, limits=Limits(GIB, disk_bytes=2**27))
    assert ran.evidence.stopped is Stopped.DISK and ran.finding.outcome is Outcome.DISK_FULL
    assert ran.evidence.disk_bytes > 2**27 and usage([runner.work]).bytes < 2**27 + 2**30


def test_files_that_have_lost_their_name_count_as_disk(runner):
    code = "import os, time\nkeep = []\nfor k in range(8):\n    f = open('f', 'wb'); os.unlink('f'); keep.append(f)\n"
    ran = runner(code + "    f.write(bytes(2**24)); f.flush()\ntime.sleep(20)", limits=Limits(GIB, disk_bytes=2**26))
    assert ran.evidence.stopped is Stopped.DISK


def test_the_number_of_files_is_limited(runner):
    code = "import time\nfor k in range(3000): open(f'f{k}', 'w').close()\ntime.sleep(20)"
    assert runner(code, limits=Limits(GIB, files=1000)).evidence.stopped is Stopped.DISK


def test_writable_mounts_count_but_not_what_they_held_before(runner):
    cache = runner.folder / "cache"
    cache.mkdir()
    (cache / "old").write_bytes(b"x" * 2**23)
    mounts = (Mount(cache, "cache", writable=True),)
    assert runner("print(1)", mounts=mounts, limits=Limits(GIB, disk_bytes=2**22)).finding.outcome is Outcome.OK
    code = "import time\nfor k in range(5): open(f'cache/{k}', 'wb').write(bytes(2**20))\ntime.sleep(20)"
    assert runner(code, mounts=mounts, limits=Limits(GIB, disk_bytes=2**22)).evidence.stopped is Stopped.DISK


def test_a_disk_that_gets_full_ends_the_program(runner):
    room = free([runner.work]).bytes
    size = 2 * GIB  # more than other tests write meanwhile, and asked for instead of written
    code = f"import os, time\nf = open('f', 'wb')\nos.posix_fallocate(f.fileno(), 0, {size})\ntime.sleep(20)"
    limits = Limits(GIB, disk_bytes=2**40, free_disk_bytes=room - size // 2)
    try:
        assert runner(code, limits=limits).evidence.stopped is Stopped.FREE_DISK
    finally:
        remove(runner.work)  # else it stays for as long as pytest keeps its folders


def test_a_disk_that_is_full_before_is_no_failure_of_the_candidate(runner):
    with pytest.raises(SandboxError, match="make room"):
        runner("pass", limits=Limits(GIB, free_disk_bytes=2**60))


def test_processes_and_disk_are_in_the_evidence(runner):
    code = "import os, time\nopen('f', 'wb').write(bytes(2**20))\n[os.fork() for _ in range(2)]\ntime.sleep(1)"
    evidence = runner(code).evidence
    assert evidence.peak_processes == 4 and 2**20 < evidence.disk_bytes < 2**21


def test_the_fence_of_processes_is_that_of_the_user_who_is_counted(tmp_path):
    spec = Runner(Unconfined(), tmp_path).spec("pass", limits=Limits(GIB, processes=1000))
    alone = limits(dataclasses.replace(spec, user=50000))[resource.RLIMIT_NPROC]
    assert alone == most_tasks(1000) >= 2000
    assert limits(spec)[resource.RLIMIT_NPROC] >= most_tasks(1000) + tasks() // 2


class Wrong(Unconfined):
    """Asks for a limit that no kernel knows."""

    def wrap(self, spec):
        line = super().wrap(spec)
        at = line.index("--cwd")
        return [*line[:at], "--limit", "999", "1", *line[at:]]


def test_a_lock_that_does_not_shut_is_a_failure_of_the_house(tmp_path):
    runner = Runner(Wrong(), tmp_path)
    with pytest.raises(SandboxError, match="a lock does not shut: invalid resource"):
        runner("open('ran', 'w')")
    assert not (runner.work / "ran").exists()


def test_a_lock_that_fails_in_another_way_is_one_too(tmp_path):
    with pytest.raises(SandboxError, match="a lock does not shut: .*too large"):
        Runner(Unconfined(), tmp_path)("open('ran', 'w')", limits=Limits(GIB, disk_bytes=2**64))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives anything away")
@pytest.mark.parametrize("target", ["home", "home/.cache/data"])
def test_a_link_left_in_the_work_folder_gives_away_nothing_outside(tmp_path, target):
    runner, outside = Runner(jail_of("landlock", tmp_path), tmp_path), tmp_path / "outside"
    (outside / target).mkdir(parents=True)
    (tmp_path / "data").write_text("x")
    mounts = (Mount(tmp_path / "data", "~/.cache/data/x"),) if "data" in target else ()
    before = [path.stat()[:6] for path in (outside, *sorted(outside.rglob("*")))]
    runner(f"import os\nos.rename('.sandbox', 'was')\nos.symlink({str(outside)!r}, '.sandbox')")
    assert (runner.work / ".sandbox").is_symlink()
    assert runner("print('ok')", mounts=mounts).lines == ["ok"]
    assert [path.stat()[:6] for path in (outside, *sorted(outside.rglob("*")))] == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has users to give")
def test_what_a_user_left_in_shared_folders_is_removed():
    mine, folder, other = Path("/dev/shm/test-mine"), Path("/tmp/test-folder"), Path("/dev/shm/test-other")
    try:
        folder.mkdir()
        for path in (mine, folder / "deep", other):
            path.write_text("x")
        for path in (mine, folder, folder / "deep"):
            os.chown(path, STRANGER, STRANGER)
        leftovers.remove(STRANGER)
        assert (mine.exists(), folder.exists(), other.exists()) == (False, False, True)
    finally:
        other.unlink(missing_ok=True)
        mine.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def test_two_hundred_runs_leave_nothing_in_the_agent(tmp_path):
    runner = Runner(Unconfined(), tmp_path)

    def some(count):
        for _ in range(count):
            runner("print(1)", watch={"on_line": lambda line: None, "on_sample": lambda *sample: None})
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), anonymous()

    before = some(50)
    after = some(150)
    assert after[:2] == before[:2] and after[2] < before[2] + 2**21


def anonymous():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def test_a_flood_does_not_hold_up_a_cancel(runner):
    cancel = threading.Event()
    threading.Timer(0.8, cancel.set).start()
    ran = runner(FLOOD.format("b'a\\n'"), watch={"cancel": cancel}, limits=Limits(GIB, output_bytes=2**40))
    assert ran.evidence.stopped is Stopped.CANCELLED and ran.evidence.kill_seconds < 2


DEEP = """
import os, time
for _ in range(30):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
open("big", "wb").write(b"x" * 2**22)
time.sleep(9)
"""


def test_what_lies_deeper_than_a_path_can_name_counts_as_too_much(runner):
    ran = runner(DEEP, limits=Limits(GIB))
    assert ran.evidence.stopped is Stopped.DISK
    remove(runner.work)

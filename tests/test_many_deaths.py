"""A run of two hundred scripts that each die in another way: told right, and nothing is left of any of them."""

import os
import re
import threading
import time
from pathlib import Path

import pytest
from kit import Desk, ended
from many_deaths import WAYS, script

TRIALS = 200
LIMITS = """train_seconds = 0.5
judge_seconds = 0.5
startup_seconds = 5
stall_seconds = 0.7
processes = 60
disk = "32MiB"
"""
GROWTH = 24 * 2**20  # bytes: the history of a run is kept in memory, its dead are not


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def machine() -> dict[str, set[str]]:
    """What a run could leave on this machine; other tests may add to it, so only what names this run counts."""
    found = {"mounts": set(Path("/proc/self/mountinfo").read_text().splitlines())}
    found["cgroups"] = {str(p) for p in Path("/sys/fs/cgroup").rglob("*") if p.is_dir()}
    return found


def processes_below(folder: Path) -> list[str]:
    """Processes whose command line or working folder names this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes().decode(errors="replace") + str((entry / "cwd").readlink())
            except OSError:
                continue
            if str(folder) in text:
                found.append(text)
    return found


@pytest.mark.timeout(400)
def test_two_hundred_deaths_are_told_right_and_leave_nothing(tmp_path):
    tests = str(Path(__file__).parent)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    desk = Desk(tmp_path / "desk", env={"PYTHONPATH": tests, "TMPDIR": str(temporary)})
    desk.target(script(), limits=LIMITS, rest=f"[space]\nDEATH = {{ low = 0, high = {TRIALS + 50} }}")
    (desk.folder / "tiny/target.toml").write_text(
        (desk.folder / "tiny/target.toml").read_text().replace('memory = "2GiB"', 'memory = "192MiB"')
    )
    before = machine()
    process = desk.start(
        *("run", "tiny", "--budget", "20m", "--repeats", "1", "--trials", str(TRIALS)),
        *("--name", "x", "--proposer", "many_deaths:Walk"),
    )
    sizes: list[tuple[int, int]] = []

    def watch() -> None:
        while process.poll() is None:
            done = sum(event["kind"] == "closed" for event in desk.events())
            try:
                sizes.append((done, memory(process.pid)))
            except OSError:
                return
            time.sleep(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = ended(process, 380)
    watcher.join()
    assert done.code == 0, done.out + done.err

    measured = {e["trial"]: e["measurement"] for e in desk.events() if e["kind"] == "measured"}
    assert sorted(measured) == list(range(TRIALS + 1))
    wrong = {
        (n, WAYS[n % len(WAYS)][0], m["kind"], m["reason"])
        for n, m in measured.items()
        if m["kind"] != WAYS[n % len(WAYS)][0]
    }
    assert not wrong
    assert all(m["numbers"].get("limit_bytes") == 192 * 2**20 for m in measured.values() if m["kind"] == "oom_host")

    assert processes_below(desk.folder) == []
    assert list(temporary.iterdir()) == []
    assert [p for p in (desk.folder / "runs/x/work").rglob("*") if p.is_file()] == []
    assert {line for line in machine()["mounts"] - before["mounts"] if str(tmp_path) in line} == set()
    assert {path for path in machine()["cgroups"] - before["cgroups"] if re.search("agent|trial", path)} == set()
    early = max(size for count, size in sizes if count <= TRIALS // 4)
    late = max(size for count, size in sizes if count >= TRIALS * 3 // 4)
    assert late - early < GROWTH

"""Attacks that others have tried, run as trials in the namespace jail and judged from outside of it."""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from sandbox_kit import CASES, GIB, Ran, Runner, jail_of

from sandbox.spec import Limits, Mount, Stopped

ATTACKS = sorted((CASES / "attacks").glob("a*.py"))
VICTIM = """
import pathlib, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: pathlib.Path(sys.argv[1]).write_text("hit"))
print("ready", flush=True)
time.sleep(120)
"""
# The words of these scripts count nothing: they claim success for what is allowed, or harmless.
HINTS_DO_NOT_COUNT = {
    "a01_write_outside",  # writes beside the work folder land in the private /tmp when that lies in /tmp
    "a19_stdout_games",
    "a20_fork_bomb",
    "a22_disk_fill_work",
    "a23_disk_fill_tmp",
    "a32_symlinks",
    "a50_ckpt_pickle",
}
STOPPED = {
    "a20_fork_bomb": Stopped.PROCESSES,
    "a22_disk_fill_work": Stopped.DISK,
    "a44_clock_cheat": Stopped.TIME,
}
OPEN = {"a09_net_route": "vsock sockets are not in a network namespace: they need the system call filter"}


@dataclass
class House:
    """A machine of a user, in small: secrets, the agent's files, a server, a process."""

    folder: Path
    targets: dict
    victim: subprocess.Popen
    server: socket.socket
    unix: socket.socket

    def files(self) -> dict[str, str]:
        """What must not change: everything but the trial's own work folder and log."""
        outside = [p for p in self.folder.rglob("*") if "work" not in p.relative_to(self.folder).parts]
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in outside if p.is_file() and p.name != "log"}

    def connections(self) -> int:
        found = 0
        for server in (self.server, self.unix):
            server.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                server.accept()
                found += 1
        return found


@pytest.fixture
def house(tmp_path):
    for name, text in (
        ("home/.ssh/id_rsa", "SECRET"),
        ("harness/.env", "KEY=SECRET"),
        ("harness/prepare.py", "# ours"),
        ("harness/data/val.bin", "tokens"),
        ("lib/prepare.py", "# ours"),
        ("runs/other/model.pt", "theirs"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "harness/sock"))
        unix.listen()
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(tmp_path / "signalled")],
            cwd=tmp_path / "harness",
            env={"SECRET_API": "SECRET_API"},
            stdout=subprocess.PIPE,
        )
        victim.stdout.readline()
        targets = {
            "home": tmp_path / "home",
            "harness": tmp_path / "harness",
            "lib": tmp_path / "lib",
            "work": tmp_path / "runs/work",
            "usock": tmp_path / "harness/sock",
        }
        targets = {name: str(path) for name, path in targets.items()}
        targets |= {"port": server.getsockname()[1], "asock": "nothing", "pid": victim.pid, "ppid": os.getpid()}
        try:
            yield House(tmp_path, targets, victim, server, unix)
        finally:
            victim.kill()
            victim.communicate()


def attack(name: str, house: House, seconds: float = 20.0) -> Ran:
    """Runs one script with everything it wants to know."""
    runner = Runner(jail_of("namespace"), house.folder / "runs")
    return runner(
        next(path for path in ATTACKS if path.stem == name).read_text(),
        seconds=seconds,
        limits=Limits(GIB, processes=200, disk_bytes=2**28, log_bytes=2**18),
        env={"ATTACK_TARGETS": json.dumps(house.targets)},
        mounts=(
            Mount(house.folder / "lib", str(house.folder / "lib")),
            Mount(house.folder / "harness/prepare.py", "prepare.py"),
        ),
    )


@pytest.mark.jail
@pytest.mark.skipif(not ATTACKS, reason="no ../shared/cases/attacks beside this checkout")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.stem, marks=[pytest.mark.xfail(reason=OPEN[path.stem])] if path.stem in OPEN else [])
        for path in ATTACKS
    ],
)
def test_attack_changes_nothing_outside(name, house):
    before = house.files()
    ran = attack(name, house, seconds=2.0 if name == "a44_clock_cheat" else 20.0)
    assert house.files() == before
    assert not Path("/etc/pwned").exists() and not Path("/usr/local/pwned").exists()
    assert house.victim.poll() is None and not (house.folder / "signalled").exists()
    assert house.connections() == 0
    assert ran.left == []
    assert ran.log.stat().st_size < 2**18 + 100
    if name not in HINTS_DO_NOT_COUNT:
        assert not [line for line in ran.lines if line.startswith("ATTACK SUCCESS")]
    if name in STOPPED:
        assert ran.evidence.stopped is STOPPED[name]

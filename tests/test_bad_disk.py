"""A disk that is full or read-only: one sentence, exit code 1, and nothing lost once it is mended."""

import json
import subprocess
import sys

import pytest
from kit import AGENT, ONE_TRIAL, QUICK, Desk, in_own_mounts


def test_a_read_only_folder_is_named_in_the_sentence(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target()
    (desk.folder / "runs").mkdir()
    runs = str(desk.folder / "runs")
    jailed = in_own_mounts("--ro-bind", runs, runs)
    line = [*jailed, AGENT, "run", "tiny", *ONE_TRIAL, "--name", "x"]
    done = subprocess.run(line, cwd=desk.folder, env=desk.env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "cannot make runs/x: Read-only file system; choose another --runs-dir" in done.stderr


def test_a_run_that_became_read_only_can_be_read_but_not_resumed(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target()
    desk.agent("run", "tiny", *ONE_TRIAL, "--name", "x")
    runs = str(desk.folder / "runs")
    jailed = in_own_mounts("--ro-bind", runs, runs)
    codes = {}
    for command in ("status", "verify", "resume"):
        line = [*jailed, AGENT, command, "x"]
        done = subprocess.run(line, cwd=desk.folder, env=desk.env, capture_output=True, text=True, timeout=60)
        codes[command] = done.returncode
    assert codes == {"status": 0, "verify": 0, "resume": 1}
    assert "Read-only file system" in done.stderr and done.stderr.count("\n") == 1


FULL = """
import json, os, subprocess, sys
agent, room, *arguments = sys.argv[1:]
def call(*a):
    done = subprocess.run([agent, *a], capture_output=True, text=True)
    said.append([done.returncode, done.stdout, done.stderr])
said = []
disk = os.statvfs(".")
with open("filler", "wb") as filler:
    filler.write(bytes(disk.f_bavail * disk.f_frsize - int(room)))
call(*arguments)
began = os.path.getsize("runs/x/journal.jsonl") > 0
os.remove("filler")
call(*(["resume", "x"] if began else arguments))
call("verify", "x", "--json")
call("log", "x", "--json")
print(json.dumps([began, said]))
"""


@pytest.mark.parametrize("room, began", [(24_000, False), (90_000, True)], ids=["at the start", "in the middle"])
def test_a_full_disk_ends_the_run_in_one_sentence_and_loses_nothing(tmp_path, room, began):
    desk = Desk(tmp_path / "desk")
    target = desk.target(limits="free_disk = 1")
    small = tmp_path / "small"
    small.mkdir()
    jailed = in_own_mounts("--size", "3000000", "--tmpfs", str(small))
    line = [*jailed, sys.executable, "-c", FULL, AGENT, str(room), "run", str(target), *QUICK, "--name", "x"]
    done = subprocess.run(line, cwd=small, env=desk.env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    has_begun, (full, again, verified, log) = json.loads(done.stdout)
    assert has_begun == began
    assert full[0] == 1 and full[2].count("\n") == 1 and full[2].startswith("agent: "), full
    words = ("No space left on device", "Out of diskspace", "failed to write", "make room")
    assert any(word in full[2] for word in words), full[2]
    assert again[0] == 0, again
    assert json.loads(verified[1])["problems"] == []
    assert [trial["id"] for trial in json.loads(log[1])] == [0, 1, 2, 3]

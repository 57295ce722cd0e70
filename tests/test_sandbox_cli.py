"""The sandbox as a user of the command meets it: levels and promises by name, failures told with phase and numbers."""

import json
import subprocess
import sys

import pytest
from kit import AGENT, ONE_TRIAL, Desk, in_own_mounts, is_one_sentence, script_that

from sandbox.jail import pick
from sandbox.spec import JailUnavailable, Promise

RUN = ("run", "tiny", *ONE_TRIAL, "--name", "x")


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path / "desk")
    made.target()
    return made


def test_a_promise_that_is_none_is_refused_with_the_list_of_them(desk):
    done = desk.agent(*RUN, "--require", "files,walls", code=2)
    assert is_one_sentence(done)
    assert "'walls' is no promise" in done.err and all(promise in done.err for promise in Promise)


def test_nothing_runs_where_a_required_promise_is_not_kept(desk):
    done = desk.agent(*RUN, "--sandbox", "none", "--require", "FILES,TIME", code=1)
    assert is_one_sentence(done)
    assert "--sandbox none does not keep files" in done.err and "leave out one of the two" in done.err
    assert desk.events() == []


@pytest.mark.parametrize("promise", ["network", "sockets"])
def test_a_target_with_the_network_is_not_said_to_be_without(desk, promise):
    desk.target(limits="network = true")
    if promise not in pick("auto").jail.promises():
        pytest.skip(f"no jail here keeps {promise}")
    done = desk.agent(*RUN, "--require", promise, code=1)
    assert is_one_sentence(done) and f"does not keep {promise}" in done.err and "limits.network = true" in done.err
    desk.agent(*RUN)
    records = [e["session"] if e["kind"] == "started" else e.get("measurement") for e in desk.events()]
    assert [promise in record["promises"] for record in records if record] == [False] * 3


def test_requiring_nothing_by_mistake_is_refused(desk):
    assert "is no promise" in desk.agent(*RUN, "--require", "", code=2).err


def test_a_resume_holds_to_what_was_required_unless_told_otherwise(desk):
    if "files" not in pick("auto").jail.promises():
        pytest.skip("no jail here keeps files")
    desk.agent(*RUN, "--require", "files")
    refused = desk.agent("resume", "x", "--trials", "2", "--sandbox", "none", code=1)
    assert is_one_sentence(refused) and "does not keep files" in refused.err
    desk.agent("resume", "x", "--trials", "2", "--sandbox", "none", "--require", "none")
    assert [e["measurement"]["jail"] for e in desk.events() if e["kind"] == "measured"][-1] == "none"


@pytest.mark.parametrize("level", ["namespace", "landlock", "none"])
def test_level_and_promises_stand_at_the_start_and_in_every_record(desk, level):
    try:
        promises = sorted(pick(level, (desk.folder,)).jail.promises())
    except JailUnavailable as error:
        pytest.skip(str(error))
    done = desk.agent(*RUN, "--sandbox", level)
    assert f"sandbox  {level} ({', '.join(promises)})" in done.out
    measured = [e["measurement"] for e in desk.events() if e["kind"] == "measured"]
    assert [(m["jail"], m["promises"], m["outcome"]) for m in measured] == [(level, promises, "ok")] * 2


SMOKING = """import sys
DEATH = 0
print("smoke step", flush=True)
if DEATH == 1:
    raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB")
print("step 0 loss 2.0", flush=True)
print("val_loss: 1.0")
"""


def test_a_lack_of_memory_in_the_smoke_step_has_a_phase_of_its_own(desk):
    folder = desk.target(SMOKING, rest="[space]\nDEATH = { low = 0, high = 1 }")
    toml = (folder / "target.toml").read_text().replace("[limits]", "smoke = '^smoke step$'\n[limits]")
    (folder / "target.toml").write_text(toml)
    desk.agent(*RUN)
    baseline, died = (e["measurement"] for e in desk.events() if e["kind"] == "measured")
    assert list(baseline["seconds"]) == ["startup", "smoke", "train"]
    assert list(died["seconds"]) == ["startup", "smoke"]
    assert (died["outcome"], died["kind"]) == ("oom_gpu", "oom_gpu") and "smoke" in died["reason"]
    assert (died["numbers"]["requested_bytes"], died["numbers"]["limit_bytes"]) == (2 * 2**30, 8 * 2**30)
    assert "oom_gpu" in desk.agent("show", "x", "1").out


def test_a_smoke_pattern_that_is_none_is_refused(desk):
    path = desk.folder / "tiny" / "target.toml"
    path.write_text(path.read_text().replace("[limits]", "smoke = '('\n[limits]"))
    done = desk.agent(*RUN, code=2)
    assert is_one_sentence(done) and "progress.smoke" in done.err


FILLING = script_that("open('big', 'wb').write(bytes(24 * 2**20)); import time; time.sleep(5)")
FULL = """
import json, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
events = [json.loads(line)["event"] for line in open("runs/x/journal.jsonl")]
outcomes = [event["measurement"]["outcome"] for event in events if event["kind"] == "measured"]
print(json.dumps([done.returncode, done.stderr, outcomes]))
"""


def test_a_candidate_that_fills_a_nearly_full_disk_is_to_blame_and_the_run_goes_on(desk, tmp_path):
    desk.target(FILLING, limits='free_disk = "16MiB"')
    small = tmp_path / "small"
    small.mkdir()
    jailed = in_own_mounts("--size", str(40 * 2**20), "--tmpfs", str(small))
    line = [*jailed, sys.executable, "-c", FULL, AGENT, "run", str(desk.folder / "tiny"), *ONE_TRIAL, "--name", "x"]
    done = subprocess.run(line, cwd=small, env=desk.env, capture_output=True, text=True, timeout=80)
    assert done.returncode == 0, done.stderr
    code, said, outcomes = json.loads(done.stdout)
    assert (code, outcomes) == (0, ["ok", "disk_full"]), said

"""Bad input: one clear sentence, exit code 2 for the user's own and 1 for what the house lacks, and nothing lost."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from kit import (
    AGENT,
    METRIC,
    ONE_TRIAL,
    SCRIPT,
    Desk,
    ended,
    is_one_sentence,
    killed,
    script_that,
)

RUN = ("run", "tiny", "--trial-time", "1s", "--budget", "60s")

FLAGS = {
    "a target that is not there": (("run", "nowhere", "--budget", "1m"), "there is no folder nowhere"),
    "a file as target": (("run", "tiny/train.py", "--budget", "1m"), "there is no folder tiny/train.py"),
    "no budget": (("run", "tiny"), "--budget"),
    "a budget of apples": (("run", "tiny", "--budget", "5 apples"), "'5 apples' is no duration: write 90s, 30m"),
    "a budget without end": (("run", "tiny", "--budget", "99999999999999d"), "shorter than ten years"),
    "a budget of nothing": (("run", "tiny", "--budget", "0s"), "longer than zero"),
    "a budget below one trial": (("run", "tiny", "--budget", "5s"), "shorter than one trial"),
    "an unknown proposer": (
        (*RUN, "--proposer", "cmaa"),
        "unknown proposer 'cmaa': choose one of cma, code, llm-constants, pattern, random",
    ),
    "a proposer of no module": ((*RUN, "--proposer", "no.such:Thing"), "cannot import proposer 'no.such:Thing'"),
    "a proposer not in its module": ((*RUN, "--proposer", "json:Thing"), "json has no Thing"),
    "an unknown sandbox": ((*RUN, "--sandbox", "steel"), "'steel' is none of auto, namespace, landlock, none"),
    "an unknown way to keep": ((*RUN, "--keep", "all"), "greedy"),
    "no trials": ((*RUN, "--trials", "0"), "trials"),
    "a negative seed": ((*RUN, "--seed", "-1"), "seed"),
    "a setting without a value": ((*RUN, "--set", "limits.memory"), "write key=value"),
    "a setting of an unknown key": ((*RUN, "--set", "limits.memry=1GiB"), "did you mean 'memory'"),
    "a setting of nonsense": ((*RUN, "--set", "limits.memory=lots"), "'lots' is no size"),
    "a name with a slash": ((*RUN, "--name", "a/b"), "cannot be the name of a run"),
    "an empty name": ((*RUN, "--name", ""), "cannot be the name of a run"),
    "a name of two lines": ((*RUN, "--name", "a\nb"), "cannot be the name of a run"),
    "a name without end": ((*RUN, "--name", "x" * 300), "cannot be the name of a run"),
    "a folder of runs that is a file": ((*RUN, "--runs-dir", "tiny/train.py"), "choose another --runs-dir"),
    "an unknown command": (("rum",), "No such command 'rum'"),
    "an unknown flag": ((*RUN, "--buget", "5m"), "--budget"),
    "a run that is not there": (("resume", "mar5"), "there is no run 'mar5'"),
    "no run at all": (("log",), "there is no run in runs"),
    "init of what is there": (("init", "tiny"), "target.toml exists"),
    "init of nothing": (("init", "nowhere"), "there is no folder nowhere"),
    "the space of nothing": (("space", "nowhere.py"), "cannot read nowhere.py"),
}

TARGETS = {
    "broken TOML": ({"top": "name = "}, "target.toml: "),
    "an unknown key": ({"limits": "train_second = 5"}, "limits.train_second': did you mean 'train_seconds'?"),
    "an unknown table": ({"rest": "[metrics]\nname = 'x'"}, "unknown key 'metrics': did you mean 'metric'?"),
    "a text for a list": ({"top": 'mounts = "data"'}, "mounts: Input should be a valid tuple"),
    "a number for a text": (
        {"metric": METRIC.replace('"val_loss"', "5", 1)},
        "metric.name: Input should be a valid str",
    ),
    "a duration that is none": ({"limits": 'train_seconds = "soon"'}, "train_seconds: 'soon' is no duration"),
    "no metric at all": ({"metric": 'name = "val_loss"'}, "give either judge"),
    "a pattern without a group": ({"metric": "name = 'x'\npattern = 'x'"}, "exactly one group"),
    "a pattern that is none": ({"metric": "name = 'x'\npattern = '('"}, "no regular expression"),
    "an unknown goal": ({"metric": METRIC + "\ngoal = 'up'"}, "'minimize' or 'maximize'"),
    "a brief that is not there": ({"top": 'brief = "AGENT.md"'}, "names AGENT.md, but there is no such file"),
    "a mount that is not there": ({"top": 'mounts = ["~/data"]'}, "/data, which is not there: prepare your data"),
    "a range of no constant": (
        {"rest": "[space]\nLRR = {low = 1, high = 2}"},
        "LRR: no such constant; did you mean LR?",
    ),
    "a range upside down": ({"rest": "[space]\nLR = {low = 2.0, high = 1.0}"}, "LR"),
    "a script that is no Python": ({"script": "LR = = 1\n"}, "train.py:1 is no valid Python"),
    "a script without constants": ({"script": "print('val_loss: 1')\n"}, "there is no constant to search"),
}


def refused(desk: Desk, *arguments: str, code: int = 2, **more) -> str:
    """What the command says as it refuses; nothing may have changed."""
    before = desk.contents()
    done = desk.agent(*arguments, code=code, **more)
    assert is_one_sentence(done), done.err
    assert done.out == ""
    assert desk.contents() == before
    return done.err


@pytest.mark.parametrize("arguments, sentence", FLAGS.values(), ids=FLAGS)
def test_a_wrong_command_line_is_refused_in_one_sentence(tmp_path, arguments, sentence):
    desk = Desk(tmp_path / "desk")
    desk.target()
    assert sentence in refused(desk, *arguments)


@pytest.mark.parametrize("parts, sentence", TARGETS.values(), ids=TARGETS)
def test_a_wrong_target_is_refused_in_one_sentence(tmp_path, parts, sentence):
    desk = Desk(tmp_path / "desk")
    desk.target(**parts)
    assert sentence in refused(desk, *RUN)


def test_a_folder_without_a_target_is_told_about_init(tmp_path):
    desk = Desk(tmp_path / "desk")
    (desk.target() / "target.toml").unlink()
    assert "`agent init tiny` writes one" in refused(desk, *RUN)


def test_a_name_that_is_taken_is_refused_and_its_run_kept(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target()
    desk.agent(*RUN, *ONE_TRIAL, "--name", "x")
    assert "the run x exists: `agent resume x` goes on with it" in refused(desk, *RUN, "--name", "x")
    (desk.folder / "runs" / "mine").mkdir()
    assert "the run mine exists" in refused(desk, *RUN, "--name", "mine")


def test_a_second_process_on_a_run_is_refused_with_the_first_ones_pid(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target(script_that("import time; time.sleep(600)"))
    first = desk.start(*RUN, "--repeats", "1", "--name", "x")
    try:
        desk.wait_for("proposed", 1)
        events = desk.events()
        done = desk.agent("resume", "x", code=2)
        assert f"process {first.pid} is working on" in done.err and is_one_sentence(done)
        assert desk.events() == events
        assert first.poll() is None
    finally:
        killed(first)


def test_without_git_the_sentence_says_what_to_install_and_the_name_stays_free(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target()
    bare = tmp_path / "bin"
    bare.mkdir()
    if bwrap := shutil.which("bwrap"):
        (bare / "bwrap").symlink_to(bwrap)
    done = desk.agent(*RUN, *ONE_TRIAL, "--name", "x", code=1, env=desk.env | {"PATH": str(bare)})
    assert "git is not installed" in done.err and is_one_sentence(done)
    assert "there is no run in runs" in desk.agent("status").out
    assert "never began" in desk.agent("resume", "x", code=2).err
    desk.agent(*RUN, *ONE_TRIAL, "--name", "x")
    desk.agent("verify", "x")


def git(folder: Path, *arguments: str, **more) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=90, **more
    ).stdout


def test_a_run_started_by_a_hook_of_the_users_repository_leaves_that_alone(tmp_path):
    """Git exports GIT_DIR and more to hooks; the identity is missing, and the user's settings are hostile."""
    desk = Desk(tmp_path / "desk")
    desk.target()
    home = Path(desk.env["HOME"])
    (home / ".gitconfig").write_text(
        "[commit]\ngpgsign = true\n[user]\nuseConfigOnly = true\n[core]\nautocrlf = true\n"
    )
    git(desk.folder, "init", "-q", "-b", "main")
    (desk.folder / ".gitignore").write_text("runs/\n")
    git(desk.folder, "add", "-A")
    identity = ("-c", "user.name=me", "-c", "user.email=me@here", "-c", "commit.gpgsign=false")
    hook = desk.folder / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    exported = 'export GIT_DIR="$PWD/.git" GIT_WORK_TREE="$PWD" GIT_INDEX_FILE="$PWD/.git/index"'  # as in a worktree
    hook.write_text(f"#!/bin/sh\n{exported}\n{AGENT} {' '.join((*RUN, *ONE_TRIAL))} --name x >&2\n")
    hook.chmod(0o755)
    git(
        desk.folder,
        *identity,
        "commit",
        "-qm",
        "mine",
        env=desk.env | {"GIT_OBJECT_DIRECTORY": str(desk.folder / ".git/objects")},
    )
    assert git(desk.folder, "log", "--all", "--format=%an %s").split("\n") == ["me mine", ""]
    assert git(desk.folder, "status", "--porcelain") == ""
    assert git(desk.folder / "runs" / "x", "log", "--format=%an", "refs/trials/0001").split()[0] == "agent"
    desk.agent("verify", "x")


def test_a_script_that_cannot_be_read_is_refused(tmp_path):
    desk = Desk(tmp_path / "desk")
    (desk.target() / "train.py").write_bytes(b"LR = 0.1 # \xff\n")
    assert "is no UTF-8 text" in refused(desk, *RUN)


def test_the_users_own_files_are_never_written(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target(SCRIPT + "open('train.py', 'w').write('gone')\n")
    before = desk.contents()
    process = desk.start(*RUN, *ONE_TRIAL, "--name", "x")
    assert ended(process).code == 0
    assert {p: c for p, c in desk.contents().items() if not p.startswith("runs" + os.sep)} == before

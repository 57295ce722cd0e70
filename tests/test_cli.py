"""The reading commands on runs of every kind: finished, without a keep, with nothing but crashes, damaged."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from kit import AGENT, ONE_TRIAL, QUICK, SCRIPT, Desk, script_that

READING = {
    "status": ("status",),
    "status of one": ("status", "x"),
    "log": ("log", "x"),
    "log of keeps": ("log", "x", "--kept"),
    "show": ("show", "x", "0"),
    "best": ("best", "x"),
    "verify": ("verify", "x"),
    "space": ("space", "tiny"),
    "space of a file": ("space", "tiny/train.py"),
    "doctor": ("doctor",),
}
KINDS = {  # kind -> (script, exit code of the run)
    "finished": (SCRIPT, 0),
    "no keep": (script_that("val_loss = 5.0"), 0),
    "only crashes": (script_that("raise ValueError('no')", when="True"), 1),
}


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    """Kind -> a desk with a finished run `x` of that kind, made when first asked for."""
    made = {}

    def get(kind: str) -> Desk:
        if kind not in made:
            desk = made[kind] = Desk(tmp_path_factory.mktemp("desks") / "desk")
            script, code = KINDS[kind]
            desk.target(script)
            desk.agent("run", "tiny", *QUICK, "--keep", "greedy", "--name", "x", code=code)
        return made[kind]

    return get


def test_the_command_line_loads_nothing_heavy_before_a_command_runs():
    heavy = ["torch", "litellm", "openai", "numpy", "git", "rich", "pydantic", "cmaes", "subprocess"]
    code = f"import sys, agent.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


def test_every_command_explains_itself(tmp_path):
    listed = Desk(tmp_path / "desk").agent("--help").out
    for command in ("run", "resume", "status", "log", "show", "diff", "best", "verify", "init", "space", "doctor"):
        assert f"\n  {command} " in listed


@pytest.mark.parametrize("command", READING.values(), ids=READING)
def test_a_reading_command_answers_in_words_and_in_json(desks, command):
    desk = desks("finished")
    before = desk.contents()
    words = desk.agent(*command)
    record = desk.agent(*command, "--json")
    assert words.out.strip() and not words.err and not record.err
    assert record.json
    assert words.out != record.out
    assert desk.contents() == before


@pytest.mark.parametrize("kind", ["no keep", "only crashes"])
def test_a_run_without_success_can_be_read(desks, kind):
    desk = desks(kind)
    crashed = kind == "only crashes"
    assert desk.agent("status", "x", "--json").json["best_trial"] == (None if crashed else 0)
    log = desk.agent("log", "x").out
    assert len(log.splitlines()) == (2 if crashed else 5)
    assert ("crash" if crashed else "discard") in log
    assert ("ValueError: no" if crashed else "the baseline") in desk.agent("show", "x", "0").out
    desk.agent("verify", "x")
    best = desk.agent("best", "x", "--patch", code=2 if crashed else 0)
    assert best.out == ""
    assert ("no best version" if crashed else "nothing better than your own script was found") in best.err


def test_a_run_is_found_by_name_by_path_and_as_the_latest(desks, tmp_path):
    desk = desks("finished")
    answers = {desk.agent("log", *name).out for name in ((), ("x",), ("runs/x",), (desk.folder / "runs" / "x",))}
    assert len(answers) == 1
    elsewhere = Desk(tmp_path / "elsewhere")
    assert elsewhere.agent("log", "x", "--runs-dir", desk.folder / "runs").out in answers
    two = Desk(tmp_path / "two")
    two.target()
    for name in ("zebra", "ant"):
        two.agent("run", "tiny", *ONE_TRIAL, "--name", name)
    assert "runs/ant" in two.agent("show", "ant", "0").out
    assert two.agent("verify").out.startswith("runs/ant")


def test_a_trial_that_is_not_there_is_refused(desks):
    assert "x has no trial 9: it has 0 to 3" in desks("finished").agent("show", "x", "9", code=2).err
    assert "x has no trial -1" in desks("finished").agent("diff", "x", "--", "-1", code=2).err


def test_the_best_version_is_not_written_over_what_is_no_folder(desks):
    assert (
        "cannot write tiny/target.toml/train.py"
        in desks("finished").agent("best", "x", "--into", "tiny/target.toml", code=2).err
    )


def test_a_diff_is_of_a_trial_to_its_parent_or_between_two(desks):
    desk = desks("finished")
    trials = desk.agent("log", "x", "--json").json
    assert desk.agent("diff", "x", "1").out == trials[1]["diff"] != ""
    assert desk.agent("diff", "x", "1", "--json").json["diff"] == trials[1]["diff"]
    forth, back = (desk.agent("diff", "x", *pair).out.splitlines() for pair in (("2", "3"), ("3", "2")))
    swapped = {"+": "-", "-": "+"}
    flipped = [swapped.get(line[0], line[0]) + line[1:] for line in back]
    assert sorted(forth[2:]) == sorted(flipped[2:])
    assert desk.agent("diff", "x", "1", "1").out == ""


ENDINGS = {
    "plain": SCRIPT,
    "no newline at the end": SCRIPT.rstrip("\n"),
    "CRLF": SCRIPT.replace("\n", "\r\n"),
    "a form feed": SCRIPT.replace("WIDTH", "# page\x0c two\x1c three\u2028 four\nWIDTH", 1),
}


@pytest.mark.parametrize("script", ENDINGS.values(), ids=ENDINGS)
def test_the_best_patch_applies_to_the_users_own_folder(tmp_path, script):
    desk = Desk(tmp_path / "desk")
    own = desk.target() / "train.py"
    own.write_bytes(script.encode())
    desk.agent("run", "tiny", *QUICK, "--keep", "greedy", "--name", "x")
    with (desk.folder / "best.patch").open("wb") as file:
        subprocess.run([AGENT, "best", "x", "--patch"], cwd=desk.folder, env=desk.env, stdout=file, check=True)
    desk.agent("best", "x", "--into", "out")
    best = (desk.folder / "out" / "train.py").read_bytes()
    assert best != script.encode()
    for tool in (["git", "apply", "../best.patch"], ["patch", "-s", "-p1", "--binary", "-i", "../best.patch"]):
        own.write_bytes(script.encode())
        subprocess.run(tool, cwd=own.parent, check=True, timeout=20)
        assert own.read_bytes() == best, tool
    own.write_bytes(best)
    again = subprocess.run([sys.executable, "train.py"], cwd=own.parent, capture_output=True, text=True, check=True)
    value = desk.agent("best", "x", "--json").json["value"]
    assert float(again.stdout.split()[-1]) == pytest.approx(value)


@pytest.mark.parametrize("command", [("log", "x"), ("show", "x", "1"), ("log", "x", "--json")], ids=" ".join)
def test_a_reader_that_leaves_early_is_no_error(desks, command):
    desk = desks("finished")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([AGENT, *command], cwd=desk.folder, env=desk.env, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.stderr == b""


def git(folder, *arguments: str, **more) -> str:
    line = ["git", "-c", "user.name=me", "-c", "user.email=me@here", *arguments]
    return subprocess.run(
        line, cwd=folder, check=True, capture_output=True, text=True, timeout=20, **more
    ).stdout.strip()


def rewritten(folder, ref: str, path: str, content: str) -> None:
    """Let `ref` point to a copy of its commit in which one file is different."""
    message = git(folder, "log", "-1", "--format=%B", ref)
    parent = git(folder, "rev-parse", f"{ref}^")
    blob = git(folder, "hash-object", "-w", "--stdin", input=content)
    lines = [line for line in git(folder, "ls-tree", ref).split("\n") if not line.endswith(f"\t{path}")]
    tree = git(folder, "mktree", input="\n".join([*lines, f"100644 blob {blob}\t{path}"]) + "\n")
    git(folder, "update-ref", ref, git(folder, "commit-tree", tree, "-p", parent, "-m", message))


def change_journal(folder, line: int, old: str | None, new: str | None) -> None:
    journal = folder / "journal.jsonl"
    lines = journal.read_text().split("\n")
    if old is None or new is None:
        del lines[line]
    else:
        assert old in lines[line]
        lines[line] = lines[line].replace(old, new, 1)
    journal.write_text("\n".join(lines))


def change_object(folder) -> None:
    blob = git(folder, "rev-parse", "refs/trials/0001:train.py")
    loose = folder / ".git" / "objects" / blob[:2] / blob[2:]
    if not loose.exists():
        pytest.skip("this git packs small imports")
    loose.chmod(0o644)
    loose.write_bytes(loose.read_bytes()[:-4] + b"0000")


MOVED = "trial 2: its ref is not where the journal says"
DAMAGE = {
    "a byte of the first line": (lambda f: change_journal(f, 0, '"seed":0', '"seed":1'), "damaged at line 2"),
    "a number in the middle": (lambda f: change_journal(f, 3, '"loss":1.', '"loss":0.'), "damaged at line 5"),
    "a line taken out": (lambda f: change_journal(f, 4, None, None), "damaged at line 5"),
    "a ref deleted": (lambda f: git(f, "update-ref", "-d", "refs/trials/0002"), MOVED),
    "a ref added": (lambda f: git(f, "update-ref", "refs/trials/0077", "best"), "refs/trials/0077 is in git, but"),
    "a commit's code": (lambda f: rewritten(f, "refs/trials/0002", "train.py", "LR = 9\n"), MOVED),
    "a commit's result": (lambda f: rewritten(f, "refs/trials/0002", "result.json", "{}"), MOVED),
    "best moved back": (lambda f: git(f, "update-ref", "refs/heads/best", "best^"), "best is not at the champion"),
    "an object": (change_object, "git"),
}  # fmt: skip


@pytest.mark.parametrize("damage, sentence", DAMAGE.values(), ids=DAMAGE)
def test_verify_finds(desks, tmp_path, damage, sentence):
    desk = Desk(tmp_path / "desk")
    shutil.copytree(desks("finished").folder / "runs", desk.folder / "runs", symlinks=True)
    desk.agent("verify", "x")
    damage(desk.folder / "runs" / "x")
    done = desk.agent("verify", "x", code=1)
    assert sentence in done.out + done.err


def test_one_damaged_run_does_not_hide_the_others(desks, tmp_path):
    desk = Desk(tmp_path / "desk")
    for name in ("good", "bad"):
        shutil.copytree(desks("finished").folder / "runs" / "x", desk.folder / "runs" / name)
    change_journal(desk.folder / "runs" / "bad", 0, '"seed":0', '"seed":1')
    done = desk.agent("status", code=1)
    assert "\ngood " in done.out
    assert "bad/journal.jsonl is damaged at line 2" in done.err
    assert [run["run"] for run in json.loads(desk.agent("status", "--json", code=1).out)] == ["runs/good"]

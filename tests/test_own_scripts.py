"""Bring your own script: `agent init DIR`, then `agent run DIR`, on the kinds of script that people have."""

import json
import subprocess
from pathlib import Path

import pytest
from kit import ONE_TRIAL, QUICK, SCRIPT, Desk

TIME = ("--set", "limits.memory=2GiB", "--name", "x")


def brought(desk: Desk, **files: str) -> Path:
    """A folder with a user's files, and nothing of ours."""
    folder = desk.folder / "mine"
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_py", ".py").replace("_md", ".md")).write_text(text)
    return folder


def test_a_script_that_prints_its_loss_runs_after_init_alone(tmp_path):
    desk = Desk(tmp_path / "desk")
    folder = brought(desk, train_py=SCRIPT)
    told = desk.agent("init", "mine").out
    assert "metric   val_loss, minimize, read from the script's output (self-reported)" in told
    assert "3 constants: LR, DROPOUT, WIDTH" in told
    assert sorted(path.name for path in folder.iterdir()) == ["target.toml", "train.py"]
    done = desk.agent("run", "mine", *QUICK, *TIME)
    assert "val_loss, lower is better, self-reported by the script" in done.out
    trials = desk.agent("log", "x", "--json").json
    assert [trial["outcome"] for trial in trials] == ["ok"] * 4
    assert trials[0]["value"] == pytest.approx(1.056)
    assert (folder / "train.py").read_text() == SCRIPT


AUTORESEARCH = {
    "train_py": '''
import os
import time
from prepare import DATA, TIME_BUDGET, evaluate

DEPTH = 8
MATRIX_LR = 0.04
start, step = time.time(), 0
text = open(os.path.join(DATA, "val.txt")).read()
while step < 3:
    step += 1
    loss = 3.0 / step
    print(f"\\rstep {step:05d} ({100 * step / 3:.1f}%) | loss: {loss:.6f} | dt: 1ms", end="", flush=True)
print()
val_bpb = evaluate(MATRIX_LR, DEPTH, text)
print("---")
print(f"val_bpb:          {val_bpb:.6f}")
print(f"training_seconds: {time.time() - start:.1f}")
print(f"peak_vram_mb:     {0.0:.1f}")
print(f"depth:            {DEPTH}")
''',
    "prepare_py": '''
import os

TIME_BUDGET = 2
CACHE = os.path.join(os.path.expanduser("~"), ".cache", "autoresearch")
DATA = os.path.join(CACHE, "data")

def evaluate(rate, depth, text):
    assert text == "held out"
    return 1.0 + abs(rate - 0.02) + abs(depth - 6) / 100
''',
    "program_md": "# Program\\nLower val_bpb.\\n",
}  # fmt: skip


def test_the_layout_of_autoresearch_runs_as_it_is(tmp_path):
    desk = Desk(tmp_path / "desk")
    folder = brought(desk, **AUTORESEARCH)
    data = Path(desk.env["HOME"]) / ".cache" / "autoresearch" / "data"
    data.mkdir(parents=True)
    (data / "val.txt").write_text("held out")
    told = desk.agent("init", "mine").out
    assert "the layout of karpathy/autoresearch" in told and "2s a training" in told
    written = (folder / "target.toml").read_text()
    assert 'brief = "program.md"' in written and 'mounts = ["~/.cache/autoresearch' in written
    desk.agent("run", "mine", "--budget", "60s", "--repeats", "2", "--trials", "2", *TIME)
    trials = desk.agent("log", "x", "--json").json
    assert [trial["outcome"] for trial in trials] == ["ok"] * 3
    assert (trials[0]["metric"], trials[0]["value"]) == ("val_bpb", pytest.approx(1.04))
    assert [point["loss"] for point in trials[0]["measurements"][0]["curve"]] == [3.0, 1.5, 1.0]
    assert all(set(trial["proposal"]["constants"]) <= {"DEPTH", "MATRIX_LR"} for trial in trials)
    assert "prepare.py" not in "".join(trial["diff"] for trial in trials)


def test_data_that_is_not_there_is_said_at_init(tmp_path):
    desk = Desk(tmp_path / "desk")
    brought(desk, **AUTORESEARCH)
    told = desk.agent("init", "mine").out
    assert "the script names ~/.cache/autoresearch" in told and "prepare your data" in told


def test_a_script_with_no_metric_is_refused_with_the_line_that_it_needs(tmp_path):
    desk = Desk(tmp_path / "desk")
    folder = brought(desk, train_py="LR = 0.1\nprint('done')\n")
    done = desk.agent("init", "mine", code=2)
    assert done.err.count("\n") == 1 and "mine/train.py prints no metric that could be found" in done.err
    assert "print(f'val_loss: {val_loss:.4f}')" in done.err
    assert not (folder / "target.toml").exists()


ACCURACY = """LR = 0.01
WIDTH = 16
val_accuracy = 0.9 - abs(LR - 0.03) - abs(WIDTH - 32) / 1000
print(f"val_accuracy: {val_accuracy:.6f}")
"""


def test_a_metric_to_maximize_goes_up_and_is_shown_as_the_user_knows_it(tmp_path):
    desk = Desk(tmp_path / "desk")
    brought(desk, train_py=ACCURACY)
    assert "val_accuracy, maximize" in desk.agent("init", "mine").out
    done = desk.agent("run", "mine", *ONE_TRIAL[:-1], "6", "--keep", "greedy", *TIME)
    assert "higher is better" in done.out
    trials = desk.agent("log", "x", "--json").json
    kept = [trial["value"] for trial in trials if trial["verdict"]["decision"] == "keep"]
    assert len(kept) > 1 and kept == sorted(kept) and kept[0] == pytest.approx(0.864)
    best = kept[-1]
    status = desk.agent("status", "x", "--json").json
    assert (status["baseline"], status["best"]) == (pytest.approx(0.864), pytest.approx(best))
    number = f"{best:.4f}"
    for command in (("status", "x"), ("log", "x"), ("best", "x"), ("show", "x", str(status["best_trial"]))):
        assert number in desk.agent(*command).out, command
    champion = next(trial for trial in trials if trial["id"] == status["best_trial"])
    gain = champion["value"] - trials[champion["parent"]]["value"]
    assert f"+{gain:.4f}" in desk.agent("show", "x", str(champion["id"])).out
    git = ["git", "-C", str(desk.folder / "runs" / "x")]
    message = subprocess.run([*git, "log", "-1", "best"], capture_output=True, text=True, check=True).stdout
    assert f"keep {number} (+{gain:.4f})" in message and f"Val-Accuracy: {best:.6f}" in message
    assert "-0." not in done.out.replace("-0.0000", "").split("ended:")[1]


def test_a_self_reported_number_is_marked_in_every_record_and_view(tmp_path):
    desk = Desk(tmp_path / "desk")
    desk.target()
    run = desk.agent("run", "tiny", *ONE_TRIAL, "--name", "x").out
    views = [desk.agent(*command).out for command in (("status",), ("status", "x"), ("log",), ("best",))]
    views.append(desk.agent("show", "x", "0").out)
    assert all("self-reported" in view for view in [run, *views]), [run, *views]
    records = [desk.agent(*command, "--json").json for command in (("status", "x"), ("best", "x"), ("show", "x", "0"))]
    assert all(record["self_reported"] is True for record in records)
    git = ["git", "-C", str(desk.folder / "runs" / "x")]
    for ref in ("refs/trials/0000", "refs/trials/0001"):
        seen = subprocess.run([*git, "show", f"{ref}:result.json"], capture_output=True, text=True, check=True).stdout
        assert json.loads(seen)["self_reported"] is True
        said = subprocess.run([*git, "log", "-1", "--format=%(trailers)", ref], capture_output=True, text=True).stdout
        assert "Self-Reported: yes" in said and "Val-Loss: " in said


LAST = {  # what the script prints -> (outcome, value)
    "9.979e-01": ("val_loss: 9.979e-01", "ok", 0.9979),
    "a leading plus and point": ("val_loss: +.5E+1", "ok", 5.0),
    "nan": ("val_loss: nan", "diverged", None),
    "-Infinity": ("val_loss: -Infinity", "diverged", None),
    "the last of three": ("val_loss: 3\nval_loss: 2\nval_loss: 1.5", "ok", 1.5),
    "the last, though it is none": ("val_loss: 3\nval_loss: none", "crash", None),
    "only at the start of a line": ("val_loss: 3\nbest val_loss: 1", "ok", 3.0),
    "among failures": ("FAIL\nError: 7\nval_loss: 3\nFAILED: 0 tests", "ok", 3.0),
    "behind a progress bar": ("50%\r100%\rval_loss: 3\n", "ok", 3.0),
    "in colour": ("\033[32mval_loss: 3\033[0m", "ok", 3.0),
}


def test_a_metric_is_read_by_its_pattern_alone(tmp_path):
    """One run for all cases: the baseline is fine, and each value of CASE prints another ending."""
    desk = Desk(tmp_path / "desk")
    endings = [printed for printed, _, _ in LAST.values()]
    script = f"CASE = {len(endings)}\nprint([*{endings!r}, 'val_loss: 9'][CASE])\n"
    desk.target(script, rest=f"[space]\nCASE = {{ choices = {list(range(len(endings) + 1))} }}")
    count = str(len(endings))
    desk.agent("run", "tiny", *ONE_TRIAL[:-1], count, "--proposer", "random", "--name", "x", timeout=200)
    trials = desk.agent("log", "x", "--json").json
    found = {t["proposal"]["constants"].get("CASE"): (t["outcome"], t["value"]) for t in trials}
    found.pop(None)
    assert found == {case: expected[1:] for case, expected in enumerate(LAST.values())}

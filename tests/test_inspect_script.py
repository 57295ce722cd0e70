"""What `agent init` reads off a folder of scripts."""

import re

import pytest

from agent.inspect_script import Found, inspect

# written for this test in the manner of the field's single-file trainers; the numbers mean nothing
TRAIN = r'''
"""Train a small model for a fixed time."""
import os, time
from prepare import TIME_BUDGET, make_loader, evaluate

DEPTH = 3            # layers
MATRIX_LR = 0.011    # of the hidden matrices

def main(model, optimizer, loader):
    step, smooth = 0, 0.0
    while True:
        loss = model(next(loader))
        loss.backward()
        optimizer.step()
        done = 100 * step / 7
        print(f"\rstep {step:05d} ({done:.1f}%) | loss: {smooth:.6f} | dt: {12.5:.0f}ms    ", end="", flush=True)
        if step % 100 == 0:
            print(f"step {step}: train accuracy {0.5:.3f}")
        step += 1
    print()
    val_bpb = evaluate(model)
    print("---")
    print(f"val_bpb:          {val_bpb:.6f}")
    print(f"training_seconds: {3.25:.1f}")
    print(f"peak_vram_mb:     {100.5:.1f}")
    print(f"depth:            {DEPTH}")
'''
PREPARE = """
import os
TIME_BUDGET = 240   # seconds
HOME_CACHE = os.path.join(os.path.expanduser("~"), ".cache", "smalltrainer")
DATA_DIR = os.path.join(HOME_CACHE, "data")
print(f"val_shards: {3}")
if __name__ == "__main__":
    pass
"""


def script(**files: str) -> Found:
    return inspect({name.replace("__", "."): text for name, text in files.items()})


def read(pattern: str | None, *lines: str) -> dict[str, str] | str | None:
    """What a pattern reads from the first line it matches."""
    assert pattern is not None
    for line in lines:
        match = re.search(pattern, line)
        if match:
            return match.groupdict() or match.group(1)
    return None


def test_a_checkout_in_the_manner_of_autoresearch():
    found = script(train__py=TRAIN, prepare__py=PREPARE, program__md="Be bold.")
    assert (found.edit, found.autoresearch, found.train_seconds) == ("train.py", True, 240.0)
    assert found.home_folders == ("~/.cache/smalltrainer",)
    assert found.metric is not None
    assert (found.metric.name, found.metric.goal, found.metric.note) == ("val_bpb", "minimize", "")
    assert found.metric.pattern == r"^val_bpb:\s+(\S+)"
    assert read(found.metric.pattern, "---", "val_bpb:          1.234567") == "1.234567"
    assert read(found.progress, "step 00012 (3.4%) | loss: 2.345678 | dt: 12ms") == {
        "step": "00012",
        "loss": "2.345678",
    }


@pytest.mark.parametrize(
    ("source", "seconds"),
    [
        ("TIME_BUDGET = 5 * 60", 300.0),
        ("MAX_SECONDS = 90.5", 90.5),
        ("time_limit = 60", 60.0),
        ("MAX_TRAIN_MINUTES = 2", 120.0),
        ("TRAINING_HOURS = 0.5", 1800.0),
        ("TRAIN_SECONDS = 10", 10.0),
        ("WALL_TIME_BUDGET_S = 10", 10.0),
        ("p.add_argument('--t', default=TIME_BUDGET)\nTIME_BUDGET = 7", 7.0),
        ("TIMEOUT = 3", None),
        ("TIME_BUDGET = None", None),
        ("TIME_BUDGET = -1", None),
        ("SECONDS_PER_DAY = 86400", None),
        ("runtime = 3", None),
    ],
)
def test_training_seconds_from_constants(source: str, seconds: float | None):
    assert script(train__py=source).train_seconds == seconds


@pytest.mark.parametrize(
    ("source", "folders"),
    [
        ('p = os.path.expanduser("~/data/corpus")', ["~/data/corpus"]),
        ('p = Path("~/data/corpus").expanduser()', ["~/data/corpus"]),
        ('p = Path.home() / "data" / "corpus"', ["~/data/corpus"]),
        ('p = pathlib.Path.home().joinpath("data", "corpus")', ["~/data/corpus"]),
        ('p = os.path.join(os.path.expanduser("~"), ".cache", "tiny")', ["~/.cache/tiny"]),
        ('p = os.environ["HOME"] + "/data/corpus"', ["~/data/corpus"]),
        ('p = os.path.join(os.environ.get("HOME"), "data")', ["~/data"]),
        ('p = os.path.join(os.getenv("HOME", "/root"), "data")', ["~/data"]),
        ('H = Path.home()\np = f"{H}/data/{name}.bin"', ["~/data"]),
        ('p = f"~/data/{name}"', ["~/data"]),
        ('p = open(os.path.expanduser("~/data/train.bin"))', ["~/data"]),
        ('A = "~/data"\nB = os.path.join(A, "x")\nC = "~/more/y"', ["~/data", "~/more/y"]),
        ('C = Path.home() / ".cache"\np = C / "tiny" / part', ["~/.cache/tiny"]),
        ("p = Path.home()", []),
        ('p = Path.home() / ".cache"', []),
        ("p = Path.home() / name", []),
        ('p = os.path.expanduser("~/../other")', []),
        ('p = os.path.expanduser("~/.ssh/id_rsa")', []),
        ('p = Path.home() / ".aws" / "credentials"', []),
        ('p = "/data/corpus"', []),
        ("p = a / b", []),
        ('p = "~"', []),
        ('p = x + "~/no"', ["~/no"]),
    ],
)
def test_folders_below_the_home(source: str, folders: list[str]):
    assert list(script(train__py=source).home_folders) == folders


@pytest.mark.parametrize(
    ("files", "edit"),
    [
        ({"train.py": "", "main.py": "loss.backward()"}, "train.py"),
        ({"main.py": "", "util.py": ""}, "main.py"),
        ({"mnist.py": "loss.backward()", "data.py": "if __name__ == '__main__': pass"}, "mnist.py"),
        ({"a.py": "if __name__ == '__main__': pass", "b.py": ""}, "a.py"),
        ({"sub/run.py": "model.fit(x)", "setup.py": ""}, "sub/run.py"),
        ({"only.py": "print(1)"}, "only.py"),
        ({"a.py": "loss.backward()", "b.py": "loss.backward()"}, None),
        ({"a.py": "", "b.py": ""}, None),
        ({"README.md": "x"}, None),
        ({}, None),
    ],
)
def test_the_file_to_edit(files: dict[str, str], edit: str | None):
    assert inspect(files).edit == edit


def test_files_that_do_not_parse_are_named():
    found = script(train__py="x = 1", bad__py="def (")
    assert found.unreadable == ("bad.py",) and found.edit == "train.py"
    assert script(train__py="def (").edit is None


def test_a_very_deep_expression_does_no_harm():
    assert script(train__py="x = " + " + ".join(["1"] * 900) + '\nprint("val_loss:", v)').metric is not None

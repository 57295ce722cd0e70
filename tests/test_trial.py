"""A trial in a real sandbox, on a judged target of a few lines: what is measured, and what cannot be forged."""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.code import digest
from agent.curve import Curve
from agent.errors import AgentError
from agent.nouns import Measurement
from agent.target import Target
from agent.trial import measure
from agent.workdir import lay_out, take
from agent.workshop import Cut, Data, Follow, Job, Workshop, compiled_progress, seed_of
from sandbox.jail import Jail, pick
from sandbox.removing import remove
from sandbox.spec import JailUnavailable, Outcome, Phase
from sandbox.unconfined import Unconfined

TRAIN = """
import os, pathlib
print("step 1 loss 3.0", flush=True)
pathlib.Path("out").mkdir()
pathlib.Path("out/model.pt").write_text("0.25")
print("step 2 loss 2.0")
"""
ANSWER = """
import pathlib, train
pathlib.Path("out").mkdir(exist_ok=True)
question = float(pathlib.Path("questions/x").read_text())
pathlib.Path("out/logits.npy").write_text(str(float(pathlib.Path("model.pt").read_text()) * question))
"""
JUDGE = """
import json, sys, pathlib
try:
    value = float(pathlib.Path(sys.argv[1]).read_text())
except OSError:
    print(json.dumps({"rejected": "no answers"}))
else:
    print("scoring")
    print(json.dumps({"score": abs(value - float(pathlib.Path(sys.argv[2], "y").read_text()))}))
"""
LOOKING = """
if __name__ == "__main__":
    seen = [str(p) for p in pathlib.Path(".").rglob("*")]
    assert not any(w in s for s in seen for w in ("judge", "answer", "questions", "making")), seen
    assert pathlib.Path("help.py").read_text() == "H = 1\\n"
    assert pathlib.Path(os.environ["AGENT_DATA"], "t").read_text() == "text"
    assert os.environ["AGENT_SEED"] and os.environ["AGENT_TRAIN_SECONDS"] == "2"
"""
STEALING = """
if __name__ == "__main__":
    for path in {prey}:
        try:
            open(path).read()
        except OSError:
            continue
        pathlib.Path("out/model.pt").unlink()
    try:
        pathlib.Path("help.py").write_text("H = 2")
        pathlib.Path("out/model.pt").unlink()
    except OSError:
        pass
"""
TARGET = Target.model_validate(
    {
        "name": "toy",
        "edit": ["train.py"],
        "hide": ["making.py"],
        "run": ["python", "train.py"],
        "metric": {"name": "score", "judge": "judge.py", "answer": "answer.py"},
        "progress": {"pattern": r"step (?P<step>\d+) loss (?P<loss>\S+)"},
        "limits": {
            "train_seconds": 2, "startup_seconds": 10, "judge_seconds": 10, "memory": "300MiB", "disk": "20MiB",
        },
    }
)  # fmt: skip


def jails() -> list[Jail]:
    try:
        return [pick("namespace").jail, Unconfined()]
    except JailUnavailable:
        return [Unconfined()]


@pytest.fixture(params=jails(), ids=lambda jail: jail.name)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Workshop:
    for name, content in {"train/t": "text", "questions/x": "4.0", "answers/y": "1.5"}.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_text(content)
    data = Data(*(tmp_path / "data" / name for name in ("train", "questions", "answers")), sha256="")
    return Workshop(
        target=TARGET,
        jail=request.param,
        work=lambda trial, repeat: tmp_path / "work" / f"{trial}-{repeat}",
        logs=lambda trial: tmp_path / "logs" / str(trial),
        data=data,
    )


def code_of(train: str, judge: str = JUDGE) -> dict[str, bytes]:
    files = {"train.py": train, "answer.py": ANSWER, "judge.py": judge, "help.py": "H = 1\n", "making.py": "M = 1\n"}
    return {path: text.encode() for path, text in files.items()}


def done(
    shop: Workshop, train: str = TRAIN, judge: str = JUDGE, startup_seconds: float | None = None, **follow: object
) -> Measurement:
    code = code_of(train, judge)
    job = Job(4, 0, code, seed_of(0, 4, 0), startup_seconds)
    curve = Curve(compiled_progress(shop.target))
    return measure(shop, Follow(job, curve, **({"cancel": threading.Event()} | follow)))


def test_the_loss_is_the_judges(shop: Workshop, tmp_path: Path) -> None:
    measurement = done(shop)
    assert measurement.outcome is Outcome.OK, measurement.reason
    assert measurement.loss == 0.5  # |0.25 * 4 - 1.5|
    assert set(measurement.seconds) == {Phase.STARTUP, Phase.TRAIN, Phase.JUDGE}
    assert [p.loss for p in measurement.curve] == [3.0, 2.0]
    assert measurement.seed == seed_of(0, 4, 0)
    assert not measurement.self_reported
    assert measurement.code_sha256 == digest(code_of(TRAIN))
    assert list((tmp_path / "work").iterdir()) == []
    assert "step 2 loss 2.0" in (tmp_path / "logs" / "4" / "train-0.log").read_text()


def test_nothing_that_the_script_prints_or_writes_is_a_result(shop: Workshop) -> None:
    forged = (
        TRAIN
        + """
print('{"score": 0.0}')
print("score: 0.0")
for name in ("result.json", "logits.npy", "out/logits.npy", "score"):
    pathlib.Path(name).write_text('{"score": 0.0}')
"""
    )
    assert done(shop, forged).loss == 0.5


def test_the_answering_program_gets_the_code_that_was_proposed_not_what_the_script_left(shop: Workshop) -> None:
    rewriting = (
        TRAIN
        + """
pathlib.Path("train.py").write_text("import pathlib\\npathlib.Path('model.pt').write_text('0.375')\\n")
"""
    )
    assert done(shop, rewriting).loss == 0.5


def test_judge_and_answers_are_not_shown_to_the_training(shop: Workshop) -> None:
    measurement = done(shop, TRAIN + LOOKING)
    assert measurement.outcome is Outcome.OK, measurement.reason


@pytest.mark.jail
def test_validation_data_cannot_be_reached_from_the_training(shop: Workshop, tmp_path: Path) -> None:
    if shop.jail.name == "none":
        pytest.skip("no jail: the files promise is not made")
    prey = [str(tmp_path / "data" / name) for name in ("answers/y", "questions/x")]
    assert done(shop, TRAIN + STEALING.format(prey=prey)).loss == 0.5


LINKED_ANSWERS = (
    TRAIN
    + """
import sys, atexit
def swap():
    os.rename("out/logits.npy", "x")
    os.symlink("../x", "out/logits.npy")
if "answer" in sys.argv[0]:
    atexit.register(swap)
"""
)
REJECTED, SLEEP = Outcome.REJECTED, "import time; time.sleep(30)\n"
BEGUN = "print('step 1 loss 1', flush=True)\n"
MODEL = "out/model.pt"
CASES: dict[str, tuple[str, Outcome, str]] = {
    "crash": (TRAIN + "raise ValueError('bad knob')", Outcome.CRASH, "ValueError: bad knob"),
    "no checkpoint": (BEGUN, REJECTED, "no checkpoint"),
    "a link": (TRAIN + f"os.rename('{MODEL}', 'm'); os.symlink('../m', '{MODEL}')", REJECTED, "no checkpoint"),
    "a pipe": (TRAIN + f"os.unlink('{MODEL}'); os.mkfifo('{MODEL}')", REJECTED, "no plain file"),
    "nonsense": (TRAIN + f"pathlib.Path('{MODEL}').write_text('nonsense')", REJECTED, "ValueError"),
    "not finite": (TRAIN + f"pathlib.Path('{MODEL}').write_text('nan')", Outcome.DIVERGED, "nan"),
    "never starts": (SLEEP, Outcome.TIMEOUT_STARTUP, "startup"),
    "trains too long": (BEGUN + SLEEP, Outcome.TIMEOUT_TRAIN, "train"),
    "does not answer": ("import sys\nif 'answer' in sys.argv[0]: sys.exit(1)\n" + TRAIN, REJECTED, "gave no answers"),
    "no answers": ("import os, sys\nif 'answer' in sys.argv[0]: os._exit(0)\n" + TRAIN, REJECTED, "gave no answers"),
    "a linked folder": (TRAIN + "os.rename('out', 'in'); os.symlink('in', 'out')", REJECTED, "no checkpoint"),
    "answers are a link": (LINKED_ANSWERS, REJECTED, "gave no answers"),
    "memory": (TRAIN + "x = [bytearray(2**24) for _ in range(40)]\n" + SLEEP, Outcome.OOM_HOST, "its limit is"),
    "disk": (TRAIN + "pathlib.Path('big').write_bytes(bytes(2**25))\n" + SLEEP, Outcome.DISK_FULL, ""),
    "no folder": (TRAIN + "import shutil; shutil.rmtree(os.getcwd(), ignore_errors=True)", REJECTED, "no checkpoint"),
}


@pytest.mark.parametrize("name", CASES)
def test_ways_to_fail(shop: Workshop, name: str, tmp_path: Path) -> None:
    script, outcome, reason = CASES[name]
    fast = TARGET.model_copy(update={"limits": TARGET.limits.model_copy(update={"startup_seconds": 1.0})})
    measurement = done(replace(shop, target=fast) if name == "never starts" else shop, script)
    assert measurement.outcome is outcome, measurement
    assert measurement.loss is None
    assert reason in measurement.reason
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    "judge",
    ["import sys; sys.exit(3)", "print('no json')", "print('[1]')", "print('{}')", 'print(\'{"score": "low"}\')'],
)
def test_a_judge_that_fails_is_a_failure_of_the_house(shop: Workshop, judge: str) -> None:
    with pytest.raises(AgentError, match="judge"):
        done(shop, judge=judge)


def test_a_startup_that_takes_longer_than_the_baselines_is_ended(shop: Workshop) -> None:
    measurement = done(shop, SLEEP + TRAIN, startup_seconds=1.0)
    assert measurement.outcome is Outcome.TIMEOUT_STARTUP


@pytest.mark.jail
def test_masks_hide_files_of_the_machine(shop: Workshop, tmp_path: Path) -> None:
    if shop.jail.name == "none":
        pytest.skip("no jail: the files promise is not made")
    import colorsys

    (tmp_path / "mask.py").write_text("MASKED = True\n")
    assert shop.data is not None
    data = replace(shop.data, masks=((colorsys.__file__, tmp_path / "mask.py"),))
    measurement = done(replace(shop, data=data), "import colorsys; colorsys.MASKED\n" + TRAIN)
    assert measurement.outcome is Outcome.OK, measurement.reason
    assert done(shop, "import colorsys; colorsys.MASKED\n" + TRAIN).outcome is Outcome.CRASH


@pytest.mark.parametrize("how", ["cancelled", "deadline"])
def test_a_cut_measures_nothing(shop: Workshop, how: str) -> None:
    import time

    cancel = threading.Event()
    follow: dict[str, object] = {"deadline": time.monotonic() + 1.0} if how == "deadline" else {"cancel": cancel}
    timer = threading.Timer(1.0, cancel.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Cut):
        done(shop, "import time; print('step 1 loss 1', flush=True); time.sleep(60)", **follow)
    timer.join()
    assert time.monotonic() - began < 8


def test_seeds_differ_and_repeat() -> None:
    seeds = {seed_of(run, trial, repeat) for run in range(3) for trial in range(20) for repeat in range(3)}
    assert len(seeds) == 180
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seed_of(1, 2, 3) == seed_of(1, 2, 3)


def test_a_folder_without_permissions_is_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    work = tmp_path / "work"
    (work / "a" / "b").mkdir(parents=True)
    (work / "a" / "b" / "f").write_text("y")
    (work / "link").symlink_to(precious)
    (work / "a" / "link").symlink_to(precious)
    for folder in (work / "a" / "b", work / "a"):
        folder.chmod(0)
    remove(work)
    assert not work.exists()
    assert (precious / "file").read_text() == "x"
    (tmp_path / "top").symlink_to(precious)
    remove(tmp_path / "top")
    assert (precious / "file").read_text() == "x"


def test_a_folder_deeper_than_any_path_is_removed(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    top = os.dup(here)
    for _ in range(1500):
        os.mkdir("d" * 200, dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    remove(tmp_path)
    assert os.listdir(top) == []  # noqa: PTH208 (by descriptor)
    os.close(top)
    assert not tmp_path.exists()
    tmp_path.mkdir()


def test_what_is_laid_out_is_what_was_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = {"train.py": b"x", "pkg/help.py": b"y", "judge.py": b"z"}
    laid_out = lay_out(tmp_path / "w", code, {"train.py"}, {"judge.py"})
    assert laid_out.code_sha256 == digest(code)
    assert (tmp_path / "w" / "train.py").read_bytes() == b"x"
    assert [m.target for m in laid_out.mounts] == ["pkg/help.py"]
    assert not list(tmp_path.rglob("judge.py"))
    real: Callable[[Path], bytes] = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: real(self) + b"!")
    with pytest.raises(AgentError, match="read back differently"):
        lay_out(tmp_path / "w", code, {"train.py"}, set())


def test_taking_stops_at_the_size_limit(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    assert take(tmp_path, "f", tmp_path / "g", 5) is None
    assert (tmp_path / "g").read_bytes() == b"12345"
    assert "more than the 4 allowed" in str(take(tmp_path, "f", tmp_path / "g", 4))
    os.truncate(tmp_path / "f", 2**40)
    assert "more than" in str(take(tmp_path, "f", tmp_path / "g", 2**30))

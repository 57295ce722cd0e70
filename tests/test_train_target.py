"""Our own target: corpus, training script, answering stub and judge, run as programs, on real data.

Every program runs with one thread (pytest already runs one worker a core) and on a small token budget. Most are
forked from a Python that has torch loaded, which a new one takes longer to do than most of them run; what could be
different in a Python of its own is run in one. Not covered: a GPU.
"""

import ast
import http.server
import json
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sandbox_kit import jail_of

from sandbox.spec import Limits, Mount, Phase, Spec, Watch
from sandbox.supervise import run

TARGET = Path(__file__).parents[1] / "train_target"
sys.path.insert(0, str(TARGET))

import documents  # noqa: E402
import judge  # noqa: E402
import masks  # noqa: E402
import prepare  # noqa: E402
import public_corpora  # noqa: E402
import validation  # noqa: E402

SOURCE = (TARGET / "train.py").read_text()
WARM = """
import gc, json, os, runpy, sys, traceback
import numpy, torch
weight = torch.nn.Parameter(torch.ones(2, 2))
weight.grad = torch.ones(2, 2)
for optimizer in (torch.optim.AdamW([weight], fused=True), torch.optim.Muon([weight])):
    optimizer.step()  # imports as much again as torch
gc.freeze()
for line in sys.stdin:
    job = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    for number in (1, 2):
        os.dup2(os.open(job["output"][number - 1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.argv, sys.path[0] = job["argv"], os.path.dirname(job["argv"][0])
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        code = 1
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)  # to take down all of torch takes longer than most programs run
"""

Done = subprocess.CompletedProcess[str]


def start(name: str, arguments: tuple[object, ...], environment: dict[str, object]) -> tuple[list[str], dict[str, str]]:
    """Return the command line without Python, and the environment, of one of the target's programs."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    given = {name: str(value) for name, value in environment.items()}
    script = name if Path(name).is_absolute() else str(TARGET / name)
    return [script, *map(str, arguments)], {**inherited, "OMP_NUM_THREADS": "1", "no_proxy": "*", **given}


def fresh(name: str, *arguments: object, cwd: Path, **environment: object) -> Done:
    """Run one of the target's programs in a Python of its own, on one thread, with an environment of its own."""
    argv, env = start(name, arguments, environment)
    line = [sys.executable, "-B", *argv]
    return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="session", autouse=True)
def warm(tmp_path_factory) -> Iterator[None]:
    """A Python that has torch loaded, from which programs are forked."""
    line = [sys.executable, "-B", "-c", WARM]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as python:
        program.python, program.output = python, tmp_path_factory.mktemp("output")
        yield


def program(name: str, *arguments: object, cwd: Path, **environment: object) -> Done:
    """Run one of the target's programs in a fork of the Python that has torch loaded."""
    argv, env = start(name, arguments, environment)
    output = [str(program.output / "stdout"), str(program.output / "stderr")]
    job = {"argv": argv, "cwd": str(cwd), "env": env, "output": output}
    program.python.stdin.write(json.dumps(job) + "\n")
    program.python.stdin.flush()
    code = int(program.python.stdout.readline())
    return subprocess.CompletedProcess(argv, code, *(Path(path).read_text() for path in output))


def train(folder: Path, corpus: prepare.Corpus, seed: int = 0, source: str = SOURCE, **budget: object):
    """Train in a fresh folder that holds nothing but the script."""
    folder.mkdir()
    script = folder / "train.py"
    script.write_text(source)
    return program(str(script), cwd=folder, AGENT_DATA=corpus.train, AGENT_SEED=seed, **budget)


def answer(folder: Path, corpus: prepare.Corpus, checkpoint: Path, source: str = SOURCE):
    """Serve a checkpoint in a fresh folder, as the second jail does."""
    folder.mkdir()
    (folder / "train.py").write_text(source)
    shutil.copy(checkpoint, folder / "model.pt")
    return program("answer.py", corpus.questions, cwd=folder)


def verdict(logits: Path, answers: Path) -> dict[str, object]:
    """Run the judge; a verdict of either kind is exit code 0."""
    done = program("judge.py", logits, answers, cwd=answers)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def with_knobs(**knobs: object) -> str:
    """Return the training script with other values of its knobs."""
    source = SOURCE
    for name, value in knobs.items():
        source, found = re.subn(rf"(?m)^{name} = \S+", f"{name} = {value!r}", source)
        assert found == 1, name
    return source


TINY = with_knobs(DEPTH=1, WIDTH=32, HEAD_DIM=32, HEAD_LR=0.03)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> prepare.Corpus:
    """The default corpus, prepared once a worker in a cache of its own."""
    cache = tmp_path_factory.mktemp("cache")
    done = fresh("prepare.py", cwd=cache, XDG_CACHE_HOME=cache)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    root = Path(last["train"]).parent
    return prepare.Corpus(root, last["sha256"], json.loads((root / "meta.json").read_text()), last["masks"])


@pytest.fixture(scope="session")
def trained(corpus, tmp_path_factory) -> Path:
    """A folder in which the default script has trained on 40,000 tokens."""
    folder = tmp_path_factory.mktemp("trained") / "work"
    folder.mkdir()
    shutil.copy(TARGET / "train.py", folder)
    done = fresh(str(folder / "train.py"), cwd=folder, AGENT_DATA=corpus.train, AGENT_TRAIN_TOKENS=40_000)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    return folder


@pytest.fixture(scope="session")
def tiny(corpus, tmp_path_factory) -> Path:
    """A folder in which a far smaller model has trained."""
    folder = tmp_path_factory.mktemp("tiny") / "work"
    done = train(folder, corpus, source=TINY, AGENT_TRAIN_TOKENS=60_000)
    assert done.returncode == 0, done.stderr
    return folder


# --- the corpus ---


def test_prepare_is_stable_and_the_second_call_changes_nothing(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.root.rglob("*")}
    again = program("prepare.py", cwd=corpus.root, XDG_CACHE_HOME=corpus.root.parents[1])
    assert json.loads(again.stdout.splitlines()[-1])["sha256"] == corpus.sha256
    assert {path: path.stat().st_mtime_ns for path in corpus.root.rglob("*")} == before
    assert list(corpus.root.parent.iterdir()) == [corpus.root]


def test_reference_numbers_are_those_of_source_code(corpus):
    numbers = corpus.meta["bits_per_byte"]
    assert numbers["uniform"] == 8
    assert 4.5 < numbers["unigram"] < 5
    assert 1.3 < numbers["xz -9"] < numbers["gzip -9"] < 2.2


def test_training_and_answering_see_only_their_own(corpus):
    assert {path.name for path in corpus.train.iterdir()} == {"train.bin", "meta.json"}
    assert {path.name for path in corpus.questions.iterdir()} == {"inputs.npy", "meta.json"}
    assert set(json.loads((corpus.train / "meta.json").read_text())) == {"tokenizer", "vocab_size", "tokens"}


@pytest.fixture(scope="session")
def held() -> dict[str, bytes]:
    """The validation documents of the default corpus."""
    library = documents.library_documents()
    return {name: text for name, text in library if prepare.is_validation(name) and masks.can_hide(name, text)}


def test_no_validation_document_is_in_the_training_text(corpus, held):
    training = (corpus.train / "train.bin").read_bytes()
    assert len(held) > 15
    assert not [name for name, text in held.items() if len(text) > 200 and text in training]
    library = documents.library_documents()
    assert len(training) == sum(len(text) + 1 for name, text in library if name not in held)


def test_rows_of_questions_are_new_text(corpus):
    training = (corpus.train / "train.bin").read_bytes()
    rows = np.load(corpus.questions / "inputs.npy")[: validation.EVAL_ROWS]
    known = sum(row.tobytes() in training for row in rows[::4])
    assert known <= len(rows[::4]) * 0.02


def test_questions_and_answers_belong_together(corpus):
    inputs, targets = np.load(corpus.questions / "inputs.npy"), np.load(corpus.answers / "targets.npy")
    probes = np.load(corpus.answers / "probes.npy")
    assert targets.shape == (validation.EVAL_ROWS, prepare.EVAL_CONTEXT)
    assert np.array_equal(inputs[: len(targets), 1:], targets[:, :-1])
    final = prepare.EVAL_CONTEXT - 1
    for row, (origin, last) in zip(inputs[len(targets) :], probes, strict=True):
        assert np.array_equal(row[: last + 1], inputs[origin, : last + 1])
        assert last == final or row[last + 1] != inputs[origin, last + 1]
    assert sorted(probes[:, 1]) == [*range(final), *[final] * validation.REPEATED_ROWS]


def test_a_copy_of_a_training_file_is_not_validated_on(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    texts = [(f"{i}", english(4000, seed=i)) for i in range(400)]
    copied = [(f"copy {i}", text) for i, (_, text) in enumerate(texts[:100])]
    made = prepare.prepare(lambda: texts + copied)
    rows = np.load(made.questions / "inputs.npy")
    training = (made.train / "train.bin").read_bytes()
    assert made.meta["corpus"]["validation_copies_dropped"] >= 3
    assert not [row for row in rows[:100] if row[:100].tobytes() in training]


PREPARED = ["train/train.bin", "questions/inputs.npy", *(f"answers/{name}.npy" for name in ("targets", "probes"))]


@pytest.mark.parametrize("name", [*PREPARED, "answers/meta.json", "train/new"])
def test_changed_files_are_an_error_and_never_pass_under_the_same_hash(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    texts = [(f"{i}", english(4000, seed=i)) for i in range(200)]
    made = prepare.prepare(lambda: texts)
    path = made.root / name
    path.write_bytes(path.read_bytes()[:-1] + b"x" if path.exists() else b"x")
    with pytest.raises(documents.CorpusError, match=rf"{name} has changed: remove .* and prepare again"):
        prepare.prepare(lambda: texts)
    meta = json.loads((made.root / "meta.json").read_text())
    meta["sha256"] = prepare.prepared_files(made.root)
    (made.root / "meta.json").write_text(json.dumps(meta))
    assert prepare.prepare(lambda: texts).sha256 != made.sha256


def test_a_damaged_cache_is_one_sentence(tmp_path):
    write_text(tmp_path / "data")
    where = {"cwd": tmp_path, "XDG_CACHE_HOME": tmp_path / "cache"}
    first = program("prepare.py", "--data", "data", **where)
    said = json.loads(first.stdout.splitlines()[-1])
    assert "masks" not in said
    (Path(said["train"]) / "train.bin").unlink()
    assert one_sentence(program("prepare.py", "--data", "data", **where), code=1).endswith("and prepare again")


# --- hiding the validation text in a jail that has to show the standard library ---


def test_damaged_masks_are_an_error(tmp_path):
    def damaged() -> bool:
        with pytest.raises(documents.CorpusError, match="prepare again"):
            masks.make_masks(tmp_path, {"uu.py"})
        return True

    shown = masks.make_masks(tmp_path, {"uu.py"})
    stand_in, original = Path(shown[str(masks.library())]) / "uu.py", masks.library() / "uu.py"
    text = stand_in.read_text()
    for path, content in ((stand_in, original.read_text()), (stand_in.with_name("new.py"), "")):
        path.write_text(content)
        assert damaged()
        path.unlink()
    assert damaged()
    stand_in.write_text(text)
    assert masks.make_masks(tmp_path, {"uu.py"}) == shown
    (stand_in.parents[1] / "sha256.json").unlink()
    assert damaged()


def test_text_that_no_mask_can_hide_is_not_validated_on(held):
    texts = dict(documents.library_documents())
    unfit = ("codecs.py", "pickletools.py", "distutils/dep_util.py", "chunk.py")  # frozen, long strings, two copies
    for name in unfit:
        assert name not in texts or not masks.can_hide(name, texts[name])
        assert name not in held


SAME = """
import importlib, json
def looks(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return str(error)
    return [module.__name__, module.__file__, module.__package__, sorted(vars(module))]
names = json.load(open("names.json"))
json.dump({name: looks(name) for name in names}, open("same.json", "w"))
"""
SEARCH = """
import json, sys
from pathlib import Path
known, found, files = set(json.load(open("known.json"))), set(), 0
for root in sys.argv[1:]:
    for path in Path(root).rglob("*"):
        if path.is_file():
            files += 1
            text = path.read_bytes().decode("latin-1")
            found |= known & {text[i : i + 100] for i in range(0, len(text), 100)}
json.dump([files, sorted(found)], open("found.json", "w"))
"""


def jailed(folder: Path, corpus: prepare.Corpus, source: str, *arguments: str) -> None:
    """Run a program in the real jail, masked as a trial is, with the training data."""
    (folder / "program.py").write_text(source)
    mounts = (Mount(corpus.train, "data"), *(Mount(Path(shown), path) for path, shown in corpus.masks.items()))
    env = {"OMP_NUM_THREADS": "1", "AGENT_DATA": str(folder / "data"), "AGENT_TRAIN_TOKENS": "2000"}
    argv = ("python", "program.py", *arguments)
    spec = Spec(argv, folder, env, ((Phase.TRAIN, 100.0),), Limits(4 << 30), mounts)
    evidence = run(spec, jail_of("namespace"), Watch(folder / "log"))
    assert evidence.wait_status == 0, evidence.tail


@pytest.mark.jail
def test_masked_modules_are_the_same_modules(corpus, held, tmp_path):
    modules = [name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in held]
    (tmp_path / "names.json").write_text(json.dumps(modules))
    jailed(tmp_path, corpus, SAME)
    inside = json.loads((tmp_path / "same.json").read_text())
    fresh(str(tmp_path / "program.py"), cwd=tmp_path)
    assert inside == json.loads((tmp_path / "same.json").read_text())


@pytest.mark.jail
def test_training_works_with_masks(corpus, tmp_path):
    jailed(tmp_path, corpus, TINY)
    assert (tmp_path / "out" / "model.pt").exists()


@pytest.mark.jail
def test_validation_text_is_nowhere_in_the_libraries_that_the_jail_shows(corpus, held, tmp_path):
    texts = [text.decode("latin-1") for text in held.values()]
    known = {text[i : i + 100] for text in texts for i in range(len(text) - 99)}
    (tmp_path / "known.json").write_text(json.dumps(list(known)))
    roots = [path for path in corpus.masks if not path.endswith("-packages")]
    jailed(tmp_path, corpus, SEARCH, *roots)
    files, found = json.loads((tmp_path / "found.json").read_text())
    training = (corpus.train / "train.bin").read_bytes()
    assert files > 1000
    assert not [text for text in found if text.encode("latin-1") not in training]


# --- the user's own data ---


def english(size: int, seed: int = 0) -> bytes:
    """Return text of words that no other seed gives."""
    words = np.random.default_rng(seed).integers(0, 5000, size // 4)
    return " ".join(f"w{word}" for word in words).encode()[:size]


def write_text(folder: Path) -> None:
    folder.mkdir()
    (folder / "book.txt").write_bytes(english(800_000).replace(b" w1 ", b"\n"))


def write_jsonl(folder: Path) -> None:
    folder.mkdir()
    lines = [json.dumps({"text": english(4000, seed).decode(), "other": 1}) for seed in range(200)]
    (folder / "lines.jsonl").write_text("\n".join(lines) + "\n\n")


def write_parquet(folder: Path, column: str = "text", documents: int = 200) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    texts = [english(4000, seed).decode() for seed in range(documents)]
    pq.write_table(pa.table({column: texts}), folder / "rows.parquet")


def one_sentence(done: Done, code: int) -> str:
    """Return what a program said when it failed as it should."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    said = done.stderr.strip()
    assert "\n" not in said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("write", [write_text, write_jsonl, write_parquet])
def test_data_folder(write, tmp_path):
    write(tmp_path / "data")
    done = program("prepare.py", "--data", tmp_path / "data", cwd=tmp_path, XDG_CACHE_HOME=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    inputs = np.load(Path(last["questions"]) / "inputs.npy")
    assert inputs.shape[1] == prepare.EVAL_CONTEXT
    assert len(inputs) >= prepare.FEWEST_ROWS + prepare.EVAL_CONTEXT
    assert 600_000 < (Path(last["train"]) / "train.bin").stat().st_size < 800_000


def bad_missing(folder: Path) -> None: ...


def bad_file(folder: Path) -> None:
    folder.write_text("text")


def bad_empty(folder: Path) -> None:
    folder.mkdir()
    (folder / "picture.png").write_bytes(b"png")


def bad_blank(folder: Path) -> None:
    folder.mkdir()
    (folder / "blank.txt").write_bytes(b"")


def bad_little(folder: Path) -> None:
    folder.mkdir()
    (folder / "little.txt").write_bytes(english(20_000))


def bad_lines(folder: Path) -> None:
    folder.mkdir()
    (folder / "lines.jsonl").write_text('{"text": "fine"}\n{"content": "no text"}\n')


def bad_json(folder: Path) -> None:
    folder.mkdir()
    (folder / "lines.jsonl").write_text("[1, 2]\n")


def bad_column(folder: Path) -> None:
    write_parquet(folder, column="content", documents=2)


def bad_parquet(folder: Path) -> None:
    folder.mkdir()
    (folder / "rows.parquet").write_bytes(b"not parquet at all")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (bad_missing, "there is no folder"),
        (bad_file, "there is no folder"),
        (bad_empty, "nothing to read"),
        (bad_blank, "too little text: 0 bytes"),
        (bad_little, "too little text"),
        (bad_lines, "lines.jsonl, line 2"),
        (bad_json, "lines.jsonl, line 1"),
        (bad_column, "only content"),
        (bad_parquet, "not a parquet file"),
    ],
)
def test_bad_data_is_one_sentence(make, says, tmp_path):
    make(tmp_path / "data")
    done = program("prepare.py", "--data", tmp_path / "data", cwd=tmp_path, XDG_CACHE_HOME=tmp_path / "cache")
    assert says in one_sentence(done, code=2)
    assert not list((tmp_path / "cache").rglob("*.bin"))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path):
    write_parquet(tmp_path / "data", documents=2)
    (tmp_path / "hidden" / "pyarrow").mkdir(parents=True)
    (tmp_path / "hidden" / "pyarrow" / "__init__.py").write_text("raise ImportError")
    done = fresh("prepare.py", "--data", "data", cwd=tmp_path, PYTHONPATH="hidden", XDG_CACHE_HOME="cache")
    assert "pip install 'autoresearch-agent[data]'" in one_sentence(done, code=2)


# --- downloads ---


class Hub(http.server.BaseHTTPRequestHandler):
    """A dataset host that breaks off the first reply halfway, and resumes where it is asked to."""

    body = b""
    requests: list[str | None] = []

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.requests.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(self.body):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(self.body) - start))
        self.end_headers()
        self.wfile.write(self.body[start : None if asked else len(self.body) // 2])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub(tmp_path) -> Iterator[str]:
    """The address of a host that serves one parquet file, whatever it is asked for."""
    write_parquet(tmp_path / "served")
    Hub.body, Hub.requests = (tmp_path / "served" / "rows.parquet").read_bytes(), []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_dataset_is_downloaded_and_a_broken_download_resumed(hub, tmp_path):
    def fetch() -> Done:
        where = {"HF_ENDPOINT": hub, "XDG_CACHE_HOME": tmp_path / "cache"}
        return program("prepare.py", "--dataset", "tinystories", cwd=tmp_path, **where)

    broken = fetch()
    assert broken.returncode == 1
    assert "cannot download" in broken.stderr.splitlines()[-1]
    part = next((tmp_path / "cache").rglob("*.part"))
    assert 0 < part.stat().st_size < len(Hub.body)
    done = fetch()
    assert done.returncode == 0, done.stderr
    assert next((tmp_path / "cache").rglob("*.parquet")).read_bytes() == Hub.body
    assert Hub.requests == [None, f"bytes={len(Hub.body) // 2}-"]
    assert fetch().stdout == done.stdout  # and the third time nothing is asked for
    assert len(Hub.requests) == 2


def test_a_download_killed_before_its_last_step_is_complete(hub, tmp_path):
    part = tmp_path / "file.parquet.part"
    part.write_bytes(Hub.body)
    public_corpora.fetch(f"{hub}/file", tmp_path / "file.parquet")
    assert (tmp_path / "file.parquet").read_bytes() == Hub.body


def test_no_network_is_one_sentence(tmp_path):
    where = {"HF_ENDPOINT": "http://127.0.0.1:9", "XDG_CACHE_HOME": "cache"}
    done = program("prepare.py", "--dataset", "climbmix", cwd=tmp_path, **where)
    assert "--data DIR" in one_sentence(done, code=1)


# --- training ---


def knobs() -> dict[str, object]:
    """Return the script's knobs: names in capitals assigned a plain literal at module level."""
    found: dict[str, object] = {}
    for node in ast.parse(SOURCE).body:
        if isinstance(node, ast.Assign) and (name := ast.unparse(node.targets[0])).isupper():
            assert name not in found
            found[name] = ast.literal_eval(node.value)
    return found


def test_every_range_is_of_a_knob_with_the_baseline_well_inside():
    space = tomllib.loads((TARGET / "target.toml").read_text())["space"]
    found = knobs()
    assert set(space) <= set(found) - {"VOCAB_SIZE"}
    for name, range_ in space.items():
        value = found[name]
        if "choices" in range_:
            assert value in range_["choices"]
        else:
            assert range_["low"] < value < range_["high"], name
            assert type(value) is type(range_["low"]), name


def test_build_model_needs_nothing_and_import_does_nothing(tmp_path):
    code = """
import os, sys, torch
sys.path.insert(0, sys.argv[1])
import train
model = train.build_model()
for T in (1, 7, 300):
    assert model(torch.zeros(2, T, dtype=torch.int64)).shape == (2, T, 256)
assert os.listdir() == ["check.py"]
"""
    (tmp_path / "check.py").write_text(code)
    done = fresh(str(tmp_path / "check.py"), TARGET, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_training_leaves_weights_and_nothing_else(trained):
    files = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    assert files == {"train.py", "out/model.pt", "stdout"}
    assert re.search(r"(?m)^tokens: +40,000$", (trained / "stdout").read_text())
    state = torch.load(trained / "out" / "model.pt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_progress_lines_are_what_target_toml_promises(corpus, trained):
    progress = tomllib.loads((TARGET / "target.toml").read_text())["progress"]
    pattern = re.compile(progress["pattern"])
    first, *lines = (trained / "stdout").read_text().partition("---")[0].splitlines()
    assert re.search(progress["smoke"], first)
    found = [pattern.match(line) for line in lines]
    assert all(found)
    assert (found[0]["step"], found[0]["progress"]) == ("00000", "0.0")
    assert found[-1]["progress"] == "100.0"
    assert float(found[0]["loss"]) == pytest.approx(math.log(256), abs=1e-3)
    last = sorted(float(match["loss"]) for match in found[-5:])[2]  # one batch of 8 rows is noisy
    assert last < 0.75 * math.log(256)


def test_the_smoke_step_asks_for_as_much_as_the_judge(corpus):
    answering = re.search(r"(?m)^BATCH_ROWS = (\d+)$", (TARGET / "answer.py").read_text())
    smoke = re.search(r"(?m)^JUDGE_BATCH = (\d+), (\d+) ", (TARGET / "train.py").read_text())
    assert (int(smoke[1]), int(smoke[2])) == (int(answering[1]), np.load(corpus.questions / "inputs.npy").shape[1])


def test_the_smoke_step_changes_nothing(corpus, tmp_path):
    smoke = "    loss = smoke_step("
    assert TINY.count(smoke) == 1
    without = re.sub(rf"(?m)^{re.escape(smoke)}.*$", "    loss = 0.0", TINY)
    weights = []
    for name, source in (("with", TINY), ("without", without)):
        done = train(tmp_path / name, corpus, seed=3, source=source, AGENT_TRAIN_TOKENS=5_000)
        assert done.returncode == 0 and done.stdout.startswith("smoke step") == (name == "with"), done.stderr
        weights.append(torch.load(tmp_path / name / "out" / "model.pt", weights_only=True))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_same_seed_same_weights(corpus, tmp_path):
    def weights(name: str, seed: int) -> dict[str, torch.Tensor]:
        done = train(tmp_path / name, corpus, seed=seed, source=TINY, AGENT_TRAIN_TOKENS=5_000)
        assert done.returncode == 0, done.stderr
        return torch.load(tmp_path / name / "out" / "model.pt", weights_only=True)

    first, again, other = weights("first", 3), weights("again", 3), weights("other", 4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_seconds_are_kept_and_lines_are_few(corpus, tmp_path):
    started = time.monotonic()
    done = train(tmp_path / "work", corpus, source=with_knobs(BATCH_SIZE=1), AGENT_TRAIN_SECONDS=1.2)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 30
    lines = done.stdout.partition("---")[0].splitlines()
    assert 3 <= len(lines) <= 14
    assert 1.2 <= float(lines[-1].split("|")[-1].split()[0]) < 3


def test_divergence_is_one_clear_line_and_leaves_no_weights(corpus, tmp_path):
    done = train(tmp_path / "work", corpus, source=with_knobs(HEAD_LR=1e38), AGENT_TRAIN_TOKENS=20_000)
    assert done.returncode == 1
    assert re.fullmatch(r"loss is (nan|inf) at step \d+\n", done.stderr)
    assert not (tmp_path / "work" / "out").exists()


CORNERS = {
    "tiny": {"DEPTH": 1, "WIDTH": 32, "HEAD_DIM": 128, "SEQ_LEN": 32, "MLP_RATIO": 1.0},
    "wide": {"DEPTH": 10, "WIDTH": 384, "HEAD_DIM": 16, "SEQ_LEN": 32, "MLP_RATIO": 8.0},
    "long": {"DEPTH": 1, "WIDTH": 33, "SEQ_LEN": 1024, "ROPE_BASE": 100.0, "ACTIVATION": "silu"},
    "hot": {"MATRIX_LR": 0.3, "EMBED_LR": 1.0, "HEAD_LR": 0.1, "MOMENTUM": 0.99, "ACTIVATION": "relu2"},
    "flat": {"WARMUP_FRAC": 0.0, "WARMDOWN_FRAC": 0.0, "FINAL_LR_FRAC": 1.0, "WEIGHT_DECAY": 1.0},
    "steep": {"WARMUP_FRAC": 0.5, "WARMDOWN_FRAC": 1.0, "FINAL_LR_FRAC": 0.0, "WEIGHT_DECAY": 0.0},
}


@pytest.mark.parametrize("corner", CORNERS)
def test_corners_of_the_space_train(corner, corpus, tmp_path):
    source = with_knobs(BATCH_SIZE=1, **CORNERS[corner])
    tokens = 32 if corner == "wide" else 2500
    done = train(tmp_path / "work", corpus, source=source, AGENT_TRAIN_TOKENS=tokens)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "work" / "out" / "model.pt").exists()


# --- answering ---


def test_the_judged_number_is_the_plain_one(corpus, tiny, tmp_path):
    done = answer(tmp_path / "jail", corpus, tiny / "out" / "model.pt", source=TINY)
    assert done.returncode == 0, done.stderr
    script: dict[str, object] = {"__name__": "train"}
    exec(compile(TINY, "train.py", "exec"), script)
    model = script["build_model"]()
    model.load_state_dict(torch.load(tiny / "out" / "model.pt", weights_only=True))
    targets = torch.from_numpy(np.load(corpus.answers / "targets.npy").astype(np.int64))
    inputs = torch.from_numpy(np.load(corpus.questions / "inputs.npy").astype(np.int64))[: len(targets)]
    nats = 0.0
    with torch.inference_mode():
        for x, y in zip(inputs.split(32), targets.split(32), strict=True):
            logits = model(x).double()
            nats += torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum").item()
    found = verdict(tmp_path / "jail" / "out" / "logits.npy", corpus.answers)
    assert found["bytes"] == targets.numel()
    assert found["val_bpb"] == pytest.approx(nats / math.log(2) / targets.numel(), abs=1e-5)
    assert found["val_bpb"] < corpus.meta["bits_per_byte"]["unigram"]


@pytest.fixture(scope="session")
def few(corpus, tmp_path_factory) -> prepare.Corpus:
    """The same corpus with a small evaluation set."""
    folder = tmp_path_factory.mktemp("few")
    tokens = np.load(corpus.questions / "inputs.npy")[:20].reshape(-1)
    inputs, targets, probes = validation.evaluation_set(tokens, context=64)
    for part in ("questions", "answers"):
        (folder / part).mkdir()
    np.save(folder / "questions" / "inputs.npy", inputs)
    np.save(folder / "answers" / "targets.npy", targets)
    np.save(folder / "answers" / "probes.npy", probes)
    meta = {"vocab_size": prepare.VOCAB_SIZE, "bytes": targets.size}
    (folder / "answers" / "meta.json").write_text(json.dumps(meta))
    return prepare.Corpus(folder, "", {})


def judged(edit: str, few: prepare.Corpus, weights: Path, jail: Path, source: str = TINY) -> dict[str, object]:
    """Append lines to the edited script, serve the trained weights with it, and return the verdict."""
    done = answer(jail, few, weights / "out" / "model.pt", source=f"{source}\n{edit}\n")
    assert done.returncode == 0, done.stderr
    found = verdict(jail / "out" / "logits.npy", few.answers)
    (jail / "out" / "logits.npy").unlink()
    return found


@pytest.fixture(scope="session")
def honest(few, tiny, tmp_path_factory) -> float:
    """The number of the small model on the small evaluation set."""
    found = judged("", few, tiny, tmp_path_factory.mktemp("honest") / "jail")
    return found["val_bpb"]


CLAIMS = """
print("val_bpb: 0.1")
Path("out").mkdir(exist_ok=True)
Path("out/result.json").write_text('{"val_bpb": 0.1}')
"""
PLAIN = "plain = GPT.forward\nGPT.forward = lambda self, t: "
HONEST = {
    "claims": CLAIMS,
    "unnormalised": f"{PLAIN}plain(self, t) + 1000 * torch.arange(t.size(1))[:, None]",
    "dropout in training only": f"{PLAIN}F.dropout(plain(self, t), 0.3, self.training)",
    "one row at a time": f"{PLAIN}torch.cat([plain(self, row) for row in t.split(1)])",
}


@pytest.mark.parametrize("edit", HONEST)
def test_honest_models_get_the_number_they_deserve(edit, few, tiny, honest, tmp_path):
    found = judged(HONEST[edit], few, tiny, tmp_path / "jail")
    assert found["val_bpb"] == pytest.approx(honest, abs=1e-3)  # float32 near 256,000 has steps of 1/32


TIED = """
untied = build_model
def build_model():
    model = untied()
    model.head.weight = model.embed.weight
    return model
"""


def test_the_default_model_and_one_with_tied_weights_pass(few, trained, tiny, tmp_path):
    assert judged("", few, trained, tmp_path / "default", SOURCE)["val_bpb"] < 5
    assert judged(TIED, few, tiny, tmp_path / "tied")["val_bpb"] > 0


LEAKS = {
    "lookahead": "GPT.forward = lambda self, t: 9.0 * F.one_hot(t.roll(-1, dims=1), VOCAB_SIZE)",
    "bidirectional": "attention = F.scaled_dot_product_attention\n"
    "F.scaled_dot_product_attention = lambda q, k, v, is_causal: attention(q, k, v)",
    "sequence norm": f"{PLAIN}(lambda x: x - x.mean(dim=1, keepdim=True))(plain(self, t))",
}


@pytest.mark.parametrize("leak", LEAKS)
def test_looking_ahead_is_rejected(leak, few, tiny, tmp_path):
    assert "depends on later tokens" in judged(LEAKS[leak], few, tiny, tmp_path / "jail")["rejected"]


def test_a_model_that_disagrees_with_itself_is_rejected(few, tiny, tmp_path):
    dice = f"{PLAIN}F.dropout(plain(self, t), 0.3)"
    assert "asked again" in judged(dice, few, tiny, tmp_path / "jail")["rejected"]


class Payload:
    """Unpickled, it writes a file."""

    def __reduce__(self):
        return (Path.touch, (Path("pwned"),))


def test_a_checkpoint_that_holds_code_is_refused(corpus, tmp_path):
    checkpoint = tmp_path / "model.pt"
    torch.save({"weight": Payload()}, checkpoint)
    for write in (None, pickle.dumps(Payload())):
        if write:
            checkpoint.write_bytes(write)
        done = answer(tmp_path / f"jail-{bool(write)}", corpus, checkpoint)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("model.pt is refused")
        assert not list(tmp_path.rglob("pwned"))


def test_modules_in_the_folder_do_not_stand_in_for_real_ones(few, tiny, tmp_path):
    jail = tmp_path / "jail"
    jail.mkdir()
    for name in ("numpy", "torch", "pickle", "pathlib"):
        (jail / f"{name}.py").write_text("raise SystemExit('impostor')")
    shutil.copy(TARGET / "answer.py", jail)
    (jail / "train.py").write_text(TINY)
    shutil.copy(tiny / "out" / "model.pt", jail)
    done = fresh(str(jail / "answer.py"), cwd=jail, AGENT_QUESTIONS=few.questions)
    assert done.returncode == 0, done.stdout + done.stderr


def test_out_of_memory_halves_the_batch_and_goes_on(few, tiny, honest, tmp_path):
    greedy = """
plain = GPT.forward
def forward(self, tokens):
    if len(tokens) > 20:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return plain(self, tokens)
GPT.forward = forward
"""
    assert judged(greedy, few, tiny, tmp_path / "jail")["val_bpb"] == pytest.approx(honest, abs=1e-5)


# --- the judge ---


def guesses(few: prepare.Corpus) -> np.ndarray:
    """Return logits that an honest model of single tokens could give."""
    inputs = np.load(few.questions / "inputs.npy")
    return 2 * np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)[inputs]


def peek(corpus: prepare.Corpus, where: np.ndarray, noise: float = 0.0) -> None:
    """Check a model of single tokens that also prefers the next token of the row, where `where` [rows, T] says so."""
    inputs, targets = np.load(corpus.questions / "inputs.npy"), np.load(corpus.answers / "targets.npy")
    probes, generator = np.load(corpus.answers / "probes.npy"), np.random.default_rng(0)
    table = 2 * generator.normal(size=(256, 256))
    asked = np.concatenate([targets, targets[probes[:, 0]]])
    ahead = np.concatenate([inputs[:, 1:], asked[:, -1:]], axis=1)
    preferred = np.where(where, 6.0, 0.0)
    total = np.exp(table).sum(axis=1)[inputs] + np.exp(table[inputs, ahead]) * (np.exp(preferred) - 1)
    found = table[inputs, asked] + np.where(ahead == asked, preferred, 0.0) - np.log(total)
    found += noise * generator.normal(size=found.shape)
    judge.check_probes(found[: len(targets)], found[len(targets) :], probes)


POSITIONS = np.arange(validation.EVAL_CONTEXT)
FEW = {
    "early": POSITIONS < 63,
    "late": POSITIONS > 223,
    "every 20th": POSITIONS % 20 == 7,
    "first": POSITIONS == 0,
    "one": POSITIONS == 131,
    "last": POSITIONS == validation.EVAL_CONTEXT - 2,
}


@pytest.mark.parametrize("where", FEW)
def test_looking_ahead_at_few_positions_is_rejected(where, corpus):
    with pytest.raises(judge.Rejected, match="depends on later tokens"):
        peek(corpus, FEW[where])


@pytest.mark.parametrize("byte", b"(_s")
def test_looking_ahead_after_some_tokens_is_rejected(byte, corpus):
    here = np.load(corpus.questions / "inputs.npy") == byte
    assert 0.005 < here.mean() < 0.06
    with pytest.raises(judge.Rejected, match="depends on later tokens"):
        peek(corpus, here)


def test_looking_ahead_in_five_places_of_a_hundred_is_rejected(corpus):
    inputs = np.load(corpus.questions / "inputs.npy")
    for seed in range(20):
        places = np.random.default_rng(seed).random((256, 256)) < 0.05  # pairs of tokens
        with pytest.raises(judge.Rejected, match="depends on later tokens"):
            peek(corpus, places[np.roll(inputs, 1, axis=1), inputs])


def test_noise_does_not_hide_looking_ahead(corpus):
    with pytest.raises(judge.Rejected, match="depends on later tokens"):
        peek(corpus, POSITIONS % 30 == 7, noise=0.015)


@pytest.mark.parametrize("noise", [0.0, 1e-4, 0.003, 0.015])
def test_a_model_with_rounding_errors_passes(noise, corpus):
    peek(corpus, POSITIONS < 0, noise)


def plant(value: float) -> object:
    def write(path: Path, logits: np.ndarray) -> None:
        logits[3, 50, 17] = value
        np.save(path, logits)

    return write


def pickled(path: Path, logits: np.ndarray) -> None:
    boxes = np.empty(2, dtype=object)
    boxes[:] = [Payload(), Payload()]
    np.save(path, boxes, allow_pickle=True)


def symlink(path: Path, logits: np.ndarray) -> None:
    np.save(path.with_name("elsewhere.npy"), logits)
    path.symlink_to("elsewhere.npy")


def linked_folder(path: Path, logits: np.ndarray) -> None:
    elsewhere = path.parent.with_name("elsewhere")
    elsewhere.mkdir()
    np.save(elsewhere / path.name, logits)
    path.parent.rmdir()
    path.parent.symlink_to(elsewhere)


def truncated(path: Path, logits: np.ndarray) -> None:
    np.save(path, logits)
    os.truncate(path, path.stat().st_size - 4)


def longer(path: Path, logits: np.ndarray) -> None:
    np.save(path, logits)
    os.truncate(path, path.stat().st_size + 4)


REFUSED = {
    "missing": (lambda path, logits: None, "cannot be opened"),
    "empty": (lambda path, logits: path.touch(), "header"),
    "text": (lambda path, logits: path.write_text('{"val_bpb": 0.1}'), "header"),
    "fewer rows": (lambda path, logits: np.save(path, logits[1:]), "header"),
    "wider": (lambda path, logits: np.save(path, np.pad(logits, ((0, 0), (0, 0), (0, 1)))), "header"),
    "float64": (lambda path, logits: np.save(path, logits.astype(np.float64)), "header"),
    "fortran order": (lambda path, logits: np.save(path, np.asfortranarray(logits)), "header"),
    "pickled": (pickled, "header"),
    "nan": (plant(math.nan), "not finite"),
    "inf": (plant(math.inf), "not finite"),
    "-inf": (plant(-math.inf), "not finite"),
    "symlink": (symlink, "cannot be opened"),
    "linked folder": (linked_folder, "cannot be opened"),
    "fifo": (lambda path, logits: os.mkfifo(path), "not a regular file"),
    "folder": (lambda path, logits: path.mkdir(), "not a regular file"),
    "truncated": (truncated, "bytes instead of"),
    "longer": (longer, "bytes instead of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_judge_refuses(case, few, tmp_path):
    write, says = REFUSED[case]
    path = tmp_path / "logits" / "logits.npy"
    path.parent.mkdir()
    write(path, guesses(few))
    found = verdict(path, few.answers)
    assert set(found) == {"rejected"}
    assert says in found["rejected"]
    assert not list(tmp_path.rglob("pwned"))


def test_the_judge_accepts_what_is_honest(few, tmp_path):
    logits = guesses(few)
    np.save(tmp_path / "logits.npy", logits)
    exact = logits.astype(np.float64)
    exact -= np.log(np.exp(exact).sum(axis=-1, keepdims=True))
    targets = np.load(few.answers / "targets.npy")
    nats = -np.take_along_axis(exact[: len(targets)], targets[..., None].astype(int), axis=-1).mean()
    found = verdict(tmp_path / "logits.npy", few.answers)
    assert found["val_bpb"] == pytest.approx(nats / math.log(2), abs=1e-6)


def test_the_judge_does_without_torch_and_a_failure_of_the_house_is_one(few, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(TARGET)!r}); import judge; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    np.save(tmp_path / "logits.npy", guesses(few))
    assert program("judge.py", tmp_path / "logits.npy", tmp_path / "nowhere", cwd=tmp_path).returncode != 0
    assert program("judge.py", cwd=tmp_path).returncode != 0


def test_the_judge_reads_a_block_at_a_time(few, tmp_path, monkeypatch):
    np.save(tmp_path / "logits.npy", guesses(few))
    answers = judge.read_answers(few.answers)
    whole = judge.judge(tmp_path / "logits.npy", answers)
    monkeypatch.setattr(judge, "BLOCK_ROWS", 5)
    assert judge.judge(tmp_path / "logits.npy", answers) == whole

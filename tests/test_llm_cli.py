"""`agent run --model NAME@URL` as its user meets it: the real command, a real HTTP server, and all that goes wrong.

What agent.toml states of the model is not tried, so a run begins at once; the server knows a run's prompts by their
first words.
"""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit import AGENT, SCRIPT, Desk, Done, ended, is_one_sentence, killed
from misbehaving_server import Behaviour, Handler, Server, hang, ok, refuse, serving

PROFILES = "".join(
    f'[models.{name}]\nmodel = "{model}@{{url}}"\ncontext_tokens = {context}\nmax_output_tokens = 1024\n'
    'contract = "blocks"\n'
    for name, model, context in (("q", "able", 16384), ("other", "other", 16384), ("small", "able", 4096))
)
LOWER = [f"{0.01 + 0.002 * n:.3g}" for n in range(8)]
Plan = Callable[[int], "str | Behaviour"]


class Night:
    """A model that answers a run's questions by a plan, and all other questions with something."""

    def __init__(self, server: Server, plan: Plan) -> None:
        self.server, self.plan, self.prompts = server, plan, []
        server.behaviours |= {"able": self, "other": self}

    def __call__(self, handler: Handler) -> None:
        messages = handler.body["messages"]
        if not messages[0]["content"].startswith("You improve"):
            return ok(handler)
        self.prompts.append(messages)
        answer = self.plan(len(self.prompts) - 1)
        return says(answer)(handler) if isinstance(answer, str) else answer(handler)


def says(text: str) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.begin()
        handler.chunk(content=text)
        handler.chunk(finish="stop")
        handler.end()

    return behave


def edit(old: str, new: str, idea: str = "an idea") -> str:
    return f"IDEA: {idea}\nWHY: because\n\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


def lower(number: int) -> str:
    """The edit of trial `number + 1`: each takes LR a little further."""
    return edit(f"LR = {LOWER[number]}", f"LR = {LOWER[number + 1]}")


@contextmanager
def night(desk: Desk, plan: Plan, port: int = 0) -> Iterator[Night]:
    with serving(port) as server:
        (desk.folder / "agent.toml").write_text(PROFILES.format(url=server.url))
        yield Night(server, plan)


def command(*more: str, trials: int = 3, budget: str = "60s") -> tuple[str, ...]:
    settings = ("--trial-time", "1s", "--repeats", "1", "--sandbox", "none", "--name", "x", "--trials", str(trials))
    return ("run", "tiny", "--budget", budget, "--model", "q", *settings, *more)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path / "desk")
    made.target()
    return made


def calls(desk: Desk) -> list[dict]:
    """All calls that the run has booked, in the order of the journal."""
    return [call for e in desk.events() for call in e.get("calls") or e.get("proposal", {}).get("calls", [])]


def voids(desk: Desk) -> list[str]:
    return [event["wrong"] for event in desk.events() if event["kind"] == "voided"]


def timeless(messages: list[dict]) -> str:
    """A prompt without what is left of the budget, the only thing that a stop may change in it."""
    return re.sub(r"\S+ of 1m are left: enough for about \d+", "", json.dumps(messages))


def stops(how: str) -> Callable[[Desk, subprocess.Popen], int]:
    """A way to end a run from outside, and the exit code it has then."""

    def send(desk: Desk, process: subprocess.Popen) -> int:
        if how == "note":
            desk.agent("note", "x", "--stop")
        else:
            process.send_signal(signal.Signals[how])
        return {"SIGKILL": -9}.get(how, 130)

    return send


# ends while the model is being asked


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL", "note"])
def test_a_stop_while_asking_ends_at_once_and_a_resume_asks_the_same(desk: Desk, how: str) -> None:
    with night(desk, lambda n: lower(n) if n < 1 else hang) as model:
        process = desk.start(*command(trials=2))
        try:
            desk.wait_until(lambda: len(model.prompts) == 2)
            code = stops(how)(desk, process)
            done = ended(process, 10)
        finally:
            killed(process)
        assert done.code == code
        assert how == "SIGKILL" or "ended: stopped by the user" in done.out
        assert model.server.left.wait(5), "the server was not left"
        model.plan = lambda n: lower(n - 1)
        resumed = desk.agent("resume", "x")
    assert "2 trials are done" in resumed.out
    assert timeless(model.prompts[2]) == timeless(model.prompts[1])
    assert voids(desk) == ([] if how == "SIGKILL" else ["interrupted"])
    assert [call["number"] for call in calls(desk)] == list(range(len(calls(desk))))
    assert "no use" not in desk.agent("status", "x").out and desk.agent("verify", "x").code == 0


def test_a_budget_that_ends_while_asking_ends_the_run_and_books_the_time(desk: Desk) -> None:
    with night(desk, lambda n: lower(n) if n < 1 else hang):
        done = desk.agent(*command(budget="14s"))
        status = desk.agent("status", "x", "--json").json
    assert "ended: the budget is used" in done.out and voids(desk) == ["interrupted"]
    assert 13 < status["elapsed_seconds"] < 15
    assert status["seconds"]["propose"] > 7 and calls(desk)[-1]["seconds"] > 7
    assert sum(status["seconds"].values()) == pytest.approx(status["elapsed_seconds"], abs=0.01)


def test_a_stop_before_the_run_has_begun_leaves_nothing(desk: Desk) -> None:
    with night(desk, lower) as model:
        model.server.plan.extend([hang] * 9)
        process = desk.start(*command())
        desk.wait_until(lambda: bool(model.server.asked))
        process.send_signal(signal.SIGINT)
        done = ended(process, 10)
    assert done.code == 130 and is_one_sentence(Done(done.code, "", done.err.lstrip("\n")))
    assert not (desk.folder / "runs").exists()


# what the server does


def test_a_server_that_dies_and_comes_back_costs_waiting_and_nothing_else(desk: Desk) -> None:
    loading = refuse(503, {"error": {"message": "Loading model"}})
    with night(desk, lambda n: lower(n) if n < 1 else loading) as model:
        port = int(model.server.url.rpartition(":")[2].removesuffix("/v1"))
        process = desk.start(*command(trials=2))
        desk.wait_until(lambda: len(model.prompts) >= 3)
    with night(desk, lambda n: lower(n + 1), port) as back:
        done = ended(process, 40)
    assert "2 trials are done" in done.out and voids(desk) == []
    assert timeless(back.prompts[0]) == timeless(model.prompts[1])
    assert {call["error"] for call in calls(desk)} >= {"", "server"}
    assert "of them unanswered: 22 tokens in and 8 out" in desk.agent("status", "x").out


def test_a_key_that_expires_ends_the_run_with_the_next_step_and_is_no_word_of_the_next_prompt(desk: Desk) -> None:
    expired = refuse(401, {"error": {"message": "Incorrect API key provided: sk-abcdefghijk"}})
    with night(desk, lambda n: lower(n) if n < 1 else expired) as model:
        done = desk.agent(*command(trials=2), code=1)
        assert "next: `agent resume runs/x` goes on" in done.out
        assert is_one_sentence(done) and "AGENT_API_KEY" in done.err and "abcdef" not in done.out + done.err
        assert len([e for e in desk.events() if e["kind"] == "proposed"]) == 2, "a trial for what the server did"
        model.plan = lambda n: lower(n - 1)
        desk.agent("resume", "x")
    assert timeless(model.prompts[2]) == timeless(model.prompts[1])


def test_a_key_that_no_header_can_hold_is_one_sentence_without_it(desk: Desk) -> None:
    with night(desk, lower):
        done = desk.agent(*command(), env=desk.env | {"AGENT_API_KEY": "sk-naïve-key"}, code=2)
    assert is_one_sentence(done) and "AGENT_API_KEY" in done.err and "sk-na" not in done.err


# what the model does


def test_a_model_without_a_usable_answer_ends_the_run_and_another_goes_on_with_it(desk: Desk) -> None:
    with night(desk, lambda n: "I would rather talk about the weather.") as model:
        done = desk.agent(*command(trials=1))
        assert "next: `agent resume runs/x --model OTHER`" in done.out and set(voids(desk)) == {"no_edit"}
        assert "50 no_edit" in desk.agent("status", "x").out
        asked = len(model.prompts)
        model.plan = lambda n: lower(n - asked)
        desk.agent("resume", "x", "--model", "other")
    assert [call["model"].partition("@")[0] for call in calls(desk)[-2:]] == ["able", "other"]
    assert "1 trial is done" in desk.agent("status", "x").out


WILD = "\x1b]0;pwned\x07\x1b[2J\x00"


def test_no_control_character_of_a_model_reaches_a_terminal(desk: Desk) -> None:
    def plan(number: int) -> str:
        return edit("LR = 0.01", f'LR = 0.02\nprint("{WILD[:-1]}")', f"{WILD}{'long ' * 2000}") if not number else WILD

    with night(desk, plan):
        done = desk.agent(*command(trials=2))
    views = [("log", "x"), ("status", "x"), ("show", "x", "1"), ("show", "x", "1", "--prompt"), ("best", "x")]
    said = done.out + "".join(desk.agent(*view).out for view in views)
    assert "long long" in said and not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", said)
    assert max(map(len, done.out.splitlines())) < 300


def test_the_patch_of_the_best_is_exact_to_the_byte(desk: Desk) -> None:
    """Escape sequences in the code, CRLF, a byte order mark, and two files: `patch -p1` makes what the run has."""
    folder = desk.target()
    (folder / "parts").mkdir()
    (folder / "parts" / "model.py").write_bytes(b"\xef\xbb\xbfGAIN = 0.5\r\nFINAL = GAIN")
    (folder / "train.py").write_bytes(SCRIPT.replace("\n", "\r\n").encode())
    toml = (folder / "target.toml").read_text()
    (folder / "target.toml").write_text(toml.replace('["train.py"]', '["train.py", "parts/model.py"]', 1))
    red = edit("LR = 0.01", "LR = 0.02  # \x1b[31mred\x1b[0m").partition("\n\n")[2]
    answer = edit("FINAL = GAIN", "FINAL = 2 * GAIN").replace("<<<", "parts/model.py\n<<<", 1) + f"\ntrain.py\n{red}"
    with night(desk, lambda n: answer):
        desk.agent(*command(trials=1))
    patch = subprocess.run([AGENT, "best", "x", "--patch"], cwd=desk.folder, env=desk.env, capture_output=True).stdout
    subprocess.run(["patch", "-p1", "--binary"], cwd=folder, input=patch, check=True, capture_output=True)
    desk.agent("best", "x", "--into", "out")
    for path in ("train.py", "parts/model.py"):
        assert (folder / path).read_bytes() == (desk.folder / "out" / path).read_bytes(), path
    assert b"\x1b[31mred\x1b[0m\r\n" in (folder / "train.py").read_bytes()
    assert (folder / "parts" / "model.py").read_bytes() == b"\xef\xbb\xbfGAIN = 0.5\r\nFINAL = 2 * GAIN"


def test_a_context_without_room_for_the_code_is_said_with_the_form_that_follows(desk: Desk) -> None:
    desk.target(SCRIPT + "# a line of many words that says nothing\n" * 300)
    with night(desk, lambda n: f"IDEA: lower\nSET LR = {LOWER[n + 1]}\n"):
        done = desk.agent(*command("--model", "small", trials=1))
    assert "asked for SET lines from now on: a context of 4,096 tokens has no room" in done.out
    assert "1 trial is done" in done.out


# a checkout of karpathy/autoresearch, in small

AUTORESEARCH = """import time
from prepare import TIME_BUDGET, evaluate_bpb
MATRIX_LR = 0.01
t0 = time.time()
for step in range(5):
    print(f"\\rstep {step:05d} (x%) | loss: {3 - step / 10:.6f}", end="", flush=True)
print()
val_bpb = evaluate_bpb(MATRIX_LR)
print("---")
print(f"val_bpb:          {val_bpb:.6f}")
print(f"training_seconds: {time.time() - t0:.1f}")
print(f"peak_vram_mb:     {123.4:.1f}")
"""


def test_an_autoresearch_checkout_is_edited_by_a_model_and_stays_self_reported(desk: Desk) -> None:
    folder = desk.folder / "tiny"
    (folder / "target.toml").unlink()
    (folder / "train.py").write_text(AUTORESEARCH)
    (folder / "prepare.py").write_text("TIME_BUDGET = 1\ndef evaluate_bpb(x):\n    return 1 + abs(x - 0.04)\n")
    (folder / "program.md").write_text("Only change train.py.\n")
    desk.agent("init", "tiny")
    cheats = ("print(f'val_bpb: 0.1')\n", "import prepare\nprepare.evaluate_bpb = lambda x: 0\n")
    answers = [
        edit("MATRIX_LR = 0.01", "MATRIX_LR = 0.02"),
        edit("val_bpb = evaluate_bpb(MATRIX_LR)", "val_bpb = 0.5"),
        edit("print()", f"print()\n{cheats[1]}"),
        edit("MATRIX_LR = 0.02", "MATRIX_LR = 0.03"),
    ]
    with night(desk, lambda n: answers[min(n, 3)]) as model:
        done = desk.agent(*command(trials=2))
    assert "val_bpb (self-reported): 1.0100" in done.out and "2 trials are done" in done.out
    assert voids(desk) == ["contract"]
    assert "Only change train.py." in model.prompts[0][0]["content"]


# the command line


def test_a_name_that_is_taken_is_said_before_the_model_is_tried(desk: Desk) -> None:
    (desk.folder / "runs" / "x").mkdir(parents=True)
    with night(desk, lower) as model:
        done = desk.agent(*command(), code=2)
    assert is_one_sentence(done) and "--name" in done.err and not model.server.asked and done.out == ""


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--model", "http://localhost:8000/v1"), "NAME@http://localhost:8000/v1"),
        (("--model", "qwen@localhost:8000"), "qwen@http://localhost:8000"),
        (("--model", "q", "--proposer", "pattern"), "pattern asks no model"),
        (("--on-model-outage", "stop"), "name one with --model"),
        (("--proposer", "code"), "name one with --model"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_with_what_to_write(
    desk: Desk, options: tuple[str, ...], part: str
) -> None:
    (desk.folder / "agent.toml").write_text(PROFILES.format(url="http://127.0.0.1:1/v1"))
    done = desk.agent("run", "tiny", "--budget", "60s", "--trial-time", "1s", *options, code=2)
    assert is_one_sentence(done) and part in done.err and not (desk.folder / "runs").exists()

"""A whole run with a model, on our own target: `--model scripted:demo`. Real trainings, jail, judge and git.

What is compared with the golden files: the journal's story, `git log`, and what the model was shown and told. Measured
numbers are masked; what is decided by them is not. `UPDATE_GOLDEN=1` writes the files anew.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from kit import Desk

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).parent / "golden" / "demo"
# exactly so many tokens in each training, however fast the machine is: what is kept must not depend on it
START = """import os, runpy
os.environ["AGENT_TRAIN_TOKENS"] = str(60 * 8 * 256)
runpy.run_path("train.py", run_name="__main__")
"""
NUMBER = re.compile(r"(?<![\w.])[-+±]?\d+(?:,\d{3})*\.\d+(?:e[-+]?\d+)?(?![\w.])")
MASKS = (  # what follows the clock, the machine or the Python that runs
    (re.compile(r"(?ms)^(## How the best version trains\n).*?(?=^## )"), r"\1\nCURVE\n\n"),
    (re.compile(r"(?ms)^```text\n.*?^(\w+Error: [^\n]*)\n```"), r"OUTPUT that ends with: \1"),
    (re.compile(r"about \d+ more training"), "about N more training"),
    (re.compile(r"\b[0-9a-f]{40,64}\b"), "HASH"),
    (re.compile(r"\d+(?:\.\d+)? (?:[KMGT]iB|s\b|MB)"), "SIZE"),
    (re.compile(r"\b(?:\d+h )?(?:\d+m )?\d+(?:\.\d+)?(?:s|m)\b"), "TIME"),
    (re.compile(r"(?m)^(Peak-Memory-MB|Seed|Tokens|Sandbox): .*$"), r"\1: MASKED"),
    (NUMBER, "#"),
)


def masked(text: str) -> str:
    for pattern, instead in MASKS:
        text = pattern.sub(instead, text)
    return text


@pytest.fixture
def demo(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path / "desk")
    target = desk.folder / "train_target"
    shutil.copytree(ROOT / "train_target", target, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "AGENT.md", desk.folder)
    (target / "start.py").write_text(START)
    options = ("--budget", "30m", "--trial-time", "120s", "--repeats", "3", "--name", "x")
    settings = ("--set", 'run=["python", "start.py"]', "--set", "limits.memory=2GiB")
    done = desk.agent("run", "train_target", "--model", "scripted:demo", *options, *settings, timeout=800)
    assert "the script of replies has ended after 9 replies" in done.out
    return desk


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def story(event: dict) -> str | None:
    """One event in a line; None for what tells nothing of the story."""
    match event["kind"]:
        case "proposed":
            repairs = event["proposal"]["repairs"]
            calls = "+".join(call["purpose"] for call in event["proposal"]["calls"])
            mends = "" if repairs is None else f", repairs {repairs}"
            return f"trial {event['trial']} on {event['parent']}: {event['proposal']['title']} [{calls}{mends}]"
        case "measured":
            return f"  {event['measurement']['outcome']}: {masked(event['measurement']['reason'])}".rstrip(": ")
        case "closed":
            return f"  {event['verdict']['decision']}"
        case "voided":
            return f"void: {event['wrong']}: {event['reason']}"
        case "ended":
            return f"ended by {event['by']}: {event['reason']}"
    return None


def history(desk: Desk) -> str:
    return "\n".join(line for event in desk.events() if (line := story(event))) + "\n"


def git_log(desk: Desk) -> str:
    command = ["git", "-C", str(desk.folder / "runs" / "x"), "log", "-1", "--format=%s%n%n%b"]
    ids = [event["trial"] for event in desk.events() if event["kind"] == "closed"]
    logs = [
        subprocess.run([*command, f"trials/{number:04d}"], capture_output=True, text=True, check=True).stdout
        for number in ids
    ]
    return masked("".join(logs))


def prompts(desk: Desk) -> str:
    """What the model was told in each call, without the code, which is in the repository."""
    parts = []
    for path in sorted((desk.folder / "runs" / "x" / "calls").glob("*.json")):
        call = json.loads(path.read_text(encoding="utf-8"))
        last = call["request"]["messages"][-1]["content"]
        told = last.partition("\n## What was kept")[2] or last
        parts.append(f"### call {call['call']['number']}: {call['call']['purpose']}\n{told}\n")
    return masked("\n".join(parts))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_is_a_whole_run_with_a_model(demo: Desk) -> None:
    compare("history.txt", history(demo))
    compare("git-log.txt", git_log(demo))
    compare("prompts.md", prompts(demo))
    assert demo.agent("verify", "x").out.endswith("agree\n")
    status = demo.agent("status", "x", "--json").json
    assert (status["calls"]["calls"], status["calls"]["failed"], status["trials"]["keep"]) == (9, 0, 3)
    assert status["calls"]["prompt_tokens"] > 9_000
    assert "9 calls" in demo.agent("status", "x").out

"""The litellm backend against the same misbehaving server: the same kinds of trouble, and nothing made up."""

import logging
import subprocess
import sys
import threading
import time

import pytest
from misbehaving_server import ANSWER, BEHAVIOURS, refuse, serving

from agent.models.base import Interrupted, Message, ModelError, Request, Trouble, Watch
from agent.models.config import ModelConfig
from agent.models.line import Line
from agent.models.litellm_model import LiteLLM

pytestmark = pytest.mark.slow
REQUEST = Request((Message("user", "Lower val_bpb."),), 100, temperature=0.3)
WHOLE = "".join(ANSWER)

TROUBLES = {
    "rate_limited": Trouble.RATE_LIMITED,
    "server_error": Trouble.SERVER,
    "loading": Trouble.SERVER,
    "gateway": Trouble.SERVER,
    "garbage": Trouble.SERVER,
    "strange_choices": Trouble.SERVER,
    "noise": Trouble.SERVER,
    "html": Trouble.CUT,  # litellm makes an empty answer of it; without a finish_reason of its own it is none
    "json_error": Trouble.CUT,
    "no_choices": Trouble.CUT,
    "empty_body": Trouble.CUT,
    "cut": Trouble.CUT,
    "unfinished": Trouble.CUT,
    "aborted": Trouble.CUT,
    "error_within": Trouble.CUT,
    "hangs_up": Trouble.UNREACHABLE,
    "overflow": Trouble.OVERFLOW,
    "overflow_within": Trouble.OVERFLOW,
    "needs_key": Trouble.UNAUTHORIZED,
    "no_path": Trouble.NO_MODEL,
    "bad_request": Trouble.BAD_REQUEST,
    "unheard-of": Trouble.NO_MODEL,
}
ANSWERS = {
    "ok": (WHOLE, ""),
    "no_usage": (WHOLE, ""),
    "cut_after_the_end": (WHOLE, ""),
    "cut_at_length": ("IDEA: a very lo", ""),
    "reasoning": ("SET LR = 0.02\n", "Let me see."),
    "reasoning_content": ("SET LR = 0.02\n", "Let me see."),
    "only_thinks": ("", "on and on"),
    "no_stream_options": (WHOLE, ""),
}


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


def model(server, name, key="hunter2-hunter2"):
    return LiteLLM(ModelConfig(model=f"openai/{name}", url=server.url, litellm=True), key, "BOX_KEY")


def trouble(server, name):
    with pytest.raises(ModelError) as caught:
        model(server, name).complete(REQUEST, Watch())
    return caught.value


@pytest.mark.parametrize("name", TROUBLES)
def test_each_misbehaviour_has_its_kind_in_one_line(server, name):
    error = trouble(server, name)
    assert error.trouble is TROUBLES[name]
    assert str(error).isprintable()
    assert "hunter2" not in str(error)
    assert f"openai/{name}" in str(error)


@pytest.mark.parametrize("name", ANSWERS)
def test_each_form_of_an_answer_is_understood(server, name):
    reply = model(server, name).complete(REQUEST, Watch())
    assert (reply.text, reply.reasoning) == ANSWERS[name]
    assert reply.finish_reason == ("length" if name in ("cut_at_length", "only_thinks") else "stop")


def test_tokens_that_litellm_makes_up_are_not_taken_for_the_server_s(server):
    counted, uncounted = (model(server, name).complete(REQUEST, Watch()) for name in ("ok", "no_usage"))
    assert (counted.prompt_tokens, counted.completion_tokens) == (11, 4)
    assert (uncounted.prompt_tokens, uncounted.completion_tokens) == (None, None)


def test_a_wait_that_the_server_asks_for_is_passed_on(server):
    assert trouble(server, "rate_limited").retry_after == 7


def test_no_key_of_the_environment_is_told_nor_what_looks_like_one(server, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("SHORT_KEY", "to")
    said = (
        "0123456789abcdef0123456789abcdef or AIzaSyD-abcdefghijklmnopqrstuvwxyz12345 at http://x/?key=hidden&b=1 to it"
    )
    server.plan.append(refuse(500, {"error": {"message": said}}))
    assert '"*** or *** at http://x/?key=***&b=1 to it' in str(trouble(server, "any"))


def test_the_key_s_variable_is_named(server):
    assert "put the right one into the environment variable BOX_KEY" in str(trouble(server, "needs_key"))


@pytest.mark.parametrize("name", ["hang", "trickle"])
def test_a_stop_ends_a_call_within_a_second_and_hangs_up(server, name):
    model(server, "ok").complete(REQUEST, Watch())  # the import is not what is measured
    stop = threading.Event()
    server.left.clear()
    threading.Timer(0.4, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        model(server, name).complete(REQUEST, Watch(cancelled=stop.is_set))
    assert time.monotonic() - began < 1.6
    assert server.left.wait(2), "the server was left to work for nobody"


def test_the_request_says_what_was_asked_for_and_only_once(server):
    schema = {"type": "object", "properties": {}}
    before = len(server.asked)
    model(server, "ok").complete(Request(REQUEST.messages, 77, temperature=0.2, schema=schema, think=False), Watch())
    assert len(server.asked) == before + 1
    sent = server.asked[-1]
    assert (sent["model"], sent["max_tokens"], sent["temperature"], sent["stream"]) == ("ok", 77, 0.2, True)
    assert sent["response_format"]["json_schema"]["schema"] == schema
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    assert server.headers[-1]["authorization"] == "Bearer hunter2-hunter2"


def test_nothing_is_retried_behind_our_back(server):
    before = len(server.asked)
    trouble(server, "server_error")
    assert len(server.asked) == before + 1


def test_proxies_are_bypassed_on_this_machine(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert model(server, "ok").complete(REQUEST, Watch()).text == WHOLE


def test_a_known_model_has_a_price_and_an_own_server_none(server, monkeypatch):
    own = model(server, "ok").complete(REQUEST, Watch())
    assert own.cost is None
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    server.plan.append(BEHAVIOURS["ok"])
    cloud = LiteLLM(ModelConfig(model="openai/gpt-4o", litellm=True)).complete(REQUEST, Watch())
    assert cloud.cost == pytest.approx(11 * 2.5e-6 + 4 * 10e-6)


def test_an_unknown_provider_is_refused_at_once():
    with pytest.raises(ModelError) as caught:
        LiteLLM(ModelConfig(model="nosuch/model", litellm=True)).complete(REQUEST, Watch())
    assert caught.value.trouble in (Trouble.BAD_REQUEST, Trouble.NO_MODEL)


def test_litellm_says_nothing_by_itself(server, capfd, caplog):
    for name in ("server_error", "aborted", "cut", "ok"):
        server.plan.append(BEHAVIOURS[name])
    line = Line(model(server, "any"), Quick())
    with caplog.at_level(logging.WARNING):
        line.ask(REQUEST, "propose")
    assert [call.error for call in line.drain()] == ["server", "cut", "cut", ""]
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


class Quick(Watch):
    """Does not wait between attempts."""

    def sleep(self, seconds):
        self.check()


def test_litellm_is_imported_when_it_is_asked_and_loads_no_env_file(tmp_path):
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-a-file\n")
    code = """
import os, sys, time
from agent.models.choose import open_model, parse_model
model = open_model(parse_model("litellm:openai/m", {}), 0)
assert "litellm" not in sys.modules
from agent.models.base import *
try:
    model.complete(Request((Message("user", "x"),), 9), Watch(deadline=lambda: 0.0))
except Interrupted:
    pass
assert "litellm" in sys.modules
assert "OPENAI_API_KEY" not in os.environ, "loaded from .env"
"""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""

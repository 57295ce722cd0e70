"""The OpenAI-compatible backend against a real server that misbehaves in every way that real ones did."""

import signal
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from misbehaving_server import ANSWER, BEHAVIOURS, OVERFLOW, refuse, serving

from agent.models import pace
from agent.models.base import Interrupted, Message, ModelError, Request, Trouble, Watch
from agent.models.config import ModelConfig
from agent.models.line import Line
from agent.models.openai_compat import OpenAICompatible

REQUEST = Request((Message("system", "Be brief."), Message("user", "Lower val_bpb.")), 100, temperature=0.3)
WHOLE = "".join(ANSWER)

TROUBLES = {
    "rate_limited": (Trouble.RATE_LIMITED, "too many requests (status 429)"),
    "server_error": (Trouble.SERVER, 'status 500 ("CUDA error: an illegal memory access"): its own log says why'),
    "loading": (Trouble.SERVER, "Loading model"),
    "gateway": (Trouble.SERVER, 'status 502 ("Sign in Bad gateway")'),
    "garbage": (Trouble.GARBAGE, "does not answer like an OpenAI-compatible server"),
    "no_dictionary": (Trouble.GARBAGE, "[1, 2, 3]"),
    "strange_choices": (Trouble.GARBAGE, "none"),
    "strange_delta": (Trouble.GARBAGE, "does not answer like"),
    "noise": (Trouble.GARBAGE, "does not answer like"),
    "html": (Trouble.GARBAGE, '("Sign in Welcome"): does the URL end at /v1?'),
    "json_error": (Trouble.NO_MODEL, "has no /chat/completions"),
    "no_choices": (Trouble.GARBAGE, "an answer without choices"),
    "empty_body": (Trouble.GARBAGE, "an answer without choices"),
    "cut": (Trouble.CUT, "ended its answer after 1 pieces, without a finish_reason"),
    "unfinished": (Trouble.CUT, "ended its answer after 1 pieces"),
    "aborted": (Trouble.CUT, "ended its answer"),
    "hangs_up": (Trouble.UNREACHABLE, "is the model server still running?"),
    "error_within": (Trouble.SERVER, "EngineCore died"),
    "overflow_within": (Trouble.OVERFLOW, "maximum context length is 2048"),
    "overflow": (Trouble.OVERFLOW, "serve it with a longer context"),
    "needs_key": (Trouble.UNAUTHORIZED, "put it into the environment variable AGENT_API_KEY"),
    "no_path": (Trouble.NO_MODEL, "does the URL end where the API begins, at /v1?"),
    "bad_request": (Trouble.BAD_REQUEST, "temperature must be positive"),
    "unheard-of": (Trouble.NO_MODEL, "has no model 'unheard-of'"),
}
ANSWERS = {
    "ok": (WHOLE, "", ""),
    "no_usage": (WHOLE, "", ""),
    "one_piece": (WHOLE, "", ""),
    "cut_after_the_end": (WHOLE, "", ""),
    "cut_at_length": ("IDEA: a very lo", "", ""),
    "reasoning": ("SET LR = 0.02\n", "Let me see.", "reasoning"),
    "reasoning_content": ("SET LR = 0.02\n", "Let me see.", "reasoning_content"),
    "only_thinks": ("", "on and on", "reasoning"),
    "no_stream_options": (WHOLE, "", ""),
    "no_template_kwargs": (WHOLE, "", ""),
    "wild_text": ("a?b\x07\u202e", "", ""),
}
ENDLESS = ("hang", "hang_within", "trickle")


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


def model(server, name, key=None):
    return OpenAICompatible(ModelConfig(model=name, url=server.url), key)


def ask(server, name, request=REQUEST, watch=None, key=None):
    return model(server, name, key).complete(request, watch or Watch())


def trouble(server, name, request=REQUEST, key=None):
    with pytest.raises(ModelError) as caught:
        ask(server, name, request, key=key)
    return caught.value


def test_every_behaviour_of_the_server_is_tested_here():
    assert set(TROUBLES) | set(ANSWERS) | set(ENDLESS) == set(BEHAVIOURS) | {"unheard-of"}


@pytest.mark.parametrize("name", TROUBLES)
def test_each_misbehaviour_has_its_kind_and_its_sentence(server, name):
    error = trouble(server, name)
    kind, says = TROUBLES[name]
    assert error.trouble is kind
    assert says in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 600


@pytest.mark.parametrize("name", ANSWERS)
def test_each_form_of_an_answer_is_understood(server, name):
    reply = ask(server, name, Request(REQUEST.messages, 100, think=False))
    assert (reply.text, reply.reasoning, reply.reasoning_field) == ANSWERS[name]
    assert reply.finish_reason == ("length" if name in ("cut_at_length", "only_thinks") else "stop")


def test_what_the_server_counts_is_passed_on_and_nothing_else(server):
    counted, uncounted = ask(server, "ok"), ask(server, "no_usage")
    assert (counted.prompt_tokens, counted.completion_tokens, counted.reasoning_tokens) == (11, 4, 0)
    assert (uncounted.prompt_tokens, uncounted.completion_tokens) == (None, None)
    assert counted.model == "m"
    assert 0 < counted.first_token_seconds <= counted.seconds


def test_the_request_says_what_was_asked_for(server):
    schema = {"type": "object", "properties": {"lr": {"type": "number"}}}
    ask(server, "ok", Request(REQUEST.messages, 77, temperature=0.2, schema=schema, think=False))
    sent = server.asked[-1]
    assert sent["messages"] == [{"role": m.role, "content": m.content} for m in REQUEST.messages]
    assert (sent["model"], sent["max_tokens"], sent["temperature"], sent["stream"]) == ("ok", 77, 0.2, True)
    assert sent["stream_options"] == {"include_usage": True}
    assert sent["response_format"]["json_schema"] == {"name": "answer", "schema": schema, "strict": True}
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}


def test_thinking_is_left_to_the_server_unless_it_matters(server):
    ask(server, "ok")
    assert "chat_template_kwargs" not in server.asked[-1]
    assert "response_format" not in server.asked[-1]


def test_an_option_that_the_server_refused_is_not_sent_again(server):
    one = model(server, "no_stream_options")
    one.complete(REQUEST, Watch())
    before = len(server.asked)
    one.complete(REQUEST, Watch())
    assert len(server.asked) == before + 1
    assert "stream_options" not in server.asked[-1]


@pytest.mark.parametrize("name", ENDLESS)
def test_a_stop_ends_a_call_within_a_second_and_hangs_up(server, name):
    stop = threading.Event()
    ask(server, "ok")  # the first call of a process takes its time to begin
    server.left.clear()
    threading.Timer(0.4, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        ask(server, name, watch=Watch(cancelled=stop.is_set))
    assert time.monotonic() - began < 1.4
    assert server.left.wait(2), "the server was left to work for nobody"


def test_the_deadline_of_the_run_ends_a_call(server):
    began = time.monotonic()
    with pytest.raises(Interrupted):
        ask(server, "hang", watch=Watch(deadline=lambda: began + 0.3))
    assert time.monotonic() - began < 1.3


def test_an_interrupt_from_the_keyboard_ends_a_call_and_hangs_up(server):
    ask(server, "ok")  # the first call of a process takes its time to begin
    server.left.clear()
    threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ask(server, "hang")
    assert time.monotonic() - began < 1.3
    assert server.left.wait(2)


def test_an_answer_that_takes_longer_than_asked_for_is_a_timeout(server):
    error = trouble(server, "trickle", Request(REQUEST.messages, 100, seconds=0.5))
    assert error.trouble is Trouble.TIMEOUT
    assert "had not finished its answer after 0 s" in str(error) or "after 1 s" in str(error)


def test_a_server_that_says_nothing_is_a_timeout(server, monkeypatch):
    monkeypatch.setattr(pace, "_LOADING_SECONDS", -1.8)
    error = trouble(server, "hang")
    assert error.trouble is Trouble.TIMEOUT
    assert "said nothing for" in str(error)


def test_an_answer_may_have_less_time_to_begin_than_to_end(server):
    request = Request(REQUEST.messages, 100, seconds=60.0, first_seconds=0.3)
    assert "said nothing for 0 s" in str(trouble(server, "hang", request))
    assert ask(server, "ok", request).text == WHOLE


def test_a_server_that_falls_silent_is_a_timeout(server, monkeypatch):
    monkeypatch.setattr(pace, "_SILENCE_SECONDS", 0.3)
    error = trouble(server, "hang_within")
    assert error.trouble is Trouble.TIMEOUT
    assert "fell silent" in str(error)


def test_a_slow_trickle_is_an_answer_as_long_as_it_goes_on(server, monkeypatch):
    monkeypatch.setattr(pace, "_SILENCE_SECONDS", 0.5)
    watch = Watch()
    watch.cancelled = lambda: watch.tokens >= 20
    with pytest.raises(Interrupted):
        ask(server, "trickle", watch=watch)
    assert watch.doing == "trickle answers"


def test_a_longer_prompt_has_longer_to_be_read():
    short, long = (Request((Message("user", "x" * size),), 10) for size in (30, 90_000))
    assert pace.first_seconds(long) - pace.first_seconds(short) == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize(
    ("says", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("soon", None),
        ("-3", None),
        ("inf", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_the_wait_that_a_server_asks_for(server, says, seconds):
    server.plan.append(refuse(429, {"error": {"message": "slow down"}}, Retry_After=says))
    assert trouble(server, "any").retry_after == seconds


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, OVERFLOW),
        (
            400,
            "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 2048.",
        ),
        (
            400,
            "You passed 2049 input tokens and requested 16. However, the model's context length is only 2048 tokens.",
        ),
        (400, "The decoder prompt (length 10127) is longer than the maximum model length of 8192."),
        (400, "the request exceeds the available context size. try increasing the context size"),
        (400, "request (3010 tokens) exceeds the available context size (2048 tokens), try increasing it"),
        (500, "Requested tokens (3000) exceed context window of 2048"),
        (400, "The input (85050 tokens) is longer than the model's context length (32768 tokens)."),
        (400, "Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens)."),
        (400, "Requested token count exceeds the model's maximum context length of 202752 tokens."),
        (
            400,
            "Trying to keep the first 14538 tokens when context the overflows. However, the model is loaded with ...",
        ),
        (400, "The number of tokens to keep from the initial prompt is greater than the context length."),
        (400, "litellm.ContextWindowExceededError: litellm.BadRequestError: prompt too big"),
        (400, "the input length exceeds the context length"),
        (400, "prompt is too long: 213462 tokens > 200000 maximum"),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000"),
        (400, "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)."),
        (413, "Please reduce the length of the messages or completion."),
        (400, "max_tokens is too large: 99999. This model supports at most 4096 completion tokens"),
    ],
)
def test_an_overflow_is_known_by_the_words_of_every_server(server, status, said):
    server.plan.append(refuse(status, {"error": {"message": said}}))
    assert trouble(server, "any").trouble is Trouble.OVERFLOW


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": "Model path is pinned to '/models/tiny'"}}, Trouble.NO_MODEL),
        (400, {"error": {"message": "Invalid model name passed in model=foo. Call `/v1/models`"}}, Trouble.NO_MODEL),
        (404, {"error": {"message": 'model "foo" not found, try pulling it first'}}, Trouble.NO_MODEL),
        (400, {"error": {"message": "No connected db.", "type": "no_db_connection"}}, Trouble.UNAUTHORIZED),
        (403, {"detail": "Forbidden"}, Trouble.UNAUTHORIZED),
        (401, "Unauthorized", Trouble.UNAUTHORIZED),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "Input should be a valid integer"}]}, Trouble.BAD_REQUEST),
        (400, {"error": {"message": "temperature exceeds the limit of 2"}}, Trouble.BAD_REQUEST),
        (408, {"error": "Request Timeout"}, Trouble.SERVER),
        (529, {"error": {"message": "Overloaded"}}, Trouble.SERVER),
        (500, "", Trouble.SERVER),
        (400, "", Trouble.BAD_REQUEST),
    ],
)
def test_a_refusal_is_known_by_its_status_and_words(server, status, body, kind):
    server.plan.append(refuse(status, body))
    assert trouble(server, "any").trouble is kind


def test_a_key_is_sent_and_never_told(server):
    assert ask(server, "needs_key", key="sekret").text == WHOLE
    wrong = str(trouble(server, "needs_key", key="hunter2-hunter2"))
    assert "refuses the key" in wrong
    assert "hunter2" not in wrong
    server.plan.append(refuse(500, {"error": {"message": "bad hunter2-hunter2 and sk-abcdefghij0123456789"}}))
    told = str(trouble(server, "any", key="hunter2-hunter2"))
    assert "hunter2" not in told
    assert "sk-abc" not in told


def test_without_a_key_a_placeholder_is_sent_and_nothing_of_openai_s(server, monkeypatch):
    for name, value in {"OPENAI_API_KEY": "sk-cloud", "OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    ask(server, "ok")
    sent = server.headers[-1]
    assert sent["authorization"] == "Bearer none"
    assert not {"openai-organization", "openai-project"} & set(sent)


def test_a_date_to_wait_for_is_understood_too(server):
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    server.plan.append(refuse(429, {"error": {"message": "slow down"}}, Retry_After=until))
    assert 60 < trouble(server, "any").retry_after <= 90


def test_a_server_s_words_are_one_clean_line(server):
    said = "\x1b[31mred\x1b[0m\r\nnext\u202e line " + "x" * 5000
    server.plan.append(refuse(500, {"error": {"message": said}}))
    told = str(trouble(server, "any"))
    assert told.isprintable()
    assert len(told) < 400


def test_proxies_are_bypassed_on_this_machine(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert ask(server, "ok").text == WHOLE


def test_proxies_are_honoured_elsewhere(monkeypatch):
    with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("http_proxy", raising=False)
        for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        away = OpenAICompatible(ModelConfig(model="ok", url="http://models.example.com/v1"))
        with pytest.raises(ModelError):
            away.complete(REQUEST, Watch())
        assert proxy.headers[-1]["host"] == "models.example.com"


def unreachable(url):
    with pytest.raises(ModelError) as caught:
        OpenAICompatible(ModelConfig(model="m", url=url)).complete(REQUEST, Watch())
    assert caught.value.trouble is Trouble.UNREACHABLE
    return str(caught.value)


def test_a_closed_port_is_told_as_such():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        assert unreachable(url).startswith(f"nobody listens at {url}: start the model server")


def test_an_unknown_host_is_told_as_such():
    assert "the host of http://nosuch.localhost.invalid/v1 is not known here" in unreachable(
        "http://nosuch.localhost.invalid/v1"
    )


def test_https_to_a_plain_server_is_told_as_such(server):
    assert "is it an http:// server?" in unreachable(server.url.replace("http:", "https:"))


def test_a_line_gets_through_a_bad_night(server):
    slept = []

    class Impatient(Watch):
        def sleep(self, seconds):
            slept.append(seconds)

    night = ("rate_limited", "server_error", "gateway", "cut", "garbage", "html", "hangs_up", "unfinished", "ok")
    server.plan.extend(BEHAVIOURS[name] for name in night)
    line = Line(model(server, "any"), Impatient())
    assert line.ask(REQUEST, "propose").text == WHOLE
    calls = line.drain()
    assert [call.error for call in calls] == [
        *("rate_limited", "server", "server", "cut", "garbage", "garbage", "unreachable", "cut", ""),
    ]
    assert slept[0] == 7
    assert calls[3].completion_tokens == 1
    assert calls[3].estimated
    assert not calls[-1].estimated


def test_a_call_leaves_no_thread_and_no_file_behind(server):
    ask(server, "ok")
    threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        ask(server, "ok")
        trouble(server, "cut")
    time.sleep(0.2)
    assert threading.active_count() <= threads
    assert len(list(Path("/proc/self/fd").iterdir())) <= files

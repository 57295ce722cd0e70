"""vLLM, `transformers serve` and the litellm proxy as they really behave, through our backend and our preflight.

What servers do differently is written down here: a new version that behaves otherwise shows.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import CONTEXT, KEY, Server

from agent.calls import Contract
from agent.doctor_model import examine_model
from agent.errors import UsageError
from agent.models.base import Message, Model, ModelError, Reply, Request, Trouble, Watch
from agent.models.choose import open_model
from agent.models.config import ModelConfig
from agent.models.listing import Listed, list_models
from agent.models.openai_compat import OpenAICompatible
from agent.models.preflight import preflight, proposal_seconds
from agent.models.tiny_task import TASKS, Task, messages

pytestmark = pytest.mark.slow
NAMES = ("vllm", "transformers", "proxy")
BEHIND_VLLM = ("vllm", "proxy")
HELLO = (Message("user", "hello"),)


@pytest.fixture(params=NAMES)
def server(request: pytest.FixtureRequest, servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch) -> Server:
    """Each server in turn, with its key where keys are looked for."""
    found = servers[request.param]
    monkeypatch.setenv("AGENT_API_KEY", found.key or "")
    return found


def config(server: Server, model: str | None = None, **stated: object) -> ModelConfig:
    return ModelConfig.model_validate({"model": model or server.model, "url": server.url, **stated})


def opened(server: Server, model: str | None = None) -> Model:
    return open_model(config(server, model), 0)


def refused(server: Server, request: Request, model: str | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        opened(server, model).complete(request, Watch())
    return caught.value


def test_a_completion_has_text_and_counts(server: Server) -> None:
    reply = opened(server).complete(Request(HELLO, max_tokens=8), Watch())
    assert reply.text or reply.reasoning
    assert reply.prompt_tokens is not None and 5 < reply.prompt_tokens < 30
    assert reply.completion_tokens is not None and 0 < reply.completion_tokens <= 8
    assert server.model in reply.model


def test_an_answer_that_is_cut_says_so(server: Server) -> None:
    assert opened(server).complete(Request(HELLO, max_tokens=2), Watch()).finish_reason == "length"


def test_the_answer_is_streamed(server: Server) -> None:
    watch = Watch()
    reply = opened(server).complete(Request(HELLO, max_tokens=40), watch)
    assert watch.tokens > 1
    assert reply.first_token_seconds is not None
    assert reply.first_token_seconds < reply.seconds


@pytest.mark.parametrize("task", TASKS, ids=lambda task: str(task.name))
def test_a_real_model_makes_the_edit_it_was_taught(server: Server, task: Task) -> None:
    asked = Request(messages(task, Contract.BLOCKS), max_tokens=300, temperature=0.0)
    reply = opened(server).complete(asked, Watch())
    assert reply.finish_reason == "stop"
    assert reply.text.rstrip().endswith(">>>>>>> REPLACE")


def test_thinking_comes_back_where_each_server_puts_it(servers: dict[str, Server]) -> None:
    found = {name: _taught(server) for name, server in servers.items()}
    assert {name: reply.reasoning_field for name, reply in found.items()} == {
        "vllm": "reasoning",
        "proxy": "reasoning_content",
        "transformers": "",
    }
    assert found["transformers"].text.startswith("<think>")
    assert not found["vllm"].text.lstrip().startswith("<think>")


def _taught(server: Server) -> Reply:
    request = Request(messages(TASKS[0], Contract.BLOCKS), max_tokens=300, temperature=0.0)
    return OpenAICompatible(config(server), server.key).complete(request, Watch())


def test_a_prompt_longer_than_the_context_is_an_overflow_or_is_taken(server: Server) -> None:
    request = Request((Message("user", "word " * (CONTEXT + 500)),), max_tokens=4)
    if server.key is None:  # `transformers serve` knows no limit
        reply = opened(server).complete(request, Watch())
        assert reply.prompt_tokens is not None and reply.prompt_tokens > CONTEXT
    else:
        assert refused(server, request).trouble is Trouble.OVERFLOW


def test_an_answer_longer_than_the_context_is_an_overflow_behind_vllm(server: Server) -> None:
    if server.key is not None:
        assert refused(server, Request(HELLO, max_tokens=2 * CONTEXT)).trouble is Trouble.OVERFLOW


def test_an_unknown_model_is_said_to_be_unknown(server: Server) -> None:
    error = refused(server, Request(HELLO, max_tokens=2), model="no-such-model")
    assert error.trouble is Trouble.NO_MODEL
    assert "no-such-model" in str(error)


@pytest.mark.parametrize("key", ["", "wrong"])
def test_a_missing_or_wrong_key_is_said_to_be_so(server: Server, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_API_KEY", key)
    if server.key is None:
        assert opened(server).complete(Request(HELLO, max_tokens=2), Watch()).finish_reason == "length"
        return
    error = refused(server, Request(HELLO, max_tokens=2))
    assert error.trouble is Trouble.UNAUTHORIZED
    assert "AGENT_API_KEY" in str(error)


def test_the_list_of_models_is_as_the_server_gives_it(servers: dict[str, Server]) -> None:
    assert list_models(servers["vllm"].url, KEY) == (Listed("tiny", CONTEXT, "vllm"),)
    assert [listed.name for listed in list_models(servers["proxy"].url, KEY)] == ["tiny"]
    assert list_models(servers["transformers"].url) == ()


def test_preflight_finds_the_facts_of_each(server: Server, request: pytest.FixtureRequest) -> None:
    asked = config(server, temperature=0.0)
    facts = preflight(open_model(asked, 0), asked, Watch())
    name = request.node.callspec.params["server"]
    assert facts.contract is Contract.BLOCKS
    assert facts.thinking == {"vllm": "reasoning", "proxy": "reasoning_content", "transformers": "text"}[name]
    assert facts.json_schema is (name in BEHIND_VLLM)
    assert facts.context_tokens <= CONTEXT or name == "transformers"
    assert facts.max_output_tokens < facts.context_tokens
    assert 1.0 < facts.chars_per_token < 3.0
    assert facts.tokens_per_second is not None and facts.tokens_per_second > 5
    assert (proposal_seconds(facts) or 0) > 0
    assert any("kept in 3 of 3 tries" in said for said in facts.notes)


def test_a_model_that_cannot_keep_a_form_is_refused(
    servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a high temperature the taught model talks nonsense, which our parser judges."""
    monkeypatch.setenv("AGENT_API_KEY", KEY)
    asked = config(servers["vllm"], temperature=2.0)
    with pytest.raises(UsageError, match="keeps no form of edits"):
        preflight(open_model(asked, 0), asked, Watch())


def test_the_doctor_names_the_models_there_are(servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_API_KEY", KEY)
    (row,) = examine_model(config(servers["vllm"], model="tinny"))
    assert "has no model 'tinny': did you mean 'tiny'? It has tiny" in row.advice


def test_the_keeper_ends_everything_when_its_pipe_closes(tmp_path: Path) -> None:
    keeper = Path(__file__).with_name("keeper.py")
    grandchild = "import os,time; os.fork(); open(f'pid{os.getpid()}', 'w').close(); time.sleep(60)"
    held = subprocess.Popen(
        [sys.executable, keeper, sys.executable, "-c", grandchild], cwd=tmp_path, stdin=subprocess.PIPE
    )
    until = time.monotonic() + 20
    while len(list(tmp_path.glob("pid*"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    pids = [int(path.name.removeprefix("pid")) for path in tmp_path.glob("pid*")]
    assert len(pids) == 2
    began = time.monotonic()
    held.communicate()
    assert time.monotonic() - began < 4
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

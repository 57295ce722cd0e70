"""A look at the local ports: who answers, with which models and contexts, and within two seconds."""

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from misbehaving_server import serving

from agent.models.config import ModelConfig
from agent.models.discover import PORTS, Found, FoundModel, discover
from agent.ui.model_tables import models_record, models_table

AGENT = str(Path(sys.executable).with_name("agent"))


def port(server):
    return int(server.url.rsplit(":", 1)[1].split("/")[0])


@pytest.fixture
def look():
    """Looks at one server after it was told what to answer."""
    with serving() as server:

        def at(kind="vLLM", models=None, **pages):
            if models is not None:
                server.models = models
            server.pages = {f"/{path.replace('_', '/')}": page for path, page in pages.items()}
            return discover({port(server): kind})

        yield at


def test_the_usual_ports_are_those_of_the_usual_servers():
    assert PORTS == {
        8000: "vLLM",
        8080: "llama.cpp",
        11434: "Ollama",
        1234: "LM Studio",
        30000: "SGLang",
        4000: "litellm proxy",
    }


def test_a_listed_context_is_told(look):
    (found,) = look(models=({"id": "a", "owned_by": "vllm", "max_model_len": 4096}, {"id": "b", "owned_by": "vllm"}))
    assert found.kind == "vLLM"
    assert found.models == (FoundModel(name="a", context_tokens=4096), FoundModel(name="b"))
    assert found.note == ""


def test_llama_cpp_tells_what_it_serves_not_what_it_was_trained_with(look):
    listed = ({"id": "tiny", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131072}},)
    (found,) = look("whatever", listed, props={"default_generation_settings": {"n_ctx": 2048}})
    assert (found.kind, found.models[0].context_tokens) == ("llama.cpp", 2048)
    (unsaid,) = look("whatever", listed)
    assert unsaid.models[0].context_tokens is None


def test_ollama_tells_the_context_of_loaded_models_only(look):
    listed = ({"id": "qwen3:32b", "owned_by": "library"}, {"id": "phi4", "owned_by": "library"})
    loaded = {"models": [{"name": "qwen3:32b", "context_length": 4096}]}
    (found,) = look("whatever", listed, api_ps=loaded)
    assert found.kind == "Ollama"
    assert [model.context_tokens for model in found.models] == [4096, None]


def test_lm_studio_tells_the_loaded_context_not_the_largest(look):
    listed = ({"id": "qwen", "owned_by": "organization_owner"},)
    state = {"data": [{"id": "qwen", "max_context_length": 131072, "loaded_context_length": 8192}]}
    (found,) = look("whatever", listed, api_v0_models=state)
    assert (found.kind, found.models[0].context_tokens) == ("LM Studio", 8192)


@pytest.mark.parametrize(
    "page", [None, [], "x", {"default_generation_settings": 3}, {"default_generation_settings": {}}]
)
def test_a_strange_page_only_leaves_the_context_open(look, page):
    (found,) = look("llama.cpp", ({"id": "t"},), props=page)
    assert found.models == (FoundModel(name="t"),)


def test_a_server_without_models_says_so(look):
    (found,) = look(models=())
    assert found.note == "lists no model: load one there"


def test_what_is_no_model_server_is_told_apart(look):
    (found,) = look(v1_models="<html>Jupyter</html>")
    assert found.note == "something else: no OpenAI-compatible server"
    assert found.models == ()


def test_ports_are_looked_at_together_and_a_silent_one_costs_two_seconds_at_most():
    with ExitStack() as stack:
        server = stack.enter_context(serving())
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        ports = {s.getsockname()[1]: "silent" for s in silent}
        began = time.monotonic()
        found = discover({**ports, port(server): "vLLM", closed.getsockname()[1]: "nobody"})
        assert time.monotonic() - began < 3
    assert [one.note for one in found] == ["took too long to list its models"] * 4 + [""]
    assert [one.kind for one in found] == ["silent"] * 4 + ["vLLM"]


def test_no_key_is_shown_to_whoever_listens(look, monkeypatch):
    monkeypatch.setenv("AGENT_API_KEY", "sekret")
    with serving() as server:
        discover({port(server): "vLLM"})
        assert server.listed_with == ["Bearer none"]


def test_the_table_holds_what_to_write_for_model():
    found = (
        Found(url="http://localhost:8000/v1", kind="vLLM", models=(FoundModel(name="[bold]q", context_tokens=32768),)),
        Found(url="http://localhost:1234/v1", kind="LM Studio", note="asks for a key"),
    )
    profiles = {"night": ModelConfig(model="q", url="http://box/v1")}
    lines = models_table(found, profiles).splitlines()
    assert lines[0].split() == ["server", "context", "--model", "note"]
    assert "32,768  [bold]q@http://localhost:8000/v1" in lines[1]
    assert "asks for a key" in lines[2]
    assert "night" in lines[3]
    record = json.loads(json.dumps(models_record(found, profiles)))
    assert record["servers"][0]["models"] == [{"name": "[bold]q", "context_tokens": 32768}]
    assert record["profiles"]["night"]["url"] == "http://box/v1"


def test_the_command_lists_the_profiles_too(tmp_path):
    (tmp_path / "agent.toml").write_text('[models.night]\nmodel = "q@http://box:8000"\n')
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([AGENT, "models", "--json"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["profiles"]["night"]["model"] == "q"
    done = subprocess.run([AGENT, "models"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "night" in done.stdout

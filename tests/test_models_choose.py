"""What `--model` names: three forms and the profiles of agent.toml, and never anything that was not named."""

import os
from pathlib import Path

import pytest

from agent.calls import Contract
from agent.errors import UsageError
from agent.models.choose import base_url, open_model, parse_model
from agent.models.config import ModelConfig, is_near
from agent.models.openai_compat import OpenAICompatible
from agent.models.profiles import load_profiles, read_profiles
from agent.models.scripted import Scripted

BOX = ModelConfig(model="qwen3.5-27b", url="http://gpu-box:8000/v1")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home and a working folder, both empty."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def toml(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.toml").write_text(text)
    return folder / "agent.toml"


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("qwen@http://localhost:8000/v1", "qwen", "http://localhost:8000/v1"),
        ("qwen@http://localhost:8000", "qwen", "http://localhost:8000/v1"),
        ("qwen@http://localhost:8000/", "qwen", "http://localhost:8000/v1"),
        ("qwen@http://localhost:8000/v1/", "qwen", "http://localhost:8000/v1"),
        ("qwen@http://localhost:8000/v1/chat/completions", "qwen", "http://localhost:8000/v1"),
        ("Qwen/Qwen3.5-27B@https://box.example.com/api/v3", "Qwen/Qwen3.5-27B", "https://box.example.com/api/v3"),
        ("qwen3:32b@http://[::1]:11434", "qwen3:32b", "http://[::1]:11434/v1"),
        ("qwen@q8_0@http://127.0.0.1:1234/v1", "qwen@q8_0", "http://127.0.0.1:1234/v1"),
        ("/models/my model@HTTP://Box:8080", "/models/my model", "http://box:8080/v1"),
    ],
)
def test_a_name_at_a_url(text, name, url):
    config = parse_model(text, {})
    assert (config.model, config.url, config.litellm, config.script) == (name, url, False, None)
    assert config.label == f"{name}@{url}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("qwen", "write NAME@URL"),
        ("", "write NAME@URL"),
        ("qwen@localhost:8000", "a URL begins with http"),
        ("gpt-4o", "`agent models` lists"),
        ("@http://localhost:8000", "NAME@http:"),
        ("qwen@http://", "is no URL"),
        ("qwen@http://box:port/v1", "is no URL"),
        ("qwen@http://box:99999/v1", "is no URL"),
        ("qwen@http://bo x/v1", "is no URL"),
        ("qwen@http://user:geheim@box/v1", "a key belongs into the variable AGENT_API_KEY"),
        ("qwen@https://box/v1?key=geheim", "a key belongs into the variable AGENT_API_KEY"),
        ("litellm:", "litellm:PROVIDER/NAME"),
        ("litellm:gpt-4o", "litellm:PROVIDER/NAME"),
        ("scripted:", "scripted:FILE"),
        ("bok", "did you mean the profile 'box'"),
    ],
)
def test_anything_else_is_refused_with_what_to_write(text, says):
    with pytest.raises(UsageError) as caught:
        parse_model(text, {"box": BOX})
    assert says in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_litellm_names_a_provider():
    config = parse_model("litellm:openrouter/qwen/qwen3.5-27b", {})
    assert (config.model, config.litellm, config.url) == ("openrouter/qwen/qwen3.5-27b", True, None)
    assert config.label == "openrouter/qwen/qwen3.5-27b@litellm"


def test_a_script_is_found_from_anywhere(home, monkeypatch):
    Path("replies.toml").write_text("[[reply]]\ncontent = 'x'\n")
    config = parse_model("scripted:replies.toml", {})
    monkeypatch.chdir(home)
    model = open_model(config, made=0)
    assert isinstance(model, Scripted)
    assert model.label == config.label == "replies.toml@scripted"


def test_the_demo_opens():
    config = parse_model("scripted:demo", {})
    assert open_model(config, made=0).label == config.label == "demo@scripted"


def test_a_profile_is_named_by_its_name():
    assert parse_model("box", {"box": BOX}) == BOX


def test_profiles_are_read_with_their_overrides(tmp_path):
    profiles = read_profiles(
        toml(
            tmp_path,
            """
            [models.night]
            model = "qwen3.5-27b@http://gpu-box:8000"
            api_key_env = "GPU_BOX_KEY"
            context_tokens = 65536
            max_output_tokens = 8192
            temperature = 0.6
            contract = "few_blocks"
            [models.split]
            model = "tiny"
            url = "http://localhost:8080"
            [models.cloud]
            model = "litellm:openrouter/qwen/qwen3.5-27b"
            [models.own]
            model = "litellm:openai/tiny"
            url = "http://localhost:4000"
            [models.replay]
            model = "scripted:demo"
            """,
        )
    )
    night = profiles["night"]
    assert night.url == "http://gpu-box:8000/v1"
    assert (night.api_key_env, night.context_tokens, night.max_output_tokens) == ("GPU_BOX_KEY", 65536, 8192)
    assert (night.temperature, night.contract) == (0.6, Contract.FEW_BLOCKS)
    assert profiles["split"].label == "tiny@http://localhost:8080/v1"
    assert (profiles["cloud"].litellm, profiles["cloud"].url) == (True, None)
    assert profiles["own"].label == "openai/tiny@litellm:http://localhost:4000"
    assert profiles["replay"].script == "demo"


def test_the_folder_s_file_comes_before_the_user_s(home):
    own = '[models.a]\nmodel = "m@http://localhost:1"'
    toml(home / ".config" / "agent", own)
    assert set(load_profiles()) == {"a"}
    toml(Path.cwd(), own.replace("models.a", "models.b"))
    assert set(load_profiles()) == {"b"}


def test_no_file_means_no_profiles(home):
    assert load_profiles() == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[models.x]\nmodel = "m@http://h:1"\napi_key = "sk-geheim"', "api_key_env ="),
        ('[models.x]\nmodel = "m@http://h:1"\ntoken = "geheim"', "no key in a file"),
        ('[models.x]\nmodel = "m@http://h:1"\nuri = "x"', "models.x: unknown key 'uri': did you mean 'url'?"),
        ('[models.x]\nmodel = "m"', "models.x: model 'm' is nowhere"),
        ('[models.x]\nmodel = "m@http://h:1"\nurl = "http://h:2"', "leave url out"),
        ('[models.x]\nmodel = "m@http://h:1"\ntemperature = 3', "temperature"),
        ('[models.x]\nmodel = "m@http://h:1"\ncontract = "poem"', "contract"),
        ('[models.x]\nmodel = "m@http://h:1"\napi_key_env = "sk-geheim/"', "api_key_env"),
        ("[models.x]\n", "model: it is missing"),
        ("[model.x]\n", "did you mean 'models'"),
        ("models = 3", "models"),
        ("[[[", "no TOML file"),
    ],
)
def test_a_wrong_profile_is_refused_in_a_sentence(tmp_path, text, says):
    with pytest.raises(UsageError) as caught:
        read_profiles(toml(tmp_path, text))
    assert says in str(caught.value)
    assert "agent.toml" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_keys_come_from_the_environment_only(monkeypatch):
    monkeypatch.setenv("AGENT_API_KEY", "for-all")
    monkeypatch.setenv("GPU_BOX_KEY", "for-the-box")
    named = BOX.model_copy(update={"api_key_env": "GPU_BOX_KEY"})
    for config, key in ((BOX, "for-all"), (named, "for-the-box")):
        assert key not in config.model_dump_json()
        assert key not in repr(vars(open_model(config, 0)))


def test_a_key_that_a_profile_promises_must_be_there(monkeypatch):
    monkeypatch.delenv("GPU_BOX_KEY", raising=False)
    with pytest.raises(UsageError, match="GPU_BOX_KEY: set that environment variable"):
        open_model(BOX.model_copy(update={"api_key_env": "GPU_BOX_KEY"}), 0)


def test_a_key_for_our_servers_is_not_sent_to_a_cloud(monkeypatch):
    monkeypatch.setenv("AGENT_API_KEY", "for-the-box")
    cloud = open_model(parse_model("litellm:openai/gpt-4o", {}), 0)
    assert cloud._place.key is None
    assert open_model(BOX, 0)._place.key == "for-the-box"


def test_opening_a_model_asks_nobody():
    assert isinstance(open_model(parse_model("m@http://127.0.0.1:1", {}), 0), OpenAICompatible)


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("0.0.0.0", True),
        ("192.168.1.20", True),
        ("10.0.0.3", True),
        ("172.20.0.2", True),
        ("100.101.102.103", True),
        ("[fe80::1]", True),
        ("[fd00::5]", True),
        ("gpu-box", True),
        ("gpu-box.local", True),
        ("ollama.internal", True),
        ("8.8.8.8", False),
        ("[2001:4860:4860::8888]", False),
        ("api.example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_what_is_on_this_network_is_known_by_its_name(host, near):
    url = f"http://{host}:8000/v1"
    assert is_near(url) is near
    config = ModelConfig(model="m", url=url)
    assert bool(config.warning) is not near
    assert not ModelConfig(model="m", url=url.replace("http:", "https:")).warning


def test_a_model_is_at_one_place():
    for wrong in ({}, {"url": "http://h/v1", "script": "demo"}, {"litellm": True, "script": "demo"}):
        with pytest.raises(ValueError, match="a model is at a url, or litellm's, or a script"):
            ModelConfig(model="m", **wrong)


def test_base_url_leaves_other_paths_alone():
    assert base_url("https://h/openai/v1/") == "https://h/openai/v1"
    assert base_url("http://h:11434", path="") == "http://h:11434"


def test_naming_a_model_imports_no_client():
    import subprocess
    import sys

    code = (
        "import sys; from agent.models.choose import parse_model, open_model; "
        "open_model(parse_model('scripted:demo', {}), 0); "
        "print([m for m in ('openai', 'litellm', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == "[]", done.stderr

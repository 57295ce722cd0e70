"""From what `--model` names to a model: `NAME@URL`, `litellm:PROVIDER/NAME`, `scripted:FILE`, or a profile.

There is no default: nothing is asked, and nothing leaves this machine, that the user has not named.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from agent.config import api_key
from agent.errors import UsageError
from agent.models.base import Model
from agent.models.config import ModelConfig

KEY_VARIABLE = "AGENT_API_KEY"
_FORMS = (
    "write NAME@URL (such as qwen3.5-27b@http://localhost:8000/v1), litellm:PROVIDER/NAME, scripted:FILE, "
    "or a profile of agent.toml; `agent models` lists what answers on this machine"
)
_AT = re.compile(r"(?P<name>.+)@(?P<url>https?://.*)", re.IGNORECASE)


def parse_model(text: str, profiles: Mapping[str, ModelConfig]) -> ModelConfig:
    """Which model `text` names.

    Raises:
        UsageError: none; the sentence says what can be written.
    """
    text = text.strip()
    if text in profiles:
        return profiles[text]
    if (found := named(text)) is not None:
        return found
    raise UsageError(f"--model {text!r} names no model: {_hint(text, profiles)}")


def _hint(text: str, profiles: Mapping[str, ModelConfig]) -> str:
    """What was probably meant, or what can be written."""
    if near := difflib.get_close_matches(text, profiles, n=1):
        return f"did you mean the profile {near[0]!r}? Else {_FORMS}"
    name, _, place = text.rpartition("@")
    if re.match("https?://", place, re.IGNORECASE):
        return f"write its name and an @ before the URL: NAME@{place}; `agent models` lists names"
    if name and re.fullmatch(r"[\w.-]+(:\d+)?(/\S*)?", place):
        return f"a URL begins with http:// or https://: {name}@http://{place}"
    return _FORMS


def named(text: str) -> ModelConfig | None:
    """The model that `text` names in one of the three forms; None if it has none of them.

    Raises:
        UsageError: it has one, but not rightly.
    """
    kind, _, rest = text.partition(":")
    if kind == "scripted":
        return _scripted(rest)
    if kind == "litellm":
        if not re.fullmatch(r"[^\s/]+/\S+", rest):
            raise UsageError(
                f"--model {text!r}: write litellm:PROVIDER/NAME, such as litellm:openrouter/qwen/qwen3.5-27b"
            )
        return ModelConfig(model=rest, litellm=True)
    if match := _AT.fullmatch(text):
        return ModelConfig(model=match["name"], url=base_url(match["url"]))
    return None


def base_url(text: str, path: str = "/v1") -> str:
    """The base URL of an API, without a slash at its end, and with `path` where it has none.

    Raises:
        UsageError: it is no URL, or holds more than a base URL does.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{text!r} is no URL: {error}; write http://HOST:PORT/v1") from error
    if not host or parts.scheme.lower() not in ("http", "https") or re.search(r"\s", text):
        raise UsageError(f"{text!r} is no URL: write http://HOST:PORT/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise UsageError(f"a URL ends with its path, here for {host}: a key belongs into the variable {KEY_VARIABLE}")
    path = parts.path.rstrip("/").removesuffix("/chat/completions") or path
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme.lower()}://{shown}{'' if port is None else f':{port}'}{path}"


def open_model(config: ModelConfig, made: int) -> Model:
    """The model of a configuration. `made` is how many calls the run has booked before.

    Raises:
        UsageError: its script cannot be read, or the variable that a profile names for its key is not set.
    """
    if config.script is not None:
        from agent.models.scripted import DEMO, Scripted

        return Scripted(DEMO if config.script == "demo" else Path(config.script), made)
    own = config.api_key_env or (KEY_VARIABLE if config.url else None)  # no key of ours goes to a cloud by itself
    key = api_key(own) if own else None
    if config.api_key_env is not None and key is None:
        raise UsageError(f"the key of {config.label} should be in {config.api_key_env}: set that environment variable")
    if config.litellm:
        from agent.models.litellm_model import LiteLLM

        return LiteLLM(config, key, own)
    from agent.models.openai_compat import OpenAICompatible

    return OpenAICompatible(config, key, own or KEY_VARIABLE)


def _scripted(rest: str) -> ModelConfig:
    if not rest:
        raise UsageError("--model scripted: names no file: write scripted:FILE, or scripted:demo")
    if rest == "demo":
        return ModelConfig(model="demo", script="demo")
    path = Path(rest).expanduser().absolute()
    return ModelConfig(model=path.name, script=str(path))

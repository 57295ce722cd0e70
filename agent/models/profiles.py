"""Named models of agent.toml: `[models.NAME]` tables, so that `--model NAME` is enough.

    [models.night]
    model = "qwen3.5-27b@http://gpu-box:8000/v1"   # as for --model
    api_key_env = "GPU_BOX_KEY"                    # the variable that holds the key, never the key
    context_tokens = 65536                         # each of these in the place of what preflight finds
    max_output_tokens = 8192
    temperature = 0.6
    contract = "blocks"

The file is ./agent.toml, or else ~/.config/agent/agent.toml.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from agent.calls import Contract
from agent.config import checked, home
from agent.errors import UsageError
from agent.models.choose import base_url, named
from agent.models.config import ModelConfig
from agent.noun import Noun

_KEYS_IN_CLEAR = ("api_key", "key", "token", "secret", "password")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Profile(Noun):
    """One table of agent.toml. `url` may stand beside a plain name; for litellm it is its `api_base`."""

    model: str
    url: str | None = None
    api_key_env: str | None = None
    context_tokens: int | None = Field(default=None, ge=512)
    max_output_tokens: int | None = Field(default=None, ge=64)
    temperature: float | None = Field(default=None, ge=0, le=2)
    contract: Contract | None = None


class AgentToml(Noun):
    """What agent.toml may hold."""

    models: dict[str, Any] = {}


def load_profiles() -> Mapping[str, ModelConfig]:
    """The profiles of ./agent.toml, or else of the user's own file; none without a file.

    Raises:
        UsageError: the file cannot be read, or something in it is off.
    """
    for path in (Path("agent.toml"), home() / ".config" / "agent" / "agent.toml"):
        if path.is_file():
            return read_profiles(path)
    return {}


def read_profiles(path: Path) -> Mapping[str, ModelConfig]:
    """The profiles in a file.

    Raises:
        UsageError: the file cannot be read, or something in it is off.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML file: {error}") from error
    models = checked(AgentToml, table, str(path)).models
    return {name: _model(values, f"{path}: models.{name}") for name, values in models.items()}


def _model(values: Any, where: str) -> ModelConfig:
    if not isinstance(values, dict):
        raise UsageError(f'{where}: write a table: a line [models.NAME], and below it model = "NAME@URL"')
    if not _VARIABLE.fullmatch(str(values.get("api_key_env", "A"))):
        raise UsageError(f"{where}: api_key_env is the name of the environment variable that holds the key")
    for key in _KEYS_IN_CLEAR:
        if key in values:
            raise UsageError(
                f"{where}: no key in a file: put it into an environment variable, and write api_key_env = "
                f'"THAT_VARIABLE" in the place of {key}'
            )
    profile = checked(Profile, values, where)
    try:
        found = _place(profile)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    return found.model_copy(update=profile.model_dump(exclude={"model", "url"}, exclude_none=True))


def _place(profile: Profile) -> ModelConfig:
    at = named(profile.model)
    if profile.url is None:
        if at is None:
            raise UsageError(
                f'model {profile.model!r} is nowhere: write "NAME@URL", or add url = "http://HOST:PORT/v1"'
            )
        return at
    if at is None:
        return ModelConfig(model=profile.model, url=base_url(profile.url))
    if not at.litellm:
        raise UsageError(f"model {profile.model!r} says already where it is: leave url out")
    return at.model_copy(update={"url": base_url(profile.url, path="")})

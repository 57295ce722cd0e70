"""Which language model a run asks, and where: what `--model` or a profile of agent.toml named, as a record.

It never holds a key: a profile names the environment variable that does.
"""

import ipaddress
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from agent.calls import Contract
from agent.noun import Noun

_NEAR_ENDINGS = (".localhost", ".local", ".lan", ".home", ".internal", ".home.arpa")
_CARRIER_NET = ipaddress.IPv4Network("100.64.0.0/10")  # what overlay networks such as Tailscale hand out


class ModelConfig(Noun):
    """A language model and how to reach it: exactly one of `url` (with or without litellm), `litellm`, `script`.

    Attributes:
        model: its name at the server; `provider/name` for litellm; the file's name for a script.
        url: base URL of an OpenAI-compatible server, `/v1` included; for litellm its `api_base`.
        litellm: whether litellm finds the way.
        script: `demo`, or the path of a file of canned replies.
        api_key_env: the environment variable that holds the key; None for AGENT_API_KEY.
        context_tokens, max_output_tokens, temperature, contract: set by the user, in the place of what preflight finds.
    """

    model: str = Field(min_length=1)
    url: str | None = None
    litellm: bool = False
    script: str | None = None
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    context_tokens: int | None = Field(default=None, ge=512)
    max_output_tokens: int | None = Field(default=None, ge=64)
    temperature: float | None = Field(default=None, ge=0, le=2)
    contract: Contract | None = None

    @model_validator(mode="after")
    def _one_way_to_it(self) -> "ModelConfig":
        if (self.script is not None) == (self.url is not None or self.litellm):
            raise ValueError("a model is at a url, or litellm's, or a script")
        return self

    @property
    def endpoint(self) -> str:
        """Where it answers, as it stands in records."""
        if self.script is not None:
            return "scripted"
        return f"litellm:{self.url}" if self.litellm and self.url else self.url or "litellm"

    @property
    def label(self) -> str:
        """`name@endpoint`, as it stands in records."""
        return f"{self.model}@{self.endpoint}"

    @property
    def warning(self) -> str:
        """What the user should know before anything is sent there; empty for nothing."""
        if self.url is not None and self.url.startswith("http://") and not is_near(self.url):
            return (
                f"{self.url} is not encrypted and not on this network: code and key can be read on the way; use https"
            )
        return ""


def is_near(url: str) -> bool:
    """Whether a URL leads to this machine or this network, by its host's name alone: nothing is looked up."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_NEAR_ENDINGS)
    overlay = isinstance(address, ipaddress.IPv4Address) and address in _CARRIER_NET
    return address.is_private or address.is_loopback or address.is_link_local or overlay

"""Which model servers answer on this machine: a look at the usual ports, all at once, within two seconds.

It asks for lists only; no model is asked anything. What a server does not say about its context stays unknown here:
preflight measures it.
"""

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import httpx

from agent.models.base import ModelError, Trouble
from agent.models.listing import Listed, list_models
from agent.models.openai_compat import connect
from agent.models.openai_errors import CAUGHT
from agent.models.waiting import run_watched
from agent.noun import Noun

PORTS: Mapping[int, str] = MappingProxyType(
    {8000: "vLLM", 8080: "llama.cpp", 11434: "Ollama", 1234: "LM Studio", 30000: "SGLang", 4000: "litellm proxy"}
)
_OWNERS = {"vllm": "vLLM", "llamacpp": "llama.cpp", "library": "Ollama", "organization_owner": "LM Studio"}
_SECONDS = 1.8
_NOTES = {
    Trouble.UNAUTHORIZED: "asks for a key: it is tried with AGENT_API_KEY when you name it",
    Trouble.TIMEOUT: "took too long to list its models",
    Trouble.SERVER: "failed to list its models: its log says why",
}
_ANOTHER = "something else: no OpenAI-compatible server"


class FoundModel(Noun):
    """A model of a server. `context_tokens` is what it is served with; None where the server does not say."""

    name: str
    context_tokens: int | None = None


class Found(Noun):
    """A server that answers.

    Attributes:
        url: its base URL.
        kind: what it says it is, else what usually answers at that port.
        models: what it offers.
        note: why nothing more is known of it; empty if all is well.
    """

    url: str
    kind: str
    models: tuple[FoundModel, ...] = ()
    note: str = ""


def discover(ports: Mapping[int, str] = PORTS) -> tuple[Found, ...]:
    """The servers on these ports of this machine, in the order of `ports`.

    They are asked without a key: whoever listens at a usual port need not be the server that a key is for.
    """
    with ThreadPoolExecutor(len(ports)) as pool:
        looks = [pool.submit(_look, f"http://localhost:{port}", kind) for port, kind in ports.items()]
        return tuple(found for look in looks if (found := look.result()) is not None)


def _look(root: str, kind: str) -> Found | None:
    """What answers there; None if nobody does."""
    until = time.monotonic() + _SECONDS
    url = f"{root}/v1"
    try:
        listed = list_models(url, None, _SECONDS)
    except ModelError as error:
        if error.trouble is Trouble.UNREACHABLE:
            return None
        return Found(url=url, kind=kind, note=_NOTES.get(error.trouble, _ANOTHER))
    kind = _OWNERS.get(listed[0].owned_by, kind) if listed else kind
    served = _SERVED.get(kind)
    contexts = served.read(_page(root, served.path, until)) if served else {}
    models = tuple(_model(one, contexts) for one in listed)
    return Found(url=url, kind=kind, models=models, note="" if models else "lists no model: load one there")


def _model(listed: Listed, contexts: Mapping[str, int]) -> FoundModel:
    context = contexts.get(listed.name, contexts.get("", listed.context_tokens))
    return FoundModel(name=listed.name, context_tokens=context)


def _page(root: str, path: str, until: float) -> Any:
    """A page of a server, as JSON; None if it has none, or not in time: it only says more of what is known."""

    def check() -> None:
        if time.monotonic() > until:
            raise TimeoutError

    async def get() -> Any:
        async with connect(root, None) as client:
            return json.loads((await client.get(path, cast_to=httpx.Response)).text)

    try:
        return run_watched(get(), check)
    except (*CAUGHT, TimeoutError):
        return None


@dataclass(frozen=True)
class _Served:
    """Where a kind of server says with which context it serves, and how it is read: model to tokens, '' for any."""

    path: str
    read: Callable[[Any], dict[str, int]]


def _of_slots(page: Any) -> dict[str, int]:
    """llama.cpp: one context for each of its slots."""
    settings = page.get("default_generation_settings") if isinstance(page, dict) else None
    context = settings.get("n_ctx") if isinstance(settings, dict) else None
    return {"": context} if isinstance(context, int) else {}


def _of_loaded(page: Any, table: str, name: str, field: str) -> dict[str, int]:
    """Models that are loaded, each with its context."""
    rows = page.get(table) if isinstance(page, dict) else None
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return {str(row.get(name)): row[field] for row in found if isinstance(row.get(field), int)}


_SERVED = {
    "llama.cpp": _Served("/props", _of_slots),
    "Ollama": _Served("/api/ps", lambda page: _of_loaded(page, "models", "name", "context_length")),
    "LM Studio": _Served("/api/v0/models", lambda page: _of_loaded(page, "data", "id", "loaded_context_length")),
}

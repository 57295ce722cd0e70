"""What models a server says it has (`GET /models`), and what it says about their context.

A list is a claim: some servers list nothing, some answer any name, some list the context of the training and serve
a shorter one (which is why `meta.n_ctx_train` of llama.cpp is not read). `agent.models.preflight` tries.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from agent.models.openai_compat import connect
from agent.models.openai_errors import CAUGHT, translate
from agent.models.troubles import Place, garbage, late
from agent.models.waiting import run_watched

# vLLM and SGLang; Groq; OpenRouter and others; LM Studio; the litellm proxy. llama.cpp has `meta.n_ctx`.
_CONTEXT_FIELDS = ("max_model_len", "context_window", "context_length", "max_context_length", "max_input_tokens")


@dataclass(frozen=True)
class Listed:
    """A model as its server lists it.

    Attributes:
        name: what to ask for.
        context_tokens: of prompt and answer together, as the server says; None if it does not.
        owned_by: tells servers apart: `vllm`, `sglang`, `llamacpp`, `library` (Ollama), ...; empty if not said.
    """

    name: str
    context_tokens: int | None = None
    owned_by: str = ""


def list_models(url: str, key: str | None = None, seconds: float = 10.0) -> tuple[Listed, ...]:
    """The models that the server at `url` (base URL, `/v1` included) lists, in its order; empty for none.

    Raises:
        ModelError: no list came within `seconds`; the sentence says why.
    """
    place = Place("its list of models", url, key)
    until = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > until:
            raise late(place, f"did not come within {seconds:g} s")

    return run_watched(_list(place), check)


async def _list(place: Place) -> tuple[Listed, ...]:
    try:
        async with connect(place.endpoint, place.key) as client:
            response = await client.get("/models", cast_to=httpx.Response)
            body = json.loads(response.text)
    except CAUGHT as error:
        raise translate(place, error) from error
    return _read(place, body)


def _read(place: Place, body: Any) -> tuple[Listed, ...]:
    entries = body.get("data") if isinstance(body, Mapping) else body
    if not isinstance(entries, list):
        raise garbage(place, str(body))
    return tuple(
        Listed(place.clean(entry["id"]), _context(entry), place.clean(str(entry.get("owned_by") or "")))
        for entry in entries
        if isinstance(entry, Mapping) and isinstance(entry.get("id"), str)
    )


def _context(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    given = [entry.get(name) for name in _CONTEXT_FIELDS]
    given.append(meta.get("n_ctx") if isinstance(meta, Mapping) else None)
    return next((value for value in given if isinstance(value, int) and value > 0), None)

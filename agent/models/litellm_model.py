"""`litellm:PROVIDER/NAME`: whatever litellm speaks. It is imported here only, when such a model is asked.

litellm makes up what a provider leaves out (a finish_reason for a stream that was cut, a count of tokens): what it made
up is not taken for the provider's word. What a provider does not know of a request, litellm leaves out.
"""

import logging
import re
import warnings
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai

from agent.config import keys_at_hand, offline_litellm
from agent.models.base import ModelError, Reply, Request, Watch
from agent.models.chat_request import chat_request, refused
from agent.models.config import ModelConfig, is_near
from agent.models.hearing import Hearing
from agent.models.openai_errors import CAUGHT
from agent.models.pace import CONNECT_SECONDS, Pace, answer_seconds
from agent.models.troubles import Place, causes, chain, cut, late, of_status, retry_after, unreachable
from agent.models.waiting import run_watched

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MARGIN_SECONDS = 60.0  # litellm's own time limit is not the one that counts
_PREFIX = re.compile(r"^(litellm\.\w+: |\w+(Error|Exception): |\w+Exception - )+")


class LiteLLM:
    """A model that litellm finds. `key` is for the user's own servers: the key of a provider litellm reads itself."""

    def __init__(self, config: ModelConfig, key: str | None = None, key_env: str | None = None) -> None:
        self.label = config.label
        self._config = config
        provider = config.model.partition("/")[0]
        key_env = key_env or f"{provider.upper()}_API_KEY"
        self._place = Place(config.model, config.label, key, key_env, keys_at_hand())
        self._without = frozenset() if config.url else frozenset({"chat_template_kwargs"})  # a cloud refuses it

    def complete(self, request: Request, watch: Watch) -> Reply:
        """One attempt at an answer.

        Raises:
            ModelError: no usable answer came.
            Interrupted: `watch` ended it.
        """
        watch.doing = "importing litellm"
        litellm = _litellm(self._config.url)
        hearing = Hearing(self._place, Pace(request, watch), watch)
        hearing.check()
        watch.doing = f"waiting for {self._place.model} to begin"
        try:
            run_watched(self._ask(litellm, request, hearing), hearing.check)
        except CAUGHT as error:
            if not hearing.finished:
                raise _translate(self._place, error, watch.tokens) from error
        return hearing.reply(self._cost(litellm))

    async def _ask(self, litellm: Any, request: Request, hearing: Hearing) -> None:
        try:
            while True:
                try:
                    return await self._hear(litellm, request, hearing)
                except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                    if not (more := refused(str(error), self._without)):
                        raise
                    self._without |= more
        finally:  # its clients belong to a loop that ends with this call
            await litellm.close_litellm_async_clients()
            litellm.in_memory_llm_clients_cache.flush_cache()

    async def _hear(self, litellm: Any, request: Request, hearing: Hearing) -> None:
        arguments = chat_request(self._place.model, request, self._without)
        if self._config.url:
            arguments |= {"api_base": self._config.url}
        if self._place.key:
            arguments |= {"api_key": self._place.key}
        limit = openai.Timeout(answer_seconds(request) + _MARGIN_SECONDS, connect=CONNECT_SECONDS)
        stream = await litellm.acompletion(**arguments, timeout=limit, num_retries=0, max_retries=0)
        if stream is None:  # what its leaving out comes to, where a server refuses by 422 what it does not know
            raise of_status(self._place, 422, "refused: litellm does not say what for")
        async for chunk in stream:
            for choice in chunk.choices[:1]:
                said = {"content": choice.delta.content, "reasoning": getattr(choice.delta, "reasoning_content", None)}
                hearing.add({"choices": [{"delta": said}], "model": getattr(chunk, "model", None)})
        finish = stream.received_finish_reason or stream.intermittent_finish_reason
        usage = next((u for c in reversed(stream.chunks) if (u := getattr(c, "usage", None)) is not None), None)
        last = {"choices": [{"delta": {}, "finish_reason": finish}]}
        hearing.add(last | ({"usage": usage.model_dump(exclude_none=True)} if usage is not None else {}))

    def _cost(self, litellm: Any) -> tuple[float, float] | None:
        """US dollars for a token of the prompt and of the answer; None where litellm has no price."""
        name = self._place.model
        price = litellm.model_cost.get(name) or litellm.model_cost.get(name.partition("/")[2])
        if self._config.url or not price or "input_cost_per_token" not in price:
            return None
        return price["input_cost_per_token"], price.get("output_cost_per_token", 0.0)


def _litellm(url: str | None) -> Any:
    """The package, silent, and without a proxy between it and this network."""
    near = urlsplit(url).hostname if url and is_near(url) else None
    offline_litellm(*_LOOPBACK, *([near] if near else []))
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = True
    litellm.disable_aiohttp_transport = True  # one kind of network error, and one that honours NO_PROXY
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydantic|litellm")
    return litellm


def _translate(place: Place, error: Exception, pieces: int) -> ModelError:
    """litellm's error in our terms. It wraps most of what it does not know into a 500."""
    said = _PREFIX.sub("", str(getattr(error, "message", error)))
    status = int(getattr(error, "status_code", 500))
    found = of_status(place, status, said, retry_after(getattr(error, "litellm_response_headers", None) or {}))
    if status < 500 and status != 408:
        return found
    if isinstance(error, openai.APITimeoutError) and "ConnectTimeout" not in chain(error):
        return late(place, f"did not answer in time ({place.clean(said)})")
    if pieces:
        return cut(place, pieces, said)
    network = any(isinstance(cause, httpx.TransportError) for cause in causes(error))
    return unreachable(place, chain(error)) if network else found

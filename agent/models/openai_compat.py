"""`NAME@URL`: a server that speaks the OpenAI protocol (vLLM, llama.cpp, Ollama, SGLang, LM Studio), by package openai.

Answers are streamed, so that a long one stays alive, is seen to move, and can be stopped at any time: a stop closes the
connection, which makes the server stop too. One call is one attempt; retries are `agent.models.line`'s.
"""

from typing import Any

import openai

from agent.models.base import Reply, Request, Watch
from agent.models.chat_request import chat_request, refused
from agent.models.config import ModelConfig, is_near
from agent.models.hearing import Hearing
from agent.models.openai_errors import CAUGHT, translate, words
from agent.models.pace import CONNECT_SECONDS, Pace
from agent.models.troubles import Place, garbage, of_status
from agent.models.waiting import run_watched

NO_KEY = "none"  # the package insists on one


class OpenAICompatible:
    """A model at an OpenAI-compatible server. `key` is its API key, if it wants one."""

    def __init__(self, config: ModelConfig, key: str | None = None, key_env: str = "AGENT_API_KEY") -> None:
        self.label = config.label
        self._url = str(config.url)
        self._place = Place(config.model, self._url, key, key_env)
        self._without: frozenset[str] = frozenset()

    def complete(self, request: Request, watch: Watch) -> Reply:
        """One attempt at an answer.

        Raises:
            ModelError: no usable answer came.
            Interrupted: `watch` ended it.
        """
        hearing = Hearing(self._place, Pace(request, watch), watch)
        hearing.check()
        watch.doing = f"waiting for {self._place.model} to begin"
        return run_watched(self._answer(request, hearing, watch), hearing.check)

    async def _answer(self, request: Request, hearing: Hearing, watch: Watch) -> Reply:
        try:
            async with connect(self._url, self._place.key) as client:
                while True:
                    try:
                        await self._hear(client, request, hearing)
                        break
                    except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                        if not (more := refused(words(error.body), self._without)):
                            raise
                        self._without |= more
        except CAUGHT as error:
            if not hearing.finished:  # what is lost after the end is no part of the answer
                raise translate(self._place, error, watch.tokens) from error
        return hearing.reply()

    async def _hear(self, client: openai.AsyncOpenAI, request: Request, hearing: Hearing) -> None:
        call = client.chat.completions.with_streaming_response.create(
            **chat_request(self._place.model, request, self._without)
        )
        async with call as response:
            kind = response.headers.get("content-type", "")
            if (
                "json" in kind
            ):  # not streamed, whatever was asked: a whole answer, or an error that calls itself a success
                hearing.add(self._whole(await response.json()))
            elif "html" in kind:
                raise garbage(self._place, await response.text())
            else:
                async for chunk in await response.parse():
                    hearing.add(chunk.to_dict(warnings=False) if isinstance(chunk, openai.BaseModel) else chunk)

    def _whole(self, body: Any) -> Any:
        if isinstance(body, dict) and body.get("error"):
            raise of_status(self._place, 400, words(body))
        return body


def connect(url: str, key: str | None) -> openai.AsyncOpenAI:
    """A client for one conversation: no retries, no proxy to this network; what OPENAI_* may say is not sent."""
    client = openai.AsyncOpenAI(
        base_url=url,
        api_key=key or NO_KEY,
        max_retries=0,
        timeout=openai.Timeout(None, connect=CONNECT_SECONDS),
        http_client=openai.DefaultAsyncHttpxClient(trust_env=not is_near(url)),
    )
    client.organization = client.project = None
    return client

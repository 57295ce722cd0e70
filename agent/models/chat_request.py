"""A request in the words of the OpenAI protocol, and what of it a server may refuse without harm to the answer."""

from typing import Any

from agent.models.base import Request

_OPTIONAL = ("stream_options", "chat_template_kwargs")


def chat_request(model: str, request: Request, without: frozenset[str]) -> dict[str, Any]:
    """Arguments of a streamed chat completion, without the optional parts in `without`."""
    arguments: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
    }
    if "stream_options" not in without:
        arguments["stream_options"] = {"include_usage": True}
    if request.schema is not None:
        form = {"name": "answer", "schema": request.schema, "strict": True}
        arguments["response_format"] = {"type": "json_schema", "json_schema": form}
    if request.think is not None and "chat_template_kwargs" not in without:
        arguments["extra_body"] = {"chat_template_kwargs": {"enable_thinking": request.think}}
    return arguments


def refused(said: str, without: frozenset[str]) -> frozenset[str]:
    """The optional parts that a server names in its refusal, if they were in the request."""
    return frozenset(name for name in _OPTIONAL if name in said) - without

"""The record of a call: what of it stands in the journal, counted by the server or estimated."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from agent.calls import Call
from agent.models.base import Message, Reply, Request, Watch
from agent.models.pace import estimated_tokens, prompt_tokens


def prompt_sha256(messages: tuple[Message, ...]) -> str:
    """sha256 of the messages as canonical JSON: sorted keys, no spaces, UTF-8."""
    return _sha256([asdict(message) for message in messages])


def reply_sha256(text: str, reasoning: str, finish_reason: str) -> str:
    """sha256 of an answer as canonical JSON."""
    return _sha256([text, reasoning, finish_reason])


def _sha256(plain: list[Any]) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def answered(call: Call, request: Request, reply: Reply) -> Call:
    """The record of a call that was answered."""
    counted = reply.prompt_tokens is not None and reply.completion_tokens is not None
    prompt, completion = prompt_tokens(request), estimated_tokens(len(reply.text) + len(reply.reasoning))
    return call.model_copy(
        update={
            "reply_sha256": reply_sha256(reply.text, reply.reasoning, reply.finish_reason),
            "prompt_tokens": prompt if reply.prompt_tokens is None else reply.prompt_tokens,
            "completion_tokens": completion if reply.completion_tokens is None else reply.completion_tokens,
            "reasoning_tokens": reply.reasoning_tokens,
            "estimated": not counted,
            "seconds": reply.seconds,
            "cost": reply.cost,
            "finish_reason": reply.finish_reason,
        }
    )


def failed_by(call: Call, request: Request, watch: Watch, error: str) -> Call:
    """The record of a failed call. It has tokens if its answer had begun: the server has read the prompt then."""
    begun = watch.tokens > 0
    return call.model_copy(
        update={
            "prompt_tokens": prompt_tokens(request) if begun else 0,
            "completion_tokens": watch.tokens,
            "estimated": begun,
            "seconds": watch.clock() - watch.began,
            "error": error,
        }
    )

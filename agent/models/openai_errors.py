"""What goes wrong inside the openai package, as a `ModelError`. litellm's exceptions descend from the same classes."""

import json
from typing import Any

import httpx
import openai

from agent.models.base import ModelError
from agent.models.troubles import Place, chain, cut, garbage, of_status, retry_after, unreachable

CAUGHT = (openai.OpenAIError, httpx.HTTPError, httpx.StreamError, json.JSONDecodeError, UnicodeDecodeError)


def translate(place: Place, error: Exception, pieces: int = 0) -> ModelError:
    """The error of a call that had received so many pieces of its answer. `error` is one of `CAUGHT`."""
    match error:
        case openai.APIStatusError():
            said = words(error.body) or error.response.text
            return of_status(place, error.status_code, said, retry_after(error.response.headers))
        case (
            openai.APIResponseValidationError() | json.JSONDecodeError() | UnicodeDecodeError() | httpx.DecodingError()
        ):
            return garbage(place, str(error))
        case openai.APIConnectionError():
            return unreachable(place, chain(error))
        case openai.APIError():  # inside a stream, with the status in the body
            return of_status(place, _status(error.body), words(error.body) or error.message)
        case httpx.HTTPError() | httpx.StreamError():
            return cut(place, pieces, str(error))
        case _:
            return garbage(place, str(error))


def words(body: Any) -> str:
    """What an error's body says, whichever of the usual forms it has."""
    if isinstance(body, dict):
        inner = next((body[key] for key in ("error", "message", "detail", "msg") if body.get(key)), None)
        kind = body.get("type") or body.get("code")
        said = words(inner) if inner is not None else json.dumps(body, default=str)
        return f"{said} [{kind}]" if isinstance(kind, str) and kind not in said else said
    if isinstance(body, list):
        return "; ".join(map(words, body[:3]))
    return body if isinstance(body, str) else "" if body is None else str(body)


def _status(body: Any) -> int:
    code = str(body.get("code")) if isinstance(body, dict) else ""
    return int(code) if len(code) == 3 and code.isdigit() and code[0] in "45" else 500

"""From what a server or the network says to a `ModelError`: its kind, and one sentence with the next step.

One table for all backends. A server's words are data: one line, capped, without control characters, and without keys.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from agent.models.base import ModelError, Trouble
from agent.text import one_line

_CAP = 240  # characters of a server's words in a sentence
_SECRET = re.compile(
    r"\b(sk|pk|xai)-[\w*-]{8,}|\b(gsk|hf)_\w{8,}|\bAIza[\w-]{20,}|(?<=Bearer )\S+|(?<=[?&]key=)[^&\s'\"]+"
)
_TAG = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)

# Words of vLLM, llama.cpp, llama-cpp-python, SGLang, LM Studio, Ollama, TGI, litellm and the large providers.
_OVERFLOW = re.compile(
    r"maximum (context|prompt|model|input|sequence|allowed)? ?length"
    r"|context[ _]?(length|window|size)?[ _]?(is )?(exceed|overflow|only)|exceed_context_size|ContextWindowExceeded"
    r"|(exceed|longer than|larger than|greater than|overflow|too long for|does not fit|beyond)[^.]{0,80}context"
    r"|context[^.]{0,80}(exceed|overflow|too small|not enough)"
    r"|(prompt|input|message)s? (is|are)? ?too long|too many (input |prompt )?tokens|reduce the length of"
    r"|max_(new_|completion_|output_)?tokens[^.]{0,60}(too large|must be <=|exceed|cannot be greater)"
    r"|(input|prompt|token)[^.]{0,40}(count|length|tokens)[^.]{0,40}(exceed|must have less)"
    r"|token limit|max_seq_len|maximum number of tokens",
    re.IGNORECASE,
)
_WRONG_KEY = re.compile(r"no connected db|(invalid|incorrect|wrong|missing|no)[^.]{0,30}api[ _-]?key", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"model[^.]{0,120}(not found|does not exist|doesn't exist|not exist|not supported|not loaded|pinned to|unavailable)"
    r"|(invalid|unknown|unsupported|no such|unrecognized|no) model|model_not_found|try pulling it|server is pinned to",
    re.IGNORECASE,
)
_NO_PATH = re.compile(
    r"unexpected endpoint|^\W*(detail|error|message)?\W*not found\W*$|detail\W+not found|cannot post|no route",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Place:
    """A model and where it answers, as sentences name them.

    Attributes:
        model: its name at the server.
        endpoint: the base URL, or `litellm`.
        key: what to keep out of sentences.
        keys: others to keep out: those that a package sends by itself.
        key_env: the environment variable that the key is read from.
    """

    model: str
    endpoint: str
    key: str | None = field(default=None, repr=False)
    key_env: str = "AGENT_API_KEY"
    keys: tuple[str, ...] = field(default=(), repr=False)

    def clean(self, text: str) -> str:
        """A server's words: one line, capped, no control characters, no HTML, no keys."""
        text = text[: 20 * _CAP]
        if text.lstrip().startswith("<"):
            text = _TAG.sub(" ", text)
        text = one_line(text)
        for key in filter(None, (self.key, *self.keys)):
            text = text.replace(key, "***")
        text = _SECRET.sub("***", text)
        return text if len(text) <= _CAP else f"{text[:_CAP]}..."


def of_status(place: Place, status: int, said: str, retry_after: float | None = None) -> ModelError:
    """The error that an HTTP status and the words beside it stand for."""
    trouble = _trouble(status, said)
    quoted = _quoted(place, said)
    sentence = _SENTENCES[trouble].format(
        where=place.endpoint, model=place.model, status=status, said=quoted, key_env=place.key_env
    )
    if trouble is Trouble.UNAUTHORIZED and not place.key:
        sentence = f"{place.endpoint} asks for a key{quoted}: put it into the environment variable {place.key_env}"
    if trouble is Trouble.NO_MODEL and _NO_PATH.search(said):
        sentence = f"{place.endpoint} has no /chat/completions{quoted}: does the URL end where the API begins, at /v1?"
    return ModelError(sentence, trouble, retry_after)


_SENTENCES: Mapping[Trouble, str] = {
    Trouble.RATE_LIMITED: "{where} has too many requests (status {status}){said}: fewer at a time, or a larger quota",
    Trouble.SERVER: "{where} failed with status {status}{said}: its own log says why",
    Trouble.OVERFLOW: "the prompt with the answer is too long for {model}{said}: serve it with a longer context",
    Trouble.UNAUTHORIZED: "{where} refuses the key{said}: put the right one into the environment variable {key_env}",
    Trouble.NO_MODEL: "{where} has no model {model!r}{said}: `agent models` lists what local servers have",
    Trouble.BAD_REQUEST: "{where} does not accept the request (status {status}){said}: its own log says why",
}


def _quoted(place: Place, said: str) -> str:
    words = place.clean(said)
    return f' ("{words}")' if words else ""


def _trouble(status: int, said: str) -> Trouble:
    if status in (401, 403):
        return Trouble.UNAUTHORIZED
    if status == 429:
        return Trouble.RATE_LIMITED
    if _OVERFLOW.search(said):  # some servers fail with 500 on it
        return Trouble.OVERFLOW
    if status >= 500 or status == 408:
        return Trouble.SERVER
    if _WRONG_KEY.search(said):
        return Trouble.UNAUTHORIZED
    missing = status in (404, 405) or _NO_MODEL.search(said) or _NO_PATH.search(said)
    return Trouble.NO_MODEL if missing else Trouble.BAD_REQUEST


def unreachable(place: Place, reasons: str) -> ModelError:
    """No connection came about; `reasons` is the `chain` of exceptions that led to it."""
    where, low, first = place.endpoint, reasons.lower(), place.clean(reasons.partition("; ")[0])
    if "certificate" in low or "ssl" in low or "tls" in low:
        sentence = f"the encrypted connection to {where} failed ({first}): is it an http:// server?"
    elif any(word in low for word in ("name or service", "getaddrinfo", "name resolution", "no address", "nodename")):
        sentence = f"the host of {where} is not known here: check its spelling, or write its address"
    elif "timeout" in low or "timed out" in low:
        sentence = f"no connection to {where} in 10 s: is that machine on, and does a firewall close the port?"
    elif "refused" in low or "all connection attempts failed" in low:
        sentence = f"nobody listens at {where}: start the model server, or look for it with `agent models`"
    else:
        sentence = f"the connection to {where} failed ({first}): is the model server still running?"
    return ModelError(sentence, Trouble.UNREACHABLE)


def late(place: Place, what: str) -> ModelError:
    """`what` took too long: `said nothing for 120 s`."""
    return ModelError(f"{place.endpoint} {what}: is the server overloaded?", Trouble.TIMEOUT)


def cut(place: Place, pieces: int, said: str = "") -> ModelError:
    """The answer ended before its end."""
    where = f"{place.endpoint} ended its answer after {pieces} pieces, without a finish_reason"
    return ModelError(f"{where}{_quoted(place, said)}: its own log says why", Trouble.CUT)


def garbage(place: Place, said: str) -> ModelError:
    """What came is not what the protocol says."""
    what = f"{place.endpoint} does not answer like an OpenAI-compatible server{_quoted(place, said)}"
    return ModelError(f"{what}: does the URL end at /v1?", Trouble.GARBAGE)


def chain(error: BaseException) -> str:
    """The words of an exception and of those that led to it, the first cause first."""
    words = [f"{type(cause).__name__}: {cause}".removesuffix(": ") for cause in causes(error)]
    return "; ".join(dict.fromkeys(reversed(words)))


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, from its headers; None if it does not say."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,6}(\.\d+)?", value):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until.astimezone(UTC) - datetime.now(UTC)).total_seconds())

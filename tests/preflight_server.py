"""An OpenAI-compatible server over real HTTP whose model has the manners that preflight must tell apart.

It understands preflight's three questions: the code word, the tiny task, the greeting. What a `Persona` does with them
is what servers and models were seen to do: cut prompts in silence, think in various places, keep a form or not.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

CHARS_PER_TOKEN = 3.2
TEMPLATE_TOKENS = 70  # around every prompt, as with gpt-oss


@dataclass
class Persona:
    """How the server and its model behave.

    Attributes:
        model: the only name it serves, unless `any_name`.
        listed: entries of /models; None for status 500.
        context: in tokens; `over` is what happens to longer prompts: refused, with or without a number in the words;
            cut at the context; cut at half of it (as Ollama does); or taken all the same.
        long_answers: whether max_tokens may exceed what the context leaves.
        most_tokens: the largest max_tokens that is accepted.
        no_system: whether its chat template knows no system message.
        usage: whether it counts tokens.
        recalls: whether the model finds the code word.
        good: how many of the tries with blocks, and with SET lines, it answers well.
        bad: what it answers to the others.
        thinking: where its thinking comes back; `stubborn` models think even if asked not to.
        thoughts: how long it thinks, in words.
        schema: whether JSON schemas are followed, ignored or rejected.
        failures: statuses with which the first requests fail.
        read_rate, write_rate: tokens per second; None for at once.
    """

    model: str = "tiny"
    listed: tuple[dict[str, Any], ...] | None = ({"id": "tiny"},)
    any_name: bool = False
    key: str | None = None
    context: int = 100_000
    over: Literal["refuse", "refuse without a number", "cut", "halve", "ignore"] = "refuse"
    long_answers: bool = True
    most_tokens: int = 1_000_000
    no_system: bool = False
    usage: bool = True
    recalls: bool = True
    good: dict[str, int] = field(default_factory=lambda: {"blocks": 3, "set": 3, "file": 3})
    bad: str = "I would rather not."
    thinking: Literal["none", "reasoning", "reasoning_content", "text", "template"] = "none"
    stubborn: bool = False
    thoughts: int = 40
    schema: Literal["follows", "ignores", "rejects"] = "ignores"
    failures: list[int] = field(default_factory=list)
    read_rate: float | None = None
    write_rate: float | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)


@contextmanager
def serving(persona: Persona) -> Iterator[str]:
    """The base URL of a server with these manners."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"persona": persona}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Refusal(Exception):
    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


@dataclass
class _Answer:
    text: str
    thought: str = ""
    prompt_tokens: int = 0


def _tokens(text: str) -> int:
    return TEMPLATE_TOKENS + round(len(text) / CHARS_PER_TOKEN)


def _fit(persona: Persona, prompt: str, most: int) -> str:
    """What of a prompt the model gets to see."""
    length = _tokens(prompt)
    if most > persona.most_tokens or (not persona.long_answers and length + most > persona.context):
        raise _Refusal(400, f"max_tokens={most} is too large for this model")
    if length <= persona.context or persona.over == "ignore":
        return prompt
    if persona.over == "refuse":
        raise _Refusal(400, f"request ({length} tokens) exceeds the available context size ({persona.context} tokens)")
    if persona.over == "refuse without a number":
        raise _Refusal(400, "the prompt is too long")
    kept = persona.context if persona.over == "cut" else persona.context // 2
    return prompt[-round((kept - TEMPLATE_TOKENS) * CHARS_PER_TOKEN) :]


def _answer(persona: Persona, body: dict[str, Any]) -> _Answer:
    if body["model"] != persona.model and not persona.any_name:
        raise _Refusal(404, f"The model `{body['model']}` does not exist.")
    if persona.no_system and body["messages"][0]["role"] == "system":
        raise _Refusal(400, "System role not supported")
    prompt = _fit(persona, "\n".join(message["content"] for message in body["messages"]), body["max_tokens"])
    quiet = body.get("chat_template_kwargs", {}).get("enable_thinking") is False and not persona.stubborn
    answer = _Answer(_words(persona, prompt, body.get("response_format")), prompt_tokens=_tokens(prompt))
    if persona.thinking != "none" and not quiet:
        answer.thought = " hm" * persona.thoughts
    return answer


def _words(persona: Persona, prompt: str, form: Any) -> str:
    if form is not None and persona.schema == "rejects":
        raise _Refusal(400, "response_format is not supported")
    if form is not None and persona.schema == "follows":
        return '{"number": 4711}'
    if "What is the code word" in prompt:
        found = re.search(r"The code word is (\S+)\. It stands", prompt)
        return found[1] if found and persona.recalls else "I cannot find one."
    if task := re.search(r"Change (\w+) from (\S+) to (\S+), and", prompt):
        return _edit(persona, prompt, *task.groups())
    return "Good morning!"


def _edit(persona: Persona, prompt: str, name: str, old: str, new: str) -> str:
    form = "blocks" if "<<<<<<< SEARCH" in prompt else "set" if "SET NAME" in prompt else "file"
    persona.tried[form] = persona.tried.get(form, 0) + 1
    if persona.tried[form] > persona.good.get(form, 0):
        return persona.bad
    script = prompt.partition("```python\n")[2].partition("\n```")[0]
    line = next(line for line in script.splitlines() if line.startswith(f"{name} = {old}"))
    changed = line.replace(f"= {old}", f"= {new}")
    if form == "blocks":
        return f"IDEA: change {name}\n\n<<<<<<< SEARCH\n{line}\n=======\n{changed}\n>>>>>>> REPLACE\n"
    if form == "set":
        return f"IDEA: change {name}\nSET {name} = {new}\n"
    return f"IDEA: change {name}\n\n```python\n{script.replace(line, changed)}\n```\n"


class _Handler(BaseHTTPRequestHandler):
    persona: Persona
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if not self._known():
            return
        if self.persona.listed is None:
            self._json(500, {"error": {"message": "no cache folder"}})
        else:
            self._json(200, {"object": "list", "data": list(self.persona.listed)})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._known():
            return
        if self.persona.failures:
            self._json(self.persona.failures.pop(0), {"error": {"message": "Loading model"}})
            return
        self.persona.asked.append(body)
        try:
            answer = _answer(self.persona, body)
        except _Refusal as refusal:
            self._json(refusal.status, {"error": {"message": str(refusal)}})
            return
        try:
            self._stream(answer, body["max_tokens"])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _known(self) -> bool:
        key = self.persona.key
        if key is None or self.headers.get("Authorization") == f"Bearer {key}":
            return True
        self._json(401, {"error": {"message": "Unauthorized"}})
        return False

    def _json(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, answer: _Answer, most: int) -> None:
        """Server-sent events, a word each, with the thinking where this model leaves it."""
        persona = self.persona
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        if persona.read_rate:
            time.sleep(answer.prompt_tokens / persona.read_rate)
        pieces = _pieces(persona.thinking, answer)
        for field_name, piece in pieces[:most]:
            self._event({"choices": [{"index": 0, "delta": {field_name: piece}, "finish_reason": None}]})
            if persona.write_rate:
                time.sleep(1 / persona.write_rate)
        finish = "length" if len(pieces) > most else "stop"
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if persona.usage:
            counted = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": min(most, len(pieces))}
            self._event({"choices": [], "usage": counted})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _event(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps({"model": self.persona.model, **chunk}).encode() + b"\n\n")
        self.wfile.flush()


def _pieces(thinking: str, answer: _Answer) -> list[tuple[str, str]]:
    """The answer in pieces: (field, text)."""
    thought = re.findall(r"\s*\S+\s*", answer.thought)
    text = re.findall(r"\s*\S+\s*", answer.text)
    if not thought:
        return [("content", piece) for piece in text]
    if thinking in ("reasoning", "reasoning_content"):
        return [*((thinking, piece) for piece in thought), *(("content", piece) for piece in text)]
    opening = ["<think>\n"] if thinking == "text" else []
    return [("content", piece) for piece in [*opening, *thought, "\n</think>\n\n", *text]]

"""A real HTTP server that speaks the OpenAI protocol, well or badly: each behaviour is one that real servers showed.

The model's name in a request chooses the behaviour (`behaviours`), unless `plan` holds one for the next request.
"""

import json
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = ("IDEA: wait ", "longer\n", "SET LR", " = 0.02\n")
USAGE = {"prompt_tokens": 11, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 0}}
OVERFLOW = "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens."


@dataclass
class Server:
    """What is known of a running server."""

    url: str = ""
    plan: deque["Behaviour"] = field(default_factory=deque)
    behaviours: dict[str, "Behaviour"] = field(default_factory=lambda: dict(BEHAVIOURS))
    asked: list[dict] = field(default_factory=list)  # bodies of the chat requests
    headers: list[dict] = field(default_factory=list)
    models: tuple[dict, ...] = ({"id": "ok", "object": "model", "max_model_len": 2048, "owned_by": "vllm"},)
    pages: dict[str, object] = field(default_factory=dict)  # answers to other GET requests, by path
    listed_with: list[str] = field(default_factory=list)  # the Authorization of requests for lists and pages
    left: threading.Event = field(default_factory=threading.Event)  # a client hung up while an answer was due
    closing: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_object: Server
    body: dict

    def do_GET(self):
        self.server_object.listed_with.append(self.headers.get("Authorization", ""))
        known = {"/v1/models": {"object": "list", "data": list(self.server_object.models)}} | self.server_object.pages
        page = known.get(self.path)
        self.say(404 if page is None else 200, {"detail": "Not Found"} if page is None else page)

    def do_POST(self):
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server_object
        server.asked.append(self.body)
        server.headers.append({k.lower(): v for k, v in self.headers.items()})
        behave = server.plan.popleft() if server.plan else server.behaviours.get(self.body["model"], no_such_model)
        try:
            if self.path != "/v1/chat/completions":
                self.say(404, {"detail": "Not Found"})
            else:
                behave(self)
        except (BrokenPipeError, ConnectionResetError):
            server.left.set()
            self.close_connection = True

    def say(self, status, page, kind="application/json", **headers):
        content = (
            page.encode() if isinstance(page, str) else page if isinstance(page, bytes) else json.dumps(page).encode()
        )
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def begin(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def raw(self, text):
        data = text.encode() if isinstance(text, str) else text
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def event(self, data):
        self.raw(f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n")

    def chunk(self, finish=None, **delta):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        self.event({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})

    def end(self, usage=True):
        if usage:
            self.event(
                {
                    "id": "x",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": "m",
                    "choices": [],
                    "usage": USAGE,
                }
            )
        self.event("[DONE]")
        self.close()

    def close(self):
        self.wfile.write(b"0\r\n\r\n")

    def cut(self):
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def wait(self, seconds=60.0):
        """Do nothing until the client hangs up, the server closes, or the time is over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.server_object.closing.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.02)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise BrokenPipeError

    def log_message(self, *args):
        pass


class Http(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request, client_address):
        """A client that hangs up is no error of this server."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


Behaviour = Callable[[Handler], None]


def ok(h):
    h.begin()
    h.chunk(role="assistant", content="")
    for piece in ANSWER:
        h.chunk(content=piece)
    h.chunk(finish="stop")
    h.end()


def no_usage(h):
    h.begin()
    for piece in ANSWER:
        h.chunk(content=piece)
    h.chunk(finish="stop")
    h.end(usage=False)


def cut_at_length(h):
    h.begin()
    h.chunk(content="IDEA: a very lo")
    h.chunk(finish="length")
    h.end()


def thinks(field):
    """The thinking comes in a field of its own; some servers send both fields, one of them null."""

    def behave(h):
        h.begin()
        h.chunk(role="assistant", content=None, **{field: "Let me "})
        h.chunk(content=None, **{field: "see."})
        h.chunk(content="SET LR = 0.02\n")
        h.chunk(finish="stop")
        h.end()

    return behave


def only_thinks(h):
    h.begin()
    h.chunk(content=None, reasoning="on and on")
    h.chunk(finish="length", content=None)
    h.end()


def refuse(status, body, **headers):
    return lambda h: h.say(status, body, **headers)


def no_such_model(h):
    name = h.body["model"]
    h.say(404, {"error": {"message": f"The model `{name}` does not exist.", "type": "NotFoundError", "code": 404}})


def needs_key(h):
    key = h.headers.get("Authorization", "")
    if key == "Bearer sekret":
        ok(h)
    else:
        h.say(401, {"error": {"message": f"Incorrect API key provided: {key}", "code": "invalid_api_key"}})


def refuses(name, status=400):
    """An option that this server does not know."""

    def behave(h):
        if name in h.body:
            h.say(status, {"error": {"message": f"Unrecognized request argument supplied: {name}"}})
        else:
            no_usage(h)

    return behave


def hang(h):
    h.wait()


def hang_within(h):
    h.begin()
    h.chunk(content="IDEA")
    h.wait()


def trickle(h):
    h.begin()
    for number in range(600):
        h.chunk(content=f"{number} ")
        h.wait(0.05)
    h.chunk(finish="stop")
    h.end()


def one_piece(h):
    """Not streamed, whatever was asked."""
    message = {"role": "assistant", "content": "".join(ANSWER)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    h.say(
        200, {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}
    )


def events(*data):
    """These events, whatever they are."""

    def behave(h):
        h.begin()
        for one in data:
            h.event(one)
        h.close()

    return behave


def noise(h):
    h.begin()
    h.raw(b"\x00\xff\xfe garbage \x80\x81\n\n" * 20)
    h.close()


def cut(h):
    h.begin()
    h.chunk(content="IDEA: wa")
    h.cut()


def cut_after_the_end(h):
    h.begin()
    for piece in ANSWER:
        h.chunk(content=piece)
    h.chunk(finish="stop")
    h.cut()


def unfinished(h):
    h.begin()
    h.chunk(content="IDEA: wa")
    h.close()


def aborted(h):
    h.begin()
    h.chunk(content="IDEA: wa")
    h.chunk(finish="abort")
    h.end()


def hangs_up(h):
    h.cut()


def wild_text(h):
    """Half a character, control characters and a right-to-left override."""
    h.begin()
    h.raw('data: {"choices":[{"index":0,"delta":{"content":"a\\ud800b\\u0007\\u202e"},"finish_reason":"stop"}]}\n\n')
    h.end()


HTML = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Welcome</h1></body></html>"
BEHAVIOURS: dict[str, Behaviour] = {
    "ok": ok,
    "no_usage": no_usage,
    "cut_at_length": cut_at_length,
    "reasoning": thinks("reasoning"),
    "reasoning_content": thinks("reasoning_content"),
    "only_thinks": only_thinks,
    "rate_limited": refuse(429, {"error": {"message": "Too many requests"}}, Retry_After="7"),
    "server_error": refuse(500, {"error": {"message": "CUDA error: an illegal memory access"}}),
    "loading": refuse(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
    "gateway": refuse(502, HTML.replace("Welcome", "Bad gateway"), kind="text/html"),
    "hang": hang,
    "hang_within": hang_within,
    "trickle": trickle,
    "garbage": events("{not json", "}{"),
    "no_dictionary": events("[1, 2, 3]"),
    "strange_choices": events({"choices": "none"}),
    "strange_delta": events({"choices": [{"delta": {"content": {"a": 1}}, "finish_reason": "stop"}]}),
    "noise": noise,
    "html": refuse(200, HTML, kind="text/html"),
    "json_error": refuse(200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
    "one_piece": one_piece,
    "no_choices": events({"id": "x", "model": "m", "choices": []}, "[DONE]"),
    "empty_body": refuse(200, "", kind="text/event-stream"),
    "cut": cut,
    "cut_after_the_end": cut_after_the_end,
    "unfinished": unfinished,
    "aborted": aborted,
    "hangs_up": hangs_up,
    "error_within": events(
        {"choices": [{"index": 0, "delta": {"content": "IDEA"}, "finish_reason": None}]},
        {"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}},
    ),
    "overflow_within": events({"error": {"message": OVERFLOW, "type": "BadRequestError", "code": 400}}),
    "overflow": refuse(400, {"error": {"message": OVERFLOW, "type": "BadRequestError", "code": 400}}),
    "needs_key": needs_key,
    "no_path": refuse(404, {"detail": "Not Found"}),
    "bad_request": refuse(400, {"error": {"message": "temperature must be positive"}}),
    "no_stream_options": refuses("stream_options"),
    "no_template_kwargs": refuses("chat_template_kwargs", status=422),
    "wild_text": wild_text,
}


@contextmanager
def serving(port: int = 0) -> Iterator[Server]:
    """A server on this port of this machine, or on a free one."""
    server = Server()
    handler = type("Bound", (Handler,), {"server_object": server})
    http = Http(("127.0.0.1", port), handler)
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        http.shutdown()
        thread.join()
        http.server_close()

"""Speaks as vLLM's API server does, as far as an agent sees it: what it can do is what the flags of its command say.

The words of its refusal are renderers/online_renderer.py's (vLLM 0.33). `manner` makes it a model or a server that is of no use.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSAL = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
CALL = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
MANNERS = ("good", "text", "markup", "no_json", "other_tool", "length", "cut", "busy", "odd", "empty")


def flag(argv: Sequence[str], name: str) -> str:
    return argv[argv.index(name) + 1] if name in argv else ""


class Server(ThreadingHTTPServer):
    """Behind `url`; `seen` are the bodies it was asked with."""

    def __init__(self, services: Sequence[Sequence[str]], manner: str = "good", key: str = ""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.commands = {flag(argv, "--served-model-name"): list(argv) for argv in services}
        self.manner, self.key, self.seen = manner, key, list[dict[str, Any]]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(services: Sequence[Sequence[str]], manner: str = "good", key: str = "") -> Iterator[Server]:
    """A running stand-in for servers with these commands."""
    with Server(services, manner, key) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments):
        pass

    def answer(self, status: int, body: object):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def error(self, status: int, message: str):
        self.answer(status, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}})

    def do_GET(self):
        self.answer(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.server.commands]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append(body)
        if self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}":
            return self.error(401, "Authentication Error, Invalid proxy server token passed")
        argv = self.server.commands.get(body["model"])
        if argv is None:
            return self.error(404, f"The model `{body['model']}` does not exist.")
        if self.server.manner == "busy":
            return self.error(503, "the engine is starting")
        if self.server.manner == "odd":
            return self.answer(200, {"choices": []})
        if self.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]
            return self.answer(200, {"object": "list", "model": body["model"], "usage": {"prompt_tokens": 1, "total_tokens": 1}, "data": data})
        takes_tools = "--enable-auto-tool-choice" in argv and flag(argv, "--tool-call-parser")
        if body.get("tools") and body.get("tool_choice") == "auto" and not takes_tools:
            return self.error(400, REFUSAL)
        message, reason = self.message(argv, wants_tool=bool(body.get("tools")))
        return self.stream(body, message, reason) if body.get("stream") else self.whole(body, message, reason)

    def message(self, argv: list[str], *, wants_tool: bool) -> tuple[dict[str, Any], str]:
        message: dict[str, Any] = {"role": "assistant", "content": "yes"}
        manner = self.server.manner
        if flag(argv, "--reasoning-parser"):
            message["reasoning"] = "someone asks whether I am there"
        if manner == "empty":
            return {"role": "assistant", "content": ""}, "stop"
        if not wants_tool:
            return message, "stop"
        if manner == "text":
            return message | {"content": "It is sunny in Paris."}, "stop"
        if manner == "markup":
            return message | {"content": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'}, "stop"
        if manner == "length":
            return message | {"content": None}, "length"
        function = CALL | ({"arguments": '{"city": "Par'} if manner == "no_json" else {"name": "get_time"} if manner == "other_tool" else {})
        return message | {"content": None, "tool_calls": [{"id": "call-1", "type": "function", "function": function}]}, "tool_calls"

    def whole(self, body, message, reason):
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choice = {"index": 0, "finish_reason": reason, "message": message}
        self.answer(200, {"id": "x", "object": "chat.completion", "created": int(time.time()), "model": body["model"], "usage": usage, "choices": [choice]})

    def stream(self, body, message, reason):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
        for call in message.get("tool_calls", ()):
            function = call["function"]
            deltas.append(({"tool_calls": [{**call, "index": 0, "function": {"name": function["name"], "arguments": ""}}]}, None))
            deltas += [({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, None) for piece in function["arguments"]]
        deltas += [({"content": piece}, None) for piece in (message.get("content") or "").split(" ") if piece]
        if self.server.manner != "cut":
            deltas.append(({}, reason))
        for delta, ended in deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": ended}
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": int(time.time()), "model": body["model"], "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        if self.server.manner != "cut":
            self.wfile.write(b"data: [DONE]\n\n")

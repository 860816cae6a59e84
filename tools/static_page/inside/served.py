"""In place of a server: the page's own application, asked by the browser's tab it runs in. There is one thread, no other process, no network: it is `alone`."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any

from planner.web.app import app

HOST = b"127.0.0.1"  # the application answers to its own machine only: this is it
APPLICATION = app(alone=True)


async def ask(method: str, path: str, query: str, headers: Iterable[tuple[str, str]], content: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of the application's answer. `content` is JavaScript's: a Uint8Array, or nothing."""
    body = content.to_bytes() if content else b""
    given = [(b"host", HOST), *((name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers)]
    if body:
        given.append((b"content-length", str(len(body)).encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": given,
        "server": (HOST.decode(), 80),
        "client": (HOST.decode(), 1),
    }
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    try:
        await APPLICATION(scope, receive, send)
    except Exception:  # it has answered so by then (500); what happened is for the browser's console
        traceback.print_exc()
    start = next(message for message in said if message["type"] == "http.response.start")
    answered = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    return start["status"], answered, b"".join(message.get("body", b"") for message in said if message["type"] == "http.response.body")

"""In place of a server: the page's own application, asked by the browser's tab it runs in. What WebAssembly has not is replaced here, and nowhere else.

There is one thread and no other process: work is done where it stands. There is no network: the Hub is not asked.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Never

import starlette.concurrency

from planner.catalogue import hub
from planner.errors import WorldError

HOST = b"127.0.0.1"  # the application answers to its own machine only: this is it


def _no_hub(repo: str) -> Never:
    raise WorldError(
        f"{repo[:100]} is not in the catalogue, and this page fetches nothing: the Hugging Face Hub is not asked", f"in a terminal: plan --model {repo[:100]}"
    )


async def _here(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """`starlette.concurrency.run_in_threadpool`, without threads."""
    return function(*arguments, **named)


hub.fetch_model = _no_hub
starlette.concurrency.run_in_threadpool = _here  # type: ignore[assignment]
threading.Thread.start = lambda self: None  # type: ignore[method-assign]  # what the application starts warms it up only; the first questions do too

from planner.web.app import app  # noqa: E402 - after what it finds replaced

APPLICATION = app()


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

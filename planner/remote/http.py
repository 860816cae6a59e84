"""`plan serve`: the questions over HTTP, one path each, described by OpenAPI. For this machine only; sizes, waiting and rates are bounded."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from http import HTTPStatus

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from planner.errors import PlannerError, WorldError, our_fault
from planner.reader import only_texts
from planner.remote.openapi import PREFIX, described
from planner.remote.tools import TOOLS, Tool
from planner.text import redact, shown
from planner.web.foreign import foreign

MOST_BODY_BYTES = 4 << 20  # a log; a question has some hundred
BODY_S = 10.0  # in which it must have come
MOST_WAITING = 32  # questions; they are answered one after the other, as they only compute
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}


class Bucket:
    """So many requests a second, and twice as many at once after a pause."""

    def __init__(self, per_s: float) -> None:
        self.per_s, self._left, self._seen = per_s, 2 * per_s, time.monotonic()

    def take(self) -> bool:
        """Whether one more is within the rate."""
        now = time.monotonic()
        self._left, self._seen = min(2 * self.per_s, self._left + (now - self._seen) * self.per_s), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Guard:
    """Refuses what pages of others ask, and more than the rate."""

    def __init__(self, app: ASGIApp, per_s: float) -> None:
        self.app, self.bucket = app, Bucket(per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        app = self.app
        if scope["type"] == "http":
            refusal = foreign(Headers(scope=scope))
            if refusal is None and not self.bucket.take():
                refusal = refused(HTTPStatus.TOO_MANY_REQUESTS, f"at most {self.bucket.per_s:g} requests a second are answered", "wait, or --rate N", retry_s=1)
            app = refusal or app
        await app(scope, receive, send)


class Json(JSONResponse):
    """JSON as text; half a character that a question holds is told as the escape that it came as, since UTF-8 has none for it."""

    def render(self, content: object) -> bytes:
        """The body."""
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(errors="backslashreplace")


def refused(status: int, message: str, hint: str = "", *, retry_s: int | None = None) -> Json:
    """What is wrong, as every refusal says it."""
    words = {"message": redact(shown(message, len(message))), "hint": redact(shown(hint, len(hint)))}
    return Json({"error": words}, status, HEADERS | ({"Retry-After": str(retry_s)} if retry_s else {}))


def refusal_of(error: Exception) -> Response:
    """What is answered in place of an answer; of a fault of ours one line, without its trace."""
    match error:
        case WorldError():
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, error.message, error.hint, retry_s=30)
        case PlannerError():
            return refused(HTTPStatus.UNPROCESSABLE_ENTITY, error.message, error.hint)
        case _:
            ours = our_fault(error)
            return refused(HTTPStatus.INTERNAL_SERVER_ERROR, ours.message, ours.hint)


class Turn:
    """One question after the other, in a thread of their own, so that the server stays awake; a bounded number waits."""

    def __init__(self) -> None:
        self._turn, self._here = anyio.CapacityLimiter(1), 0

    async def answer(self, tool: Tool, arguments: Mapping[str, object]) -> Response:
        """The answer's JSON, or the refusal."""
        if self._here > MOST_WAITING:
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{MOST_WAITING} questions wait already", "ask again later", retry_s=2)
        self._here += 1
        try:
            return await anyio.to_thread.run_sync(_answered, tool, arguments, limiter=self._turn)
        except Exception as error:
            return refusal_of(error)
        finally:
            self._here -= 1


def _answered(tool: Tool, arguments: Mapping[str, object]) -> Response:
    with only_texts():
        return Json(tool.answer(arguments).json, headers=HEADERS)


async def body_of(request: Request) -> object:
    """The JSON of a request. Raises HTTPException for what is none, too large or too slow."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a question is JSON: Content-Type: application/json")
    content = bytearray()
    try:
        with anyio.fail_after(BODY_S):
            async for part in request.stream():
                content += part
                if len(content) > MOST_BODY_BYTES:
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a question is at most {MOST_BODY_BYTES:,} bytes long")
    except TimeoutError:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, f"the question did not come in {BODY_S:g} s") from None
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        what = error.args[0] if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {what}") from None


def _asking(tool: Tool, turn: Turn) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        asked = await body_of(request)
        if not isinstance(asked, dict):
            return refused(HTTPStatus.UNPROCESSABLE_ENTITY, "a question is a JSON object", f"{PREFIX}/{tool.name} is described in /openapi.json")
        return await turn.answer(tool, asked)

    return endpoint


@cache
def _description() -> bytes:
    return json.dumps(described()).encode()


async def _openapi(_: Request) -> Response:
    return Response(_description(), media_type="application/json", headers=HEADERS)


async def health(_: Request) -> Response:
    """That the server is awake."""
    return Json({"status": "ok"}, headers=HEADERS)


async def fault(_: Request, error: Exception) -> Response:
    """A refusal of the framework's, in the one form."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    hint = "/openapi.json names what is asked here" if error.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED) else ""
    answer = refused(error.status_code, error.detail, hint)
    answer.headers.update(error.headers or {})
    return answer


async def _gone(_: Request, _error: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it


def app(per_s: float) -> Starlette:
    """The application, which answers at most so many requests a second."""
    turn = Turn()
    application = Starlette(
        routes=[
            *(Route(f"{PREFIX}/{tool.name}", _asking(tool, turn), methods=["POST"]) for tool in TOOLS.values()),
            Route("/openapi.json", _openapi, methods=["GET"]),
            Route("/healthz", health, methods=["GET"]),
        ],
        exception_handlers={HTTPException: fault, ClientDisconnect: _gone},
    )
    application.add_middleware(Guard, per_s=per_s)
    return application

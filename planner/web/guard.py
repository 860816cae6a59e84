"""What reaches the page: its own questions from its own pages, no body but a pasted text, nothing longer than a question is."""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from planner.errors import PlannerError
from planner.web.foreign import foreign
from planner.web.jobs import JOBS
from planner.web.state import MOST_QUERY_BYTES

MOST_BODY_BYTES = 2 << 20  # a pasted text as a form sends it
BODY_S = 10.0  # in which it must have come
FORM = "application/x-www-form-urlencoded"
_PAGES = {"/", *(f"/{job.name}" for job in JOBS.values())}
_PASTED = {path for job in JOBS.values() if job.pasted for path in (f"/{job.name}", f"/answer/{job.name}", f"/{job.name}.json", f"/{job.name}.html")}
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none a browser says Origin: null of this page's own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses what does not come from a page of this server in a browser of this machine: foreign hosts (DNS rebinding), foreign origins, other bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *((name.lower().encode(), value.encode()) for name, value in SECURITY.items())]
            await send(message)

        await (refusal or self.app)(scope, receive, with_headers)

    @staticmethod
    def _refusal(scope: Scope) -> Response | None:
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        is_read = method in ("GET", "HEAD")
        if refusal := foreign(headers, may_follow=is_read and path in _PAGES):
            return refusal
        if not is_read and not (method == "POST" and path in _PASTED):
            return PlainTextResponse("only GET", 405, {"Allow": "GET, HEAD, POST" if path in _PASTED else "GET, HEAD"})
        if len(scope["query_string"]) > MOST_QUERY_BYTES:
            return PlainTextResponse(f"a question is at most {MOST_QUERY_BYTES} bytes long", 414)
        return _refused_body(headers) if is_read else _refused_form(headers)


def _refused_body(headers: Headers) -> Response | None:
    if "transfer-encoding" in headers or headers.get("content-length", "0").strip("0"):
        return PlainTextResponse("a question has no body", 413)
    return None


def _refused_form(headers: Headers) -> Response | None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return PlainTextResponse(f"a pasted text comes as {FORM}", 415)
    return None


def followed_from_elsewhere(request: Request) -> bool:
    """Whether a page of somebody else's led here: what takes long, or asks the network, waits until a person asks for it."""
    return request.headers.get("sec-fetch-site") in ("cross-site", "same-site")


async def body_of(request: Request) -> str:
    """The form that a request brings. Raises PlannerError for one that is too large or does not come."""
    content = bytearray()
    try:
        with anyio.fail_after(BODY_S):
            async for part in request.stream():
                content += part
                if len(content) > MOST_BODY_BYTES:
                    raise PlannerError(f"a pasted text is at most {MOST_BODY_BYTES >> 20} MiB large", "the last part of a log tells why a server ended")
    except (TimeoutError, ClientDisconnect):
        raise PlannerError("the text did not come whole", "paste it again") from None
    return content.decode("utf-8", "replace")

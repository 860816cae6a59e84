"""The page: a Starlette application for this machine. Only GET, only our own host and origin, everything it serves named in advance."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import cache

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from planner.catalogue import load
from planner.catalogue.load import Catalogue, Entry
from planner.catalogue.rows import GpuRow
from planner.engines import ENGINES, usual_words
from planner.errors import PlannerError
from planner.facts.hardware import Host
from planner.report.contract import plan_json
from planner.report.head import json_text
from planner.report.html import render, report
from planner.report.picture import static
from planner.web import links
from planner.web.foreign import foreign
from planner.web.state import State, answered, file_texts, read_state, view_of

MOST_QUERY_BYTES = 4096
STATIC = {"style.css": ("style.css", "text/css"), "htmx.js": ("htmx-2.0.11.min.js", "text/javascript"), "copy.js": ("copy.js", "text/javascript")}
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses what does not come from a page of this server in a browser of this machine: foreign hosts (DNS rebinding), foreign origins, bodies."""

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
        headers = Headers(scope=scope)
        if refusal := foreign(headers, may_follow=scope["path"] == "/"):
            return refusal
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("only GET", 405, {"Allow": "GET, HEAD"})
        if "transfer-encoding" in headers or headers.get("content-length", "0").strip("0"):
            return PlainTextResponse("a question has no body", 413)
        if len(scope["query_string"]) > MOST_QUERY_BYTES:
            return PlainTextResponse(f"a question is at most {MOST_QUERY_BYTES} bytes long", 414)
        return None


def _names() -> tuple[list[str], list[str]]:
    return _names_of(load.current())


@cache
def _names_of(catalogue: Catalogue) -> tuple[list[str], list[str]]:
    gpus = [name for row in catalogue.gpu_rows() for name in _gpu_names(row)]
    models = [Entry(row, variant).name for row in catalogue.model_rows() for variant in row.variants if variant.is_listed]
    return gpus, models


def _gpu_names(row: GpuRow) -> list[str]:
    return [f"{row.name}-{size}gb" for size in row.memory_options_gb] or [row.name]


def _fields(state: State) -> list[dict[str, object]]:
    gpus, models = _names()
    return [
        {"name": "gpu", "label": "GPU or Mac", "value": state.gpu, "names": gpus, "placeholder": "rtx4090", "options": ()},
        {"name": "count", "label": "How many", "value": state.count, "names": (), "placeholder": "1", "options": ()},
        {"name": "model", "label": "Model", "value": state.model, "names": models, "placeholder": "qwen3-8b", "options": ()},
        {"name": "context", "label": "Context", "value": state.context, "names": (), "placeholder": "the longest", "options": ()},
        {"name": "users", "label": "Users", "value": state.users, "names": (), "placeholder": "1", "options": ()},
        {"name": "host", "label": "Machine", "value": state.host, "names": (), "options": [(str(host), str(host)) for host in Host]},
        {
            "name": "engine",
            "label": "Runtime",
            "value": state.engine,
            "names": (),
            "options": [(name, name or usual_words()) for name in ("", *ENGINES)],
        },
        {"name": "input", "label": "Prompt tokens", "value": state.input, "names": (), "placeholder": "for the speed", "options": ()},
        {"name": "output_tokens", "label": "Output tokens", "value": state.output_tokens, "names": (), "placeholder": "for the speed", "options": ()},
        {"name": "concurrency", "label": "Requests at once", "value": state.concurrency, "names": (), "placeholder": "for the speed", "options": ()},
    ]


def _shown(request: Request) -> tuple[State, dict[str, object]]:
    """The state of the address, and what the templates show of it."""
    state = State()
    values: dict[str, object] = {"view": None, "fault": "", "hint": "", "near": (), "links": {}}
    try:
        state = _asked(request)
        view = view_of(state)
        values |= {"view": view, "links": links.changes(state, view.changes)}
    except PlannerError as error:
        gpus, models = _names()
        values |= {"fault": error.message, "hint": error.hint, "near": links.nearest(state, error, {"gpu": gpus, "model": models})}
    return state, values | {"downloads": True, "query": state.query, "command_line": state.command_line}


def _page(request: Request) -> Response:
    state, values = _shown(request)
    return Response(render("page.html", fields=_fields(state), **values), media_type="text/html")


def _answer(request: Request) -> Response:
    """The answer alone; a fault goes above the answer before it, which stays. While one field is typed in, the history keeps one entry."""
    state, values = _shown(request)
    address = "HX-Replace-Url" if request.headers.get("x-typing") else "HX-Push-Url"
    headers = {address: f"/?{state.query}"} | ({} if values["view"] else {"HX-Retarget": "#fault"})
    return Response(render("swap.html" if values["view"] else "fault.html", **values), media_type="text/html", headers=headers)


def _asked(request: Request) -> State:
    """The state that the address holds. Raises PlannerError, also for what stands there twice: one of them would be passed over."""
    counts = Counter(name for name, _ in request.query_params.multi_items())
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise PlannerError(f"{twice[:40]!r} is given twice; it counts once", "leave one out")
    return read_state(request.query_params)


def _download(request: Request) -> Response:
    state = _asked(request)
    text, name = file_texts(state).get(request.path_params["name"]), request.path_params["name"]
    if text is None:
        return PlainTextResponse("no such file of this answer", 404)
    return Response(text, media_type="text/plain", headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _report(request: Request) -> Response:
    state = _asked(request)
    return Response(report(view_of(state), state.command_line), media_type="text/html")


def _json(request: Request) -> Response:
    state = _asked(request)
    return Response(json_text(plan_json(answered(state), [])), media_type="application/json")


def _static(request: Request) -> Response:
    file = STATIC.get(request.path_params["name"])
    return Response(static(file[0]), media_type=file[1]) if file else PlainTextResponse("no such file", 404)


def _in_turn(answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    """One answer after the other: they only compute, and threads would make all of them wait for each (`benchmarks.page`)."""

    async def endpoint(request: Request) -> Response:
        return answer(request)

    return endpoint


def _fault(_: Request, error: Exception) -> Response:
    if not isinstance(error, PlannerError):
        raise error
    return PlainTextResponse(f"{error.message}; {error.hint}".rstrip("; "), 400)


def warm() -> None:
    """Build every model of the catalogue before somebody types its name; the garbage collector need not look at them again."""
    _names()
    for row in load.model_rows():
        for variant in row.variants:
            if variant.is_listed:
                Entry(row, variant).spec()
    gc.collect()
    gc.freeze()


def app() -> Starlette:
    """The application of one process."""
    threading.Thread(target=copy_context().run, args=(warm,), daemon=True).start()  # it is to see the same catalogue
    pages: dict[str, Callable[[Request], Response]] = {
        "/": _page, "/answer": _answer, "/download/{name}": _download, "/report.html": _report, "/plan.json": _json, "/static/{name}": _static,
    }  # fmt: skip
    application = Starlette(
        routes=[Route(path, _in_turn(answer), methods=["GET"]) for path, answer in pages.items()], exception_handlers={PlannerError: _fault}
    )
    application.add_middleware(Guard)
    return application

"""The page: a Starlette application. Every job is one address, a question its query; each request is answered as HTML or JSON, nothing is kept between two.

It runs on a server of this machine, or `alone`, where there is neither a thread nor a network (a browser that runs Python itself).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from planner.catalogue import load
from planner.catalogue.load import Entry
from planner.errors import PlannerError, WorldError
from planner.report.head import json_text
from planner.report.html import render, report
from planner.report.picture import static
from planner.web import links, shown
from planner.web.answers import UNASKED, Answer, answer
from planner.web.fields import known_names
from planner.web.guard import Guard, body_of, followed_from_elsewhere
from planner.web.jobs import JOBS, PLAN, Job
from planner.web.state import State, first, read_state
from planner.web.turn import Turn

STATIC = {
    "style.css": ("style.css", "text/css"),
    "page.css": ("page.css", "text/css"),
    "htmx.js": ("htmx-2.0.11.min.js", "text/javascript"),
    "copy.js": ("copy.js", "text/javascript"),
    "page.js": ("page.js", "text/javascript"),
}
MOST_FIELDS = 200
GARBAGE = 50_000  # objects of some thousand answers, which leave few in circles: a look at them takes a few hundredths of a second
OFFLINE = "a page without a server asks nobody: name one of the catalogue, or ask in a terminal"
FROM_ELSEWHERE = "This question came by a link from another page, and takes a moment."
Endpoint = Callable[[Request], Awaitable[Response]]


class Page:
    """The endpoints, around the one seam that computes."""

    def __init__(self, *, alone: bool) -> None:
        self.turn, self.alone = Turn(alone=alone), alone

    async def state(self, request: Request) -> State:
        """What is asked. Raises PlannerError for what the page does not know, HTTP's 404 for a job that it does not have."""
        job = _job(request)
        if request.method == "POST":
            text = await body_of(request)
            try:
                return read_state(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS), job)
            except ValueError:
                raise PlannerError("that is no form of this page") from None
        return read_state(request.query_params.multi_items(), job)

    async def answer(self, state: State, *, hub: bool) -> Answer:
        """The answer; the Hub is asked where a person waits for that."""
        says = OFFLINE if self.alone else "" if hub else UNASKED
        is_slow = state.job.is_heavy or state.is_long or (hub and (bool(state.job.pasted) or shown.names_others(state)))
        return await self.turn.take(partial(answer, state, hub=says), is_slow=is_slow)

    async def _shown(self, request: Request, *, hub: bool, withheld: bool = False) -> shown.Shown:
        """The state of a request and what is shown of it; a fault is shown too."""
        state = first(_job(request))
        try:
            state = await self.state(request)
            if withheld and state.job.is_heavy:
                return shown.Shown(state=state, notice=FROM_ELSEWHERE)
            found = await self.answer(state, hub=hub) if state.is_asked else None
            return shown.Shown(state=state, view=found.view if found else None)
        except PlannerError as error:
            return shown.Shown(state=state, fault=error.message, hint=error.hint, near=tuple(links.nearest(state, error)))

    async def page(self, request: Request) -> Response:
        """A whole page. A text that is short enough becomes the address of its answer."""
        is_led = followed_from_elsewhere(request)
        found = await self._shown(request, hub=not is_led, withheld=is_led)
        if request.method == "POST" and found.state.query and not found.fault:
            return RedirectResponse(found.state.address, 303)
        return Response(render("page.html", **found.values()), media_type="text/html")

    async def part(self, request: Request) -> Response:
        """The answer alone; a fault goes above the answer before it, which stays. While one field is typed in, the history keeps one entry.

        The connection ends with it: the next keystroke goes to whichever process has nothing to do, not to the one that answered the last.
        """
        found = await self._shown(request, hub="x-submit" in request.headers)
        address = "HX-Replace-Url" if request.headers.get("x-typing") else "HX-Push-Url"
        is_fault = bool(found.fault)
        headers = {address: found.state.address, "Connection": "close"} | ({"HX-Retarget": "#fault"} if is_fault else {})
        return Response(render("fault-swap.html" if is_fault else "swap.html", **found.values()), media_type="text/html", headers=headers)

    async def json(self, request: Request) -> Response:
        """What a program reads."""
        found = await self.answer(await self._asked(request), hub=True)
        return Response(json_text(found.json()), media_type="application/json")

    async def report(self, request: Request) -> Response:
        """The answer as one page that needs nothing else."""
        state = await self._asked(request)
        return Response(report((await self.answer(state, hub=True)).view, state.command_line), media_type="text/html")

    async def download(self, request: Request) -> Response:
        """A file of a plan."""
        found = await self.answer(await self.state(request), hub=True)
        text, name = found.files.get(request.path_params["name"]), request.path_params["name"]
        if text is None:
            return PlainTextResponse("no such file of this answer", 404)
        return Response(text, media_type="text/plain", headers={"Content-Disposition": f'attachment; filename="{name}"'})

    async def _asked(self, request: Request) -> State:
        state = await self.state(request)
        if not state.is_asked:
            raise PlannerError("nothing was pasted", f"{state.job.pasted}=…")
        return state


def _job(request: Request) -> Job:
    return JOBS[request.path_params.get("job", PLAN)]


async def _static(request: Request) -> Response:
    file = STATIC.get(request.path_params["name"])
    return Response(static(file[0]), media_type=file[1]) if file else PlainTextResponse("no such file", 404)


def _of_a_job(endpoint: Endpoint) -> Endpoint:
    async def found(request: Request) -> Response:
        if request.path_params["job"] not in JOBS:
            return PlainTextResponse("no such page", 404)
        return await endpoint(request)

    return found


async def _fault(_: Request, error: Exception) -> Response:
    if not isinstance(error, PlannerError):
        raise error
    status = HTTPStatus.SERVICE_UNAVAILABLE if isinstance(error, WorldError) else HTTPStatus.BAD_REQUEST
    return PlainTextResponse(f"{error.message}; {error.hint}".rstrip("; "), status)


def warm() -> None:
    """Build every model of the catalogue before somebody types its name; the garbage collector need not look at them again."""
    known_names()
    for row in load.model_rows():
        for variant in row.variants:
            if variant.is_listed:
                Entry(row, variant).spec()
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 2, 2)


def app(*, alone: bool = False) -> Starlette:
    """The application of one process; `alone` everything is computed where it is asked, and nobody else is asked."""
    if not alone:
        threading.Thread(target=copy_context().run, args=(warm,), daemon=True).start()  # it is to see the same catalogue
    page = Page(alone=alone)
    methods = ["GET", "POST"]
    routes = [
        Route("/", page.page, methods=["GET"]),
        Route("/answer/{job}", _of_a_job(page.part), methods=methods),
        Route("/download/{name}", page.download, methods=["GET"]),
        Route("/static/{name}", _static, methods=["GET"]),
        Route("/{job}.json", _of_a_job(page.json), methods=methods),
        Route("/{job}.html", _of_a_job(page.report), methods=methods),
        Route("/{job}", _of_a_job(page.page), methods=methods),
    ]
    application = Starlette(routes=routes, exception_handlers={PlannerError: _fault})
    application.add_middleware(Guard)
    return application

"""`plan webhook`: a validating admission webhook of Kubernetes."""

from __future__ import annotations

from http import HTTPStatus

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from planner.facts.finding import FailOn
from planner.questions.files.machines import Target
from planner.remote.admission import reviewed
from planner.remote.http import HEADERS, Json, body_of, fault, health, refusal_of, refused

MOST_WAIT_S = 8.0  # for its turn: an API server waits ten at most


def app(deny: FailOn, asked: Target | None) -> Starlette:
    """The application: one object after the other; one that has to wait too long is let pass by the API server's failurePolicy."""
    turn = anyio.CapacityLimiter(1)

    async def validate(request: Request) -> Response:
        review = await body_of(request)
        try:
            with anyio.fail_after(MOST_WAIT_S):
                answer = await anyio.to_thread.run_sync(reviewed, review, deny, asked, limiter=turn, abandon_on_cancel=True)
        except TimeoutError:
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many objects wait", retry_s=2)
        except Exception as error:
            return refusal_of(error)
        return Json(answer, headers=HEADERS)

    routes = [Route("/validate", validate, methods=["POST"]), Route("/healthz", health, methods=["GET"])]
    return Starlette(routes=routes, exception_handlers={HTTPException: fault})

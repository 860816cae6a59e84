"""`plan serve`: the questions over HTTP, on 127.0.0.1."""

from __future__ import annotations

import click

from planner.cli.command import command, option
from planner.cli.options import Finite
from planner.cli.own_rows import own_rows
from planner.cli.printing import tell
from planner.errors import require


@command("serve")
@option("--port", default=8322, show_default=True, type=click.IntRange(0, 65_535), help="0 takes a free one.")
@option("--rate", default=20.0, show_default=True, type=Finite(0, 10_000, min_open=True), help="Requests a second that are answered; twice as many at once.")
@own_rows()
def serve_command(port: int, rate: float) -> None:
    """Answer plan, check, explain, choose, capacity and cost as JSON over HTTP (POST /v2/plan …, described in /openapi.json). It answers to this machine only; Ctrl-C ends it."""
    require("plan serve", "starlette", "uvicorn", "pydantic")
    from planner.cli.web import listen, serve
    from planner.remote.http import app

    listener, address = listen(port)
    tell(f"plan: {address}openapi.json (Ctrl-C ends it)", err=True)
    serve(listener, app(rate))

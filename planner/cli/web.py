"""`plan web`: the calculator in a browser, on 127.0.0.1."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.command import command, option
from planner.cli.own_rows import own_rows
from planner.cli.printing import tell
from planner.errors import PlannerError, require

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from planner.catalogue.load import Catalogue

ADDRESS = "127.0.0.1"
KEEP_ALIVE_S = 60  # longer than a connection is watched for (planner/web/connections.py): a question that waits in the socket is not closed on
RESTART_S = 1.0  # before a helper that died is started again
HELPERS = min(2, os.cpu_count() or 1) - 1  # further processes: an answer keeps one of them busy for some milliseconds


@command("web")
@option("--port", default=8321, show_default=True, type=click.IntRange(0, 65_535), help="0 takes a free one.")
@option("--open/--no-open", "opens", default=True, show_default=True, help="Open the page in the browser.")
@own_rows()
def web_command(port: int, *, opens: bool) -> None:
    """Open the calculator in a browser: pick GPUs and a model, everything follows as you type. It answers to this machine only; Ctrl-C ends it."""
    from planner.catalogue.load import current

    require("plan web", "starlette", "uvicorn", "jinja2")
    listener, address = listen(port)
    tell(f"plan: {address} (Ctrl-C ends it)", err=True)
    for _ in range(HELPERS):
        threading.Thread(target=_keep_helper, args=(listener, current()), daemon=True).start()
    if opens:
        webbrowser.open(address)
    serve_page(listener)


def listen(port: int, bind: str = ADDRESS) -> tuple[socket.socket, str]:
    """A socket, of this machine only where nothing else is asked, and its address. Raises PlannerError where the port is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((bind, port))
        listener.listen(128)
    except OSError as error:
        raise PlannerError(f"port {port}: {error.strerror or error}", "--port 0 takes a free one") from None
    return listener, f"http://{bind}:{listener.getsockname()[1]}/"


def serve_page(listener: socket.socket) -> None:
    """Answer with the page."""
    from planner.web.app import app

    serve(listener, app())


def serve(listener: socket.socket, application: Starlette, *, certificate: Path | None = None, key: Path | None = None) -> None:
    """Answer on a socket until this process is told to end; by TLS with a certificate and its key."""
    import uvicorn

    from planner.web.connections import Patient

    config = uvicorn.Config(
        application,
        http=Patient,
        timeout_keep_alive=KEEP_ALIVE_S,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _keep_helper(listener: socket.socket, catalogue: Catalogue) -> None:
    """A further process on the same socket, started again where it dies."""
    while True:
        helper = multiprocessing.get_context("spawn").Process(target=help_serve, args=(listener, catalogue), daemon=True)
        helper.start()
        helper.join()
        time.sleep(RESTART_S)


def help_serve(listener: socket.socket, catalogue: Catalogue) -> None:
    """A further process on the same socket, to which names mean the same; it ends with the one that started it, however that ends."""
    from planner.catalogue.load import use

    use(catalogue)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    serve_page(listener)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)

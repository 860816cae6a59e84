"""`plan web`: the calculator in a browser, on 127.0.0.1."""

from __future__ import annotations

import socket
import threading
import webbrowser

import click

from planner.errors import PlannerError

ADDRESS = "127.0.0.1"


@click.command("web")
@click.option("--port", default=8321, show_default=True, type=click.IntRange(0, 65_535), help="0 takes a free one.")
@click.option("--open/--no-open", "opens", default=True, show_default=True, help="Open the page in the browser.")
def web_command(port: int, *, opens: bool) -> None:
    """Open the calculator in a browser: pick GPUs and a model, everything follows as you type. It answers to this machine only; Ctrl-C ends it."""
    import uvicorn

    from planner.web.app import app, warm

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
        listener.listen(128)
    except OSError as error:
        raise PlannerError(f"port {port}: {error.strerror or error}", "--port 0 takes a free one") from None
    address = f"http://{ADDRESS}:{listener.getsockname()[1]}/"
    threading.Thread(target=warm, daemon=True).start()
    click.echo(f"plan: {address} (Ctrl-C ends it)", err=True)
    if opens:
        webbrowser.open(address)
    server = uvicorn.Server(uvicorn.Config(app(), log_level="warning", access_log=False, server_header=False, ws="none", lifespan="off"))
    server.run(sockets=[listener])

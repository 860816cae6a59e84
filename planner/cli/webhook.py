"""`plan webhook`: what a Kubernetes API server asks before it stores a Deployment."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.command import command, option
from planner.cli.names import Name
from planner.cli.options import type_of
from planner.cli.own_rows import own_rows
from planner.cli.printing import tell
from planner.errors import PlannerError, require
from planner.facts.finding import FailOn
from planner.questions.fields import FIELDS

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@command("webhook")
@option(
    "--deny", type=click.Choice([str(level) for level in FailOn]), default="never", show_default=True, help="Refuse this verdict and what is worse; else warn."
)
@option("--gpu", type=Name("gpu"), help="The GPU of objects that select none by nodeSelector, affinity or annotation.")
@option("--count", type=type_of(FIELDS["count"]), help="How many a node has; else as many as a container is given.")
@option("--bind", default="127.0.0.1", show_default=True, help="Address the server listens on; in a cluster 0.0.0.0.")
@option("--port", default=8443, show_default=True, type=click.IntRange(0, 65_535), help="0 takes a free one.")
@option("--certificate", type=_FILE, help="Of the server, PEM: an API server asks by TLS only.")
@option("--key", type=_FILE, help="Its private key, PEM.")
@own_rows()
def webhook_command(*, deny: str, gpu: str | None, count: int | None, bind: str, port: int, certificate: Path | None, key: Path | None) -> None:
    """Warn of Deployments and their like whose servers would not start, before Kubernetes stores them (POST /validate; docs/kubernetes.md). Ctrl-C ends it."""
    require("plan webhook", "starlette", "uvicorn")
    if (certificate is None) != (key is None):
        raise PlannerError("--certificate and --key go together", "both files, as a secret of type kubernetes.io/tls has them")
    from planner.cli.web import listen, serve
    from planner.questions.files.machines import told_target
    from planner.remote.webhook import app

    said = {name: value for name, value in (("gpu", gpu), ("count", count)) if value is not None}
    asked = told_target(said, "plan webhook") if gpu else None
    listener, address = listen(port, bind)
    tell(f"plan: {address if certificate is None else address.replace('http:', 'https:')}validate (Ctrl-C ends it)", err=True)
    serve(listener, app(FailOn(deny), asked), certificate=certificate, key=key)

"""serve.sh: one server in the foreground, stopped whatever ends the script. The fixed parts are templates/services.sh and templates/serve.sh."""

from __future__ import annotations

import shlex

from planner.emit.lines import template
from planner.emit.stack import check_tools, head, run_function
from planner.engines import title_of
from planner.facts.deployment import Deployment


def serve_script(deployment: Deployment) -> str:
    """The text of serve.sh for the only server of a deployment."""
    service = deployment.main
    title = f"{deployment.title}, planned for {title_of(service.engine)} {service.version}"
    usage = "Serves in the foreground, its log is here: Ctrl-C stops it."
    return "".join(
        [
            head(title, usage, deployment, [(service.name, service.port, service.url + service.health)]),
            f"served_name={shlex.quote(service.served_name)}\n\n",
            run_function(service.name, service.notes, service.argv, service.env),
            check_tools((service,), proxy=False),
            template("services.sh"),
            template("serve.sh"),
        ]
    )

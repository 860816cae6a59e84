"""try.sh: one small request to each model through the proxy, as an agent makes it."""

from __future__ import annotations

import json
import shlex

from planner.deployment import Deployment, Service
from planner.emit.lines import comment

_SCRIPT = """\
#!/usr/bin/env bash
# Is {title} there for an agent? One small request to each model, through the proxy.
set -euo pipefail
: "${{LITELLM_MASTER_KEY:?export the master key of the proxy first}}"

# ask PATH BODY: the answer, or the proxy's own error
ask() {{
  curl --silent --show-error --fail-with-body --max-time 600 "http://127.0.0.1:{port}$1" \\
    --header "Authorization: Bearer ${{LITELLM_MASTER_KEY}}" --header 'Content-Type: application/json' --data "$2"
  echo
}}

{requests}
"""


def _request(service: Service) -> str:
    if service.task == "embedding":
        body: dict[str, object] = {"model": service.alias, "input": ["which tools are there?"]}
        return f"ask /v1/embeddings {shlex.quote(json.dumps(body))} | cut -c 1-200"
    body = {"model": service.alias, "messages": [{"role": "user", "content": "Answer in one word: are you there?"}], "max_tokens": 32}
    return f"ask /v1/chat/completions {shlex.quote(json.dumps(body))}"


def trial_files(deployment: Deployment) -> dict[str, str]:
    """try.sh."""
    requests = "\n".join(_request(service) for service in reversed(deployment.services))
    return {"try.sh": _SCRIPT.format(title=comment(deployment.title), port=deployment.proxy_port, requests=requests)}

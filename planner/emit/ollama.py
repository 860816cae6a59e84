"""What Ollama needs: its environment for a shell and for systemd, a Modelfile for each model."""

from __future__ import annotations

import json
import shlex
from dataclasses import fields

from planner.emit.lines import comment
from planner.emit.litellm import default_max_tokens
from planner.facts.deployment import Deployment, Service

_PARAMETERS = ("temperature", "top_p", "top_k", "min_p")  # of those that Modelfiles know (docs/modelfile.mdx)
_DROP_IN = """\
# {title}
# Install it beside the unit, which stays as it is:
#   sudo install -D -m 644 ollama.override.conf /etc/systemd/system/ollama.service.d/override.conf
#   sudo systemctl daemon-reload && sudo systemctl restart ollama
[Service]
{lines}
"""


def ollama_files(deployment: Deployment) -> dict[str, str]:
    """The files by name; nothing where no model is Ollama's."""
    services = [service for service in deployment.services if service.engine == "ollama"]
    process = next((service for service in services if service.is_process), None)
    if process is None:
        return {}
    title = comment(deployment.title)
    exports = "\n".join(f"export {shlex.quote(f'{name}={value}')}" for name, value in process.env.items())
    environment = "\n".join(f"Environment={json.dumps(f'{name}={value}').replace('%', '%%')}" for name, value in process.env.items())
    files = {
        "ollama.env": f"# {title}\n# source it in the shell that runs `ollama serve`{_run(services)}\n{exports}\n",
        "ollama.override.conf": _DROP_IN.format(title=title, lines=environment),
    }
    for service in services:
        files[modelfile_name(service, services)] = modelfile(service)
    return files


def _run(services: list[Service]) -> str:
    """How a person talks to the chat models that setup.sh makes."""
    return "".join(f"\n#   ollama run {shlex.quote(service.served_name)}" for service in services if service.task == "chat")


def modelfile_name(service: Service, services: list[Service]) -> str:
    """Modelfile, or with the service's name behind it where there are several."""
    return "Modelfile" if len(services) == 1 else f"Modelfile.{service.name}"


def modelfile(service: Service) -> str:
    """The model with the planned context and the recommended sampling; Ollama's own default would decide otherwise."""
    source = service.model if not service.model.endswith(".gguf") or service.model.startswith(("/", ".")) else f"./{service.model}"
    lines = [f"# {comment(note)}" for note in service.notes]
    lines += [f"FROM {source}", f"PARAMETER num_ctx {service.planned_context}"]
    if service.task == "chat":
        known = [each.name for each in fields(service.sampling) if each.name in _PARAMETERS]
        values = {name: getattr(service.sampling, name) for name in known if getattr(service.sampling, name) is not None}
        if values:
            lines.append(f"# as recommended: {comment(service.sampling.source)}")
        lines += [f"PARAMETER {name} {value:g}" for name, value in values.items()]
        if limit := default_max_tokens(service):
            lines.append(f"PARAMETER num_predict {limit}")
    if service.gpu_layers_pinned is not None:
        lines.append(f"PARAMETER num_gpu {service.gpu_layers_pinned}")
    return "\n".join(lines) + "\n"


def ollama_steps(deployment: Deployment) -> list[str]:
    """What setup.sh does for Ollama: pull each tag, and make the model with its context from it."""
    services = [service for service in deployment.services if service.engine == "ollama"]
    steps = []
    for service in services:
        if not service.model.endswith(".gguf"):
            steps.append(f"ollama pull {shlex.quote(service.model)}")
        steps.append(f"ollama create {shlex.quote(service.served_name)} -f {shlex.quote(modelfile_name(service, services))}")
    return steps

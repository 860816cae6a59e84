"""What Ollama needs beside its command: its environment for a shell and for systemd, a Modelfile for each model, what setup.sh does."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields

from planner.engines.llamacpp.making import made_files, projector
from planner.engines.llamacpp.ollama import BUILD
from planner.facts.deployment import Deployment, Service, comment

PROGRAM = "ollama"
_PARAMETERS = ("temperature", "top_p", "top_k", "min_p")  # of those that Modelfiles know (docs/modelfile.mdx)
_DROP_IN = """\
# {title}
# Install it beside the unit, which stays as it is:
#   sudo install -D -m 644 ollama.override.conf /etc/systemd/system/ollama.service.d/override.conf
#   sudo systemctl daemon-reload && sudo systemctl restart ollama
[Service]
{lines}
"""
# Models are pulled by a running server: one that is there already, or one that runs for the pulls only.
_INSTALL = """\
command -v ollama >/dev/null || {{ echo "install Ollama first: https://ollama.com/download" >&2; exit 1; }}
export OLLAMA_HOST=127.0.0.1:{port}
own=""
if ! ollama list >/dev/null 2>&1; then
  ollama serve >ollama-setup.log 2>&1 &
  own=$!
  trap 'kill "${{own}}" 2>/dev/null || true' EXIT
  until ollama list >/dev/null 2>&1; do
    kill -0 "${{own}}" 2>/dev/null || {{ echo "ollama serve ended, see ollama-setup.log" >&2; exit 1; }}
    sleep 1
  done
fi
make_models() {{
{steps}
}}
make_models"""


def _services(deployment: Deployment) -> list[Service]:
    return [service for service in deployment.services if service.engine == PROGRAM]


def files(deployment: Deployment) -> Mapping[str, str]:
    """The files by name; nothing where no model is Ollama's."""
    services = _services(deployment)
    process = next((service for service in services if service.is_process), None)
    if process is None:
        return {}
    title = comment(deployment.title)
    exports = "\n".join(f"export {shlex.quote(f'{name}={value}')}" for name, value in process.env.items())
    environment = "\n".join(f"Environment={json.dumps(f'{name}={value}').replace('%', '%%')}" for name, value in process.env.items())
    texts = {
        "ollama.env": f"# {title}\n# source it in the shell that runs `ollama serve`{_run(services)}\n{exports}\n",
        "ollama.override.conf": _DROP_IN.format(title=title, lines=environment),
    }
    for service in services:
        texts[_modelfile_name(service, services)] = modelfile(service)
    return texts


def _run(services: Sequence[Service]) -> str:
    """How a person talks to the chat models that setup.sh makes."""
    return "".join(f"\n#   ollama run {shlex.quote(service.served_name)}" for service in services if service.task == "chat")


def _modelfile_name(service: Service, services: Sequence[Service]) -> str:
    """Modelfile, or with the service's name behind it where there are several."""
    return "Modelfile" if len(services) == 1 else f"Modelfile.{service.name}"


def modelfile(service: Service) -> str:
    """The model with the planned context and the recommended sampling; Ollama's own default would decide otherwise."""
    source = service.model if not service.model.endswith(".gguf") or service.model.startswith(("/", ".")) else f"./{service.model}"
    lines = [f"# {comment(note)}" for note in service.notes]
    beside = projector(service)
    lines += [f"FROM {source}", *([f"FROM ./{beside}"] if beside else []), f"PARAMETER num_ctx {service.planned_context}"]
    if service.task == "chat":
        known = [item.name for item in fields(service.sampling) if item.name in _PARAMETERS]
        values = {name: getattr(service.sampling, name) for name in known if getattr(service.sampling, name) is not None}
        if values:
            lines.append(f"# as recommended: {comment(service.sampling.source)}")
        lines += [f"PARAMETER {name} {value:g}" for name, value in values.items()]
        if limit := service.default_max_tokens:
            lines.append(f"PARAMETER num_predict {limit}")
    if service.gpu_layers_pinned is not None:
        lines.append(f"PARAMETER num_gpu {service.gpu_layers_pinned}")
    return "\n".join(lines) + "\n"


def steps(deployment: Deployment) -> list[str]:
    """What makes the models: each tag is pulled, and the model with its context made from it."""
    services = _services(deployment)
    commands = []
    for service in services:
        if not service.model.endswith(".gguf"):
            commands.append(f"ollama pull {shlex.quote(service.model)}")
        commands.append(f"ollama create {shlex.quote(service.served_name)} -f {shlex.quote(_modelfile_name(service, services))}")
    return commands


def install(deployment: Deployment) -> Sequence[str]:
    """setup.sh's lines: a server for the pulls, and the models."""
    services = _services(deployment)
    port = services[-1].port
    return (
        *made_files(services, BUILD),
        _INSTALL.format(port=port, steps="\n".join("  " + step for step in steps(deployment))),
    )

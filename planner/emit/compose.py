"""compose.yaml: each service in its container, GPUs reserved by number, started in order, published on this machine only."""

from __future__ import annotations

from dataclasses import replace
from posixpath import join, normpath

from planner.emit.containers import EVERYWHERE, LITELLM_IMAGE, LOADING_SECONDS, container, image, inside
from planner.emit.lines import yaml_text
from planner.emit.litellm import custom_callbacks, litellm_yaml, proxy_argv
from planner.emit.own import own_files
from planner.engines import serving_of
from planner.facts.deployment import Deployment, Service, comment
from planner.facts.serving import MODELS, Container

_HEADER = """\
# {title}
#   export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 24)"
#   docker compose up --detach --wait
# Servers start one after the other, each once the one before it is healthy: its share of memory must be free then.
"""
_PROXY_PROBE = Container(images={}).probe  # its image has Python


def _escaped(words: tuple[str, ...]) -> list[str]:
    """Words as compose reads them: it would put a variable in place of a dollar sign."""
    return [word.replace("$", "$$") for word in words]


def _health(url: str, probe: tuple[str, ...]) -> dict[str, object]:
    return {
        "test": ["CMD", *(word.format(url=url) for word in probe)],
        "interval": "10s",
        "timeout": "5s",
        "retries": 3,
        "start_period": f"{LOADING_SECONDS}s",
        "start_interval": "2s",
    }


def _bind(folder: str) -> dict[str, object]:
    """A folder where the command looks for it, in the long form, in which a colon is a colon (compose-spec, volumes)."""
    source, target = _escaped((folder, normpath(join(MODELS, folder))))
    return {"type": "bind", "source": source, "target": target, "read_only": True}


def _lies_here(service: Service) -> bool:
    """Whether its model is a folder of this machine."""
    return serving_of(service.engine).loads_folders and service.model.startswith(("/", "./", "../"))


def _gpus(deployment: Deployment, service: Service) -> dict[str, object]:
    if deployment.vendor == "amd":
        return {"devices": ["/dev/kfd", "/dev/dri"], "group_add": ["video"], "security_opt": ["seccomp=unconfined"]}
    if deployment.vendor == "intel":
        return {"devices": ["/dev/dri"], "group_add": ["video"]}
    devices = [{"driver": "nvidia", "device_ids": [str(gpu) for gpu in service.gpus], "capabilities": ["gpu"]}]
    return {"deploy": {"resources": {"reservations": {"devices": devices}}}}


def _service(deployment: Deployment, service: Service, before: Service | None) -> dict[str, object]:
    held, own = inside(service), container(service)
    environment = {name: value.replace("$", "$$") for name, value in held.env.items() if name != "CUDA_VISIBLE_DEVICES"}
    entry: dict[str, object] = {"image": image(deployment, service)}
    if own.entrypoint:
        entry["entrypoint"] = list(own.entrypoint)
    if own.command_from is not None:
        entry["command"] = _escaped(held.argv[own.command_from :])
    if own.shares_ipc:
        entry["ipc"] = "host"
    if folder := own.working_folder or (MODELS if _lies_here(service) else ""):
        entry["working_dir"] = folder
    entry |= {
        "environment": environment | dict(own.environment),
        "ports": [f"127.0.0.1:{service.port}:{service.port}"],
        "volumes": [*own.volumes, *([_bind(service.model)] if _lies_here(service) else [])],
        "healthcheck": _health(f"http://127.0.0.1:{service.port}{service.health}", own.probe),
        "restart": "unless-stopped",
        **_gpus(deployment, service),
    }
    if before is not None:
        entry["depends_on"] = {before.name: {"condition": "service_healthy"}}
    return entry


def _models(deployment: Deployment, process: Service) -> dict[str, object]:
    """A container that makes the models of a server from their files, and ends."""
    serving = serving_of(process.engine)
    return {
        "image": image(deployment, process),
        "entrypoint": ["sh", "-ec"],
        "command": ["\n".join(_escaped(tuple(serving.make_models(deployment))))],
        "working_dir": "/plan",
        "environment": {serving.address_variable: f"{process.name}:{process.port}"},
        "volumes": ["./:/plan:ro"],
        "depends_on": {process.name: {"condition": "service_healthy"}},
        "restart": "no",
    }


def compose_files(deployment: Deployment) -> dict[str, str]:
    """compose.yaml and the proxy's configuration, in which servers have their containers' names."""
    services: dict[str, object] = {}
    before: Service | None = None
    for service in deployment.processes:
        services[service.name] = _service(deployment, service, before)
        before = service
    files = own_files(deployment)
    making = next((process for process in deployment.processes if serving_of(process.engine).make_models(deployment)), None)
    made = {"models": _models(deployment, making)} if making else {}
    hosts = {service.port: service.name for service in deployment.processes}
    reached = tuple(replace(service, host=hosts[service.port]) for service in deployment.services)
    callbacks = any(service.is_mistral for service in deployment.services)
    port = deployment.proxy_port
    services["litellm"] = {
        "image": LITELLM_IMAGE,
        "command": list(replaced(proxy_argv(deployment), {"litellm.yaml": "/app/config.yaml", deployment.bind: EVERYWHERE}))[1:],
        "environment": {"LITELLM_MASTER_KEY": "${LITELLM_MASTER_KEY:?export it first}"},
        "ports": [f"{deployment.bind}:{port}:{port}"],
        "volumes": ["./litellm.compose.yaml:/app/config.yaml:ro", *(["./custom_callbacks.py:/app/custom_callbacks.py:ro"] if callbacks else [])],
        "healthcheck": _health(f"http://127.0.0.1:{port}/health/liveliness", _PROXY_PROBE),
        "depends_on": {service.name: {"condition": "service_healthy"} for service in deployment.processes}
        | {name: {"condition": "service_completed_successfully"} for name in made},
        "restart": "unless-stopped",
    }
    services |= made
    kept = [volume for service in deployment.processes for volume in container(service).volumes if not volume.startswith((".", "/"))]
    named = {volume.partition(":")[0] for volume in kept}
    document = {"name": deployment.slug[:63].strip("-"), "services": services, "volumes": {name: {} for name in sorted(named)}}
    files |= {"compose.yaml": _HEADER.format(title=comment(deployment.title)) + yaml_text(document)}
    files["litellm.compose.yaml"] = litellm_yaml(deployment, reached)
    return files | ({"custom_callbacks.py": custom_callbacks(deployment)} if callbacks else {})


def replaced(words: tuple[str, ...], new: dict[str, str]) -> tuple[str, ...]:
    """Words with some of them exchanged."""
    return tuple(new.get(word, word) for word in words)

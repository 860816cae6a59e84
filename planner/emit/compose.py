"""compose.yaml: each service in its container, GPUs reserved by number, started in order, published on this machine only."""

from __future__ import annotations

from dataclasses import replace
from posixpath import join, normpath

from planner.emit.containers import EVERYWHERE, LITELLM_IMAGE, LOADING_SECONDS, image, inside
from planner.emit.lines import comment, yaml_text
from planner.emit.litellm import custom_callbacks, litellm_yaml, proxy_argv
from planner.emit.ollama import ollama_files, ollama_steps
from planner.facts.deployment import Deployment, Service

_HEADER = """\
# {title}
#   export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 24)"
#   docker compose up --detach --wait
# Servers start one after the other, each once the one before it is healthy: vLLM refuses to start where its share is not free.
"""
MODELS = "/models"  # where a container looks for what is named by a relative path
_PROBE = "import urllib.request as u; u.urlopen('{url}', timeout=4)"


def _escaped(words: tuple[str, ...]) -> list[str]:
    """Words as compose reads them: it would put a variable in place of a dollar sign."""
    return [word.replace("$", "$$") for word in words]


def _health(url: str, engine: str) -> dict[str, object]:
    tests = {"ollama": ["CMD", "ollama", "list"], "llama.cpp": ["CMD", "curl", "--silent", "--fail", url]}
    test = tests.get(engine, ["CMD", "python3", "-c", _PROBE.format(url=url)])
    return {"test": test, "interval": "10s", "timeout": "5s", "retries": 3, "start_period": f"{LOADING_SECONDS}s", "start_interval": "2s"}


def _bind(folder: str) -> dict[str, object]:
    """A folder where the command looks for it, in the long form, in which a colon is a colon (compose-spec, volumes)."""
    source, target = _escaped((folder, normpath(join(MODELS, folder))))
    return {"type": "bind", "source": source, "target": target, "read_only": True}


def _lies_here(service: Service) -> bool:
    """Whether vLLM loads its model from a folder of this machine."""
    return service.engine == "vllm" and service.model.startswith(("/", "./", "../"))


def _volumes(service: Service) -> list[str]:
    match service.engine:
        case "vllm":
            return ["hub-cache:/root/.cache/huggingface", "vllm-cache:/root/.cache/vllm"]
        case "ollama":
            return ["ollama:/root/.ollama"]
        case _:
            return [f"./:{MODELS}:ro"]


def _gpus(deployment: Deployment, service: Service) -> dict[str, object]:
    if deployment.vendor == "amd":
        return {"devices": ["/dev/kfd", "/dev/dri"], "group_add": ["video"], "security_opt": ["seccomp=unconfined"]}
    devices = [{"driver": "nvidia", "device_ids": [str(gpu) for gpu in service.gpus], "capabilities": ["gpu"]}]
    return {"deploy": {"resources": {"reservations": {"devices": devices}}}}


def _service(deployment: Deployment, service: Service, before: Service | None) -> dict[str, object]:
    held = inside(service)
    environment = {name: value.replace("$", "$$") for name, value in held.env.items() if name != "CUDA_VISIBLE_DEVICES"}
    entry: dict[str, object] = {"image": image(deployment, service)}
    match service.engine:
        case "vllm":
            environment["HF_TOKEN"] = "${HF_TOKEN:-}"  # noqa: S105 - a reference
            entry |= {"entrypoint": ["vllm", "serve"], "command": _escaped(held.argv[2:]), "ipc": "host"}
        case "ollama":
            pass
        case _:
            entry |= {"command": _escaped(held.argv[1:]), "working_dir": MODELS}
    if _lies_here(service):
        entry["working_dir"] = MODELS
    entry |= {
        "environment": environment,
        "ports": [f"127.0.0.1:{service.port}:{service.port}"],
        "volumes": [*_volumes(service), *([_bind(service.model)] if _lies_here(service) else [])],
        "healthcheck": _health(f"http://127.0.0.1:{service.port}{service.health}", service.engine),
        "restart": "unless-stopped",
        **_gpus(deployment, service),
    }
    if before is not None:
        entry["depends_on"] = {before.name: {"condition": "service_healthy"}}
    return entry


def _models(deployment: Deployment) -> dict[str, object]:
    """A container that makes Ollama's models from their Modelfiles, and ends."""
    process = next(service for service in deployment.processes if service.engine == "ollama")
    return {
        "image": image(deployment, process),
        "entrypoint": ["sh", "-ec"],
        "command": ["\n".join(_escaped(tuple(ollama_steps(deployment))))],
        "working_dir": "/plan",
        "environment": {"OLLAMA_HOST": f"{process.name}:{process.port}"},
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
    files = ollama_files(deployment)
    made = {"models": _models(deployment)} if files else {}
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
        "healthcheck": _health(f"http://127.0.0.1:{port}/health/liveliness", "litellm"),
        "depends_on": {service.name: {"condition": "service_healthy"} for service in deployment.processes}
        | {name: {"condition": "service_completed_successfully"} for name in made},
        "restart": "unless-stopped",
    }
    services |= made
    kept = [volume for service in deployment.processes for volume in _volumes(service) if not volume.startswith((".", "/"))]
    named = {volume.partition(":")[0] for volume in kept}
    document = {"name": deployment.slug[:63].strip("-"), "services": services, "volumes": {name: {} for name in sorted(named)}}
    files |= {"compose.yaml": _HEADER.format(title=comment(deployment.title)) + yaml_text(document)}
    files["litellm.compose.yaml"] = litellm_yaml(deployment, reached)
    return files | ({"custom_callbacks.py": custom_callbacks(deployment)} if callbacks else {})


def replaced(words: tuple[str, ...], new: dict[str, str]) -> tuple[str, ...]:
    """Words with some of them exchanged."""
    return tuple(new.get(word, word) for word in words)

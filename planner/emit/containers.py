"""What every container format needs: images, and a service's command as it runs in a container."""

from __future__ import annotations

from dataclasses import replace

from planner.errors import PlannerError
from planner.facts.deployment import Deployment, Service

LITELLM_IMAGE = "ghcr.io/berriai/litellm:main-stable"
LLAMA_CPP_IMAGE = "ghcr.io/ggml-org/llama.cpp:server-cuda"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container; what is published binds to 127.0.0.1
LOADING_SECONDS = 3600  # weights over a slow line, then compilation: a probe that gives up earlier kills a server that would have started


def image(deployment: Deployment, service: Service) -> str:
    """The image of an engine. Raises PlannerError where there is none."""
    match service.engine:
        case "vllm":
            return "rocm/vllm:latest" if deployment.vendor == "amd" else f"vllm/vllm-openai:v{service.version}.0"
        case "ollama":
            return "ollama/ollama:latest"
        case "llama.cpp":
            return LLAMA_CPP_IMAGE
        case _:
            raise PlannerError(f"{service.engine} runs on macOS itself, not in a container", "stack.sh starts it")


def only(deployment: Deployment, engine: str, what: str) -> None:
    """Refuse a format that knows one engine only."""
    for service in deployment.services:
        if service.engine != engine:
            raise PlannerError(f"{what} serves {engine} only; {service.name} is {service.engine}", "compose and systemd run all engines on Linux")


def inside(service: Service) -> Service:
    """The same service as it runs in a container of its own: it listens on all of the container's addresses."""
    argv = list(service.argv)
    if "--host" in argv:
        argv[argv.index("--host") + 1] = EVERYWHERE
    env = {name: f"{EVERYWHERE}:{service.port}" if name == "OLLAMA_HOST" else value for name, value in service.env.items()}
    return replace(service, argv=tuple(argv), env=env, host=EVERYWHERE)


def shares_gpus(deployment: Deployment) -> bool:
    """Whether two processes use one GPU."""
    used = [gpu for service in deployment.processes for gpu in service.gpus]
    return len(used) != len(set(used))

"""What every container format needs: images, and a service's command as it runs in a container."""

from __future__ import annotations

from dataclasses import replace

from planner.emit.litellm import LITELLM_VERSION
from planner.engines import known_programs, serving_of
from planner.errors import PlannerError
from planner.facts.deployment import Deployment, Service
from planner.facts.serving import Container

LITELLM_IMAGE = f"ghcr.io/berriai/litellm:v{LITELLM_VERSION}"  # a tag of every release (its release notes; v1.104.0 is in use), looked up 2026-11-27
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container; what is published binds to 127.0.0.1
LOADING_SECONDS = 3600  # weights over a slow line, then compilation: a probe that gives up earlier kills a server that would have started


def image(deployment: Deployment, service: Service) -> str:
    """The image of an engine. Raises PlannerError where there is none."""
    if deployment.vendor == "apple":
        raise PlannerError("containers on a Mac have no GPU", "launchd and stack.sh start what runs on macOS itself")
    images = container(service).images
    text = images.get(str(service.settings.get("image_for", ""))) or images.get(deployment.vendor) or images.get("")
    if text is None:
        raise PlannerError(f"no image of {service.engine} for {deployment.gpu_title} is known", "stack.sh starts it")
    return text.format(version=service.version)


def container(service: Service) -> Container:
    """How a service runs in a container. Raises PlannerError where it does not."""
    held = serving_of(service.engine).container
    if held is None:
        raise PlannerError(f"{service.engine} runs on macOS itself, not in a container", "stack.sh starts it")
    return held


def only(deployment: Deployment, form: str, what: str) -> None:
    """Refuse servers that a format does not hold; each engine says which of these it has."""
    for service in deployment.services:
        if form not in serving_of(service.engine).formats:
            able = [program for program in known_programs() if form in serving_of(program).formats]
            raise PlannerError(f"{what} serves {' and '.join(able)} only; {service.name} is {service.engine}", "compose and systemd run all engines on Linux")


def inside(service: Service) -> Service:
    """The same service as it runs in a container of its own: it listens on all of the container's addresses."""
    argv, variable = list(service.argv), serving_of(service.engine).address_variable
    if "--host" in argv:
        argv[argv.index("--host") + 1] = EVERYWHERE
    env = {name: f"{EVERYWHERE}:{service.port}" if name == variable else value for name, value in service.env.items()}
    return replace(service, argv=tuple(argv), env=env, host=EVERYWHERE)


def shares_gpus(deployment: Deployment) -> bool:
    """Whether two processes use one GPU."""
    used = [gpu for service in deployment.processes for gpu in service.gpus]
    return len(used) != len(set(used))

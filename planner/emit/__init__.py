"""Deployment -> {file name: text}. Each emitter is a pure function; values are quoted by the tool made for their format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

from planner.emit.bench import bench_files
from planner.emit.litellm import agent_env, custom_callbacks, litellm_yaml
from planner.emit.own import own_files
from planner.emit.serve import serve_script
from planner.emit.setup import setup_script
from planner.emit.stack import stack_script
from planner.emit.trial import trial_files
from planner.engines import serving_of
from planner.errors import PlannerError, did_you_mean
from planner.facts.deployment import Deployment

# Further formats: module and function, and what it is in a few words.
FORMATS: dict[str, tuple[str, str, str]] = {
    "compose": ("compose", "compose_files", "docker compose: GPU reservations, health checks, order of start"),
    "systemd": ("systemd", "systemd_files", "systemd user units"),
    "launchd": ("launchd", "launchd_files", "launchd agents of a Mac"),
    "k8s": ("kubernetes", "kubernetes_files", "Kubernetes Deployments and Services"),
    "lws": ("kubernetes", "leader_worker_set_files", "a LeaderWorkerSet: one server over several nodes"),
    "helm": ("clouds", "production_stack_files", "values of the production stack's Helm chart"),
    "ray": ("clouds", "ray_serve_files", "a Ray Serve LLM config"),
    "skypilot": ("clouds", "skypilot_files", "a SkyPilot task"),
    "nodes": ("multinode", "multinode_files", "a server's own commands for several machines (mp and ray)"),
}


def emit(deployment: Deployment) -> dict[str, str]:
    """The files to run a deployment on its machines, without plan.json."""
    files = {"setup.sh": setup_script(deployment)}
    if deployment.nodes > 1:
        files |= emit_formats(deployment, ("nodes",))
    else:
        files["stack.sh"] = stack_script(deployment)
    if len(deployment.services) == 1 and "serve" in serving_of(deployment.main.engine).formats and deployment.nodes == 1:
        files["serve.sh"] = serve_script(deployment)
    files |= {"litellm.yaml": litellm_yaml(deployment), "agent.env": agent_env(deployment)}
    files |= own_files(deployment) | bench_files(deployment) | trial_files(deployment)
    if any(service.is_mistral for service in deployment.services):
        files["custom_callbacks.py"] = custom_callbacks(deployment)
    return files


def files_of(deployment: Deployment, formats: Iterable[str] = ()) -> dict[str, str]:
    """All files of a deployment by name, in further formats too. Raises PlannerError where one of these cannot hold it."""
    return emit(deployment) | emit_formats(deployment, formats)


def read_formats(names: Iterable[str]) -> tuple[str, ...]:
    """Names of formats, comma separated or repeated. Raises PlannerError for an unknown one."""
    wanted = tuple(dict.fromkeys(name.strip() for words in names for name in words.split(",") if name.strip()))
    for name in wanted:
        if name not in FORMATS:
            raise PlannerError(f"the format {name!r} is not known", did_you_mean(name, FORMATS) or f"known: {', '.join(FORMATS)}")
    return wanted


def emit_formats(deployment: Deployment, names: Iterable[str]) -> dict[str, str]:
    """The files of further formats. Raises PlannerError where one cannot hold this deployment."""
    files: dict[str, str] = {}
    for name in names:
        if deployment.nodes > 1 and name in ("compose", "systemd", "launchd", "k8s"):
            raise PlannerError(f"{name} is for one machine; this plan has {deployment.nodes}", "lws, ray, skypilot or nodes")
        if deployment.nodes == 1 and name in ("lws", "nodes"):
            raise PlannerError(f"{name} is for several machines; this plan has one", "--nodes N plans them")
        if name == "systemd" and deployment.vendor == "apple":
            raise PlannerError("macOS has no systemd", "launchd is what starts services there: --to launchd")
        if name == "launchd" and deployment.vendor != "apple":
            raise PlannerError(f"launchd is macOS's; this plan is for {deployment.gpu_title}", "systemd is what starts services on Linux: --to systemd")
        module, function, _ = FORMATS[name]
        write: Callable[[Deployment], dict[str, str]] = getattr(import_module(f"planner.emit.{module}"), function)
        files |= write(deployment)
    return files

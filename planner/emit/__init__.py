"""Deployment -> {file name: text}. Each emitter is a pure function; values are quoted by the tool made for their format."""

from __future__ import annotations

from planner.deployment import Deployment
from planner.emit.litellm import agent_env, custom_callbacks, litellm_yaml
from planner.emit.serve import serve_script
from planner.emit.setup import setup_script
from planner.emit.stack import stack_script


def emit(deployment: Deployment) -> dict[str, str]:
    """The files to run a deployment on this machine, without plan.json."""
    files = {"setup.sh": setup_script(deployment), "stack.sh": stack_script(deployment)}
    if len(deployment.services) == 1 and deployment.main.engine == "vllm":
        files["serve.sh"] = serve_script(deployment)
    files |= {"litellm.yaml": litellm_yaml(deployment), "agent.env": agent_env(deployment)}
    if any(service.is_mistral for service in deployment.services):
        files["custom_callbacks.py"] = custom_callbacks(deployment)
    return files


def read_formats(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of formats, comma separated or repeated."""
    return tuple(name for words in names for name in words.split(",") if name)


def emit_formats(deployment: Deployment, names: tuple[str, ...]) -> dict[str, str]:
    """The files of further formats."""
    return {}

"""Plan -> {file name: text}. Each emitter is a pure function; values are quoted by the tool made for their format."""

from __future__ import annotations

from planner.emit.litellm import agent_env, custom_callbacks, litellm_yaml
from planner.emit.serve import serve_script
from planner.plan import Plan


def emit(plan: Plan) -> dict[str, str]:
    """All files of a plan, without plan.json."""
    files = {"serve.sh": serve_script(plan), "litellm.yaml": litellm_yaml(plan), "agent.env": agent_env(plan)}
    if is_mistral(plan):
        files["custom_callbacks.py"] = custom_callbacks(plan)
    return files


def is_mistral(plan: Plan) -> bool:
    """Whether the model is of the Mistral family, whose template must be told to continue an assistant message."""
    return plan.model.family == "mistral" and not plan.model.pooling

"""The LiteLLM proxy in front: its configuration, its callback for Mistral templates, the agent's environment.

Facts: LiteLLM 1.106 refuses to start without a master key, binds 0.0.0.0 unless told, and forwards every key it does not know into
the backend's request, so only keys it knows are written (facts/runtimes.md section 1).
"""

from __future__ import annotations

import json

import yaml

from planner.plan import Plan

PROXY_PORT = 8080

_HEADER = """\
# One endpoint in front of the server. The master key comes from the environment only:
#   export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 24)"
#   pip install 'litellm[proxy]'
#   litellm --config litellm.yaml --host 127.0.0.1 --port {port}
"""

_CALLBACKS = '''\
"""LiteLLM callback: tell Mistral-family templates to continue an assistant message instead of starting a new one.

An agent's turn may end in an assistant message (a partial answer, a tool call). vLLM then needs continue_final_message, and
add_generation_prompt off; both are set for the models below only, and only then.
"""

from typing import Any

from litellm.integrations.custom_logger import CustomLogger

MODELS = {{{models}}}


class ContinueFinalMessage(CustomLogger):
    """Sets continue_final_message where the last message is the assistant's."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        last = (data.get("messages") or [{{}}])[-1]
        if data.get("model") in MODELS and last.get("role") == "assistant":
            body = dict(data.get("extra_body") or {{}})
            body["continue_final_message"] = True
            body["add_generation_prompt"] = False
            data["extra_body"] = body
        return data


proxy_handler_instance = ContinueFinalMessage()
'''


def litellm_yaml(plan: Plan) -> str:
    """The text of litellm.yaml."""
    from planner.emit import is_mistral

    settings: dict[str, object] = {"drop_params": True, "num_retries": 2, "request_timeout": 600}
    if is_mistral(plan):
        settings["callbacks"] = "custom_callbacks.proxy_handler_instance"
    config = {
        "model_list": [
            {
                "model_name": plan.served_name,
                "litellm_params": {
                    "model": f"hosted_vllm/{plan.served_name}",
                    "api_base": f"http://127.0.0.1:{plan.port}/v1",
                    "api_key": "EMPTY",
                },
                "model_info": {"mode": "embedding" if plan.model.pooling else "chat"},
            }
        ],
        "litellm_settings": settings,
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
    return _HEADER.format(port=PROXY_PORT) + yaml.safe_dump(config, sort_keys=False)


def custom_callbacks(plan: Plan) -> str:
    """The text of custom_callbacks.py."""
    return _CALLBACKS.format(models=json.dumps(plan.served_name))


def agent_env(plan: Plan) -> str:
    """The agent's environment: the proxy's address and key, to be sourced by a shell that has LITELLM_MASTER_KEY."""
    url = f"http://127.0.0.1:{PROXY_PORT}/v1"
    kind = "EMBED" if plan.model.pooling else "MODEL"
    lines = [
        "# source this in the shell that runs the agent; the key is the proxy's, never written here",
        f"export CUSTOM_{kind}_BASE_URL={url}",
        f'export CUSTOM_{kind}_API_KEY="${{LITELLM_MASTER_KEY:?export the proxy\'s master key first}}"',
    ]
    if plan.model.pooling:
        lines.append(f"export CUSTOM_EMBED_MODEL={plan.served_name}")
    return "\n".join([*lines, "export TOKENIZERS_PARALLELISM=false", ""])

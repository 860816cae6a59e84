"""The LiteLLM proxy in front: its configuration, its callback for Mistral templates, the agent's environment.

Facts: LiteLLM 1.106 refuses to start without a master key, binds 0.0.0.0 unless told, and forwards every key it does not know into
the backend's request, so only keys that it or the backend knows are written. Its own timeout is 6,000 seconds (constants.py). It retries a
request twice unless told otherwise, and sends nobody to a deployment for 5 seconds after a failure, though there may be no other (router.py).
"""

from __future__ import annotations

import shlex
from dataclasses import fields

from planner.emit.lines import template, yaml_text
from planner.engines import serving_of
from planner.facts.deployment import Deployment, Service, comment
from planner.units import ceil_div

LITELLM_VERSION = "1.106.2"
LITELLM_TIMEOUT_S = 6000
SHORTEST_TIMEOUT_S = 600  # a guess at how fast a machine is shall cut nobody off

_HEADER = """\
# One endpoint in front of the server{s}. The master key comes from the environment only:
#   export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 24)"
#   pip install 'litellm[proxy]=={version}'
#   {command}
{sources}"""


def deployment_model(service: Service) -> str:
    """What LiteLLM calls the model behind the alias: the provider's prefix and the name the server knows."""
    serving = serving_of(service.engine)
    prefix = (serving.embedding_prefix if service.task == "embedding" else "") or serving.proxy_prefix
    return f"{prefix}/{service.served_name}"


def proxy_argv(deployment: Deployment) -> tuple[str, ...]:
    """The proxy's command."""
    return ("litellm", "--config", "litellm.yaml", "--host", deployment.bind, "--port", str(deployment.proxy_port))


def sampling_values(service: Service) -> dict[str, float | int]:
    """What the makers recommend, by the names of the OpenAI and vLLM APIs."""
    names = [item.name for item in fields(service.sampling) if item.name not in ("source", "max_tokens")]
    values = {name: value for name in names if (value := getattr(service.sampling, name)) is not None}
    limit = service.default_max_tokens
    return values | ({"max_tokens": limit} if limit else {})


def timeout_s(service: Service) -> int:
    """Seconds, whole minutes, within which the slowest answer of a plan has come; LiteLLM's own where no speed is said."""
    return max(SHORTEST_TIMEOUT_S, 60 * ceil_div(service.slowest_answer_s, 60)) if service.slowest_answer_s else LITELLM_TIMEOUT_S


def _api_base(service: Service) -> str:
    return service.url + serving_of(service.engine).api


def _entry(service: Service) -> dict[str, object]:
    params: dict[str, object] = {"model": deployment_model(service), "api_base": _api_base(service), "api_key": "EMPTY"}
    if service.task == "chat":
        params |= sampling_values(service)
    if service.slowest_answer_s:
        params["timeout"] = timeout_s(service)
    return {"model_name": service.alias, "litellm_params": params, "model_info": model_info(service)}


def model_info(service: Service) -> dict[str, object]:
    """What the model can do, by LiteLLM's own names (types/utils.py ModelInfoBase): agents ask /model/info for it, the router /model_group/info."""
    # A health check would send a real request: it would load a model that is not there yet.
    info: dict[str, object] = {"mode": service.task, "disable_background_health_check": True}
    if context := service.context:
        info["max_input_tokens"] = context  # prompt and answer together, as LiteLLM's own table has it for models with one window
    if service.task == "chat":
        if context:
            info["max_output_tokens"] = service.longest_answer
        info |= {
            "supports_function_calling": service.calls_tools,
            "supports_tool_choice": service.calls_tools,
            "supports_vision": service.has_vision,
            "supports_reasoning": service.reasons,
        }
        if serving_of(service.engine).holds_schemas:
            info["supports_response_schema"] = True
    return info


def litellm_yaml(deployment: Deployment, services: tuple[Service, ...] | None = None) -> str:
    """The text of litellm.yaml; `services` where they are reached elsewhere than on this machine."""
    main_first = tuple(reversed(services or deployment.services))
    # One server stands behind each name: a second attempt would send a long prompt once more to the server that failed at it.
    settings: dict[str, object] = {"drop_params": True, "num_retries": 0}
    if any(service.is_mistral for service in main_first):
        settings["callbacks"] = "custom_callbacks.proxy_handler_instance"
    config = {
        "model_list": [_entry(service) for service in main_first],
        "litellm_settings": settings,
        "router_settings": {"disable_cooldowns": True},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
    sources = [f"# {service.alias}: sampling as recommended: {comment(service.sampling.source)}\n" for service in main_first if sampling_values(service)]
    header = _HEADER.format(s="s" if len(main_first) > 1 else "", version=LITELLM_VERSION, command=shlex.join(proxy_argv(deployment)), sources="".join(sources))
    return header + yaml_text(config)


def custom_callbacks(deployment: Deployment) -> str:
    """The text of custom_callbacks.py."""
    names = [repr(deployment_model(service)) for service in deployment.services if service.is_mistral]
    return template("custom_callbacks.txt").replace("@models@", ", ".join(names))


def agent_env(deployment: Deployment) -> str:
    """The agent's environment: the proxy's address and key, to be sourced by a shell that has LITELLM_MASTER_KEY."""
    url = f"http://127.0.0.1:{deployment.proxy_port}/v1"
    lines = ["# source this in the shell that runs the agent; the key is the proxy's, never written here"]
    for service in reversed(deployment.services):
        kind = "EMBED" if service.task == "embedding" else "MODEL"
        if any(line.startswith(f"export CUSTOM_{kind}_") for line in lines):
            continue  # a second chat model is one more name behind the same address
        lines += [
            f"export CUSTOM_{kind}_BASE_URL={url}",
            f'export CUSTOM_{kind}_API_KEY="${{LITELLM_MASTER_KEY:?export the master key of the proxy first}}"',
            f"export CUSTOM_{kind}_{'MODEL' if kind == 'EMBED' else 'NAME'}={shlex.quote(service.alias)}",
        ]
        if kind == "MODEL":
            lines.append(
                f"export CUSTOM_MODEL_TIMEOUT={timeout_s(service)}  # seconds: give it to the client, OpenAI's own waits 600 and then sends all once more"
            )
        if kind == "MODEL" and (values := sampling_values(service)):
            lines.append(f"# as recommended: {comment(service.sampling.source)}")
            lines += [
                f"export CUSTOM_MODEL_{name.upper()}={value:g}" if name != "max_tokens" else f"export CUSTOM_MODEL_MAX_TOKENS={value}"
                for name, value in values.items()
            ]
    return "\n".join([*lines, "export TOKENIZERS_PARALLELISM=false", ""])

"""One placed vLLM server as a process: its command, its environment, and what is known of its model."""

from __future__ import annotations

from planner.engines.vllm.parsers import reasoning_parser, tool_parser
from planner.engines.vllm.placement import Placed, Stack
from planner.engines.vllm.settings import reported
from planner.facts.deployment import Sampling, Service
from planner.units import gib, tokens


def service(server: Placed, stack: Stack, sampling: Sampling) -> Service:
    """What is started for one server beside the others of its machine."""
    plan, config, ledger = server.plan, server.plan.config, server.plan.choice.expected
    model = plan.model
    return Service(
        name=server.name,
        task="embedding" if model.pooling else "chat",
        engine="vllm",
        version=config.vllm_version,
        model=plan.repo,
        served_name=plan.served_name,
        alias=plan.served_name,
        argv=plan.argv,
        host=plan.host,
        port=plan.port,
        env=_visible(server, stack),
        gpus=server.gpus,
        settings=reported(config) | {"hidden_bytes_per_token": model.hidden_size * model.residual_streams * 2},
        notes=(_capacity(server), *(f"{name}: {reason}" for name, reason in plan.choice.reasons)),
        weights_bytes=ledger.weights_bytes * config.parallel.world_size_across_dp,
        is_mistral=model.family == "mistral" and not model.pooling,
        has_vision=model.vision is not None,
        calls_tools=not model.pooling and tool_parser(model.chat, config.vllm_version) is not None,
        reasons=not model.pooling and reasoning_parser(model.chat, config.vllm_version) is not None,
        needs_nvcc=plan.needs_nvcc,
        users=plan.request.users or (1 if model.is_encoder else max(1, plan.choice.conservative.admitted_requests)),
        sampling=sampling,
    )


def _visible(server: Placed, stack: Stack) -> dict[str, str]:
    """Which GPUs a process sees, where it is not all of them."""
    if len(server.gpus) == stack.group.count:
        return {}
    variable = "HIP_VISIBLE_DEVICES" if stack.group.gpu.vendor == "amd" else "CUDA_VISIBLE_DEVICES"
    return {variable: ",".join(map(str, server.gpus))}


def _capacity(server: Placed) -> str:
    plan, ledger = server.plan, server.plan.choice.expected
    length = tokens(plan.config.max_model_len)
    if plan.model.is_encoder:
        return f"{length} tokens of text; an encoder keeps no KV cache"
    return f"{length} tokens of context, {ledger.max_concurrency:.1f} full-length requests at once, {gib(ledger.kv_cache_bytes)} of KV cache a GPU"

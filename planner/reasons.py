"""Why each setting was chosen, in one line."""

from __future__ import annotations

from dataclasses import replace

from planner.choice import Choice, Request, utilization
from planner.config import ServeConfig
from planner.engines import vllm
from planner.model import ModelSpec
from planner.units import tokens


def explained(request: Request, choice: Choice, tried: list[Choice]) -> Choice:
    """The choice with its reasons; `tried` are the configurations looked at before it."""
    pins, config, model = request.pins, choice.config, request.model
    pinned = "pinned"
    reasons = {
        "tensor_parallel_size": pinned if pins.tensor_parallel_size else _why_split(request, config),
        "pipeline_parallel_size": pinned
        if pins.pipeline_parallel_size
        else ("layers are split over GPUs that tensor parallelism cannot use" if config.pipeline_parallel_size > 1 else "no pipeline needed"),
        "gpu_memory_utilization": utilization(request, config.tensor_parallel_size)[1],
        "max_model_len": pinned if pins.max_model_len else _why_context(request, choice),
        "max_num_seqs": pinned if pins.max_num_seqs else _why_seqs(request, choice),
        "max_num_batched_tokens": pinned if pins.max_num_batched_tokens else _why_batch(model, config),
        "kv_cache_dtype": pinned if pins.kv_cache_dtype else _why_dtype(request, config, tried),
        "enforce_eager": pinned
        if pins.enforce_eager is not None
        else ("CUDA graphs would not leave enough memory" if config.enforce_eager else "CUDA graphs fit"),
    }
    return replace(choice, reasons=tuple(reasons.items()))


def _why_split(request: Request, config: ServeConfig) -> str:
    if config.tensor_parallel_size == 1:
        if config.pipeline_parallel_size > 1:
            return "one GPU a pipeline stage: with a share of every layer on each it would not surely start, or heads do not divide"
        return "one GPU" if request.group.count == 1 else "attention heads do not divide further"
    return f"divides {request.model.attention_heads} attention heads and {request.model.kv_heads} key-value heads; each GPU holds a share of every layer"


def _why_context(request: Request, choice: Choice) -> str:
    if request.context:
        return "as asked"
    if choice.config.max_model_len >= request.model.max_position_embeddings:
        return "the model's own limit fits"
    who = f"of which {request.users} requests fit at once" if request.users else "of which one request surely fits"
    return f"the longest {who}; {tokens(request.model.max_position_embeddings)} is the model's limit"


def _why_seqs(request: Request, choice: Choice) -> str:
    if request.model.is_encoder:
        return "texts read together"
    if request.users and choice.config.max_num_seqs == request.users:
        return "one for each user"
    if request.model.has_state and choice.config.max_num_seqs >= choice.cautious.kv_cache_blocks - 1:
        return "a model with recurrent state needs a cache block for each sequence"
    return f"full-length requests: {choice.expected.max_concurrency:.1f} at once; shorter ones share the same cache"


def _why_batch(model: ModelSpec, config: ServeConfig) -> str:
    if model.is_encoder:
        return "an encoder reads each text in one step"
    kept = f"; windows keep {tokens(vllm.in_flight_tokens(config))} tokens in flight" if model.has_window else ""
    return f"vLLM's default for this GPU; more would cost activation memory{kept}"


def _why_dtype(request: Request, config: ServeConfig, tried: list[Choice]) -> str:
    if request.model.is_encoder:
        return "no KV cache"
    if config.kv_cache_dtype == "auto":
        if vllm.effective_kv_dtype(request.model, "auto") != "auto":
            return "the checkpoint asks for FP8"
        if vllm.cache_layout(request.model, request.group.gpu, "auto").bits == 8:
            return "this model's attention keeps an FP8 cache of its own"
        return "16-bit: the wanted context fits without quantizing the cache"
    length = max((choice.cautious.longest_max_model_len for choice in tried if choice.config.kv_cache_dtype == "auto"), default=0)
    return f"16-bit would end at {tokens(length)} tokens"

"""How a model may be divided over the GPUs of a question: tensor, pipeline and data parallelism, experts sliced or spread."""

from __future__ import annotations

from collections.abc import Iterator

from planner.engines.vllm.choice import Request
from planner.engines.vllm.memory import place
from planner.engines.vllm.settings import ServeConfig
from planner.errors import NotDivisibleError, PlannerError, UnsupportedError
from planner.facts.config import Parallel
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts
from planner.facts.record import replace

Sizes = tuple[int, int, int]  # tensor, pipeline and data parallel


def splits(request: Request) -> list[Parallel]:
    """Ways to use all GPUs, most tensor parallel first, engines that share their experts before pipelines; what is pinned is kept.

    Experts are sliced where that divides, else spread whole; engines of data parallelism spread them, as vLLM's recipes do. Raises PlannerError
    where none divides.
    """
    count, pins = request.group.count, request.pins
    good, reason = [], ""
    for sizes in _pinned(request) or _free(request):
        divided, problem = _divided(request, sizes)
        reason = reason or problem
        good += [divided] if divided else []
    free = not (pins.pipeline_parallel_size or pins.tensor_parallel_size or pins.data_parallel_size)
    only_pipeline = request.group.nodes == 1 and good and count > 1 and free and good[0].pipeline_parallel_size == count
    if not good or only_pipeline:
        fitting = [n for n in range(count, 0, -1) if not cannot_split(request, n, 1)]
        hint = f"use --count {fitting[0]}" if fitting else ""
        hint += f", or -pp {count} (one layer group a GPU)" if only_pipeline and hint else ""
        raise PlannerError(f"{count} GPUs: {reason}", hint)
    return good


def _pinned(request: Request) -> list[Sizes]:
    """The sizes that a question fixes, the others filled in; empty where it fixes none. Raises PlannerError for more GPUs than there are."""
    count, pins, group = request.group.count, request.pins, request.group
    if not (pins.tensor_parallel_size or pins.pipeline_parallel_size or pins.data_parallel_size):
        return []
    pp, dp = pins.pipeline_parallel_size or 1, pins.data_parallel_size or 1
    tp = pins.tensor_parallel_size or max(1, count // (pp * dp))
    if tp > group.per_node and group.nodes > 1:
        raise PlannerError(f"tensor parallel size {tp} would cross machines of {group.per_node} GPUs", f"-tp {group.per_node} -pp {group.nodes}")
    if tp * pp * dp > count:
        engines = f" x data parallel size {dp}" if dp > 1 else ""
        raise PlannerError(f"tensor parallel size {tp} x pipeline parallel size {pp}{engines} needs {tp * pp * dp} GPUs, there are {count}")
    return [(tp, pp, dp)]


def _free(request: Request) -> Iterator[Sizes]:
    """All sizes: tensor parallelism stays within a machine, pipeline stages cross, engines share their experts within one."""
    count, widest = request.group.count, request.group.per_node
    for tp in (size for size in range(widest, 0, -1) if count % size == 0 and widest % size == 0):
        if tp < count and request.group.nodes == 1 and _experts(request.model) >= count:
            yield tp, 1, count // tp
        yield tp, count // tp, 1


def _experts(model: ModelSpec) -> int:
    return max((module.experts for layers in model.layers for module in layers.modules if isinstance(module, Experts)), default=0)


def _divided(request: Request, sizes: Sizes) -> tuple[Parallel | None, str]:
    """The way of those sizes, or why there is none: experts sliced, or else spread."""
    tp, pp, dp = sizes
    pinned, routed = request.pins.enable_expert_parallel, bool(request.model.experts_per_token)
    reason = ""
    for spread in (True,) if pinned or (dp > 1 and routed) else (False, True) if routed and tp > 1 else (False,):
        parallel = Parallel(tensor_parallel_size=tp, pipeline_parallel_size=pp, data_parallel_size=dp, enable_expert_parallel=spread)
        problem = cannot_divide(request, parallel)
        if not problem:
            return parallel, reason
        reason = reason or problem
    return None, reason


def cannot_split(request: Request, tp: int, pp: int, *, mm_encoder_tp_mode: str = "weights") -> str:
    """Why a model cannot be split so, its experts and engines as pinned, or an empty string (config/model.py:1559, linear.py:497, the model files)."""
    pins = request.pins
    parallel = Parallel(
        tensor_parallel_size=tp,
        pipeline_parallel_size=pp,
        data_parallel_size=pins.data_parallel_size or 1,
        enable_expert_parallel=pins.enable_expert_parallel,
    )
    return cannot_divide(request, parallel, mm_encoder_tp_mode)


def cannot_divide(request: Request, parallel: Parallel, mm_encoder_tp_mode: str = "weights") -> str:
    """Why a model cannot be divided so, or an empty string."""
    if problem := heads_or_layers(request.model, parallel.tensor_parallel_size, parallel.pipeline_parallel_size):
        return problem
    config = ServeConfig(dtype=request.pins.dtype, vllm_version=request.pins.vllm_version, mm_encoder_tp_mode=mm_encoder_tp_mode)
    config = with_parallel(config, parallel)
    try:
        place(request.model, request.group, config)
    except NotDivisibleError as error:
        return error.message
    except UnsupportedError:
        return ""
    return ""


def with_parallel(config: ServeConfig, parallel: Parallel) -> ServeConfig:
    """A server that is divided so."""
    return replace(
        config,
        tensor_parallel_size=parallel.tensor_parallel_size,
        pipeline_parallel_size=parallel.pipeline_parallel_size,
        data_parallel_size=parallel.data_parallel_size,
        enable_expert_parallel=parallel.enable_expert_parallel,
    )


def heads_or_layers(model: ModelSpec, tp: int, pp: int) -> str:
    """Why the heads or layers of a model cannot be divided so, or an empty string."""
    if model.attention_heads % tp:
        return f"tensor parallel size {tp} does not divide {model.attention_heads} attention heads"
    if not model.is_latent and model.kv_heads % tp and tp % model.kv_heads:
        return f"tensor parallel size {tp} and {model.kv_heads} key-value heads: one must divide the other"
    if pp > 1 and not model.pipeline:
        return f"vLLM does not split {model.architecture} over pipeline stages"
    if pp > 1 and model.drafter is not None:
        from planner.engines.vllm.draft_rules import pipeline_problem

        if problem := pipeline_problem(model, pp):
            return problem
    return f"pipeline parallel size {pp} exceeds {model.layer_count} layers" if pp > model.layer_count else ""

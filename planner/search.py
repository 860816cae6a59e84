"""Choosing settings: which tensor parallelism, cache dtype, context, sequences, batch and utilization, and why.

Discrete choices are looped, the context is solved for; what the user pinned is kept. Each choice carries a one-line reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from planner.choice import Choice, Request, utilization
from planner.config import Parallel, ServeConfig
from planner.engines import vllm
from planner.engines.overhead import Outlook
from planner.engines.versions import VERSIONS
from planner.engines.vllm import UnsupportedError
from planner.errors import PlannerError
from planner.memory import Placement, breakdown, place
from planner.model import ModelSpec
from planner.reasons import explained
from planner.units import largest
from planner.weights import NotDivisibleError

USEFUL_CONTEXT = 32_768  # below this, a narrower cache dtype is worth it without being asked for
NARROW_CACHE = "fp8_e4m3"
CONTEXT_STEP = 1024
FEWEST_SEQS = 16
_ORDER = {"does_not_start": 0, "tight": 1, "starts": 2}
SHORT_FOR_LONG = 8  # short requests that are scheduled in the cache of one of full length


def splits(request: Request) -> list[Parallel]:
    """Tensor and pipeline sizes that use all GPUs, most tensor parallel first; what is pinned is kept. Raises PlannerError where none divides."""
    count, pins = request.group.count, request.pins
    if pins.tensor_parallel_size or pins.pipeline_parallel_size:
        tp, pp = pins.tensor_parallel_size, pins.pipeline_parallel_size
        tp = tp or max(1, count // (pp or 1))
        pp = pp or max(1, count // tp if tp * (count // tp) == count and pins.tensor_parallel_size is None else 1)
        if tp > request.group.per_node and request.group.nodes > 1:
            raise PlannerError(
                f"tensor parallel size {tp} would cross machines of {request.group.per_node} GPUs", f"-tp {request.group.per_node} -pp {request.group.nodes}"
            )
        if tp * pp > count:
            raise PlannerError(f"tensor parallel size {tp} x pipeline parallel size {pp} needs {tp * pp} GPUs, there are {count}")
        sizes = [(tp, pp)]
    else:
        widest = request.group.per_node  # tensor parallelism stays within a machine, pipeline stages cross
        sizes = [(tp, count // tp) for tp in range(widest, 0, -1) if count % tp == 0 and widest % tp == 0]
    good, reason = [], ""
    for tp, pp in sizes:
        problem = cannot_split(request, tp, pp)
        reason = reason or problem
        if not problem:
            good.append(Parallel(tensor_parallel_size=tp, pipeline_parallel_size=pp, enable_expert_parallel=pins.enable_expert_parallel))
    only_pipeline = (
        request.group.nodes == 1
        and good
        and good[0].tensor_parallel_size == 1
        and count > 1
        and not pins.pipeline_parallel_size
        and not pins.tensor_parallel_size
    )
    if not good or only_pipeline:
        fitting = [n for n in range(count, 0, -1) if not cannot_split(request, n, 1)]
        hint = f"use --count {fitting[0]}" if fitting else ""
        hint += f", or -pp {count} (one layer group a GPU)" if only_pipeline and hint else ""
        raise PlannerError(f"{count} GPUs: {reason}", hint)
    return good


def cannot_split(request: Request, tp: int, pp: int) -> str:
    """Why a model cannot be split so, or an empty string (config/model.py:1559, linear.py:497, kv heads in the model files)."""
    model = request.model
    if problem := heads_or_layers(model, tp, pp):
        return problem
    try:
        config = ServeConfig(
            tensor_parallel_size=tp,
            pipeline_parallel_size=pp,
            enable_expert_parallel=request.pins.enable_expert_parallel,
            dtype=request.pins.dtype,
        )
        place(model, request.group, config)
    except NotDivisibleError as error:
        return error.message
    except UnsupportedError:
        return ""
    return ""


def heads_or_layers(model: ModelSpec, tp: int, pp: int) -> str:
    """Why the heads or layers of a model cannot be divided so, or an empty string."""
    if model.attention_heads % tp:
        return f"tensor parallel size {tp} does not divide {model.attention_heads} attention heads"
    if not model.is_latent and model.kv_heads % tp and tp % model.kv_heads:
        return f"tensor parallel size {tp} and {model.kv_heads} key-value heads: one must divide the other"
    if pp > 1 and not model.pipeline:
        return f"vLLM does not split {model.architecture} over pipeline stages"
    return f"pipeline parallel size {pp} exceeds {model.layer_count} layers" if pp > model.layer_count else ""


def kv_dtypes(request: Request) -> list[str]:
    """Cache dtypes to try, best first: the model's own, then FP8 where this GPU and its attention backend can."""
    if request.pins.kv_cache_dtype:
        return [request.pins.kv_cache_dtype]
    if vllm.effective_kv_dtype(request.model, "auto") != "auto":
        return ["auto"]
    try:
        vllm.cache_layout(request.model, request.group.gpu, NARROW_CACHE)
    except UnsupportedError:
        return ["auto"]
    return ["auto", NARROW_CACHE]


def candidates(request: Request, parallel: Parallel) -> Iterator[tuple[ServeConfig, Placement]]:
    """Base configurations for one split: cache dtype by cache dtype, graphs before eager mode."""
    pins = request.pins
    share, _ = utilization(request, parallel.tensor_parallel_size)
    batch, seqs = vllm.default_batches(request.group.gpu, request.group.total_bytes, VERSIONS[request.pins.vllm_version])
    if request.model.is_encoder:  # a text is read in one step (config/scheduler.py: no chunked prefill)
        batch = max(batch, pins.max_model_len or request.context or request.model.max_position_embeddings)
    for eager in (False, True) if pins.enforce_eager is None else (pins.enforce_eager,):
        for dtype in kv_dtypes(request):
            config = ServeConfig(
                tensor_parallel_size=parallel.tensor_parallel_size,
                pipeline_parallel_size=parallel.pipeline_parallel_size,
                enable_expert_parallel=parallel.enable_expert_parallel,
                gpu_memory_utilization=share,
                max_num_seqs=pins.max_num_seqs or request.users or min(seqs, FEWEST_SEQS),
                max_num_batched_tokens=pins.max_num_batched_tokens or batch,
                kv_cache_dtype=dtype,
                kv_cache_memory_bytes=pins.kv_cache_memory_bytes,
                enforce_eager=eager,
                dtype=pins.dtype,
                quantization=pins.quantization,
                skip_mm_profiling=pins.skip_mm_profiling,
                vllm_version=pins.vllm_version,
            )
            yield config, place(request.model, request.group, config)


def evaluate(request: Request, config: ServeConfig, placement: Placement | None = None) -> Choice:
    """The ledger of a configuration at the three outlooks."""
    placed = placement or place(request.model, request.group, config)
    ledgers = [breakdown(request.model, request.group, config, outlook, placed) for outlook in Outlook]
    return Choice(config=config, expected=ledgers[0], cautious=ledgers[1], hopeful=ledgers[2])


def with_context(request: Request, config: ServeConfig, placement: Placement) -> Choice:
    """Fix the context: the wanted one, or the longest that surely starts (for every user where users are given)."""
    wanted = request.pins.max_model_len or request.context
    limit = request.model.max_position_embeddings
    if wanted is None:
        probe = evaluate(request, replace(config, max_model_len=min(limit, CONTEXT_STEP)), placement)
        wanted = longest_for_users(request, probe, placement, limit)
    chosen = evaluate(request, replace(config, max_model_len=wanted), placement)
    seqs = request.pins.max_num_seqs or sequences(request, chosen)
    while seqs != config.max_num_seqs:
        more = evaluate(request, replace(chosen.config, max_num_seqs=seqs), placement)
        if _ORDER[more.verdict] >= _ORDER[chosen.verdict]:
            return more
        if seqs < config.max_num_seqs:
            break
        seqs = max(seqs // 2, config.max_num_seqs)
    return chosen


def longest_for_users(request: Request, probe: Choice, placement: Placement, limit: int) -> int:
    """The longest context, in whole steps, of which `users` requests fit with cautious coefficients."""
    users = request.users or 1
    ledger, config = probe.cautious, probe.config
    in_flight = vllm.in_flight_tokens(config)
    held = ledger.kv_cache_blocks - ledger.reserved_blocks
    low = largest(limit, lambda length: placement.cache.blocks_per_request(length, in_flight) * users <= held)
    stepped = low - low % CONTEXT_STEP if low < limit else limit
    return max(stepped, min(limit, CONTEXT_STEP))


def sequences(request: Request, choice: Choice) -> int:
    """How many sequences to schedule at once: the users, or eight times what fits at full length, since most requests are short."""
    _, most = vllm.default_batches(request.group.gpu, request.group.total_bytes, VERSIONS[request.pins.vllm_version])
    at_once = int(SHORT_FOR_LONG * choice.cautious.max_concurrency)
    wanted = request.users or max(FEWEST_SEQS, min(most, 1 << max(0, at_once.bit_length() - 1)))
    if request.model.has_state and choice.cautious.kv_cache_blocks:
        wanted = min(wanted, max(1, choice.cautious.kv_cache_blocks - 1))
    return max(1, min(wanted, choice.config.max_num_batched_tokens))


def _rank(choice: Choice) -> tuple[int, int]:
    return _ORDER[choice.verdict], choice.cautious.kv_cache_bytes


def best(request: Request) -> Choice:
    """The first configuration that meets the wish, in the order of preference; else the one that comes nearest.

    Order: most tensor parallel, 16-bit cache before FP8, CUDA graphs before eager mode, a sure start before a tight one. What starts as
    asked but not surely for all users at once comes before what does not start.
    """
    vllm.check_model(request.model, request.group.gpu, request.pins.vllm_version)
    tried: list[Choice] = []
    for parallel in splits(request):
        for config, placement in candidates(request, parallel):
            choice = with_context(request, config, placement)
            tried.append(choice)
            if _meets(request, choice) and choice.cautious.max_concurrency >= (request.users or 0):
                return explained(request, choice, tried)
    nearly = [choice for choice in tried if _meets(request, choice) and not choice.config.enforce_eager]
    nearest = max(nearly, key=lambda choice: choice.cautious.max_concurrency) if nearly else max(tried, key=_rank)
    return explained(request, nearest, tried)


def _meets(request: Request, choice: Choice) -> bool:
    if choice.verdict != "starts":
        return False
    asked = request.context or request.pins.max_model_len
    if asked is None:
        return choice.config.max_model_len >= min(USEFUL_CONTEXT, request.model.max_position_embeddings)
    return True

"""THE ledger: what one GPU holds, in vLLM's own terms. There is no second formula.

requested = ceil(total x utilization)                                       v1/worker/utils.py:716 request_memory
available_kv = requested - weights - buffers - non_torch - activation - CUDA graphs   gpu_worker.py:641 determine_available_memory
A request fits iff needed <= available_kv - one block                       v1/core/kv_cache_planning.py get_kv_cache_configs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, reduce
from typing import Any

from planner.arrays import maximum, where, whole, whole_up
from planner.engines.vllm.kvcache import CachePlan, longest_model_len, plan_cache
from planner.engines.vllm.overhead import Device, Outlook, device, overhead
from planner.engines.vllm.rules import cache_layout, dtype_bits, in_flight_tokens, reserved_blocks, state_blocks_needed, with_kernels
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.weights import buffer_bytes, stage_weights
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.model import ModelSpec

UNLIMITED = 2**62  # blocks of a stage that keeps no cache


@dataclass(frozen=True, slots=True)
class Length:
    """What decides the longest context: the cache's layout, the model's limit, tokens in flight."""

    cache: CachePlan
    limit: int
    in_flight_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBreakdown:
    """The ledger of the fullest GPU, in bytes; deficits stay negative. In a grid every value may be an array, one element a server or setting."""

    total_bytes: int
    free_at_start_bytes: int
    requested_bytes: int
    weights_bytes: int
    buffers_bytes: int
    activation_bytes: int
    non_torch_bytes: int
    cuda_graph_bytes: int
    kv_cache_bytes: int
    kv_block_bytes: int
    kv_cache_blocks: int
    kv_cache_tokens: int
    max_concurrency: float
    kv_cache_needed_bytes: int
    state_blocks_needed: int  # a hybrid's start wants so many blocks: one a sequence where decoding is captured whole
    reserved_blocks: int = 1
    late_graph_bytes: int = 0  # graphs that are captured outside the budget and exceed what the activations leave behind
    length: Length | None = field(default=None, compare=False, repr=False)  # not asked in a grid

    @property
    def longest_max_model_len(self) -> int:
        """The longest context of which one request would be admitted."""
        return self.longest_for(1)

    def longest_for(self, users: int) -> int:
        """The longest context of which so many requests fit at once; 0 where none does."""
        if self.length is None:
            raise ValueError("a grid does not know the longest context")
        blocks = (self.kv_cache_blocks - self.reserved_blocks) // users
        return longest_model_len(self.length.cache, blocks, self.length.limit, self.length.in_flight_tokens)

    @property
    def fits_request(self) -> bool:
        """Whether vLLM admits one request of max_model_len; an encoder, which keeps no cache, has nothing to admit."""
        return (self.kv_block_bytes == 0) | (self.short_of_request_bytes <= 0)

    @property
    def short_of_request_bytes(self) -> int:
        """What the KV cache lacks for one request of max_model_len beside the blocks that no request is admitted to; negative where it is spare."""
        return self.kv_cache_needed_bytes + self.reserved_blocks * self.kv_block_bytes - self.kv_cache_bytes

    @property
    def used_bytes(self) -> int:
        """Everything on this GPU: what is requested, or more where a pinned KV cache exceeds it."""
        beside = self.weights_bytes + self.buffers_bytes + self.activation_bytes + self.non_torch_bytes + self.cuda_graph_bytes
        return beside + maximum(0, self.kv_cache_bytes)

    @property
    def fits_start(self) -> bool:
        """Whether the utilization passes the check against free memory, and a pinned KV cache and late graphs lie in it too."""
        return maximum(self.requested_bytes, self.used_bytes) + self.late_graph_bytes <= self.free_at_start_bytes

    @property
    def starts(self) -> bool:
        """Whether vLLM starts so."""
        return self.fits_start & self.fits_request & (self.kv_cache_blocks >= self.state_blocks_needed)


@dataclass(frozen=True, slots=True)
class Placement:
    """What does not depend on sizes chosen later: weights by stage and the cache layout. Computed once, asked often."""

    weights: tuple[int, ...]
    buffers: int
    cache: CachePlan


def place(model: ModelSpec, group: GpuGroup, config: ServeConfig) -> Placement:
    """Weights and cache layout of a model on a GPU. Raises NotDivisibleError and UnsupportedError."""
    return _placed(_Same(model), group.gpu, config.parallel, config.kv_cache_dtype, config.dtype)


class _Same:
    """A model as a key: the very same one, which costs less to tell than an equal one."""

    __slots__ = ("model",)

    def __init__(self, model: ModelSpec) -> None:
        self.model = model

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.model is other.model

    def __hash__(self) -> int:
        return id(self.model)


@lru_cache(maxsize=1024)
def _placed(same: _Same, gpu: GpuSpec, parallel: Parallel, kv_cache_dtype: str, dtype: str) -> Placement:
    model, bits = same.model, dtype_bits(same.model, gpu, dtype)
    parallel = with_kernels(parallel, gpu)
    layout = cache_layout(model, gpu, kv_cache_dtype, dtype_bits=bits)
    return Placement(tuple(stage_weights(model, parallel, bits)), buffer_bytes(model, bits, parallel.tensor_parallel_size), plan_cache(model, parallel, layout))


def capacity(cache: CachePlan, blocks: Any, max_model_len: Any, max_in_flight_tokens: int) -> Any:
    """Requests of max_model_len that fit at once: blocks / blocks of one request; ints or int64 arrays. An encoder holds any number."""
    if not cache.groups:
        return float("inf")
    return blocks / cache.blocks_per_request(max_model_len, max_in_flight_tokens)


@dataclass(frozen=True, slots=True)
class Stage:
    """What one rank of a pipeline stage holds whatever the sizes: parameters, buffers of load, a block's pages; `last` samples. Or arrays of a grid."""

    weights_bytes: int
    buffers_bytes: int
    block_bytes: int
    last: bool


def stages_of(placed: Placement) -> list[Stage]:
    """The stages of a placed model."""
    last = len(placed.weights) - 1
    held = zip(placed.weights, placed.cache.block_bytes_by_stage, strict=True)
    return [Stage(weights, placed.buffers, block, index == last) for index, (weights, block) in enumerate(held)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBudget:
    """What one rank of a pipeline stage holds, and what that leaves for the KV cache, in bytes."""

    kv_cache_bytes: int
    block_bytes: int
    weights_bytes: int
    buffers_bytes: int
    activation_bytes: int
    non_torch_bytes: int
    cuda_graph_bytes: int
    late_graph_bytes: int


def requested_bytes(total_bytes: Any, utilization: Any) -> Any:
    """What vLLM asks for, refused at start where it exceeds free memory."""
    return whole_up(total_bytes * utilization)


def stage_budget(model: ModelSpec, on: Device, config: ServeConfig, outlook: Outlook, stage: Stage) -> StageBudget:
    """The budget of a pipeline stage; a pinned KV cache is that of all."""
    used = overhead(model, config, on, outlook, last_stage=stage.last)
    held = stage.buffers_bytes + model.bytes_per_batched_token * config.max_num_batched_tokens
    beside = stage.weights_bytes + held + used.activation_bytes + used.non_torch_bytes + used.cuda_graph_bytes
    left = requested_bytes(on.total_bytes, config.gpu_memory_utilization) - beside
    return StageBudget(
        kv_cache_bytes=left if config.kv_cache_memory_bytes is None else config.kv_cache_memory_bytes,
        block_bytes=stage.block_bytes,
        weights_bytes=stage.weights_bytes,
        buffers_bytes=held,
        **{field.name: getattr(used, field.name) for field in fields(used)},
    )


def stage_budgets(model: ModelSpec, group: GpuGroup, config: ServeConfig, outlook: Outlook, placed: Placement) -> list[StageBudget]:
    """The budget of every pipeline stage."""
    on = device(group, config)
    return [stage_budget(model, on, config, outlook, stage) for stage in stages_of(placed)]


def fullest(budgets: Sequence[StageBudget]) -> tuple[StageBudget, Any]:
    """The stage that holds the fewest blocks, and how many: a stage without attention limits nothing, an encoder's one block is for nobody."""
    nothing = reduce(maximum, (budget.block_bytes for budget in budgets)) == 0
    least: Any = None
    for budget in budgets:
        limits = (budget.block_bytes > 0) | nothing
        blocks = where(limits, budget.kv_cache_bytes // maximum(1, budget.block_bytes), UNLIMITED)
        if least is None:
            chosen, least = budget, blocks
            continue
        fewer = blocks < least
        chosen = StageBudget(**{field.name: where(fewer, getattr(budget, field.name), getattr(chosen, field.name)) for field in fields(budget)})
        least = where(fewer, blocks, least)
    return chosen, where(nothing, 1, maximum(0, least))


def ledger(model: ModelSpec, on: Device, config: ServeConfig, outlook: Outlook, stages: Sequence[Stage], *, needed_blocks: Any) -> MemoryBreakdown:
    """The ledger of the stage that holds the fewest blocks; one request of max_model_len needs so many. Values, or arrays of a grid."""
    budget, blocks = fullest([stage_budget(model, on, config, outlook, stage) for stage in stages])
    concurrency = float(config.max_num_seqs) if model.is_encoder else blocks / needed_blocks
    return MemoryBreakdown(
        total_bytes=on.total_bytes,
        free_at_start_bytes=on.surely_free_bytes if outlook is Outlook.CONSERVATIVE else on.usually_free_bytes,
        requested_bytes=requested_bytes(on.total_bytes, config.gpu_memory_utilization),
        weights_bytes=budget.weights_bytes,
        buffers_bytes=budget.buffers_bytes,
        activation_bytes=budget.activation_bytes,
        non_torch_bytes=budget.non_torch_bytes,
        cuda_graph_bytes=budget.cuda_graph_bytes,
        late_graph_bytes=budget.late_graph_bytes,
        kv_cache_bytes=budget.kv_cache_bytes,
        kv_block_bytes=budget.block_bytes,
        kv_cache_blocks=blocks,
        kv_cache_tokens=whole(concurrency * config.max_model_len),
        max_concurrency=concurrency,
        kv_cache_needed_bytes=needed_blocks * budget.block_bytes,
        state_blocks_needed=state_blocks_needed(config) if model.has_state else 0,
        reserved_blocks=reserved_blocks(config),
    )


def breakdown(
    model: ModelSpec,
    group: GpuGroup,
    config: ServeConfig,
    outlook: Outlook = Outlook.EXPECTED,
    placement: Placement | None = None,
) -> MemoryBreakdown:
    """The ledger of one server's fullest GPU. Raises NotDivisibleError and UnsupportedError where it is not placed yet and cannot be."""
    placed = placement or place(model, group, config)
    in_flight = in_flight_tokens(config)
    needed = placed.cache.blocks_per_request(config.max_model_len, in_flight)
    found = ledger(model, device(group, config), config, outlook, stages_of(placed), needed_blocks=needed)
    return replace(found, length=Length(placed.cache, model.max_position_embeddings, in_flight))

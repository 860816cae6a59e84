"""THE ledger: what one GPU holds, in vLLM's own terms. There is no second formula.

requested = ceil(total x utilization)                                       v1/worker/utils.py:716 request_memory
available_kv = requested - weights - buffers - non_torch - activation - CUDA graphs   gpu_worker.py:641 determine_available_memory
A request fits iff needed <= available_kv - one block                       v1/core/kv_cache_planning.py get_kv_cache_configs
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from planner.config import ServeConfig
from planner.engines.overhead import Outlook, Overhead, overhead
from planner.engines.vllm import cache_layout, dtype_bits, in_flight_tokens, reserved_blocks, state_blocks_needed, with_kernels
from planner.hardware import GpuGroup
from planner.kvcache import CachePlan, longest_model_len, plan_cache
from planner.model import ModelSpec
from planner.weights import buffer_bytes, stage_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBreakdown:
    """The ledger of the fullest GPU, in bytes; deficits stay negative."""

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
    longest_max_model_len: int
    stage: int
    state_blocks_needed: int  # a hybrid's start wants so many blocks: one a sequence where decoding is captured whole
    reserved_blocks: int = 1
    late_graph_bytes: int = 0  # graphs that are captured outside the budget and exceed what the activations leave behind

    @property
    def fits_request(self) -> bool:
        """Whether vLLM admits one request of max_model_len; an encoder, which keeps no cache, has nothing to admit."""
        return not self.kv_block_bytes or self.kv_cache_needed_bytes <= self.kv_cache_bytes - self.reserved_blocks * self.kv_block_bytes

    @property
    def used_bytes(self) -> int:
        """Everything on this GPU: what is requested, or more where a pinned KV cache exceeds it."""
        beside = self.weights_bytes + self.buffers_bytes + self.activation_bytes + self.non_torch_bytes + self.cuda_graph_bytes
        return beside + max(0, self.kv_cache_bytes)

    @property
    def fits_start(self) -> bool:
        """Whether the utilization passes the check against free memory, and a pinned KV cache and late graphs lie in it too."""
        return max(self.requested_bytes, self.used_bytes) + self.late_graph_bytes <= self.free_at_start_bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """What does not depend on sizes chosen later: weights by stage and the cache layout. Computed once, asked often."""

    weights: tuple[int, ...]
    buffers: int
    cache: CachePlan


def place(model: ModelSpec, group: GpuGroup, config: ServeConfig) -> Placement:
    """Weights and cache layout of a model on a GPU. Raises NotDivisibleError and UnsupportedError."""
    bits = dtype_bits(model, group.gpu, config.dtype)
    parallel = with_kernels(config.parallel, group.gpu)
    layout = cache_layout(model, group.gpu, config.kv_cache_dtype, dtype_bits=bits)
    return Placement(tuple(stage_weights(model, parallel, bits)), buffer_bytes(model, bits, parallel.tensor_parallel_size), plan_cache(model, parallel, layout))


def requested_bytes(group: GpuGroup, utilization: float) -> int:
    """What vLLM asks for, refused at start where it exceeds free memory."""
    return ceil(group.total_bytes * utilization)


def capacity(cache: CachePlan, blocks: Any, max_model_len: Any, max_in_flight_tokens: int) -> Any:
    """Requests of max_model_len that fit at once: blocks / blocks of one request; ints or int64 arrays. An encoder holds any number."""
    if not cache.groups:
        return float("inf")
    return blocks / cache.blocks_per_request(max_model_len, max_in_flight_tokens)


@dataclass(frozen=True, slots=True)
class StageBudget:
    """What one rank of a pipeline stage holds, and what that leaves for the KV cache, in bytes."""

    kv_cache_bytes: int
    weights_bytes: int
    buffers_bytes: int
    overhead: Overhead


def stage_budgets(model: ModelSpec, group: GpuGroup, config: ServeConfig, outlook: Outlook, placed: Placement) -> list[StageBudget]:
    """The budget of every pipeline stage; a pinned KV cache is that of all."""
    requested = requested_bytes(group, config.gpu_memory_utilization)
    buffers = placed.buffers + model.bytes_per_batched_token * config.max_num_batched_tokens
    stages = []
    for stage, weights in enumerate(placed.weights):
        used = overhead(model, config, group, outlook, last_stage=stage == len(placed.weights) - 1)
        left = requested - weights - buffers - used.activation_bytes - used.non_torch_bytes - used.cuda_graph_bytes
        stages.append(StageBudget(left if config.kv_cache_memory_bytes is None else config.kv_cache_memory_bytes, weights, buffers, used))
    return stages


def breakdown(
    model: ModelSpec,
    group: GpuGroup,
    config: ServeConfig,
    outlook: Outlook = Outlook.EXPECTED,
    placement: Placement | None = None,
) -> MemoryBreakdown:
    """The ledger of the stage that holds the fewest blocks."""
    placed = placement or place(model, group, config)
    stages = stage_budgets(model, group, config, outlook, placed)
    sizes = placed.cache.block_bytes_by_stage
    holding = [index for index, size in enumerate(sizes) if size] or range(len(sizes))  # a stage without attention limits nothing
    stage = min(holding, key=lambda index: stages[index].kv_cache_bytes // max(1, sizes[index]))
    budget, used = stages[stage], stages[stage].overhead
    block_bytes = sizes[stage]
    blocks = max(0, placed.cache.blocks([each.kv_cache_bytes for each in stages]))
    in_flight, reserved = in_flight_tokens(config), reserved_blocks(config)
    needed_blocks = placed.cache.blocks_per_request(config.max_model_len, in_flight)
    concurrency = capacity(placed.cache, blocks, config.max_model_len, in_flight) if needed_blocks else float(config.max_num_seqs)
    return MemoryBreakdown(
        total_bytes=group.total_bytes,
        free_at_start_bytes=group.free_at_start_bytes(config.tensor_parallel_size, cautious=outlook is Outlook.CAUTIOUS),
        requested_bytes=requested_bytes(group, config.gpu_memory_utilization),
        weights_bytes=budget.weights_bytes,
        buffers_bytes=budget.buffers_bytes,
        activation_bytes=used.activation_bytes,
        non_torch_bytes=used.non_torch_bytes,
        cuda_graph_bytes=used.cuda_graph_bytes,
        kv_cache_bytes=budget.kv_cache_bytes,
        kv_block_bytes=block_bytes,
        kv_cache_blocks=blocks,
        kv_cache_tokens=int(concurrency * config.max_model_len),
        max_concurrency=concurrency,
        kv_cache_needed_bytes=needed_blocks * block_bytes,
        longest_max_model_len=longest_model_len(placed.cache, blocks - reserved, model.max_position_embeddings, in_flight),
        stage=stage,
        state_blocks_needed=state_blocks_needed(config) if model.has_state else 0,
        reserved_blocks=reserved,
        late_graph_bytes=used.late_graph_bytes,
    )

"""THE ledger: what one GPU holds, in vLLM's own terms. There is no second formula.

requested = ceil(total x utilization)                                       v1/worker/utils.py:716 request_memory
available_kv = requested - weights - buffers - non_torch - activation - CUDA graphs   gpu_worker.py:641 determine_available_memory
A request fits iff needed <= available_kv - one block                       v1/core/kv_cache_planning.py get_kv_cache_configs
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Generic

from planner.arrays import Whole, maximum, where, whole, whole_up
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.device import Device, device
from planner.engines.vllm.expert_rules import with_experts
from planner.engines.vllm.kept import workspace_columns
from planner.engines.vllm.kvcache import CachePlan, plan_cache
from planner.engines.vllm.layouts import cache_layout
from planner.engines.vllm.ledger import Length, MemoryBreakdown
from planner.engines.vllm.loaded import loaded, loading, widest_bytes
from planner.engines.vllm.offload import Offloaded, offloaded, with_tables
from planner.engines.vllm.overhead import Shapes, overhead
from planner.engines.vllm.rules import dtype_bits, in_flight_tokens, reserved_blocks, state_blocks_needed, with_kernels
from planner.engines.vllm.settings import Placing, ServeConfig
from planner.engines.vllm.versions import VERSIONS
from planner.engines.vllm.weights import buffer_bytes, drafter_weights, stage_weights
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.record import Same, dataclass, replace
from planner.units import GIB

if TYPE_CHECKING:
    from planner.engines.vllm.ledger_settings import LedgerSettings

UNLIMITED = 2**62  # blocks of a stage that keeps no cache


@dataclass(frozen=True, slots=True)
class Placement:
    """What does not depend on sizes chosen later: weights by stage and the cache layout. Computed once, asked often."""

    weights: tuple[int, ...]
    buffers: int
    cache: CachePlan
    lora: tuple[int, ...] = ()  # of each stage; none where adapters are not enabled
    offloaded: tuple[Offloaded, ...] = ()
    """What of the weights lies in main memory, by stage; empty where none is to."""
    drafter: int = 0  # on the last stage
    created: tuple[int, ...] = ()
    """The weights as vLLM's classes create them, before kernels repack them: what its loader can be compared with."""
    widest: int = 0  # what a rank holds at most while weights are quantized
    drafter_created: int = 0  # the drafter's as its class creates it
    columns: int = 0  # by which the attention kernel's workspace grows with the batch


def place(model: ModelSpec, group: GpuGroup, config: ServeConfig) -> Placement:
    """Weights and cache layout of a model on a GPU. Raises NotDivisibleError and UnsupportedError."""
    return _placed(Same(model), group.gpu, config.placing)


@lru_cache(maxsize=1024)
def _placed(same: Same[ModelSpec], gpu: GpuSpec, placing: Placing) -> Placement:
    model, bits = same.thing, dtype_bits(same.thing, gpu, placing.dtype)
    parallel = with_kernels(with_experts(placing.parallel, model), gpu, placing.vllm_version)
    layout = cache_layout(model, gpu, placing.kv_cache_dtype, dtype_bits=bits, version=placing.vllm_version, options=placing.options)
    created = stage_weights(model, parallel, bits)  # what cannot be divided is refused when it is created
    held = loaded(model, loading(gpu, placing.vllm_version))
    weights = created if held is model else stage_weights(held, parallel, bits)
    away = offloaded(model, held, parallel, placing.offload, bits) if placing.offload else ()
    return Placement(
        tuple(weights),
        _all_buffers(model, parallel, bits, VERSIONS[placing.vllm_version].film_tables),
        plan_cache(model, parallel, layout),
        _adapters(model, parallel, placing, bits),
        with_tables(away, held, parallel, gpu, placing.vllm_version),
        drafter_weights(model, parallel, bits, lambda drafter: loaded(drafter, loading(gpu, placing.vllm_version))),
        tuple(created),
        widest_bytes(model, gpu, placing, parallel, bits),
        drafter_weights(model, parallel, bits),
        workspace_columns(model, gpu, layout.backend),
    )


def _adapters(model: ModelSpec, parallel: Parallel, placing: Placing, bits: int) -> tuple[int, ...]:
    """Bytes of the adapters of each stage; none where they are not enabled."""
    if placing.lora is None:
        return ()
    from planner.engines.vllm.lora import stage_adapters

    return tuple(stage_adapters(model, parallel, placing.lora, bits, placing.vllm_version))


def _all_buffers(model: ModelSpec, parallel: Parallel, bits: int, films: int) -> int:
    """Buffers of a rank, those of a drafter with them where it cannot use the target's rotary tables."""
    held = buffer_bytes(model, parallel, bits, films)
    if model.drafter is None or (drafter := model.drafter.model) is None:
        return held
    own = tuple(buffer for buffer in drafter.buffers if buffer not in model.buffers)
    return held + buffer_bytes(replace(drafter, buffers=own), parallel, bits, films)


@dataclass(frozen=True, slots=True)
class Stage(Generic[Whole]):
    """What one rank of a pipeline stage holds whatever the sizes: parameters, buffers of load, a block's pages; `last` samples."""

    weights_bytes: Whole
    buffers_bytes: Whole
    block_bytes: Whole
    last: Whole | bool
    lora_bytes: Whole | int = 0
    offloaded_bytes: Whole | int = 0
    drafter_bytes: Whole | int = 0
    columns: int = 0  # a grid is of a release that counts no workspace


def without(stage: Stage, away: Offloaded) -> Stage:
    """A stage of whose weights some lie in main memory."""
    weights, buffers = stage.weights_bytes - away.weights_bytes, stage.buffers_bytes + away.buffers_bytes
    return replace(stage, weights_bytes=weights, buffers_bytes=buffers, offloaded_bytes=away.weights_bytes)


def stages_of(placed: Placement) -> list[Stage]:
    """The stages of a placed model."""
    last = len(placed.weights) - 1
    held = zip(placed.weights, placed.cache.block_bytes_by_stage, placed.lora or (0,) * len(placed.weights), strict=True)
    drafters = (*((0,) * last), placed.drafter)
    stages = [
        Stage(weights, placed.buffers, block, index == last, lora, 0, drafters[index], placed.columns) for index, (weights, block, lora) in enumerate(held)
    ]
    return list(map(without, stages, placed.offloaded)) if placed.offloaded else stages


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBudget(Generic[Whole]):
    """What one rank of a pipeline stage holds, and what that leaves for the KV cache, in bytes."""

    kv_cache_bytes: Whole
    block_bytes: Whole
    weights_bytes: Whole
    buffers_bytes: Whole
    activation_bytes: Whole
    non_torch_bytes: Whole
    cuda_graph_bytes: Whole
    late_bytes: Whole
    lora_bytes: Whole
    offloaded_bytes: Whole
    drafter_bytes: Whole

    @property
    def held_bytes(self) -> Whole:
        """All of it, with a cache of the size that is asked for."""
        return (
            self.weights_bytes
            + self.lora_bytes
            + self.drafter_bytes
            + self.buffers_bytes
            + self.activation_bytes
            + self.non_torch_bytes
            + self.cuda_graph_bytes
            + self.kv_cache_bytes
        )

    def where(self, condition: Whole | bool, other: StageBudget[Whole]) -> StageBudget[Whole]:
        """This budget where the condition holds, the other elsewhere."""
        return StageBudget(
            kv_cache_bytes=where(condition, self.kv_cache_bytes, other.kv_cache_bytes),
            block_bytes=where(condition, self.block_bytes, other.block_bytes),
            weights_bytes=where(condition, self.weights_bytes, other.weights_bytes),
            buffers_bytes=where(condition, self.buffers_bytes, other.buffers_bytes),
            activation_bytes=where(condition, self.activation_bytes, other.activation_bytes),
            non_torch_bytes=where(condition, self.non_torch_bytes, other.non_torch_bytes),
            cuda_graph_bytes=where(condition, self.cuda_graph_bytes, other.cuda_graph_bytes),
            late_bytes=where(condition, self.late_bytes, other.late_bytes),
            lora_bytes=where(condition, self.lora_bytes, other.lora_bytes),
            offloaded_bytes=where(condition, self.offloaded_bytes, other.offloaded_bytes),
            drafter_bytes=where(condition, self.drafter_bytes, other.drafter_bytes),
        )


def requested_bytes(total_bytes: Whole, utilization: Whole | float) -> Whole:
    """What vLLM asks for, refused at start where it exceeds free memory."""
    return whole_up(total_bytes * utilization)


def stage_budget(shapes: Shapes[Whole], on: Device[Whole], outlook: Outlook, stage: Stage[Whole]) -> StageBudget[Whole]:
    """The budget of a pipeline stage; a pinned KV cache is that of all."""
    model, config = shapes.model, shapes.config
    used = overhead(shapes, on, outlook, last_stage=stage.last, columns=stage.columns)
    held = stage.buffers_bytes + model.bytes_per_batched_token * config.max_num_batched_tokens + _adapter_index(config) + _draft_buffers(model, config)
    beside = stage.weights_bytes + stage.lora_bytes + stage.drafter_bytes + held + used.activation_bytes + used.non_torch_bytes + used.cuda_graph_bytes
    left = requested_bytes(on.total(outlook), config.gpu_memory_utilization) - beside
    return StageBudget(
        kv_cache_bytes=_cache_bytes(config, left, stage.block_bytes),
        block_bytes=stage.block_bytes,
        weights_bytes=stage.weights_bytes,
        buffers_bytes=held,
        activation_bytes=used.activation_bytes,
        non_torch_bytes=used.non_torch_bytes,
        cuda_graph_bytes=used.cuda_graph_bytes,
        late_bytes=used.late_bytes,
        lora_bytes=stage.lora_bytes + 0 * stage.weights_bytes,
        offloaded_bytes=stage.offloaded_bytes + 0 * stage.weights_bytes,
        drafter_bytes=stage.drafter_bytes + 0 * stage.weights_bytes,
    )


def _adapter_index(config: LedgerSettings[Whole]) -> Whole | int:
    if config.lora is None:
        return 0
    from planner.engines.vllm.lora import index_bytes

    return index_bytes(config)


def _cache_bytes(config: LedgerSettings[Whole], left: Whole, block_bytes: Whole) -> Whole:
    """The cache: what is left, or what is pinned in bytes or blocks."""
    if config.num_gpu_blocks_override is not None:
        pinned: Whole = config.num_gpu_blocks_override * block_bytes + 0 * left
        return pinned
    left = left - int(config.mm_ipc_gpu_memory_gb * GIB)  # carved out of the cache (gpu_worker.py determine_available_memory)
    return left if config.kv_cache_memory_bytes is None else config.kv_cache_memory_bytes + 0 * left


def _draft_buffers(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | int:
    """Bytes that a drafter keeps of the target's hidden states of a batch, and sets aside for it (v1/worker/gpu/spec_decode/speculator.py)."""
    if model.drafter is None or (drafter := model.drafter.model) is None:
        return 0
    return config.max_num_batched_tokens * (drafter.hidden_size * model.residual_streams * 2 + drafter.bytes_per_batched_token)


def stage_budgets(model: ModelSpec, group: GpuGroup, config: ServeConfig, outlook: Outlook, placed: Placement) -> list[StageBudget]:
    """The budget of every pipeline stage."""
    on, shapes = device(group, config), Shapes(model, config)
    return [stage_budget(shapes, on, outlook, stage) for stage in stages_of(placed)]


def fullest(budgets: Sequence[StageBudget[Whole]], *, pinned: bool = False) -> tuple[StageBudget[Whole], Whole]:
    """The stage that holds the fewest blocks, and how many: a stage without attention limits nothing, an encoder's one block is for nobody.

    Where the cache is `pinned`, the stage that holds the most bytes: what is left over decides nothing there.
    """
    first, others = budgets[0], budgets[1:]
    largest = first.block_bytes
    for budget in others:
        largest = maximum(largest, budget.block_bytes)
    nothing = largest == 0
    chosen, least = first, _blocks(first, nothing)
    for budget in others:
        blocks = _blocks(budget, nothing)
        fewer = blocks < least
        fuller = budget.held_bytes > chosen.held_bytes if pinned else fewer
        chosen, least = budget.where(fuller, chosen), where(fewer, blocks, least)
    return chosen, where(nothing, 1, maximum(0, least))


def _blocks(budget: StageBudget[Whole], nothing: Whole | bool) -> Whole:
    limits = (budget.block_bytes > 0) | nothing
    return where(limits, budget.kv_cache_bytes // maximum(1, budget.block_bytes), UNLIMITED)


def ledger(
    shapes: Shapes[Whole],
    on: Device[Whole],
    outlook: Outlook,
    stages: Sequence[Stage[Whole]],
    *,
    needed_blocks: Whole,
    length: Length | None = None,
) -> MemoryBreakdown[Whole]:
    """The ledger of the stage that holds the fewest blocks; one request of max_model_len needs so many."""
    model, config = shapes.model, shapes.config
    pinned = config.kv_cache_memory_bytes is not None
    budget, blocks = fullest([stage_budget(shapes, on, outlook, stage) for stage in stages], pinned=pinned)
    concurrency = float(config.max_num_seqs) if model.is_encoder else blocks / needed_blocks
    return MemoryBreakdown(
        total_bytes=on.total(outlook),
        free_at_start_bytes=on.free(outlook),
        requested_bytes=requested_bytes(on.total(outlook), config.gpu_memory_utilization),
        weights_bytes=budget.weights_bytes,
        buffers_bytes=budget.buffers_bytes,
        activation_bytes=budget.activation_bytes,
        non_torch_bytes=budget.non_torch_bytes,
        cuda_graph_bytes=budget.cuda_graph_bytes,
        late_bytes=budget.late_bytes,
        lora_bytes=budget.lora_bytes,
        offloaded_bytes=budget.offloaded_bytes,
        drafter_bytes=budget.drafter_bytes,
        kv_cache_bytes=budget.kv_cache_bytes,
        kv_block_bytes=budget.block_bytes,
        kv_cache_blocks=blocks,
        kv_cache_tokens=whole(concurrency * config.max_model_len),
        max_concurrency=concurrency,
        kv_cache_needed_bytes=needed_blocks * budget.block_bytes,
        state_blocks_needed=state_blocks_needed(config) if model.has_state else 0,
        reserved_blocks=reserved_blocks(config),
        length=length,
    )


def breakdown(
    model: ModelSpec, group: GpuGroup, config: ServeConfig, outlook: Outlook = Outlook.EXPECTED, placement: Placement | None = None
) -> MemoryBreakdown:
    """The ledger of one server's fullest GPU. Raises NotDivisibleError and UnsupportedError where it is not placed yet and cannot be."""
    return outlooks(model, group, config, placement or place(model, group, config))(outlook)


def outlooks(model: ModelSpec, group: GpuGroup, config: ServeConfig, placed: Placement) -> Callable[[Outlook], MemoryBreakdown]:
    """The same at each outlook, counted when it is first asked for: most of what a search looks at is told by one."""
    if config.data_parallel_size > 1 and not model.experts_per_token:
        config = replace(config, data_parallel_size=1)  # engines that share nothing
    in_flight = in_flight_tokens(config, pooled=model.pooling)
    steps = in_flight // max(1, config.max_num_batched_tokens)
    layout = placed.cache if steps == placed.cache.steps_in_flight else replace(placed.cache, steps_in_flight=steps)
    needed = layout.blocks_per_request(config.max_model_len, in_flight)
    length = Length(layout, model.max_position_embeddings, in_flight)
    on, shapes, stages = device(group, config), Shapes(model, config), list(dict.fromkeys(stages_of(placed)))

    def counted(outlook: Outlook) -> MemoryBreakdown:
        told = ledger(shapes, on, outlook, stages, needed_blocks=needed, length=length)
        if not (VERSIONS[config.vllm_version].tokens_by_groups or any(group.padded for group in layout.groups)):
            return told
        from planner.engines.vllm.admission import as_released  # what older releases do otherwise

        return as_released(told, config, needed, lambda: [budget.kv_cache_bytes for budget in stage_budgets(model, group, config, outlook, placed)])

    return cache(counted)

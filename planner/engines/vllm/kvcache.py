"""KV cache pages, blocks and requests, exactly as vLLM 0.33 plans them.

Layers with the same cache form groups of equal size; a block holds one page for each layer of a group; groups draw blocks from one pool. Sources:
vllm/v1/core/kv_cache_planning.py (grouping, sizing), v1/kv_cache_interface.py (pages and needs), platforms/interface.py
_align_hybrid_block_size. The derivation is in docs/memory-model.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import lcm
from typing import TYPE_CHECKING, assert_never

from planner.arrays import Whole, minimum
from planner.engines.shards import state_bytes, token_bytes
from planner.engines.vllm.weights import stage_layers
from planner.errors import PlannerError, UnsupportedError
from planner.facts.attention import (
    Attention,
    CacheKind,
    ChunkedLocal,
    CompressedCache,
    CrossAttention,
    FullAttention,
    LatentAttention,
    RecurrentState,
    SlidingWindow,
    cache_kind,
    without_sinks,
)
from planner.facts.config import CacheLayout, Parallel
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass, replace
from planner.units import ceil_div, largest, round_up

if TYPE_CHECKING:
    from planner.engines.vllm.packing import Padded

SMALLEST_KERNEL_BLOCK = 16  # of the backends that keep keys and values by head (get_supported_kernel_block_sizes)
HYBRID_LATENT_BLOCK = 128  # MLA kernels want 128 tokens at once (platforms/interface.py _align_hybrid_block_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec:
    """The cache of one kind of layer on one rank: what a page of `block_size` tokens takes."""

    attention: Attention
    block_size: int
    page_bytes: int
    layers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheGroup:
    """Layers that share a block table. Pages of one group may differ (a uniform type): `page_bytes` are per layer."""

    attention: Attention
    block_size: int
    layers: tuple[int, ...]
    page_bytes: tuple[int, ...]
    states: int = 1  # blocks that a request holds of a recurrent state: its prompt's checkpoint and those behind drafted tokens too (MambaSpec)
    padded: Padded | None = None  # what it counts for where releases pad the pages of packed groups


@dataclass(frozen=True, slots=True)
class CachePlan:
    """How the cache of a model is laid out on each pipeline stage."""

    groups: tuple[CacheGroup, ...]
    block_bytes_by_stage: tuple[int, ...] = ()
    context_ranks: int = 1  # ranks over which the tokens of a request are divided (decode context parallelism)
    whole_block_bytes: int = 0  # of all stages together
    steps_in_flight: int = 2
    """Batches in flight at once (asynchronous scheduling): what an encoder puts out is of one of them."""

    @property
    def block_bytes(self) -> int:
        """Bytes of one block on the stage where it is largest."""
        return max(self.block_bytes_by_stage, default=0)

    def blocks_per_request(self, max_model_len: Whole, in_flight_tokens: Whole) -> Whole:
        """Blocks that one request of `max_model_len` tokens holds at most."""
        tokens = ceil_div(max_model_len, self.context_ranks) if self.context_ranks > 1 else max_model_len
        if self.groups and (padded := self.groups[0].padded):
            held = (group.padded.share * group_blocks(group, tokens, in_flight_tokens, self.steps_in_flight) for group in self.groups if group.padded)
            return ceil_div(sum(held, start=0 * max_model_len), padded.whole)
        return sum((group_blocks(group, tokens, in_flight_tokens, self.steps_in_flight) for group in self.groups), start=0 * max_model_len)


def group_blocks(group: CacheGroup, max_model_len: Whole, in_flight_tokens: Whole, steps_in_flight: int = 2) -> Whole:
    """Blocks of one group that a request holds at most (kv_cache_interface.py max_memory_usage_bytes)."""
    match group.attention:
        case FullAttention() | LatentAttention() | CompressedCache(window=0):
            return ceil_div(max_model_len, group.block_size)
        case CompressedCache(ring=True):
            return 1 + 0 * max_model_len  # CircularBufferSpec
        case SlidingWindow(window=window) | CompressedCache(window=window):
            return ceil_div(minimum(window - 1 + in_flight_tokens, max_model_len), group.block_size) + 1
        case ChunkedLocal(chunk=chunk):
            return ceil_div(minimum(chunk + in_flight_tokens, max_model_len), group.block_size)
        case CrossAttention():
            return ceil_div(in_flight_tokens // steps_in_flight, group.block_size)  # one batch: what the encoder may take at once (CrossAttentionSpec)
        case RecurrentState():
            return group.states + 0 * max_model_len
        case _:
            assert_never(group.attention)


def page_bytes(attention: Attention, block_size: int, tp: int, layout: CacheLayout) -> int:
    """Bytes of one page, `block_size` tokens of one layer on one rank; a recurrent state is one page whatever the block."""
    match attention:
        case CompressedCache(entry_bytes=entry, tokens_per_entry=tokens, page_multiple=multiple):
            return round_up(block_size // tokens * entry, multiple)
        case RecurrentState():
            return state_bytes(attention, tp, layout)
        case FullAttention() | SlidingWindow() | ChunkedLocal() | CrossAttention() | LatentAttention():
            return block_size * token_bytes(attention, tp, layout)
        case _:
            assert_never(attention)


def hybrid_block_size(model: ModelSpec, tp: int, layout: CacheLayout) -> int:
    """Block size of a hybrid: the smallest whose attention page is not below the state's (platforms/interface.py:938)."""
    states = [cache for cache in model.caches if isinstance(cache, RecurrentState)]
    attention = next((cache for cache in model.caches if cache_kind(cache) not in (CacheKind.STATE, CacheKind.COMPRESSED)), None)
    if not states or attention is None:
        return layout.block_size
    base = max(layout.block_size, HYBRID_LATENT_BLOCK) if cache_kind(attention) is CacheKind.LATENT else layout.block_size
    step = lcm(base, *(state.checkpoint_alignment for state in states if _checkpoints(state, layout)))
    per_token = token_bytes(attention, tp, layout)
    if not per_token:
        raise PlannerError("a token of this model's attention takes no bytes", "is this a whole config.json?")
    largest = max(state_bytes(state, tp, layout) for state in states)
    return max(layout.block_size, step * ceil_div(largest, step * per_token))


def cache_specs(model: ModelSpec, tp: int, layout: CacheLayout) -> list[CacheSpec]:
    """The distinct caches of a model on one rank, in the order of their first layer."""
    block = hybrid_block_size(model, tp, layout)
    _refuse_skipped(model, layout)
    layouts = {False: layout, True: replace(layout, bits=layout.dtype_bits, bytes_per_token_head=0, slot=None)}
    layers_of: dict[tuple[Attention, bool], list[int]] = {}
    for group in model.cached_layers:
        for cache in group.caches:
            for index in group.indices:
                layers_of.setdefault((without_sinks(cache), is_skipped(cache, index, layout)), []).append(index)
    attention_page = max((block * token_bytes(cache, tp, layouts[skipped]) for cache, skipped in layers_of), default=0)
    specs = []
    for (cache, skipped), layers in layers_of.items():
        size = _block_of(cache, block, layout, skipped=skipped)
        page = page_bytes(cache, size, tp, layouts[skipped])
        page = max(page, attention_page) if cache_kind(cache) is CacheKind.STATE else page
        specs.append(CacheSpec(attention=cache, block_size=size, page_bytes=page, layers=tuple(sorted(layers))))
    return sorted(_one_kind(specs) if layout.one_kind else specs, key=lambda spec: spec.layers[0])


def is_skipped(cache: Attention, layer: int, layout: CacheLayout) -> bool:
    """Whether a layer keeps the model's dtype (model_executor/layers/attention/attention.py, kv_cache_dtype_skip_layers)."""
    if not layout.skip_layers or cache_kind(cache) is CacheKind.STATE:
        return False
    return str(layer) in layout.skip_layers or (isinstance(cache, SlidingWindow) and "sliding_window" in layout.skip_layers)


def _refuse_skipped(model: ModelSpec, layout: CacheLayout) -> None:
    """A whole layer that is skipped beside windows makes pages that vLLM 0.33 cannot unify: it ends in an AssertionError. Raises UnsupportedError."""
    windows = any(isinstance(cache, SlidingWindow) for cache in model.caches)
    skipped = (
        is_skipped(cache, layer, layout) for group in model.layers for cache in group.caches if isinstance(cache, FullAttention) for layer in group.indices
    )
    if layout.skip_layers and windows and any(skipped):
        raise UnsupportedError("--kv-cache-dtype-skip-layers names a layer of full attention beside windows: vLLM cannot unify their pages")


def _block_of(cache: Attention, block: int, layout: CacheLayout, *, skipped: bool) -> int:
    """Tokens of a layer's block (platforms/interface.py _align_heterogeneous_kv_block_size).

    Where some layers are skipped, blocks of the others grow until their page holds one of these, and a skipped window's page is as large.
    """
    if isinstance(cache, CompressedCache):
        return cache.block_size or block
    if not (layout.skip_layers and layout.grows_skipped):
        return block
    wider = layout.dtype_bits // layout.bits
    grown = round_up(max(block, wider * SMALLEST_KERNEL_BLOCK), block)
    return (
        max(SMALLEST_KERNEL_BLOCK, grown // wider // SMALLEST_KERNEL_BLOCK * SMALLEST_KERNEL_BLOCK) if skipped and isinstance(cache, SlidingWindow) else grown
    )


def _one_kind(specs: Sequence[CacheSpec]) -> list[CacheSpec]:
    """Windows and chunks kept whole beside full attention, as without the hybrid manager. Raises UnsupportedError for states.

    Source: v1/core/kv_cache_planning.py _promote_local_kv_cache_specs.
    """
    if len({_slots(spec) for spec in specs}) == 1 or not any(isinstance(spec.attention, FullAttention) for spec in specs):
        whole = list(specs)
    else:
        block = max(spec.block_size for spec in specs if isinstance(spec.attention, FullAttention))
        whole = [_promoted(spec, block) for spec in specs]
    if len({_slots(spec) for spec in whole}) > 1:
        raise UnsupportedError("Failed to promote local KV cache specs to one unified type.")
    return whole


def _promoted(spec: CacheSpec, block: int) -> CacheSpec:
    cache = spec.attention
    if not isinstance(cache, SlidingWindow | ChunkedLocal):
        return spec
    full = FullAttention(kv_heads=cache.kv_heads, head_dim=cache.head_dim, head_dim_v=cache.head_dim_v)
    return replace(spec, attention=full, block_size=block, page_bytes=spec.page_bytes * block // spec.block_size)


def _slots(spec: CacheSpec) -> tuple[object, ...]:
    """Which token slots a layer needs; layers that agree can share one block table (UniformTypeKVCacheSpecs.is_uniform_type)."""
    match spec.attention:
        case FullAttention() | LatentAttention() | CompressedCache(window=0):
            return "all", spec.block_size
        case SlidingWindow(window=window) | CompressedCache(window=window):
            return type(spec.attention), window, spec.block_size
        case ChunkedLocal(chunk=chunk):
            return ChunkedLocal, chunk, spec.block_size
        case CrossAttention():
            return CrossAttention, spec.block_size
        case RecurrentState():
            return RecurrentState, spec.page_bytes, spec.attention.is_replicated
        case _:
            assert_never(spec.attention)


def _unified(specs: Sequence[CacheSpec]) -> list[CacheSpec]:
    """Give all specs one page size: more tokens where that divides, padding elsewhere (unify_kv_cache_spec_page_size)."""
    largest = max(spec.page_bytes for spec in specs)
    unified = []
    for spec in specs:
        ratio, rest = divmod(largest, spec.page_bytes)
        if rest and cache_kind(spec.attention) is CacheKind.LATENT:
            raise PlannerError("vLLM cannot unify the page sizes of this model's caches")
        grow = not rest and cache_kind(spec.attention) is not CacheKind.STATE
        unified.append(replace(spec, page_bytes=largest, block_size=spec.block_size * ratio if grow else spec.block_size))
    return unified


def _checkpoints(attention: Attention, layout: CacheLayout) -> int:
    """Mamba2 always exports a prefill checkpoint, the delta rule only where its kernel can (mamba_mixer2.py:1117), each since its release."""
    if not isinstance(attention, RecurrentState) or attention.checkpoint_alignment not in layout.prefill_checkpoints:
        return 0
    return int(layout.state_checkpoints or attention.checkpoint_alignment == 1)


def _group(spec: CacheSpec, pages: Sequence[tuple[int, int]], layout: CacheLayout) -> CacheGroup:
    """A group of (layer, bytes of its page) with the slots of `spec`."""
    return CacheGroup(
        attention=spec.attention,
        block_size=spec.block_size,
        layers=tuple(layer for layer, _ in pages),
        page_bytes=tuple(page for _, page in pages),
        states=(2 if layout.prefix_caching else 1) + _checkpoints(spec.attention, layout) + layout.drafted_tokens,
    )


def _pages(specs: Sequence[CacheSpec]) -> list[tuple[int, int]]:
    """Layers with the bytes of their pages, in order."""
    return sorted((layer, spec.page_bytes) for spec in specs for layer in spec.layers)


def cache_groups(specs: Sequence[CacheSpec], layout: CacheLayout) -> tuple[CacheGroup, ...]:
    """Group layers so that every group has about as many (_get_kv_cache_groups_uniform_page_size)."""
    if not specs:
        return ()
    if all(cache_kind(spec.attention) is CacheKind.STATE for spec in specs):
        # without attention prefixes are not cached, so that a request holds one state (config/vllm.py, MambaManager)
        return (replace(_group(specs[-1], _pages(specs), layout), states=1 + layout.drafted_tokens),)
    if len({_slots(spec) for spec in specs}) == 1:
        return (_group(specs[-1], _pages(specs), layout),)
    if any(cache_kind(spec.attention) is CacheKind.COMPRESSED for spec in specs):
        return _packed_groups(specs, layout)
    specs = _unified(specs)
    counts = [len(spec.layers) for spec in specs]
    size = max(counts) if max(counts) < layout.group_spread * min(counts) else min(counts)
    groups = []
    for spec in specs:
        split = ceil_div(len(spec.layers), size)
        groups += [_group(spec, [(layer, spec.page_bytes) for layer in spec.layers[start::split]], layout) for start in range(split)]
    return tuple(groups)


def _packed_groups(specs: Sequence[CacheSpec], layout: CacheLayout) -> tuple[CacheGroup, ...]:
    """Groups whose pages differ in size, packed into one block (_get_packed_kv_cache_groups)."""
    from planner.engines.vllm.packing import Bucket, as_padded, pack

    buckets: dict[tuple[object, ...], list[CacheSpec]] = {}
    for spec in specs:
        buckets.setdefault(_slots(spec), []).append(spec)
    packed = pack([Bucket(tuple(_pages(bucket))) for bucket in buckets.values()])
    groups = tuple(_group(bucket[0], pages, layout) for bucket, groups in zip(buckets.values(), packed, strict=True) for pages in groups)
    return as_padded(groups) if layout.pads_packed else groups


def plan_cache(model: ModelSpec, parallel: Parallel, layout: CacheLayout) -> CachePlan:
    """Plan the cache of a model: its groups, and the bytes of a block on each pipeline stage."""
    layout = replace(layout, drafted_tokens=model.drafter.num_speculative_tokens) if model.drafter else layout
    groups = cache_groups(cache_specs(model, parallel.tensor_parallel_size, layout), layout)
    stages = stage_layers(model.layer_count, parallel)
    stages[-1] += sum(len(group.indices) for group in model.cached_layers) - model.layer_count  # a drafter is whole on the last one
    by_stage = block_bytes(groups, stages)
    (whole,) = by_stage if len(by_stage) == 1 else block_bytes(groups, [sum(stages)])
    # decode context parallelism divides the tokens of full attention; states are whole on each rank, and windows are refused (FullAttentionSpec)
    return CachePlan(groups, by_stage, parallel.decode_context_parallel_size, whole)


def block_bytes(groups: Sequence[CacheGroup], layers_by_stage: Sequence[int]) -> tuple[int, ...]:
    """Bytes of a block on each stage of so many layers: the most that the pages of one group take there."""
    ends = list(accumulate(layers_by_stage, initial=0))
    sizes = [[0] * len(layers_by_stage)]
    for group in groups:
        before = [0, *accumulate(group.page_bytes)]
        held = [before[bisect_left(group.layers, end)] for end in ends]
        sizes.append([upto - start for start, upto in pairwise(held)])
    return tuple(map(max, zip(*sizes, strict=True)))


def longest_model_len(plan: CachePlan, blocks: int, limit: int, in_flight_tokens: int) -> int:
    """The longest context up to `limit` of which one request fits in `blocks`; 0 where none fits.

    Source: kv_cache_planning.py _estimate_max_model_len_from_groups, the same binary search.
    """
    return largest(limit, lambda length: plan.blocks_per_request(length, in_flight_tokens) <= blocks)

"""What a step reads and multiplies of a model, as `planner.speed` asks for it."""

from __future__ import annotations

from typing import assert_never

from planner.engines.shards import axis_size, module_bytes, state_bytes, token_bytes
from planner.facts.attention import (
    Attention,
    ChunkedLocal,
    CompressedCache,
    CrossAttention,
    FullAttention,
    LatentAttention,
    RecurrentState,
    SlidingWindow,
    window,
)
from planner.facts.config import CacheLayout, Parallel
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts, Linear, Module, Tensor, TensorRole
from planner.speed.work import CacheRead, Weights, shape_of

SPARSE_TOKENS = 2048  # of which an indexer lets each token see: index_topk of DeepSeek V3.2, V4 and GLM 5


def module_macs(module: Module, parallel: Parallel) -> int:
    """Weights of a matrix on one rank: what one token multiplies (of experts: all of them, the caller takes its share)."""
    tp = parallel.tensor_parallel_size
    match module:
        case Linear():
            return axis_size(module.inputs, tp) * sum(axis_size(axis, tp) for axis in module.outputs)
        case Experts():
            return module.experts * (module.shards + 1) * module.hidden * module.intermediate // tp
        case Tensor():
            return 0
        case _:
            assert_never(module)


def is_table(module: Module) -> bool:
    """Whether single rows are looked up in it."""
    return isinstance(module, Tensor) and module.role is TensorRole.NGRAMS


def weights(model: ModelSpec, parallel: Parallel, dtype_bits: int = 16) -> Weights:
    """What one rank of vLLM reads and multiplies; the embedding's lookup and the vision tower take no part in decoding."""
    dense = [(module, len(group.indices)) for group in model.layers for module in group.modules if not isinstance(module, Experts) and not is_table(module)]
    banks = [(module, len(group.indices)) for group in model.layers for module in group.modules if isinstance(module, Experts)]
    head_macs = model.vocab_size * model.hidden_size // parallel.tensor_parallel_size
    head = sum(module_bytes(module, parallel, dtype_bits) for module in model.last)
    return Weights(
        dense_bytes=sum(count * module_bytes(module, parallel, dtype_bits) for module, count in dense),
        head_bytes=max(head, head_macs * dtype_bits // 8) if not model.pooling else head,  # a tied head is the embedding, read once more
        expert_bytes=sum(count * module_bytes(module, parallel, dtype_bits) for module, count in banks),
        dense_macs=sum(count * module_macs(module, parallel) for module, count in dense),
        head_macs=head_macs,
        expert_macs=sum(count * module_macs(module, parallel) for module, count in banks),
    )


def cache_reads(model: ModelSpec, tp: int, layout: CacheLayout) -> tuple[CacheRead, ...]:
    """The caches of all layers by kind, as one rank reads them."""
    reads: dict[Attention, int] = {}
    for group in model.layers:
        for cache in group.caches:
            reads[cache] = reads.get(cache, 0) + len(group.indices)
    return tuple(_read(cache, layers, model.attention_heads, tp, layout) for cache, layers in reads.items())


def _read(cache: Attention, layers: int, heads: int, tp: int, layout: CacheLayout) -> CacheRead:
    match cache:
        case FullAttention() | SlidingWindow() | ChunkedLocal() | CrossAttention():
            flops = layers * 2 * heads * (cache.head_dim + cache.head_dim_v) // tp
            return CacheRead(bytes_per_token=layers * token_bytes(cache, tp, layout), flops_per_pair=flops, window=window(cache))
        case LatentAttention():
            plain = 0 if cache.index_dim else layers * 2 * heads * (cache.latent_dim // 4 + cache.rope_dim + cache.latent_dim // 4) // tp
            seen = SPARSE_TOKENS if cache.sparse and not cache.index_dim else None
            return CacheRead(bytes_per_token=layers * token_bytes(cache, tp, layout), flops_per_pair=plain, window=seen)
        case CompressedCache():
            per_token = layers * cache.entry_bytes // cache.tokens_per_entry
            return CacheRead(bytes_per_token=per_token, flops_per_pair=0, window=window(cache))
        case RecurrentState():
            return CacheRead(bytes_per_token=0, flops_per_pair=0, fixed_bytes=2 * layers * state_bytes(cache, tp, layout))
        case _:
            assert_never(cache)


def active_parameters(model: ModelSpec) -> int:
    """Parameters that one token is multiplied with: of the routed experts those it is sent to."""
    held, shape = weights(model, Parallel()), shape_of(model)
    routed = held.expert_macs * min(shape.experts_per_token, shape.experts) // max(1, shape.experts)
    return int(held.dense_macs + held.head_macs + routed)

"""How llama.cpp takes memory: KV cache by type, compute buffer, by one layer and one device.

Sources: llama.cpp @0c1e57098, src/llama-kv-cache*.cpp, llama-model.cpp load_tensors, llama-context.cpp; the compute buffer's terms were
read off its own allocator for seventeen models (tests/data/llama_cpp_sizes.json), and agree with CUDA logs within 3 % (docs/accuracy.md).
"""

from __future__ import annotations

from math import prod
from typing import assert_never

from planner.engines.llamacpp.ggml import TYPES
from planner.engines.llamacpp.layers import Placement
from planner.engines.llamacpp.model import GgufModel
from planner.facts.attention import Attention, ChunkedLocal, CompressedCache, CrossAttention, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.facts.modules import Axis
from planner.facts.record import dataclass
from planner.units import MIB, round_up

CELL_PADDING = 256  # llama-context.cpp: n_ctx is padded
FIT_MARGIN_BYTES = 1024 * MIB  # common/fit: -fitt; what llama.cpp leaves free on each device before it moves layers to the CPU
PIPELINE_COPIES = 4  # of the inputs, where layers are split over several GPUs (ggml-backend.cpp GGML_SCHED_MAX_COPIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppConfig:
    """The settings of one llama-server. `context` is for one request; `parallel` of them share the cache of context x parallel tokens.

    `sequences` share each of the `parallel` caches (a unified one: windows and states are kept for each, the rest is common).
    `gpu_layers` counts the output layer as one; None: all. `value_type` is that of the values where it is not that of the keys.
    `cpu_moe_layers`: the first so many layers' experts stay in main memory; `overrides`: patterns of tensors and where they lie;
    `tensor_split`: shares of the GPUs, nothing where what is free decides. `placement` is what the fit made of what was left open.
    """

    context: int
    parallel: int = 1
    sequences: int = 1
    kv_type: str = "f16"
    value_type: str = ""
    kv_on_gpu: bool = True
    flash_attention: bool = True
    ubatch: int = 512
    gpu_layers: int | None = None
    vision: bool = True
    cpu_moe_layers: int = 0
    overrides: tuple[tuple[str, str], ...] = ()
    tensor_split: tuple[float, ...] = ()
    placement: Placement | None = None

    @property
    def cells(self) -> int:
        """Tokens the cache holds for all requests together."""
        return round_up(self.context, CELL_PADDING) * self.parallel


def kv_bits(kv_type: str) -> tuple[int, int]:
    """Elements and bytes of a block of a cache type."""
    return TYPES[kv_type.upper()]


def cache_bytes(attention: Attention, config: LlamaCppConfig) -> int:
    """Bytes of the cache of one layer, for all parallel requests."""
    elements, size = kv_bits(config.kv_type)
    match attention:
        case FullAttention() | ChunkedLocal() | CrossAttention():
            return _keys_and_values(config, config.cells * attention.kv_heads, attention.head_dim, attention.head_dim_v)
        case SlidingWindow():
            held = min(round_up(config.context, CELL_PADDING), attention.window * config.sequences + config.ubatch)
            window = round_up(held, CELL_PADDING) * config.parallel
            return _keys_and_values(config, window * attention.kv_heads, attention.head_dim, attention.head_dim_v)
        case LatentAttention(index_dim=index_dim) if index_dim:
            return config.cells * attention.index_dim * 2
        case LatentAttention():
            return config.cells * (attention.latent_dim + attention.rope_dim) // elements * size  # no values: they are a view of the keys
        case CompressedCache(window=window, tokens_per_entry=tokens, entry_bytes=entry):
            held = min(config.context, window) if window else config.context
            return held // tokens * entry * config.parallel
        case RecurrentState():
            return sum(_elements(tensor.axes) for tensor in attention.tensors) * 4 * config.parallel * config.sequences  # states are kept in 32 bits
        case _:
            assert_never(attention)


def _keys_and_values(config: LlamaCppConfig, rows: int, key_dim: int, value_dim: int) -> int:
    """Bytes of so many rows of keys and of values, each in its type."""
    (keys, key_bytes), (values, value_bytes) = kv_bits(config.kv_type), kv_bits(config.value_type or config.kv_type)
    return rows * key_dim // keys * key_bytes + rows * value_dim // values * value_bytes


def _elements(axes: tuple[Axis, ...]) -> int:
    return prod(axis.size for axis in axes)


def kv_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """Bytes of the cache of all layers."""
    return sum(cache_bytes(attention, config) * count for attention, count in model.caches)


def compute_bytes(model: GgufModel, config: LlamaCppConfig, *, gpus: int = 1, on_gpu: bool = True, has_output: bool = True, copied_bytes: int = 0) -> int:
    """The scratch buffer of one device: the largest of what lives at once at the head, in a feed-forward block, or in plain attention.

    `has_output`: the head is there. `copied_bytes`: the largest tensor in main memory that a batch's matrix product is given here.

    Rows are one micro-batch of 32-bit values. The mask of a batch against the cache is 16-bit with flash attention, 32-bit without.
    The CPU backend, whose allocator was read, keeps one more hidden state than CUDA's logs show.
    """
    row = config.ubatch * 4
    cells = round_up(config.context, CELL_PADDING)
    copies = PIPELINE_COPIES - 1 if gpus > 1 else 0
    queries = 0 if model.fused_qkv else model.query_width
    more = 0 if on_gpu else 1
    head = row * (model.vocab + (1 + more) * model.hidden)
    mask = cells * config.ubatch * (2 if config.flash_attention else 4)
    block = mask + row * (3 * model.ffn_width + queries + 3 * model.hidden) + copied_bytes
    attention = 0
    if not config.flash_attention and not model.pooling:
        wide = 2 * model.query_width if on_gpu or not model.fused_qkv else 0
        wide += 2 * model.kv_width if model.fused_qkv or not on_gpu else 0
        attention = mask + row * (model.heads * cells + (2 + more) * model.hidden + wide)
    return max(head if has_output and not model.pooling else 0, block, attention) + copies * (mask + row * model.hidden)

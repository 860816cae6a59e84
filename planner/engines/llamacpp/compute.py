"""llama.cpp's compute buffer: what its allocator lays out for one micro-batch, as the largest of what lives at once.

Read off llama.cpp's own graphs and allocator with a device of CUDA's rules (tests/oracle/llamacpp_device.py; builds b8390, b9842, b10361, v0.4.0 and
v0.5.0) for twenty models: src/llama-graph.cpp, ggml/src/ggml-alloc.c, ggml-cuda/fattn.cu ggml_cuda_flash_attn_ext_get_alloc_size.
"""

from __future__ import annotations

from typing import assert_never

from planner.engines.llamacpp.builds import COPIES_RESERVED, FEW_OUTPUTS, MASK_IS_HALF
from planner.engines.llamacpp.memory import CELL_PADDING, LlamaCppConfig, window_cells
from planner.engines.llamacpp.model import GgufModel
from planner.facts.attention import Attention, ChunkedLocal, CompressedCache, CrossAttention, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.facts.record import dataclass
from planner.units import round_up

_CAST = 6  # bytes of a mask that is there in 32 bits and is being copied into 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """The largest tensors of main memory that a device is given for a batch of 32 tokens or more: a matrix, the bank of experts before it, a layer's cache.

    Of the cache where the layer lies in main memory: v0.5.0's allocator on a card of CUDA's rules has it within 17 % of its sum with the rest.
    """

    weights_bytes: int = 0
    bank_bytes: int = 0
    cache_bytes: int = 0


def head_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """The compute buffer of a context of predicting layers: one block, whose mask is gone before its feed-forward (v0.5.0: never less, up to 7 % more)."""
    row = config.ubatch * 4
    block = 3 * model.hidden + 3 * (model.dense_width or model.ffn_width) + model.experts_out
    return max(_attention_bytes(model, config), row * block)


def compute_bytes(
    model: GgufModel, config: LlamaCppConfig, *, has_output: bool = True, copied: Copied | None = None, kept_bytes: int = 0, copies: int = 1
) -> int:
    """The compute buffer of one device.

    `has_output`: the head is there. `copied`: what a batch is given here of main memory. `kept_bytes`: what other devices send, which lies there for
    the whole step, as its masks do where there are several `copies` of them.
    """
    copied = copied or Copied()
    row = config.ubatch * 4
    mask = mask_bytes(model, config, _mask_width(config))
    moments = [mask + row * _block_width(model) + copied.weights_bytes]
    if not model.pooling:
        moments += [_attention_bytes(model, config) + copied.weights_bytes + copied.cache_bytes, _delta_bytes(model, config)]
    if has_output and not model.pooling:
        inputs_of_layers = mask + row * (2 * model.hidden + model.layer_inputs) if model.layer_inputs and copies == 1 else 0  # as long as the last layer
        kept = mask if copies > 1 else 0
        moments.append(4 * outputs(config) * model.vocab + row * model.hidden + max(inputs_of_layers, kept))
    return max(moments) + (copies - 1) * mask_bytes(model, config, _input_width(config)) + kept_bytes


def outputs(config: LlamaCppConfig) -> int:
    """Tokens of a micro-batch for which logits are reserved: one of each slot with what is drafted for it (tools/server/server-context.cpp)."""
    if config.build < FEW_OUTPUTS:
        return config.ubatch
    return min(config.ubatch, config.parallel * config.sequences * (1 + config.drafted))


def mask_bytes(model: GgufModel, config: LlamaCppConfig, width: int) -> int:
    """The masks of a micro-batch against a cache: one for layers that see all of it, one for those with a window. `width`: bytes of an element."""
    cells = 0
    kinds = [attention for attention, _ in model.caches]
    if any(not isinstance(attention, SlidingWindow | RecurrentState) for attention in kinds):
        cells += round_up(config.context, CELL_PADDING)
    cells += max((window_cells(attention, config) for attention in kinds if isinstance(attention, SlidingWindow)), default=0)
    return cells * config.ubatch * width


def pool_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """What CUDA's pool takes beside the buffer, at full length: in older builds the 16-bit copies of one layer's quantized cache."""
    return _copies(model, config) if config.flash_attention and config.build < COPIES_RESERVED else 0


def _input_width(config: LlamaCppConfig) -> int:
    """Bytes of an element of a mask as a device is sent it."""
    return 2 if config.flash_attention and config.build >= MASK_IS_HALF else 4


def _mask_width(config: LlamaCppConfig) -> int:
    return 2 if config.flash_attention else 4


def _block_width(model: GgufModel) -> int:
    """Values of a token at once in a feed-forward block: gate, up and their product, the hidden state twice, queries that are not freed yet.

    What the experts of a token put out lies behind them, unless it fits where gate and up were.
    """
    queries = 0 if model.fused_qkv or model.has_state else model.query_width
    dense = 3 * model.dense_width + queries + 2 * model.hidden + model.layer_inputs if model.dense_width else 0
    if not model.experts_out:
        return dense
    width, out = model.ffn_width, model.experts_out if model.experts_out > 2 * model.ffn_width else 0
    if model.has_state:
        return max(dense, 3 * model.hidden + 3 * width + out)
    return max(dense, 2 * model.hidden + queries + (2 if queries >= width else 3) * width + out)


def _attention_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """A layer's attention: with its mask the queries, the keys and what comes of them; without flash attention every query against every cell."""
    row, cells = config.ubatch * 4, round_up(config.context, CELL_PADDING)
    gate = model.query_width if model.gated_query else 0
    fused = model.query_width + 2 * model.kv_width if model.fused_qkv else 0
    latent = max((attention for attention, _ in model.caches if isinstance(attention, LatentAttention)), key=lambda kind: kind.latent_dim, default=None)
    if not config.flash_attention:
        wide = 2 * model.kv_width + (0 if fused else 2 * model.query_width) + gate
        wide = model.heads * (4 * latent.latent_dim + 2 * latent.rope_dim) if latent else wide
        return mask_bytes(model, config, 4) + row * (model.heads * cells + 2 * model.hidden + wide + model.layer_inputs)
    wide = 2 * model.hidden + 2 * model.query_width + fused + 3 * gate + 2 * model.layer_inputs
    if latent:  # queries in the latent space, and what comes of them
        wide = 2 * model.hidden + model.heads * ((3 if config.kv_type == "f16" else 4) * latent.latent_dim + 2 * latent.rope_dim)
    if config.build < MASK_IS_HALF:
        return mask_bytes(model, config, _CAST) + row * (wide - (2 * model.query_width + fused if fused else 0))
    return mask_bytes(model, config, 2) + row * wide + (_copies(model, config) if config.build >= COPIES_RESERVED else 0)


def _delta_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """A gated delta net's convolution: the hidden state twice, what goes in, what is joined with the state before and what comes out; largest in small models."""
    if not model.gated_query:
        return 0
    kept = [tensor.axes for attention, _ in model.caches if isinstance(attention, RecurrentState) for tensor in attention.tensors if len(tensor.axes) == 2]
    steps, width = max(((axes[0].size, axes[1].size) for axes in kept), key=lambda sizes: sizes[1], default=(0, 0))
    states = 2 * 4 * steps * width * config.parallel * config.sequences
    return mask_bytes(model, config, _mask_width(config)) + config.ubatch * 4 * (2 * model.hidden + 3 * width) + states


def _copies(model: GgufModel, config: LlamaCppConfig) -> int:
    """The 16-bit copies of the largest layer's keys and values that flash attention makes of a cache of another type."""
    return max((_copied(attention, config) for attention, _ in model.caches), default=0)


def _copied(attention: Attention, config: LlamaCppConfig) -> int:
    keys, values = config.kv_type != "f16", (config.value_type or config.kv_type) != "f16"
    match attention:
        case FullAttention() | ChunkedLocal() | CrossAttention():
            cells = config.cells
        case SlidingWindow():
            cells = window_cells(attention, config) * config.parallel
        case LatentAttention():
            return config.cells * (attention.latent_dim + attention.rope_dim) * 2 * keys  # the values are a view of them
        case RecurrentState() | CompressedCache():
            return 0
        case _:
            assert_never(attention)
    return cells * attention.kv_heads * (attention.head_dim * keys + attention.head_dim_v * values) * 2

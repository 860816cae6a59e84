"""llama.cpp's compute buffer: what its allocator lays out for one micro-batch, as the largest of what lives at once.

Read off llama.cpp's own graphs and allocator with a device of CUDA's rules (tests/oracle/llamacpp_device.py; builds b8390, b9842, b10361, v0.4.0 and
v0.5.0) for twenty models: src/llama-graph.cpp, ggml/src/ggml-alloc.c, ggml-cuda/fattn.cu ggml_cuda_flash_attn_ext_get_alloc_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from planner.engines.llamacpp.backend import CHUNK_BYTES, LARGEST_TENSOR_BYTES, Backend
from planner.engines.llamacpp.builds import BOTH_INPUTS, COPIES_RESERVED, FEW_OUTPUTS, GATED_AT_ONCE, MASK_IS_HALF, ROTATED, ROWS_ARE_SET
from planner.engines.llamacpp.desk import Lent, Step
from planner.engines.llamacpp.encoding import encoder_bytes, encoder_host_bytes, is_encoder
from planner.engines.llamacpp.flow import Flow, Mixer
from planner.engines.llamacpp.memory import LlamaCppConfig, index_width, window_cells
from planner.engines.llamacpp.model import GgufModel
from planner.engines.llamacpp.sending import Own
from planner.engines.llamacpp.walk import Peaks, peaks
from planner.facts.attention import Attention, ChunkedLocal, CompressedCache, CrossAttention, FullAttention, LatentAttention, RecurrentState, SlidingWindow


def head_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """The compute buffer of a context of predicting layers."""
    own = Own(tuple(range(model.layer_count)), is_head=True)
    most = _peaks(model, _with_kernel(model, config), own=own, keeps_rows=config.flash_attention)
    return max(most.mixer, most.block)


def compute_bytes(
    model: GgufModel,
    config: LlamaCppConfig,
    *,
    has_output: bool = True,
    lent: Sequence[Lent] = (),
    own: Own | None = None,
) -> int:
    """The compute buffer of one device.

    `has_output`: the head is there. `own`: the layers that it computes, where it does not compute all. `lent`: what of each layer a batch is given here of
    main memory.
    """
    if is_encoder(model):
        return encoder_bytes(model, config, lent)
    row, given = config.ubatch * 4, config
    config = _with_kernel(model, given)
    most = _peaks(model, config, lent, own, keeps_rows=given.flash_attention, has_output=has_output and not model.pooling)
    moments = [most.block]
    if not model.pooling:
        moments.append(most.mixer)
    if has_output and _embeds_with_logits(model, config):  # what tells which states are pooled stays, behind the masks as they came
        moments.append(row * (model.vocab + model.hidden) + mask_bytes(model, config, _input_width(config)))
    if has_output and not model.pooling and not (model.layer_inputs and _picks(model, config)):
        mask = mask_bytes(model, config, _mask_width(config))
        inputs_of_layers = mask + row * (2 * model.hidden + model.layer_inputs) if model.layer_inputs else 0  # as long as the last layer
        moments.append(4 * outputs(model, config) * model.vocab + row * model.hidden + (most.kept or inputs_of_layers))
    return max(moments) + twice_bytes(model, config) + _sorted_bytes(model, config)


def _sorted_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """Scores of a sparse indexer and what is sorted of them, in 32 bits in the place of the mask: GLM-5.2 at 768,000 tokens has 3,236 to 3,252 MiB (a log of b10505)."""
    if not any(isinstance(cache, LatentAttention) and index_width(cache) for cache, _ in model.caches):
        return 0
    return config.cells_each * config.ubatch * (2 * 4 - _mask_width(config))


def lent_head_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """The buffer of the first GPU where a batch of logits is made there of a head that lies in main memory and is copied; 0 where they are too few.

    Builds that reserved logits of a whole micro-batch always did so: 669.48 MiB of Llama 3 8B in Q4_K_M, of which the head is 410.98.
    """
    tokens = outputs(model, config)
    if (model.pooling and not _embeds_with_logits(model, config)) or not config.lends or tokens < _WORTH_A_COPY:
        return 0
    return model.output_bytes + 4 * tokens * model.vocab + 4 * config.ubatch * model.hidden


def twice_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """Scores that lie in Vulkan's buffer once more: a layer's fill a chunk of their own, and what is laid there before the next layer's keeps those out.

    So its library does it with models all of whose layers build them of queries that have a matrix of their own; with windows, states or one matrix for all it does not.
    """
    if config.backend is not Backend.VULKAN or config.flash_attention:
        return 0
    scores = _scores_bytes(model, config)
    is_all = all(flow.mixer in (Mixer.ATTENTION, Mixer.LATENT) and not flow.joined and not isinstance(flow.cache, SlidingWindow) for flow in model.flows)
    return scores if is_all and CHUNK_BYTES <= scores <= LARGEST_TENSOR_BYTES else 0


def has_foreign_scores(model: GgufModel, config: LlamaCppConfig) -> bool:
    """Whether Vulkan cannot hold the scores of a layer, which are computed in main memory then."""
    return config.backend is Backend.VULKAN and _scores_bytes(model, config) > LARGEST_TENSOR_BYTES


def _scores_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """The scores of a micro-batch in the layer with most of them, where they are built."""
    rows = 0 if config.flash_attention else config.ubatch
    cells = config.cells_each
    return (
        rows * 4 * max((flow.heads * (window_cells(flow.cache, config) if isinstance(flow.cache, SlidingWindow) else cells) for flow in model.flows), default=0)
    )


def host_compute_bytes(model: GgufModel, config: LlamaCppConfig, *, copies: int = 1, is_divided: bool = False) -> int:
    """The compute buffer in main memory: a micro-batch's inputs, of masks several `copies`, and what comes of the table of token embeddings.

    `is_divided`: layers lie there, whose keys and values (or what goes through a convolution) come back from a GPU, where the embeddings were.
    """
    if is_encoder(model):
        return encoder_host_bytes(model, config)
    row, kinds = config.ubatch * 4, [attention for attention, _ in model.caches]
    beside = 0 if config.flash_attention or config.build < ROWS_ARE_SET else sum(_value_places(kinds, keeps_rows=False)) // 4
    config = _with_kernel(model, config)
    inputs = row * ((1 + (config.build >= BOTH_INPUTS)) * model.hidden + model.deep + model.layer_inputs)
    back = max((_back_bytes(flow, row) for flow in model.flows), default=0) - row * model.hidden if is_divided else 0
    return inputs + copies * (mask_bytes(model, config, _input_width(config)) + row * beside) + max(0, back)


def _back_bytes(flow: Flow, row: int) -> int:
    if flow.joined:  # a view of keys spans queries, keys and values
        return row * (flow.queries + flow.keys + 2 * flow.values)
    return row * max(flow.convolved, flow.keys + flow.values if flow.mixer is Mixer.ATTENTION else flow.keys) + flow.kept_bytes


def _with_kernel(model: GgufModel, config: LlamaCppConfig) -> LlamaCppConfig:
    """Settings as a graph is built with: flash attention is turned off where the card has no kernel for a layer's heads (src/llama-context.cpp, `auto`)."""
    has_all = all(config.backend.has_kernel(flow.cache, flow.heads) for flow in model.flows)
    return config if has_all or not config.flash_attention else replace(config, flash_attention=False)


def _peaks(
    model: GgufModel, config: LlamaCppConfig, lent: Sequence[Lent] = (), own: Own | None = None, *, keeps_rows: bool = False, has_output: bool = True
) -> Peaks:
    """What lies at once in the graph of a micro-batch. `keeps_rows`: the cache was made for flash attention, so that values lie there as keys do."""
    flash, sequences = config.flash_attention, config.parallel * config.sequences
    kinds = [attention for attention, _ in model.caches]
    arrives_wide = flash and config.build < MASK_IS_HALF
    step = Step(
        rows=config.ubatch,
        sequences=sequences,
        hidden=model.hidden,
        masks_bytes=mask_bytes(model, config, _mask_width(config)),
        window_mask_bytes=window_mask_bytes(model, config, _mask_width(config)),
        cast_bytes=mask_bytes(model, config, 4) if arrives_wide else 0,
        flash_attention=flash,
        turns_keys=config.build >= ROTATED and _turns(config.kv_type, kinds),
        turns_values=config.build >= ROTATED and _turns(config.value_type or config.kv_type, kinds),
        cells=lambda cache: window_cells(cache, config) if isinstance(cache, SlidingWindow) else config.cells_each,
        copied=lambda cache: _copied(cache, config) if cache and config.build >= COPIES_RESERVED and config.backend.reserves_copies else 0,
        layer_inputs=model.layer_inputs,
        inputs_a_layer=model.layer_inputs // max(1, model.layer_count),
        places=_value_places(kinds, keeps_rows=keeps_rows) if config.build >= ROWS_ARE_SET else (),
        turns_cache=keeps_rows and not flash,
        is_early=config.build < GATED_AT_ONCE and not config.own_engine,
        picks=_picks(model, config),
        logits_bytes=4 * config.ubatch * model.vocab * has_output,
        deep=model.deep,
        positions=model.positions,
    )
    return peaks(model.flows, step, lent, own)


def _turns(kind: str, kinds: Sequence[Attention]) -> bool:
    """Whether what goes into a cache is rotated first: a quantized one, of heads that are a multiple of 64 (src/llama-kv-cache.cpp attn_rot_k)."""
    heads = [cache.head_dim for cache in kinds if isinstance(cache, FullAttention | SlidingWindow)]
    return kind not in ("f16", "bf16", "f32") and bool(heads) and all(size % 64 == 0 for size in heads)


def _value_places(kinds: Sequence[Attention], *, keeps_rows: bool) -> tuple[int, int]:
    """Bytes that tell where a token's values go, of caches of all and of windows: without flash attention each value of the widest layer has a place."""
    widest = [0, 0]
    for cache in kinds:
        if isinstance(cache, FullAttention | SlidingWindow):
            is_windowed = isinstance(cache, SlidingWindow)
            widest[is_windowed] = max(widest[is_windowed], cache.kv_heads * cache.head_dim_v)
    whole, windowed = (_PLACE_BYTES * (min(1, width) if keeps_rows else width) for width in widest)
    return whole, windowed


def _picks(model: GgufModel, config: LlamaCppConfig) -> bool:
    """Whether the last layer is laid out in full, for logits of all tokens.

    Where embeddings for each layer are joined it is so only while masks came wide: 569.01 MiB of Gemma 4 E4B at 32,768 tokens with whole windows in b9400.
    """
    if config.build < GATED_AT_ONCE:
        return not config.own_engine
    if model.layer_inputs:
        is_laid = config.build < MASK_IS_HALF and not any(flow.has_streams for flow in model.flows)
    else:
        is_laid = config.build >= MASK_IS_HALF or model.has_experts or model.has_state or _is_plain(model, config)
    return is_laid and outputs(model, config) >= config.ubatch


def _is_plain(model: GgufModel, config: LlamaCppConfig) -> bool:
    """Whether a dense model's wide masks lie as the allocator of b7347 and b8390 has them (tests/oracle/llamacpp_wide.py), but for one of 63 at 16,384 tokens (Qwen2.5 14B: 359 for 317 MiB).

    Not on Vulkan, with a quantized cache that is turned, with one matrix for queries, keys and values, or before batches were told their places: logs of these
    (304 MiB of Qwen2.5 7B at 16,384 tokens, 306.75 of Qwen3 14B in b5800, 304.75 of Qwen3 8B in four bits, 206 of Phi-4) have logits behind the hidden states alone.
    """
    kinds = [attention for attention, _ in model.caches]
    is_turned = config.build >= ROTATED and (_turns(config.kv_type, kinds) or _turns(config.value_type or config.kv_type, kinds))
    is_other = config.backend is Backend.VULKAN or is_turned or any(flow.joined for flow in model.flows)
    return config.flash_attention and config.build >= ROWS_ARE_SET and not is_other


_PLACE_BYTES = 8
_WORTH_A_COPY = 32  # tokens, from which on a backend takes a matrix of main memory (ggml-cuda.cu offload_op)


def outputs(model: GgufModel, config: LlamaCppConfig) -> int:
    """Tokens of a micro-batch for which logits are reserved: one of each slot with what is drafted for it; of a server of embeddings all.

    Source: tools/server/server-context.cpp server_output_limits.
    """
    if _embeds_with_logits(model, config) or (config.build < FEW_OUTPUTS and not config.own_engine):
        return config.ubatch
    return min(config.ubatch, config.parallel * config.sequences * (1 + config.drafted))


def _embeds_with_logits(model: GgufModel, config: LlamaCppConfig) -> bool:
    """Whether a server of embeddings makes logits of every token beside them: of all decoders, whose graphs end in a head; Ollama's own engine has graphs without."""
    return model.pooling and model.has_logits and not config.own_engine


def mask_bytes(model: GgufModel, config: LlamaCppConfig, width: int) -> int:
    """The masks of a micro-batch against a cache: one for layers that see all of it, one for those with a window. `width`: bytes of an element."""
    whole = any(not isinstance(attention, SlidingWindow | RecurrentState) for attention, _ in model.caches)
    return window_mask_bytes(model, config, width) + whole * config.cells_each * config.ubatch * width


def window_mask_bytes(model: GgufModel, config: LlamaCppConfig, width: int) -> int:
    """The one of layers with a window."""
    return max((window_cells(cache, config) for cache, _ in model.caches if isinstance(cache, SlidingWindow)), default=0) * config.ubatch * width


def pool_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """What CUDA's pool takes beside the buffer, at full length: in older builds the 16-bit copies of one layer's quantized cache."""
    return _copies(model, config) if config.flash_attention and config.build < COPIES_RESERVED and config.backend.reserves_copies else 0


def _input_width(config: LlamaCppConfig) -> int:
    """Bytes of an element of a mask as a device is sent it."""
    return 2 if config.flash_attention and config.build >= MASK_IS_HALF else 4


def _mask_width(config: LlamaCppConfig) -> int:
    return 2 if config.flash_attention else 4


def _copies(model: GgufModel, config: LlamaCppConfig) -> int:
    """The 16-bit copies of the largest layer's keys and values that flash attention makes of a cache of another type."""
    return max((_copied(attention, config) for attention, _ in model.caches), default=0)


def _copied(attention: Attention, config: LlamaCppConfig) -> int:
    keys, values = config.kv_type != "f16", (config.value_type or config.kv_type) != "f16"
    match attention:
        case FullAttention() | ChunkedLocal() | CrossAttention():
            cells = config.cells
        case SlidingWindow():
            cells = window_cells(attention, config) * config.caches
        case LatentAttention():
            return config.cells * (attention.latent_dim + attention.rope_dim) * 2 * keys  # the values are a view of them
        case RecurrentState() | CompressedCache():
            return 0
        case _:
            assert_never(attention)
    return cells * attention.kv_heads * (attention.head_dim * keys + attention.head_dim_v * values) * 2

"""How llama.cpp keeps its caches: by type, by kind of attention, by slot.

Sources: llama.cpp @0c1e57098, src/llama-kv-cache*.cpp, src/llama-memory-recurrent.cpp, llama-context.cpp.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import assert_never

from planner.engines.llamacpp.backend import Backend
from planner.engines.llamacpp.builds import CELLS_BY_256, DEFAULT_BUILD, REQUESTS_APART, WINDOWS_ARE_KEPT
from planner.engines.llamacpp.drafter import Drafter, Drafting
from planner.engines.llamacpp.ggml import TYPES
from planner.engines.llamacpp.layers import Placement
from planner.engines.llamacpp.model import GgufModel
from planner.facts.attention import Attention, ChunkedLocal, CompressedCache, CrossAttention, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.facts.modules import Axis
from planner.facts.record import dataclass
from planner.units import MIB, round_up

CELL_PADDING = 256  # llama-context.cpp: n_ctx is padded
_EARLY_PADDING = 32  # without flash attention, before (llama_kv_cache get_padding)
FIT_MARGIN_BYTES = 1024 * MIB  # common/fit: -fitt; what llama.cpp leaves free on each device before it moves layers to the CPU
PIPELINE_COPIES = 4  # of the inputs, where layers are split over several GPUs (ggml-backend.cpp GGML_SCHED_MAX_COPIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppConfig:
    """The settings of one llama-server. `context` is for one request; `parallel` of them share the cache of context x parallel tokens.

    `sequences` share each of the `parallel` caches (a unified one: windows and states are kept for each, the rest is common).
    `whole_windows`: layers with a window keep the whole context (--swa-full); `window_memory`: tokens of a sequence that they keep however small it is.
    `insists_on_flash`: a command asks for flash attention, also where a card has no kernel. `own_engine`: Ollama's, whose windows are kept and whose logits are reserved of one token a sequence whatever the build. `image_tokens`: the most of an image; 0 is the model's own. `drafted`: tokens that are drafted for each sequence. `snapshots`: earlier
    recurrent states that are kept beside each. `drafter`: what drafts, with a context of its own. `gpu_layers` counts the output layer as one; None: all. `value_type` is that of the values where it is not that of the keys.
    `cpu_moe_layers`: the first so many layers' experts stay in main memory; `overrides`: patterns of tensors and where they lie;
    `tensor_split`: shares of the GPUs, nothing where what is free decides. `lends`: batches are computed on the first GPU where a layer lies in main memory (--op-offload). `split_tensors`: each matrix and each cache lies in parts on all GPUs. `placement` is what the fit made of what was left open.
    """

    context: int
    parallel: int = 1
    sequences: int = 1
    kv_type: str = "f16"
    value_type: str = ""
    kv_on_gpu: bool = True
    lends: bool = True
    flash_attention: bool = True
    insists_on_flash: bool = False
    whole_windows: bool = False
    window_memory: int = 0
    own_engine: bool = False
    ubatch: int = 512
    gpu_layers: int | None = None
    vision: bool = True
    cpu_moe_layers: int = 0
    overrides: tuple[tuple[str, str], ...] = ()
    tensor_split: tuple[float, ...] = ()
    split_tensors: bool = False
    placement: Placement | None = None
    image_tokens: int = 0
    drafted: int = 0
    snapshots: int = 0
    drafter: Drafter | None = None
    build: int = DEFAULT_BUILD
    backend: Backend = Backend.CUDA

    @property
    def caches(self) -> int:
        """Caches that lie apart: one for each of the parallel requests; in earlier builds, and in Ollama's own engine (kvcache/causal.go), they share one."""
        return self.parallel if self.build >= REQUESTS_APART and not self.own_engine else 1

    @property
    def sharing(self) -> int:
        """Requests that share a cache."""
        return self.sequences * self.parallel // self.caches

    @property
    def cells(self) -> int:
        """Tokens the cache holds for all requests together."""
        return self.cells_each * self.caches

    @property
    def cells_each(self) -> int:
        """Tokens that each of the caches holds."""
        padding = CELL_PADDING if self.flash_attention or self.build >= CELLS_BY_256 else _EARLY_PADDING
        return round_up(self.context * self.parallel // self.caches, padding)


def with_drafts(config: LlamaCppConfig, drafting: Drafting, model: GgufModel) -> LlamaCppConfig:
    """A configuration with what drafts for it."""
    return replace(config, drafted=drafting.drafted, drafter=drafting.drafter, snapshots=drafting.states(model, config.build))


def kv_bits(kv_type: str) -> tuple[int, int]:
    """Elements and bytes of a block of a cache type."""
    return TYPES[kv_type.upper()]


def cache_bytes(attention: Attention, config: LlamaCppConfig, value_width: int = 0) -> int:
    """Bytes of the cache of one layer, for all parallel requests. `value_width`: that of the model's widest values (`widest_values`)."""
    elements, size = kv_bits(config.kv_type)
    match attention:
        case FullAttention() | ChunkedLocal() | CrossAttention():
            return _keys_and_values(config, config.cells, attention.kv_heads * attention.head_dim, max(value_width, attention.kv_heads * attention.head_dim_v))
        case SlidingWindow():
            cells = window_cells(attention, config) * config.caches
            return _keys_and_values(config, cells, attention.kv_heads * attention.head_dim, max(value_width, attention.kv_heads * attention.head_dim_v))
        case LatentAttention(index_dim=index_dim) if index_dim:
            return config.cells * index_width(attention) * 2
        case LatentAttention():
            return config.cells * (attention.latent_dim + attention.rope_dim) // elements * size  # no values: they are a view of the keys
        case CompressedCache(window=window, tokens_per_entry=tokens, entry_bytes=entry):
            held = min(config.context, window) if window else config.context
            return held // tokens * entry * config.parallel
        case RecurrentState():
            return sum(_elements(tensor.axes) for tensor in attention.tensors) * 4 * config.parallel * config.sequences * (1 + config.snapshots)
        case _:
            assert_never(attention)


def index_width(attention: LatentAttention) -> int:
    """Values of a token in an indexer's own cache: vLLM's has bytes, and four of a scale with each 128 of them; 0 where there is none."""
    return attention.index_dim * 32 // 33


def keys_and_values(attention: Attention, config: LlamaCppConfig) -> tuple[int, int]:
    """Bytes of the keys and of the values in the cache of a layer with attention, as views of it are copied; with MLA both are one of the keys."""
    whole = cache_bytes(attention, config)
    match attention:
        case FullAttention() | ChunkedLocal() | CrossAttention() | SlidingWindow():
            cells = window_cells(attention, config) * config.caches if isinstance(attention, SlidingWindow) else config.cells
            values = _keys_and_values(config, cells, 0, attention.kv_heads * attention.head_dim_v)
            return whole - values, values
        case LatentAttention():
            return whole, whole
        case CompressedCache() | RecurrentState():
            return whole, 0
        case _:
            assert_never(attention)


def window_cells(attention: SlidingWindow, config: LlamaCppConfig) -> int:
    """Cells that a layer with a window keeps in each of the caches (src/llama-kv-cache-iswa.cpp)."""
    whole = config.cells_each
    kept = max(attention.window, config.window_memory)
    is_whole = config.whole_windows or (config.build < WINDOWS_ARE_KEPT and not config.own_engine)
    return whole if is_whole else min(whole, round_up(kept * config.sharing + config.ubatch, CELL_PADDING))


def _keys_and_values(config: LlamaCppConfig, rows: int, key_dim: int, value_dim: int) -> int:
    """Bytes of so many rows of keys and of values, each in its type."""
    (keys, key_bytes), (values, value_bytes) = kv_bits(config.kv_type), kv_bits(config.value_type or config.kv_type)
    return rows * key_dim // keys * key_bytes + rows * value_dim // values * value_bytes


def _elements(axes: tuple[Axis, ...]) -> int:
    return prod(axis.size for axis in axes)


def kv_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """Bytes of the cache of all layers."""
    widest = widest_values(model, config)
    return sum(cache_bytes(attention, config, widest) * count for attention, count in model.caches)


def widest_values(model: GgufModel, config: LlamaCppConfig) -> int:
    """Without flash attention values lie transposed, and each layer's take what the widest layer's take (src/llama-kv-cache.cpp n_embd_v_gqa_max); else 0."""
    if config.flash_attention:
        return 0
    return max((kind.kv_heads * kind.head_dim_v for kind, _ in model.caches if isinstance(kind, FullAttention | SlidingWindow)), default=0)

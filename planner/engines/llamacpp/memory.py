"""How llama.cpp takes memory: KV cache by type, compute buffer, which layers lie on which GPU.

Sources: llama.cpp @0c1e57098, src/llama-kv-cache*.cpp, llama-model.cpp load_tensors, llama-context.cpp; the compute buffer's terms were
read off its own allocator for seventeen models (tests/data/llama_cpp_sizes.json), and agree with CUDA logs within 3 % (docs/accuracy.md).
"""

from __future__ import annotations

from math import prod
from typing import assert_never

from planner.engines.llamacpp.ggml import TYPES
from planner.engines.llamacpp.model import GgufModel
from planner.facts.attention import Attention, ChunkedLocal, CompressedCache, CrossAttention, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.facts.hardware import GpuGroup
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


def compute_bytes(model: GgufModel, config: LlamaCppConfig, *, gpus: int = 1, on_gpu: bool = True) -> int:
    """The scratch buffer of one device: the largest of what lives at once at the head, in a feed-forward block, or in plain attention.

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
    block = mask + row * (3 * model.ffn_width + queries + 3 * model.hidden)
    attention = 0
    if not config.flash_attention and not model.pooling:
        wide = 2 * model.query_width if on_gpu or not model.fused_qkv else 0
        wide += 2 * model.kv_width if model.fused_qkv or not on_gpu else 0
        attention = mask + row * (model.heads * cells + (2 + more) * model.hidden + wide)
    return max(0 if model.pooling else head, block, attention) + copies * (mask + row * model.hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppLedger:
    """What the fullest GPU holds, and what stays in main memory, in bytes."""

    available_bytes: int
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    mmproj_bytes: int
    mmproj_compute_bytes: int
    layers_on_gpu: int
    layers: int
    host_weights_bytes: int
    host_kv_cache_bytes: int

    @property
    def used_bytes(self) -> int:
        """Everything on the GPU; the process's own context is outside what is available."""
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes + self.mmproj_bytes + self.mmproj_compute_bytes

    @property
    def is_whole(self) -> bool:
        """Whether every layer is on a GPU."""
        return self.layers_on_gpu > self.layers


def ledger(model: GgufModel, config: LlamaCppConfig, group: GpuGroup, *, gpus: int = 1) -> LlamaCppLedger:
    """The ledger over `gpus` GPUs of a group: the last layers and the output lie there, divided evenly; the first layers on the CPU."""
    layers = model.layer_count
    wanted = min(layers + 1, layers + 1 if config.gpu_layers is None else config.gpu_layers)
    first = layers + 1 - wanted  # load_tensors: i_gpu_start
    kv_layer = _kv_by_layer(model, config)
    on_gpu = range(min(first, layers), layers)
    share = -(-len(on_gpu) // gpus)
    fullest = list(on_gpu)[len(on_gpu) - share :]  # the GPU that also holds the output
    output = model.output_bytes if wanted > 0 else 0
    has_projector = config.vision and wanted > 0
    return LlamaCppLedger(
        available_bytes=group.free_at_start_bytes(1),
        weights_bytes=sum(model.layer_bytes[layer] for layer in fullest) + output,
        kv_cache_bytes=sum(kv_layer[layer] for layer in fullest) if config.kv_on_gpu else 0,
        compute_bytes=compute_bytes(model, config, gpus=gpus) if wanted else 0,
        mmproj_bytes=model.mmproj_bytes if has_projector else 0,
        mmproj_compute_bytes=model.mmproj_compute_bytes if has_projector else 0,
        layers_on_gpu=wanted,
        layers=layers,
        host_weights_bytes=model.input_bytes + sum(model.layer_bytes[:first]) + (model.output_bytes - output),
        host_kv_cache_bytes=sum(kv_layer[:first] if config.kv_on_gpu else kv_layer),
    )


def _kv_by_layer(model: GgufModel, config: LlamaCppConfig) -> list[int]:
    """The cache of each layer; layers of several kinds alternate, so the total is spread over them."""
    total = kv_bytes(model, config)
    layer_bytes, rest = divmod(total, model.layer_count)
    return [layer_bytes + (index < rest) for index in range(model.layer_count)]

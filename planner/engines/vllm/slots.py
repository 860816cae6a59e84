"""Caches that pack a key and a value of a head into one slot: TurboQuant, UltraQuant, Octave. Which models and GPUs take them, which layers stay in 16 bits.

Sources: vLLM 0.33 v1/attention/backends/{turboquant,ultraquant,rocm_octave}_attn.py, quantization/turboquant/config.py, engine/arg_utils.py; 0.20 to 0.32 as
versions.py says. Bytes of a slot: dtypes.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.engines.vllm.dtypes import SLOTS
from planner.engines.vllm.versions import CACHE_LAYOUTS, SKIPPED_BLOCKS_ALIGNED, TURBOQUANT_HYBRIDS, Version
from planner.errors import UnsupportedError
from planner.facts.attention import ChunkedLocal, CrossAttention, PerHead, per_head, window
from planner.facts.config import CacheLayout
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.not_covered import NotCovered

if TYPE_CHECKING:
    from planner.engines.vllm.settings import ServeConfig

BOUNDARY_LAYERS = 2  # at each end, in the model's dtype: without them TurboQuant's answers get much worse (get_boundary_skip_layers)
SPLITS = 32  # of a decode's work (config/attention.py tq_max_kv_splits_for_cuda_graph)
_PROMPT_AT_ONCE = 128  # longer prompts that go on are read from a copy of the cache in 16 bits (_CONTINUATION_DECODE_THRESHOLD)
_OCTAVE_GFX = ("gfx94", "gfx11")  # CDNA 3 and RDNA 3 (rocm_octave_attn.py supports_compute_capability)
_OCTAVE_HEAD = 256
_ROTATES_64 = ("Qwen3Next", "Qwen3_5")  # of heads of 256 (partial_rotary_factor 0.25)
_OCTAVE_NOT_JUDGED = ("Qwen4Exp",)  # heads as these, beside layers of its own: nobody asked vLLM
# Hybrids whose config names no layers of attention by any of the names that TurboQuant looks for (_get_full_attention_layer_indices; asked of vLLM)
_UNNAMED_LAYERS = ("FalconH1", "Zamba2", "NemotronHPuzzle", "Qwen4Exp", "KimiLinear")


def slot_backend(dtype: str) -> str:
    """The attention backend of a packed cache."""
    return {"turboquant": "TURBOQUANT", "ultraquant": "ULTRAQUANT"}.get(dtype.partition("_")[0], "ROCM_OCTAVE")


def boundary_layers(model: ModelSpec, dtype: str) -> tuple[str, ...]:
    """Layers that keep the model's dtype without being asked for: the first and last two of a model without states, not under Octave."""
    if dtype not in SLOTS or dtype.startswith("octave") or model.has_state:
        return ()
    ends = min(BOUNDARY_LAYERS, model.layer_count // 2)
    return tuple(str(layer) for layer in (*range(ends), *range(model.layer_count - ends, model.layer_count)))


def slot_layout(model: ModelSpec, gpu: GpuSpec, dtype: str, dtype_bits: int, release: Version) -> CacheLayout:
    """How such a cache lies. Raises UnsupportedError with vLLM's reason where it takes none."""
    backend = slot_backend(dtype)
    _refuse_gpu(gpu, dtype, backend)
    _refuse_hybrid(model, dtype, release)
    heads = [cache for attention in model.caches if (cache := per_head(attention))]
    if reasons := _reasons(model, heads, dtype, dtype_bits):
        raise UnsupportedError(f"No valid attention backend found for kv_cache_dtype={dtype}. Reasons: {{{backend}: [{', '.join(reasons)}]}}")
    _refuse_heads(model, heads, dtype)
    if gpu.capability // 10 == 10 and release.minor >= CACHE_LAYOUTS and boundary_layers(model, dtype):
        raise UnsupportedError(
            f"No KV cache layout satisfies every supported set: FlashInfer, which keeps the first and last layers on {gpu.title}, and {backend} lay tokens otherwise"
        )
    return CacheLayout(
        backend=backend,
        block_size=64 if backend == "ULTRAQUANT" else 16,
        bits=8,
        dtype_bits=dtype_bits,
        slot=SLOTS[dtype],
        state_checkpoints=gpu.capability >= 90,
        grows_skipped=release.minor >= SKIPPED_BLOCKS_ALIGNED,
    )


def refuse_named(name: str, model: ModelSpec, gpu: GpuSpec, dtype: str) -> None:
    """Raise UnsupportedError where a command names one backend for layers that need two, or another than their own; ROCm then chooses by layer."""
    asked = name.upper()
    if dtype not in SLOTS or asked in ("", "AUTO", "NONE") or gpu.vendor == "amd" or (asked == slot_backend(dtype) and not boundary_layers(model, dtype)):
        return
    raise UnsupportedError(f"Selected backend {asked} is not valid for this configuration. Reason: kv_cache_dtype not supported")


def _refuse_gpu(gpu: GpuSpec, dtype: str, backend: str) -> None:
    if backend == "TURBOQUANT":
        return
    if gpu.vendor != "amd":
        raise UnsupportedError(f"No valid attention backend found for cuda with kv_cache_dtype={dtype}: only ROCm has {backend}")
    if backend == "ROCM_OCTAVE" and not (gpu.gfx or "").startswith(_OCTAVE_GFX):
        raise UnsupportedError("ROCM_OCTAVE supports RDNA3 and CDNA3 only")


def _refuse_hybrid(model: ModelSpec, dtype: str, release: Version) -> None:
    if dtype.startswith("octave") or not model.has_state:
        return
    if release.minor < TURBOQUANT_HYBRIDS:
        raise UnsupportedError("TurboQuant KV cache is not supported for hybrid (attention + Mamba) models.")
    if model.architecture.startswith(_UNNAMED_LAYERS):
        raise UnsupportedError("TurboQuant KV cache requires identifiable full-attention layers, but none were found in the hybrid model config.")


def _reasons(model: ModelSpec, heads: list[PerHead], dtype: str, dtype_bits: int) -> list[str]:
    """Why no layer of a model can be of such a backend (v1/attention/backend.py validate_configuration)."""
    found = {
        "head_size not supported": dtype.startswith("octave") and any(cache.head_dim != _OCTAVE_HEAD for cache in heads),
        "dtype not supported": dtype_bits > 16,
        "kv_cache_dtype not supported": any(isinstance(cache, ChunkedLocal) or cache.head_dim != cache.head_dim_v for cache in heads),
        "partial multimodal token full attention not supported": model.bidirectional_images,
        "MLA not supported": model.is_latent,
        "sparse not supported": model.is_sparse or model.is_compressed,
        "attention sinks not supported": model.has_sinks,
        "attention type encoder_only not supported": model.is_encoder,
        "attention type encoder_decoder not supported": any(isinstance(cache, CrossAttention) for cache in model.caches),
        "sliding window not supported": any(window(cache) for cache in heads),
    }
    return [reason for reason, is_so in found.items() if is_so]


def _refuse_heads(model: ModelSpec, heads: list[PerHead], dtype: str) -> None:
    """What is refused as the layers are built or first run: rotations are of powers of two, scales of 32 codes."""
    odd = next((cache.head_dim for cache in heads if cache.head_dim & (cache.head_dim - 1)), 0)
    if dtype.startswith("octave") and not model.architecture.startswith((*_ROTATES_64, *_OCTAVE_NOT_JUDGED)):
        raise UnsupportedError("ROCM_OCTAVE kernels need ROCm, head_size=256 and 64 rotary dims")
    if odd and not dtype.startswith("turboquant_k8"):
        raise UnsupportedError(f"{slot_backend(dtype)} rotates heads by a Hadamard matrix, whose size is a power of two: heads of {odd} fail in the first step")


def unsure_slots(model: ModelSpec, config: ServeConfig) -> NotCovered | None:
    """What of a packed cache nobody knows: blocks where layers of several kinds meet otherwise than vLLM was asked about; None where all is known."""
    dtype = config.kv_cache_dtype
    if dtype == "nvfp4_ds_mla" and model.is_compressed:
        return NotCovered(flag=f"--kv-cache-dtype {dtype}", what="the layout of such a cache", effect="either")
    if dtype not in SLOTS:
        return None
    what = ""
    if boundary_layers(model, dtype) and config.pipeline_parallel_size > 1:
        what = "blocks whose size differs from stage to stage"
    elif model.drafter is not None and model.drafter.model is not None:
        what = "the cache of a drafter beside packed layers"
    elif (skipped := (config.kv_cache_dtype_skip_layers or "").split()) and (model.has_state or "sliding_window" in skipped):
        what = "blocks of layers that are skipped"
    return NotCovered(flag=f"--kv-cache-dtype {dtype}", what=what, effect="either") if what else None


def unjudged_octave(model: ModelSpec, dtype: str) -> bool:
    """Whether nobody knows if Octave's kernels take the heads of a model."""
    return dtype.startswith("octave") and model.architecture.startswith(_OCTAVE_NOT_JUDGED)


def slot_workspace(model: ModelSpec, config: ServeConfig) -> int:
    """Bytes that such a backend reserves once the cache is sized: partial sums of each request's splits, or a 16-bit copy of one request's cache.

    Source: turboquant_attn.py _reserve_workspace since 0.24, octave's _mid_o_shape is no larger; before, the same is taken as it is needed.
    """
    heads = [cache for attention in model.caches if (cache := per_head(attention))]
    if config.kv_cache_dtype not in SLOTS or not heads:
        return 0
    head, tp = heads[0], config.tensor_parallel_size
    rows = config.max_num_seqs * max(1, model.attention_heads // tp)
    splits = rows * (SPLITS * (head.head_dim + 1) * 4 + head.head_dim * 2 + 4)
    copies = 2 * max(1, head.kv_heads // tp) * config.max_model_len * head.head_dim * 2
    return max(splits, copies if config.max_num_batched_tokens > _PROMPT_AT_ONCE else 0)

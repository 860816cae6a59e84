"""Attention backends that a command may name: what each takes, and in which blocks it keeps the cache.

Read off vLLM 0.33's own classes on simulated GPUs (tests/oracle/list_backends.py: v1/attention/backends/*.py validate_configuration); of FlashInfer's,
CUTLASS's and ROCm's, which cannot be imported there, off their source. The sparse ones are not here: each stores the cache in a way of its own.
"""

from __future__ import annotations

from planner.errors import UnsupportedError
from planner.facts.attention import PerHead, per_head, window
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass

_SIXTEEN = ("auto", "float16", "bfloat16")
_E4M3 = ("fp8", "fp8_e4m3")
_PACKED = ("int4_per_token_head", "int8_per_token_head", "fp8_per_token_head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One attention backend. Block sizes are multiples of `blocks`' smallest where `multiples`, else exactly these."""

    name: str
    blocks: tuple[int, ...] = (16,)
    multiples: bool = True
    preferred: int = 16
    vendors: tuple[str, ...] = ("nvidia",)
    capabilities: tuple[int, int] = (0, 999)
    majors: tuple[int, ...] = ()
    latent: bool = False
    dtypes: tuple[str, ...] = _SIXTEEN
    heads: tuple[int, ...] = ()
    """Widths of a head; none: all."""
    sinks: bool = True
    images: bool = True
    windows: bool = True

    def supports_block(self, size: int) -> bool:
        """Whether a cache of such blocks can be split into the kernel's (v1/attention/backend.py supports_block_size)."""
        return any(size % block == 0 for block in self.blocks)

    def largest_block(self, tokens: int) -> int:
        """The kernel's largest block of at most so many tokens, or its smallest (attention.py _largest_kernel_block_within)."""
        sizes = [max(block, tokens // block * block) if self.multiples else block for block in self.blocks]
        return max((size for size in sizes if size <= tokens), default=min(sizes))


def _flash_attention(name: str) -> tuple[Backend, ...]:
    """FlashAttention 3 and 4 on Hopper and Blackwell take more than 2 elsewhere."""
    wide = Backend(name=name, majors=(9, 10), dtypes=(*_SIXTEEN, *_E4M3))
    plain = Backend(name=name, capabilities=(80, 129), heads=tuple(range(8, 257, 8)), sinks=False, images=False)
    return wide, plain


BACKENDS: tuple[Backend, ...] = (
    *_flash_attention("FLASH_ATTN"),
    *_flash_attention("FLASH_ATTN_DIFFKV"),
    Backend(name="TRITON_ATTN", capabilities=(89, 999), vendors=("nvidia", "amd"), dtypes=(*_SIXTEEN, *_E4M3, "fp8_e5m2", *_PACKED)),
    Backend(name="TRITON_ATTN", vendors=("nvidia", "amd"), dtypes=(*_SIXTEEN, *_PACKED)),
    Backend(name="TRITON_ATTN_DIFFKV", vendors=("nvidia", "amd"), dtypes=("auto", "bfloat16", *_E4M3)),
    Backend(
        name="FLASHINFER", blocks=(16, 32, 64, 128, 256, 512, 1024), multiples=False, majors=(10,), dtypes=(*_SIXTEEN, *_E4M3, "fp8_e5m2", "nvfp4", "nvfp4_4over6"), heads=(64, 128, 256), images=False,
    ),
    Backend(
        name="FLASHINFER", blocks=(16, 32, 64), multiples=False, majors=(9, 12), dtypes=(*_SIXTEEN, *_E4M3, "fp8_e5m2", "nvfp4"), heads=(64, 128, 256), images=False,
    ),
    Backend(
        name="FLASHINFER", blocks=(16, 32, 64), multiples=False, capabilities=(80, 121), dtypes=(*_SIXTEEN, *_E4M3, "fp8_e5m2", "nvfp4"), heads=(64, 128, 256), sinks=False, images=False,
    ),
    Backend(name="FLEX_ATTENTION", sinks=False),
    Backend(name="B12X", blocks=(64, 128), multiples=False, preferred=128, majors=(12,), dtypes=("auto", "bfloat16", *_E4M3), heads=(64, 128, 192, 256), images=False),
    Backend(name="HPC_ATTN", blocks=(64,), preferred=64, majors=(9,), dtypes=("auto", "bfloat16", "fp8_e4m3"), heads=(128,), sinks=False, images=False, windows=False),
    Backend(name="ROCM_ATTN", vendors=("amd",), dtypes=(*_SIXTEEN, *_E4M3, "fp8_e5m2"), heads=(32, 64, 80, 96, 128, 160, 192, 256), sinks=False, images=False),
    Backend(name="ROCM_AITER_FA", blocks=(16, 32), multiples=False, vendors=("amd",), dtypes=(*_SIXTEEN, *_E4M3, "fp8_e5m2"), heads=(64, 128, 256), images=False),
    Backend(name="ROCM_AITER_UNIFIED_ATTN", preferred=64, vendors=("amd",), dtypes=(*_SIXTEEN, *_E4M3, "fp8_e5m2")),
    Backend(name="TRITON_MLA", vendors=("nvidia", "amd"), latent=True, dtypes=(*_SIXTEEN, *_E4M3)),
    Backend(name="FLASHMLA", blocks=(64,), preferred=64, majors=(9, 10), latent=True, dtypes=(*_SIXTEEN, *_E4M3)),
    Backend(name="FLASH_ATTN_MLA", majors=(9,), latent=True),
    Backend(name="CUTLASS_MLA", blocks=(128,), multiples=False, preferred=128, majors=(10,), latent=True, dtypes=(*_SIXTEEN, *_E4M3)),
    Backend(name="FLASHINFER_MLA", blocks=(32, 64), multiples=False, preferred=32, majors=(10,), latent=True, dtypes=(*_SIXTEEN, *_E4M3)),
    Backend(name="TOKENSPEED_MLA", blocks=(32, 64), multiples=False, preferred=32, majors=(10,), latent=True, dtypes=_E4M3),
    Backend(name="ROCM_AITER_MLA", blocks=(1,), vendors=("amd",), latent=True, dtypes=(*_SIXTEEN, *_E4M3, "fp8_e5m2")),
    Backend(name="ROCM_AITER_TRITON_MLA", blocks=(1,), vendors=("amd",), latent=True, dtypes=(*_SIXTEEN, *_E4M3, "fp8_e5m2")),
)  # fmt: skip
AUTO = "AUTO"  # vLLM's own choice


def known(name: str) -> str:
    """The name of a backend whose layout is known here; empty for another. `_VLLM_V1` was part of some names until 0.11."""
    plain = name.upper().removesuffix("_VLLM_V1")
    return plain if any(backend.name == plain for backend in BACKENDS) else ""


def backend_on(name: str, gpu: GpuSpec) -> Backend | None:
    """A backend as it is on a GPU; None where it does not run there."""

    def runs(backend: Backend) -> bool:
        if gpu.vendor not in backend.vendors:
            return False
        if gpu.vendor != "nvidia":
            return True
        least, most = backend.capabilities
        return least <= gpu.capability <= most and (not backend.majors or gpu.capability // 10 in backend.majors)

    return next((backend for backend in BACKENDS if backend.name == name and runs(backend)), None)


def asked_backend(name: str, model: ModelSpec, gpu: GpuSpec, kv_cache_dtype: str) -> Backend:
    """The backend that a command names. Raises UnsupportedError with vLLM's reasons where it does not fit (platforms/cuda.py get_attn_backend_cls)."""
    backend = backend_on(name, gpu)
    reasons = _reasons(backend, model, kv_cache_dtype) if backend else ["compute capability not supported"]
    if backend is None or reasons:
        raise UnsupportedError(f"Selected backend {name} is not valid for this configuration. Reason: {', '.join(reasons)}")
    return backend


def asked_block(size: int, backend: Backend | None, model: ModelSpec, gpu: GpuSpec, *, named: bool) -> int:
    """The block size that a command names. Raises UnsupportedError where no kernel splits such blocks (v1/attention/backend.py supports_block_size)."""
    if backend and backend.supports_block(size):
        return size
    if named and backend:
        raise UnsupportedError(f"Selected backend {backend.name} is not valid for this configuration. Reason: block_size not supported")
    others = (other for other in BACKENDS if other.latent == model.is_latent and backend_on(other.name, gpu) is other)
    if not any(other.supports_block(size) for other in others):
        raise UnsupportedError(f"No valid attention backend found: block_size not supported ({size})")
    return size


REFUSED_SINCE = 33
# Classes that one backend alone builds, and what 0.33 says of another (models/rnj1.py, step1.py, models/flint/model.py); of earlier releases nothing is known.
_ONLY = {
    "Rnj1ForCausalLM": ("TRITON_ATTN", "the attention of {} got an unexpected keyword argument 'chunk_lookback'"),
    "Step1ForCausalLM": ("TRITON_ATTN", "use_alibi_sqrt is not supported by backend {}."),
    "FlintForCausalLM": ("FLASHINFER", "Flint requires FlashInfer attention, not {}"),
}


def refuse_other(model: ModelSpec, name: str, gpu: GpuSpec, *, named: bool) -> None:
    """Raise UnsupportedError where a class is not built with the backend that serves it: vLLM ends as it loads the model."""
    only, told = _ONLY.get(model.architecture, (name, ""))
    chosen = gpu.capability // 10 == 10 and only == "FLASHINFER" and not named  # what Blackwell takes by itself where its kernels can be had
    if name != only and not chosen and gpu.vendor == "nvidia":
        raise UnsupportedError(told.format(name), f"--attention-backend {only}")


# Since when caches may have a scale a head (0.14 takes one a tensor alone, 0.16 both: of 0.15, whose source was not read, not_covered.py says so), and since
# when FlashAttention reads FP8 caches on 10.x (backends/fa_utils.py flash_attn_supports_kv_cache_dtype).
SCALES_BY_HEAD, FP8_FLASH_BLACKWELL = 15, 27


def refuse_scales_by_head(name: str, gpu: GpuSpec, minor: int) -> None:
    """Raise UnsupportedError where the release has no cache with a scale a head, or no FlashAttention that reads one.

    Sources: compressed_tensors.py validate_kv_cache_scheme; v1/attention/backends/flash_attn.py supports_per_head_quant_scales.
    """
    hint = "a checkpoint whose cache has a scale a layer"
    if minor < SCALES_BY_HEAD:
        told = "Only support per-tensor scaling factor for compressed-tensors KV cache. Expected strategy: tensor, found strategy: attn_head"
        raise UnsupportedError(told, hint)
    reads = gpu.capability // 10 == 9 or (gpu.capability // 10 == 10 and minor >= FP8_FLASH_BLACKWELL)
    if name != "FLASH_ATTN" or not reads:
        raise UnsupportedError(f"No valid attention backend found: per-head quant scales not supported by {name}", hint)


def _reasons(backend: Backend, model: ModelSpec, kv_cache_dtype: str) -> list[str]:
    heads: list[PerHead] = [cache for attention in model.caches if (cache := per_head(attention))]
    told = []
    if backend.heads and any(cache.head_dim not in backend.heads for cache in heads):
        told.append("head_size not supported")
    if kv_cache_dtype not in backend.dtypes:
        told.append("kv_cache_dtype not supported")
    if model.bidirectional_images and not backend.images:
        told.append("partial multimodal token full attention not supported")
    if model.is_latent != backend.latent:
        told.append("MLA not supported" if model.is_latent else "non-MLA not supported")
    if model.has_sinks and not backend.sinks:
        told.append("attention sinks not supported")
    if any(window(cache) for cache in heads) and not backend.windows:
        told.append("sliding window not supported")
    return told

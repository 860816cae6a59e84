"""Which attention backend a GPU gets, how it stores the KV cache, what it refuses, by release.

Sources: vLLM 0.33.0 files named beside each rule; the tables were read off vLLM itself with simulated GPUs (tests/oracle).
"""

from __future__ import annotations

from planner.engines.vllm.backends import (
    FP8_FLASH_BLACKWELL,
    REFUSED_SINCE,
    Backend,
    asked_backend,
    asked_block,
    backend_on,
    known,
    refuse_other,
    refuse_scales_by_head,
)
from planner.engines.vllm.cache_options import NO_OPTIONS, CacheOptions
from planner.engines.vllm.dtypes import FP8_DTYPES, GAUDI_DTYPE, KV_CACHE_DTYPES, PACKED_DTYPES, SLOTS
from planner.engines.vllm.kvcache import SMALLEST_KERNEL_BLOCK
from planner.engines.vllm.versions import (
    DEEPSEEK_V4_ROCM,
    DEFAULT_VERSION,
    KV_DTYPES_SINCE,
    MODELOPT_CACHES,
    NVFP4_OFF_BLACKWELL,
    OLDEST,
    SPARSE_ROCM,
    SPARSE_ROCM_FP8,
    SPARSE_SM120,
    VERSIONS,
    Version,
)
from planner.errors import UnsupportedError
from planner.facts.attention import ChunkedLocal, CompressedCache, LatentAttention, PerHead, per_head
from planner.facts.config import CacheLayout
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.record import replace

_ROCM_MLA = ("gfx942", "gfx950")  # what AITER has kernels of sparse attention for
# hybrids that are pooled by their first token cache no prefixes of themselves (config/model.py is_prefix_caching_supported)
_BY_FIRST_TOKEN = ("ColQwen3_5", "ColBERTLfm2Model")
_MLA_FP8_TOKEN_BYTES = 656  # fp8_ds_mla: 512 FP8 + 4 float32 scales + 64 bfloat16 (mla_attention.py:1386)
_MLA_NVFP4_TOKEN_BYTES, _MLA_WIDTH = 352, 576  # nvfp4_ds_mla: 512 NVFP4 with their scales and 64 FP8, of 512 and 64 values


def effective_kv_dtype(model: ModelSpec, kv_cache_dtype: str, version: str = DEFAULT_VERSION) -> str:
    """What `auto` becomes: the checkpoint's own cache dtype where it names one that the release reads."""
    own, modelopts = model.kv_cache_dtype, (model.quantization or "").startswith("modelopt")
    if kv_cache_dtype != "auto" or (modelopts and VERSIONS[version].minor < MODELOPT_CACHES.get(own, OLDEST)):
        return kv_cache_dtype
    return own


def _drafts_chunks(model: ModelSpec) -> bool:
    """Whether the hybrid manager is off for a drafter beside chunks (config/vllm.py, use_eagle)."""
    drafter = model.drafter
    return drafter is not None and drafter.model is not None and drafter.method != "draft_model" and any(isinstance(c, ChunkedLocal) for c in model.caches)


def cache_layout(
    model: ModelSpec, gpu: GpuSpec, kv_cache_dtype: str, *, dtype_bits: int = 16, version: str = DEFAULT_VERSION, options: CacheOptions = NO_OPTIONS
) -> CacheLayout:
    """The attention backend vLLM selects, or the one that is named, and how it stores the cache. Raises UnsupportedError with the reason.

    Source: platforms/cuda.py backend priorities, v1/attention/backends/*.py (0.33's answers were read off vLLM itself with simulated GPUs);
    what older releases do otherwise is in versions.py.
    """
    name, dtype, release = known(options.attention_backend or ""), effective_kv_dtype(model, kv_cache_dtype, version), VERSIONS[version]
    if model.scales_by_head and not name and gpu.capability // 10 == 10 and release.minor >= FP8_FLASH_BLACKWELL:
        name = "FLASH_ATTN"  # what Blackwell takes before it has no such scales
    boundary: tuple[str, ...] = ()
    if dtype in SLOTS:
        from planner.engines.vllm.slots import boundary_layers, refuse_named

        boundary = boundary_layers(model, dtype)
        refuse_named(options.attention_backend or "", model, gpu, dtype)
    if name and chooses_backend(model) and dtype in KV_CACHE_DTYPES and dtype not in SLOTS:
        layout = _named_layout(asked_backend(name, model, gpu, dtype), dtype, dtype_bits, gpu)
    else:
        layout = _selected_layout(model, gpu, kv_cache_dtype, dtype_bits=dtype_bits, version=version)
    if release.minor >= REFUSED_SINCE:
        refuse_other(model, layout.backend, gpu, named=bool(name))
    if model.scales_by_head:
        refuse_scales_by_head(layout.backend, gpu, release.minor)
    if options.block_size and chooses_backend(model):
        layout = replace(layout, block_size=asked_block(options.block_size, backend_on(layout.backend, gpu), model, gpu, named=bool(name)))
    bits = {"float16": 16, "bfloat16": 16, "float32": 32}
    conv, state = options.mamba_cache_dtype or "", options.mamba_ssm_cache_dtype or ""
    caching = (release.hybrid_prefix_caching and model.architecture not in _BY_FIRST_TOKEN) if options.prefix_caching is None else options.prefix_caching
    return replace(
        layout,
        prefix_caching=caching,
        prefill_checkpoints=release.prefill_checkpoints if caching else (),
        conv_bits=bits.get(conv, 0),
        ssm_bits=bits.get(state, 0),
        skip_layers=tuple(dict.fromkeys((*options.skip_layers, *boundary))) if layout.bits != layout.dtype_bits else (),
        one_kind=options.one_kind or _drafts_chunks(model),
        group_spread=release.group_spread,
        pads_packed=release.pads_packed,
    )


def chooses_backend(model: ModelSpec) -> bool:
    """Whether a command's backend and block size are known to count: sparse attention, compressed caches and indexers store in ways of their own."""
    return not (model.is_compressed or model.is_sparse or _own_blocks(model))


def _named_layout(backend: Backend, dtype: str, dtype_bits: int, gpu: GpuSpec) -> CacheLayout:
    bits, scale_bytes = PACKED_DTYPES.get(dtype, (8 if dtype in FP8_DTYPES else dtype_bits, 0))
    return CacheLayout(
        backend=backend.name,
        block_size=backend.preferred,
        bits=bits,
        dtype_bits=dtype_bits,
        bytes_per_token_head=scale_bytes or 0,
        state_checkpoints=gpu.capability >= 90,
    )


def _selected_layout(model: ModelSpec, gpu: GpuSpec, kv_cache_dtype: str, *, dtype_bits: int, version: str) -> CacheLayout:
    """The layout of the backend that vLLM selects by itself."""
    dtype = effective_kv_dtype(model, kv_cache_dtype, version)
    if dtype not in KV_CACHE_DTYPES:
        raise UnsupportedError(f"KV cache dtype {dtype} is not supported")
    release = VERSIONS[version]
    if (since := KV_DTYPES_SINCE.get(dtype, OLDEST)) > release.minor:
        raise UnsupportedError(f"vLLM {version} has no KV cache dtype {dtype}; it came with 0.{since}")
    if dtype == GAUDI_DTYPE:
        raise UnsupportedError(f"No valid attention backend found: kv_cache_dtype not supported ({GAUDI_DTYPE} is Intel Gaudi's)")
    if dtype in SLOTS:
        from planner.engines.vllm.slots import slot_layout

        return slot_layout(model, gpu, dtype, dtype_bits, release)
    if model.is_compressed:
        return _compressed_layout(gpu, dtype, dtype_bits, release)
    if model.is_latent:
        return _latent_layout(model, gpu, dtype, dtype_bits, release)
    if dtype in PACKED_DTYPES:
        return _packed_layout(model, gpu, dtype, dtype_bits, release)
    if dtype.endswith("_ds_mla"):
        raise UnsupportedError(f"{dtype} is for MLA models only")
    backend = _standard_backend(model, gpu, release, fp8=dtype in FP8_DTYPES, e5m2=dtype == "fp8_e5m2")
    return CacheLayout(
        backend=backend,
        block_size=_block_size(model, gpu.capability, release, e4m3=dtype in ("fp8", "fp8_e4m3")),
        bits=8 if dtype in FP8_DTYPES else dtype_bits,
        dtype_bits=dtype_bits,
        state_checkpoints=gpu.capability >= 90,
    )


def _by_head(model: ModelSpec) -> list[PerHead]:
    """The caches with keys and values of every head."""
    return [by_head for cache in model.caches if (by_head := per_head(cache))]


def _wide_heads(model: ModelSpec) -> bool:
    return any(cache.head_dim > 256 for cache in _by_head(model))


def _values_differ(model: ModelSpec) -> bool:
    return any(cache.head_dim != cache.head_dim_v for cache in _by_head(model))


def _standard_backend(model: ModelSpec, gpu: GpuSpec, release: Version, *, fp8: bool, e5m2: bool) -> str:
    capability, major = gpu.capability, gpu.capability // 10
    if gpu.vendor == "amd":
        return "TRITON_ATTN"
    wide = _wide_heads(model)
    triton_only = model.bidirectional_images or model.has_sinks or _values_differ(model)
    if capability < 80 and not fp8 and not triton_only and not wide and release.turing_backend and capability >= 75:
        return release.turing_backend
    if capability < 80 or ((triton_only or wide) and major not in (9, 10)):
        return _triton(gpu, fp8)
    if triton_only:
        return _choosy_backend(model, gpu, release, fp8=fp8, e5m2=e5m2)
    if major == 10:
        return "FLASHINFER"
    if not fp8 or (major == 9 and (not e5m2 or release.flash_attention_e5m2)):
        return "FLASH_ATTN"
    return "FLASHINFER" if release.flashinfer_fp8 else _triton(gpu, fp8)


def _choosy_backend(model: ModelSpec, gpu: GpuSpec, release: Version, *, fp8: bool, e5m2: bool) -> str:
    """On Hopper and Blackwell, for sinks, images that attend both ways, and values of another width than keys."""
    blackwell = gpu.capability // 10 == 10
    if _wide_heads(model) and release.two_backends:
        return "TRITON_FLASHINFER" if blackwell else "TRITON_FLASH_ATTN"
    if _wide_heads(model):
        return _triton(gpu, fp8)
    if blackwell and fp8 and _values_differ(model):
        raise UnsupportedError("FlashAttention does not support an FP8 KV cache on this GPU for keys and values of different width")
    return _triton(gpu, fp8) if (model.bidirectional_images and not blackwell) or e5m2 else "FLASH_ATTN"


def _triton(gpu: GpuSpec, fp8: bool) -> str:
    """Triton's FP8 cache needs compute capability 8.9 (v1/attention/backends/triton_attn.py:511)."""
    if fp8 and gpu.capability < 89:
        raise UnsupportedError(f"FP8 KV cache needs compute capability 8.9 with the Triton attention backend; {gpu.title} has {gpu.capability / 10}")
    return "TRITON_ATTN"


def _own_blocks(model: ModelSpec) -> list[int]:
    """Block sizes that the model's own kernels insist on (indexers of MiniMax-M3 and Qwen4Exp)."""
    return [cache.block_size or SMALLEST_KERNEL_BLOCK for cache in model.caches if isinstance(cache, CompressedCache) and not cache.ring]


def _block_size(model: ModelSpec, capability: int, release: Version, *, e4m3: bool) -> int:
    if own := _own_blocks(model):
        return max(own)
    hopper_fp8, blackwell = capability // 10 == 9 and e4m3, capability // 10 == 10
    return 64 if release.wide_head_blocks and _wide_heads(model) and (hopper_fp8 or (blackwell and model.bidirectional_images)) else 16


def _latent_layout(model: ModelSpec, gpu: GpuSpec, dtype: str, dtype_bits: int, release: Version) -> CacheLayout:
    if dtype == "nvfp4_ds_mla":
        return _narrow_sparse_layout(model, gpu, dtype_bits)
    fp8 = dtype in (*FP8_DTYPES, "fp8_ds_mla")
    if dtype in PACKED_DTYPES or dtype == "fp8_e5m2":
        raise UnsupportedError(f"no MLA attention backend supports KV cache dtype {dtype}")
    if model.is_sparse:
        return _sparse_layout(gpu, fp8, dtype, dtype_bits, release)
    if dtype == "fp8_ds_mla":
        raise UnsupportedError("fp8_ds_mla is for sparse MLA (DeepSeek V3.2, GLM-5) only")
    backend, block = _latent_backend(gpu, release, fp8=fp8)
    return CacheLayout(backend=backend, block_size=block, bits=8 if fp8 else dtype_bits, dtype_bits=dtype_bits, state_checkpoints=gpu.capability >= 90)


def _latent_backend(gpu: GpuSpec, release: Version, *, fp8: bool) -> tuple[str, int]:
    """The MLA backend and its block size; with FP8 on Hopper FlashMLA takes over and works on blocks of 64."""
    major = gpu.capability // 10
    if major == 10:
        return ("CUTLASS_MLA", 128) if release.cutlass_mla else ("FLASHINFER_MLA", 32)
    if major == 9:
        return ("FLASHMLA", 64) if fp8 else ("FLASH_ATTN_MLA", 16)
    if gpu.vendor == "nvidia":
        _triton(gpu, fp8)
    return "TRITON_MLA", 16


def _sparse_layout(gpu: GpuSpec, fp8: bool, dtype: str, dtype_bits: int, release: Version) -> CacheLayout:
    major = gpu.capability // 10
    if gpu.gfx in _ROCM_MLA:
        return _rocm_sparse_layout(gpu, fp8, dtype_bits, release)
    if major == 9:
        packed = _MLA_FP8_TOKEN_BYTES if fp8 else 0
        backend = "FLASH_ATTN_MLA_SPARSE" if release.sparse_flash_attention and not fp8 else "FLASHMLA_SPARSE"
        return CacheLayout(backend=backend, block_size=64, bits=dtype_bits, dtype_bits=dtype_bits, latent_bytes=packed)
    if major == 10 and dtype != "fp8_ds_mla":
        # auto means FP8 here (model_executor/models/config.py DeepseekV32ForCausalLM)
        bits = dtype_bits if dtype in ("bfloat16", "float16") else 8
        return CacheLayout(backend="FLASHINFER_MLA_SPARSE", block_size=64, bits=bits, dtype_bits=dtype_bits)
    if major == 12 and release.sparse_sm120:
        return CacheLayout(backend="FLASHINFER_MLA_SPARSE_SM120", block_size=64, bits=8, dtype_bits=dtype_bits, latent_bytes=_MLA_FP8_TOKEN_BYTES)
    raise UnsupportedError(
        f"sparse MLA attention has no backend for {gpu.title} before vLLM 0.{SPARSE_SM120}"
        if major == 12
        else f"sparse MLA attention has no backend for {gpu.title}; it needs Hopper, Blackwell or CDNA 3"
    )


def _narrow_sparse_layout(model: ModelSpec, gpu: GpuSpec, dtype_bits: int) -> CacheLayout:
    """FlashMLA's own format of DeepSeek V3.2's latents (mla/flashmla_sparse.py supports_combination)."""
    if not model.is_sparse:
        raise UnsupportedError("nvfp4_ds_mla is for sparse MLA (DeepSeek V3.2, GLM-5) only")
    if gpu.capability // 10 != 10:
        raise UnsupportedError("FLASHMLA_SPARSE only supports the nvfp4_ds_mla kv-cache dtype on SM100 (Blackwell)")
    if any(isinstance(cache, LatentAttention) and not cache.index_dim and cache.latent_dim + cache.rope_dim != _MLA_WIDTH for cache in model.caches):
        raise UnsupportedError(f"nvfp4_ds_mla holds latents of {_MLA_WIDTH} values only")
    return CacheLayout(backend="FLASHMLA_SPARSE", block_size=64, bits=8, dtype_bits=dtype_bits, latent_bytes=_MLA_NVFP4_TOKEN_BYTES)


def _rocm_sparse_layout(gpu: GpuSpec, fp8: bool, dtype_bits: int, release: Version) -> CacheLayout:
    """AITER's kernels: rows as they are, without packed scales; in blocks of one token while the indexer took no others (platforms/rocm.py)."""
    if release.minor < SPARSE_ROCM:
        raise UnsupportedError(f"sparse MLA attention has no backend for {gpu.title} before vLLM 0.{SPARSE_ROCM}")
    if fp8 and release.minor < SPARSE_ROCM_FP8:
        raise UnsupportedError(f"sparse MLA keeps no FP8 KV cache on {gpu.title} before vLLM 0.{SPARSE_ROCM_FP8}")
    block_size = 1 if release.minor < SPARSE_ROCM_FP8 else 16
    return CacheLayout(backend="ROCM_AITER_MLA_SPARSE", block_size=block_size, bits=8 if fp8 else dtype_bits, dtype_bits=dtype_bits)


def _compressed_layout(gpu: GpuSpec, dtype: str, dtype_bits: int, release: Version) -> CacheLayout:
    """DeepSeek V4 keeps its own FP8 format whatever FP8 dtype is asked for (models/deepseek_v4/attention.py:94), on AMD too (amd/rocm.py)."""
    on_rocm = gpu.gfx in _ROCM_MLA
    if gpu.capability // 10 not in (9, 10, 12) and not on_rocm:
        raise UnsupportedError(f"DeepSeek V4 attention has no kernel for {gpu.title}; it needs Hopper, Blackwell or CDNA 3")
    if on_rocm and release.minor < DEEPSEEK_V4_ROCM:
        raise UnsupportedError(f"DeepSeek V4 attention has no kernel for {gpu.title} before vLLM 0.{DEEPSEEK_V4_ROCM}")
    if dtype not in ("auto", *FP8_DTYPES, "fp8_ds_mla"):
        raise UnsupportedError(f"DeepSeek V4 keeps an FP8 KV cache; {dtype} is refused")
    nvidia = "FLASHINFER_MLA_SPARSE_DSV4" if gpu.capability // 10 == 12 else "FLASHMLA_SPARSE_DSV4"
    backend = "ROCM_FLASHMLA_SPARSE_DSV4" if on_rocm else nvidia
    return CacheLayout(backend=backend, block_size=256, bits=8, dtype_bits=dtype_bits)


def _packed_layout(model: ModelSpec, gpu: GpuSpec, dtype: str, dtype_bits: int, release: Version) -> CacheLayout:
    if _own_blocks(model):
        raise UnsupportedError(f"block-sparse attention keeps a 16-bit or FP8 KV cache; {dtype} is refused")
    bits, scale_bytes = PACKED_DTYPES[dtype]
    if dtype.startswith("nvfp4"):
        if dtype == "nvfp4_4over6" and gpu.capability // 10 != 10:
            raise UnsupportedError(
                f"No valid attention backend found: kv_cache_dtype not supported (nvfp4_4over6 needs compute capability 10.x, not {gpu.title})"
            )
        _check_nvfp4(model, gpu, release)
        width = next(cache.head_dim + cache.head_dim_v for cache in _by_head(model))
        return CacheLayout(backend="FLASHINFER", bits=bits, dtype_bits=dtype_bits, bytes_per_token_head=width // 16)
    return CacheLayout(backend="TRITON_ATTN", bits=bits, dtype_bits=dtype_bits, bytes_per_token_head=scale_bytes or 0)


def _check_nvfp4(model: ModelSpec, gpu: GpuSpec, release: Version) -> None:
    """FlashInfer reads it by TensorRT-LLM's kernel on 10.x, since 0.32 by its own on 8.x (also 8.6 and 8.9), 9.x and 12.x (flashinfer.py supports_combination)."""
    major = gpu.capability // 10
    if major not in (8, 9, 10, 12) or model.bidirectional_images:
        raise UnsupportedError("an NVFP4 KV cache needs FlashInfer: compute capability 8.x, 9.x, 10.x or 12.x, no images that attend both ways")
    if major == 10:
        return
    if not release.nvfp4_off_blackwell:
        raise UnsupportedError(f"an NVFP4 KV cache needs compute capability 10.x before vLLM 0.{NVFP4_OFF_BLACKWELL}; {gpu.title} has {gpu.capability / 10}")
    if model.has_sinks or any(cache.head_dim == 64 for cache in _by_head(model)):
        raise UnsupportedError(f"an NVFP4 KV cache on {gpu.title} takes no attention sinks and no heads of 64")


def needs_nvcc(layout: CacheLayout, gpu: GpuSpec) -> bool:
    """Whether FlashInfer compiles kernels at start: it then needs nvcc and ninja (utils/flashinfer.py:61)."""
    return layout.backend.startswith(("FLASHINFER", "TRITON_FLASHINFER")) and gpu.capability // 10 != 10

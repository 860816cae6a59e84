"""How vLLM decides: defaults, which attention backend and cache dtype a GPU gets, what it refuses.

Sources: vLLM 0.33.0 files named beside each rule; the tables were read off vLLM itself with simulated GPUs (tests/oracle).
"""

from __future__ import annotations

from planner.arrays import Whole
from planner.engines.vllm.dtypes import FP8_DTYPES, KV_CACHE_DTYPES, PACKED_DTYPES
from planner.engines.vllm.ledger_settings import LedgerSettings
from planner.engines.vllm.versions import VERSIONS, Version, newest_for
from planner.errors import UnsupportedError
from planner.facts.attention import CompressedCache, PerHead, per_head
from planner.facts.config import CacheLayout, Parallel
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.units import GIB

_MLA_FP8_TOKEN_BYTES = 656  # fp8_ds_mla: 512 FP8 + 4 float32 scales + 64 bfloat16 (mla_attention.py:1386)


def default_batches(gpu: GpuSpec, memory_bytes: int, version: Version) -> tuple[int, int]:
    """max_num_batched_tokens and max_num_seqs of the API server by GPU (engine/arg_utils.py:2940 get_batch_defaults)."""
    if memory_bytes >= 160 * GIB and version.large_batches:
        return 16_384, 1024
    if memory_bytes >= 70 * GIB and "a100" not in gpu.name and gpu.name != "gb10":
        return 8192, 1024
    return 2048, 256


def in_flight_tokens(config: LedgerSettings[Whole]) -> Whole:
    """Tokens scheduled but not settled: one batch a concurrent step (config/vllm.py:588-609, async scheduling), before 0.26 one batch."""
    steps = config.pipeline_parallel_size + 1 if VERSIONS[config.vllm_version].steps_in_flight else 1
    return config.max_num_batched_tokens * steps


def reserved_blocks(config: LedgerSettings[Whole]) -> int:
    """Blocks that no request is admitted to: the null block, since 0.29."""
    return int(VERSIONS[config.vllm_version].null_block_reserved)


def state_blocks_needed(config: LedgerSettings[Whole]) -> int:
    """Blocks a hybrid refuses to start without: one for each sequence where decoding is captured whole, since 0.20 (config/compilation.py:1526)."""
    captured = not config.enforce_eager and config.max_cudagraph_capture_size != 0
    return config.max_num_seqs if captured and VERSIONS[config.vllm_version].state_checked else 0


def capture_sizes(max_num_seqs: int, capability: int, version: Version) -> list[int]:
    """Batch sizes captured as CUDA graphs (config/vllm.py:2400-2610)."""
    limit = min(2 * max_num_seqs, 1024 if capability // 10 == 10 and version.large_batches else 512)
    sizes = [size for size in (1, 2, 4) if size <= limit]
    sizes += list(range(8, min(limit + 1, 256), 8))
    return sizes + list(range(256, limit + 1, 16 if version.coarse_graphs else 8))


_NO_FLOAT16 = ("Gemma2", "Gemma3", "Glm4ForCausalLM")  # config/model.py _FLOAT16_NOT_SUPPORTED_MODELS, of those that are known here


def dtype_bits(model: ModelSpec, gpu: GpuSpec, dtype: str) -> int:
    """Bits of weights and activations. Without bfloat16 (before Ampere) models that float16 breaks run in float32.

    Raises UnsupportedError for bfloat16 on such a GPU.
    """
    if gpu.vendor == "nvidia" and gpu.capability < 80:
        if dtype == "bfloat16":
            raise UnsupportedError(f"bfloat16 needs compute capability 8.0; {gpu.title} has {gpu.capability / 10}")
        if dtype == "auto" and model.architecture.startswith(_NO_FLOAT16):
            return 32
    return 32 if dtype == "float32" else 16


def effective_kv_dtype(model: ModelSpec, kv_cache_dtype: str) -> str:
    """What `auto` becomes: the checkpoint's own cache dtype where it names one."""
    return model.kv_cache_dtype if kv_cache_dtype == "auto" else kv_cache_dtype


def cache_layout(model: ModelSpec, gpu: GpuSpec, kv_cache_dtype: str, *, dtype_bits: int = 16) -> CacheLayout:
    """The attention backend vLLM selects and how it stores the cache. Raises UnsupportedError with the reason.

    Source: platforms/cuda.py backend priorities, v1/attention/backends/*.py (tests/oracle/kv_layouts.json has vLLM's own answers).
    """
    dtype = effective_kv_dtype(model, kv_cache_dtype)
    if dtype not in KV_CACHE_DTYPES:
        raise UnsupportedError(f"KV cache dtype {dtype} is not supported")
    if model.is_compressed:
        return _compressed_layout(gpu, dtype, dtype_bits)
    if model.is_latent:
        return _latent_layout(model, gpu, dtype, dtype_bits)
    if dtype in PACKED_DTYPES:
        return _packed_layout(model, gpu, dtype, dtype_bits)
    if dtype == "fp8_ds_mla":
        raise UnsupportedError("fp8_ds_mla is for MLA models only")
    backend = _standard_backend(model, gpu, fp8=dtype in FP8_DTYPES, e5m2=dtype == "fp8_e5m2")
    return CacheLayout(
        backend=backend,
        block_size=_block_size(model, gpu.capability, e4m3=dtype in ("fp8", "fp8_e4m3")),
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


def _standard_backend(model: ModelSpec, gpu: GpuSpec, *, fp8: bool, e5m2: bool) -> str:
    capability = gpu.capability
    if gpu.vendor == "amd":
        return "TRITON_ATTN"
    blackwell = capability // 10 == 10
    triton_only = model.bidirectional_images or model.has_sinks or _values_differ(model)
    if capability < 80 or ((triton_only or _wide_heads(model)) and capability // 10 not in (9, 10)):
        return _triton(gpu, fp8)
    if triton_only and _wide_heads(model):
        return "TRITON_FLASHINFER" if blackwell else "TRITON_FLASH_ATTN"
    if triton_only:
        if blackwell and fp8 and _values_differ(model):
            raise UnsupportedError("FlashAttention does not support an FP8 KV cache on this GPU for keys and values of different width")
        return _triton(gpu, fp8) if (model.bidirectional_images and not blackwell) or e5m2 else "FLASH_ATTN"
    if blackwell:
        return "FLASHINFER"
    if not fp8 or (capability // 10 == 9 and not e5m2):
        return "FLASH_ATTN"
    return "FLASHINFER"


def _triton(gpu: GpuSpec, fp8: bool) -> str:
    """Triton's FP8 cache needs compute capability 8.9 (v1/attention/backends/triton_attn.py:511)."""
    if fp8 and gpu.capability < 89:
        raise UnsupportedError(f"FP8 KV cache needs compute capability 8.9 with the Triton attention backend; {gpu.title} has {gpu.capability / 10}")
    return "TRITON_ATTN"


def _own_blocks(model: ModelSpec) -> list[int]:
    """Block sizes that the model's own kernels insist on (MiniMax-M3's indexer)."""
    return [cache.block_size for cache in model.caches if isinstance(cache, CompressedCache)]


def _block_size(model: ModelSpec, capability: int, *, e4m3: bool) -> int:
    if own := _own_blocks(model):
        return max(own)
    hopper_fp8, blackwell = capability // 10 == 9 and e4m3, capability // 10 == 10
    return 64 if _wide_heads(model) and (hopper_fp8 or (blackwell and model.bidirectional_images)) else 16


def _latent_layout(model: ModelSpec, gpu: GpuSpec, dtype: str, dtype_bits: int) -> CacheLayout:
    fp8 = dtype in (*FP8_DTYPES, "fp8_ds_mla")
    if dtype in PACKED_DTYPES or dtype == "fp8_e5m2":
        raise UnsupportedError(f"no MLA attention backend supports KV cache dtype {dtype}")
    if model.is_sparse:
        return _sparse_layout(gpu, fp8, dtype, dtype_bits)
    if dtype == "fp8_ds_mla":
        raise UnsupportedError("fp8_ds_mla is for sparse MLA (DeepSeek V3.2, GLM-5) only")
    backend, block = _latent_backend(gpu, fp8=fp8)
    return CacheLayout(backend=backend, block_size=block, bits=8 if fp8 else dtype_bits, dtype_bits=dtype_bits, state_checkpoints=gpu.capability >= 90)


def _latent_backend(gpu: GpuSpec, *, fp8: bool) -> tuple[str, int]:
    """The MLA backend and its block size; with FP8 on Hopper FlashMLA takes over and works on blocks of 64."""
    major = gpu.capability // 10
    if major == 10:
        return "FLASHINFER_MLA", 32
    if major == 9:
        return ("FLASHMLA", 64) if fp8 else ("FLASH_ATTN_MLA", 16)
    if gpu.vendor == "nvidia":
        _triton(gpu, fp8)
    return "TRITON_MLA", 16


def _sparse_layout(gpu: GpuSpec, fp8: bool, dtype: str, dtype_bits: int) -> CacheLayout:
    major = gpu.capability // 10
    if major == 9:
        packed = _MLA_FP8_TOKEN_BYTES if fp8 else 0
        return CacheLayout(
            backend="FLASHMLA_SPARSE" if fp8 else "FLASH_ATTN_MLA_SPARSE", block_size=64, bits=dtype_bits, dtype_bits=dtype_bits, latent_bytes=packed
        )
    if major == 10 and dtype != "fp8_ds_mla":
        # auto means FP8 here (model_executor/models/config.py DeepseekV32ForCausalLM)
        bits = dtype_bits if dtype in ("bfloat16", "float16") else 8
        return CacheLayout(backend="FLASHINFER_MLA_SPARSE", block_size=64, bits=bits, dtype_bits=dtype_bits)
    if major == 12:
        return CacheLayout(backend="FLASHINFER_MLA_SPARSE_SM120", block_size=64, bits=8, dtype_bits=dtype_bits, latent_bytes=_MLA_FP8_TOKEN_BYTES)
    raise UnsupportedError(f"sparse MLA attention has no backend for {gpu.title}; it needs Hopper or Blackwell")


def _compressed_layout(gpu: GpuSpec, dtype: str, dtype_bits: int) -> CacheLayout:
    """DeepSeek V4 keeps its own FP8 format whatever FP8 dtype is asked for (models/deepseek_v4/attention.py:94)."""
    if gpu.capability // 10 not in (9, 10, 12):
        raise UnsupportedError(f"DeepSeek V4 attention has no kernel for {gpu.title}; it needs Hopper or Blackwell")
    if dtype not in ("auto", *FP8_DTYPES, "fp8_ds_mla"):
        raise UnsupportedError(f"DeepSeek V4 keeps an FP8 KV cache; {dtype} is refused")
    backend = "FLASHINFER_MLA_SPARSE_DSV4" if gpu.capability // 10 == 12 else "FLASHMLA_SPARSE_DSV4"
    return CacheLayout(backend=backend, block_size=256, bits=8, dtype_bits=dtype_bits)


def _packed_layout(model: ModelSpec, gpu: GpuSpec, dtype: str, dtype_bits: int) -> CacheLayout:
    if _own_blocks(model):
        raise UnsupportedError(f"block-sparse attention keeps a 16-bit or FP8 KV cache; {dtype} is refused")
    bits, scale_bytes = PACKED_DTYPES[dtype]
    if dtype == "nvfp4":
        if gpu.capability < 80 or model.has_sinks or model.bidirectional_images:
            raise UnsupportedError("an NVFP4 KV cache needs FlashInfer: compute capability 8.0, no attention sinks")
        width = next(cache.head_dim + cache.head_dim_v for cache in _by_head(model))
        return CacheLayout(backend="FLASHINFER", bits=bits, dtype_bits=dtype_bits, bytes_per_token_head=width // 16)
    return CacheLayout(backend="TRITON_ATTN", bits=bits, dtype_bits=dtype_bits, bytes_per_token_head=scale_bytes or 0)


def needs_nvcc(layout: CacheLayout, gpu: GpuSpec) -> bool:
    """Whether FlashInfer compiles kernels at start: it then needs nvcc and ninja (utils/flashinfer.py:61)."""
    return layout.backend.startswith(("FLASHINFER", "TRITON_FLASHINFER")) and gpu.capability // 10 != 10


def with_kernels(parallel: Parallel, gpu: GpuSpec) -> Parallel:
    """Add what this GPU's MoE kernels round expert dimensions up to (fused_moe/oracle/mxfp4.py:837, unquantized.py)."""
    major = gpu.capability // 10
    width, hidden = (64, 64) if major == 9 else (128, 256)
    return Parallel(
        tensor_parallel_size=parallel.tensor_parallel_size,
        pipeline_parallel_size=parallel.pipeline_parallel_size,
        enable_expert_parallel=parallel.enable_expert_parallel,
        expert_width_multiple=width,
        expert_hidden_multiple=hidden,
        ungated_width_multiple=128 if major == 10 else 1,
        wide_router=major not in (9, 10),
    )


MINIMUM_CAPABILITY = {  # config/vllm.py:926; schemes that fail later on older GPUs are marked in facts/vllm.md section 4
    "auto_awq": 75,
    "auto_gptq": 60,
    "inc": 60,
    "fp8": 75,
    "fp8_per_tensor": 75,
    "fp8_per_block": 75,
    "fp8_per_channel": 75,
    "compressed-tensors": 70,
    "modelopt": 80,
    "modelopt_fp4": 75,
    "modelopt_mixed": 75,
    "gpt_oss_mxfp4": 80,
}


_SAME_METHOD = {"awq": "auto_awq", "awq_marlin": "auto_awq", "gptq": "auto_gptq", "gptq_marlin": "auto_gptq", "mxfp4": "gpt_oss_mxfp4"}


# Quantize a 16-bit checkpoint while loading, in ways whose sizes are not known here (config/quantization.py _ONLINE_SHORTHANDS).
_WHILE_LOADING = frozenset({"int8_per_channel_weight_only", "mxfp8", "nvfp4_per_token", "experts_int8", "online", "torchao", "humming"})


def is_quantized_while_loading(asked: str | None, actual: str | None, version: str) -> bool:
    """Whether `--quantization` makes weights of a size that the ledger does not hold."""
    return actual is None and (asked in _WHILE_LOADING or (asked == "bitsandbytes" and VERSIONS[version].bitsandbytes))


def quantization_problem(asked: str | None, actual: str | None) -> str:
    """Why `--quantization` does not go with the checkpoint (config/model.py:1457), or an empty string."""
    if asked is None or _SAME_METHOD.get(asked, asked) == actual:
        return ""
    return f"--quantization {asked}: the checkpoint is {actual or 'not quantized'}"


def check_gpu(gpu: GpuSpec, version: str) -> None:
    """Refuse a GPU that the release's wheels hold no kernels for. Raises UnsupportedError."""
    least = VERSIONS[version].least_capability
    if gpu.vendor != "nvidia" or gpu.capability >= least:
        return
    older = newest_for(gpu.capability)
    which = f"the newest whose wheels run on it is {older}" if older else "no release known here runs on it"
    raise UnsupportedError(f"the wheels of vLLM {version} need compute capability {least / 10}; {gpu.title} has {gpu.capability / 10}: {which}")


def check_model(model: ModelSpec, gpu: GpuSpec, version: str) -> None:
    """Refuse what cannot run whatever the settings: the GPU itself, or a quantization that its compute capability lacks. Raises UnsupportedError."""
    check_gpu(gpu, version)
    minimum = MINIMUM_CAPABILITY.get(model.quantization or "", 0)
    if gpu.vendor == "nvidia" and gpu.capability < minimum:
        raise UnsupportedError(f"the quantization method {model.quantization} needs compute capability {minimum / 10}; {gpu.title} has {gpu.capability / 10}")

"""Which models and settings a flag or variable concerns that the ledger does not hold; one that is not here concerns all."""

from __future__ import annotations

from collections.abc import Callable

from planner.engines.vllm.host import NO_BUFFERS, connectors
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS
from planner.facts.attention import ChunkedLocal, SlidingWindow
from planner.facts.model import ModelSpec

STAGED = "LMCacheConnectorV1"


def _has_state(model: ModelSpec, _config: ServeConfig) -> bool:
    return model.has_state


def _keeps_every_state(model: ModelSpec, config: ServeConfig) -> bool:
    """Whether states are kept at the ends of blocks of their own; elsewhere they are kept at the ends of attention's (platforms/interface.py)."""
    return model.has_state and VERSIONS[config.vllm_version].state_of_every_block


def _has_vision(model: ModelSpec, config: ServeConfig) -> bool:
    return model.vision is not None and not config.skip_mm_profiling


def _has_experts(model: ModelSpec, _config: ServeConfig) -> bool:
    return bool(model.experts_per_token)


def _is_quantized(model: ModelSpec, config: ServeConfig) -> bool:
    return (config.quantization or model.quantization) is not None


def _is_packed(model: ModelSpec, config: ServeConfig) -> bool:
    """Whether weights are in a form that kernels pad or repack; 16 bits and FP8 have the same shapes for all."""
    return (config.quantization or model.quantization) not in (None, "fp8")


def _gives_back(model: ModelSpec, config: ServeConfig) -> bool:
    """Whether loading gives back memory of a pool that profiling counts twice: 70B-AWQ on two RTX 4090 took 5.16 GiB where 3.17 were there (vllm#40256)."""
    return _is_packed(model, config) and VERSIONS[config.vllm_version].pools_counted_twice


def _has_windows(model: ModelSpec, _config: ServeConfig) -> bool:
    return any(isinstance(cache, SlidingWindow | ChunkedLocal) for cache in model.caches)


def _has_chunks(model: ModelSpec, _config: ServeConfig) -> bool:
    return any(isinstance(cache, ChunkedLocal) for cache in model.caches)


def _is_sparse(model: ModelSpec, _config: ServeConfig) -> bool:
    return model.is_sparse or model.is_compressed


def _is_latent(model: ModelSpec, _config: ServeConfig) -> bool:
    return model.is_latent or model.is_compressed


def _is_split(_model: ModelSpec, config: ServeConfig) -> bool:
    return config.parallel.world_size > 1


def _spreads_experts(model: ModelSpec, config: ServeConfig) -> bool:
    return bool(model.experts_per_token) and config.enable_expert_parallel


def _captures(_model: ModelSpec, config: ServeConfig) -> bool:
    return not config.enforce_eager and config.max_cudagraph_capture_size != 0


def _is_mxfp4(model: ModelSpec, _config: ServeConfig) -> bool:
    return "mxfp4" in (model.quantization or "")


def _transfers(model: ModelSpec, config: ServeConfig) -> bool:
    """Whether a connector keeps buffers of its own on the GPU, or lets no window end (kv_connector/v1: SupportsHMA)."""
    return not set(connectors(config.kv_transfer_config)) <= set(NO_BUFFERS) or _is_kept_whole(model, config)


def is_staged(model: ModelSpec, config: ServeConfig) -> bool:
    """Whether what a connector keeps on the GPU is one chunk of LMCache's."""
    names = set(connectors(config.kv_transfer_config))
    ends = model.has_state or _has_windows(model, config)  # which LMCache's connector cannot leave to end (no SupportsHMA)
    return STAGED in names and names <= {*NO_BUFFERS, STAGED} and not ends


def _is_kept_whole(model: ModelSpec, config: ServeConfig) -> bool:
    newest = config.vllm_version == DEFAULT_VERSION and config.kv_offloading_backend == "native"
    return not newest and (model.has_state or _has_windows(model, config))


Concerns = Callable[[ModelSpec, ServeConfig], bool]
ONLY: dict[str, Concerns] = {
    "--kv-transfer-config": _transfers,
    "--kv-offloading-size": _is_kept_whole,
    "--mm-encoder-attn-dtype": _has_vision,
    "--mm-processor-device": _has_vision,
    "--video-pruning-rate": _has_vision,
    "--compilation-config.compile_mm_encoder": _has_vision,
    "--compilation-config.cudagraph_mm_encoder": _has_vision,
    "--mamba-cache-mode": _has_state,
    "--mamba-block-size": _keeps_every_state,
    "--use-replayssm": _has_state,
    "--moe-backend": lambda model, config: _has_experts(model, config) and _is_packed(model, config),
    "--linear-backend": _is_packed,
    "--enable-sleep-mode": _gives_back,
    "--kernel-config.linear_backend_per_quant": _is_quantized,
    "--all2all-backend": _spreads_experts,
    "--enable-return-routed-experts": _has_experts,
    "--disable-sliding-window": _has_windows,
    "--disable-custom-all-reduce": _is_split,
    "--enable-hc-sp": _is_split,
    "--enable-batch-sharded-sampling": _is_split,
    "--attention-config.indexer_kv_dtype": _is_sparse,
    "--attention-config.indexer_sparse_logits": _is_sparse,
    "--attention-config.minimax_m3_indexer_cp": _is_sparse,
    "--attention-config.hisparse_config": _is_sparse,
    "--attention-config.sparse_mla_force_mqa": _is_sparse,
    "--attention-config.sparse_mla_prefill_workspace_factor": _is_sparse,
    "--attention-config.tokenspeed_mla_min_split_kv": _is_latent,
    "--attention-config.tq_max_kv_splits_for_cuda_graph": lambda _model, config: config.kv_cache_dtype.startswith("turboquant"),
    "--cuda-graph-sizes": _captures,
    "VLLM_SPARSE_INDEXER_MAX_LOGITS_MB": _is_sparse,
    "VLLM_MLA_DISABLE": _is_latent,
    "VLLM_REPLICATE_EMBED": _is_split,
    "VLLM_ROCM_MOE_PADDING": _has_experts,
    "VLLM_ROCM_FP8_PADDING": _is_quantized,
    "VLLM_ROCM_USE_AITER_FP8BMM": _is_latent,
    "VLLM_ROCM_USE_AITER_FP4BMM": _is_latent,
    "VLLM_ROCM_USE_AITER_FUSION_SHARED_EXPERTS": _spreads_experts,
    "VLLM_ROCM_AITER_MEGA_MOE_FUSE_SHARED_EXPERTS": _spreads_experts,
    "VLLM_ROCM_USE_AITER_MOE_A4W4_DSV4": _is_latent,
    "VLLM_DISABLE_DSV4_MEGAMOE_SHARED_EXPERT_FUSION": _spreads_experts,
    "VLLM_MARLIN_INPUT_DTYPE": _is_quantized,
    "VLLM_MXFP4_EMULATION_DEQUANT_AT_LOAD": _is_mxfp4,
    "VLLM_MXFP4_USE_MARLIN": _is_mxfp4,
    "VLLM_USE_FLASHINFER_MOE_MXFP4_BF16": _is_mxfp4,
    "VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8_CUTLASS": _is_mxfp4,
    "VLLM_TEST_FORCE_FP8_MARLIN": _is_quantized,
    "VLLM_DISABLED_KERNELS": _is_quantized,
    "VLLM_DEEPEP_BUFFER_SIZE_MB": _spreads_experts,
    "VLLM_ALL2ALL_BACKEND": _spreads_experts,
    "VLLM_NIXL_EP_MAX_NUM_RANKS": _spreads_experts,
    "VLLM_USE_NCCL_SYMM_MEM": _is_split,
    "VLLM_ALLREDUCE_USE_SYMM_MEM": _is_split,
    "VLLM_ROCM_QUICK_REDUCE_QUANTIZATION": _is_split,
    "VLLM_FLASHINFER_ALLREDUCE_FUSION_THRESHOLDS_MB": _is_split,
    "VLLM_ENABLE_GEMM_RS": _is_split,
    "VLLM_KIMI_K3_GEMM_RS": _is_split,
    "VLLM_USE_BREAKABLE_CUDAGRAPH": _captures,
    "VLLM_MOE_DP_CHUNK_SIZE": _has_experts,
    "VLLM_ENABLE_MOE_DP_CHUNK": _has_experts,
    "VLLM_FUSED_MOE_CHUNK_SIZE": _has_experts,
    "VLLM_ENABLE_FUSED_MOE_ACTIVATION_CHUNKING": _has_experts,
    "VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE": _has_experts,
    "VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE": _has_chunks,
}

"""The environment variables of vLLM (envs.py, 0.11 to 0.33) that move memory and are not in the ledger; the others are in harmless.json."""

from __future__ import annotations

from planner.engines.vllm.versions import DEFAULT_VERSION as NEWEST
from planner.facts.not_covered import Effect
from planner.facts.record import dataclass

OFF = ("", "0", "false", "False", "FALSE", "None", "auto")
ON = ("1", "true", "True", "TRUE", "")


@dataclass(frozen=True, slots=True)
class Variable:
    """What a variable moves, which way, and the values that change nothing."""

    what: str
    effect: Effect
    usual: tuple[str, ...] = OFF
    last: str = NEWEST
    """The last release that reads it."""


ENVIRONMENT = {
    "VLLM_MLA_DISABLE": Variable("a cache of whole keys and values", "either"),
    "VLLM_ENABLE_STARTUP_PLAN": Variable("a cache as large as at an earlier start", "either"),
    "VLLM_USE_BREAKABLE_CUDAGRAPH": Variable("CUDA graphs of another kind", "either"),
    "VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE": Variable("FlashInfer's workspace", "either", (str(394 * 1024**2),)),
    "VLLM_SPARSE_INDEXER_MAX_LOGITS_MB": Variable("the indexer's logits", "either", ("512",)),
    "VLLM_BATCH_INVARIANT": Variable("kernels that do not depend on the batch", "either"),
    "VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE": Variable("chunks that are kept whole", "adds", ON),
    "VLLM_REPLICATE_EMBED": Variable("whole embeddings on every GPU", "adds"),
    "VLLM_PLE_CPU_OFFLOAD": Variable("embeddings kept in main memory", "lowers", last="0.30"),
    "VLLM_DP_SIZE": Variable("replicas and how they share experts", "either", ("1", "")),
    "VLLM_DCP_Q_REPLICATE": Variable("whole query projections on every GPU", "adds"),
    "VLLM_RAY_PER_WORKER_GPUS": Variable("several workers on one GPU", "either", ("1", "1.0", "")),
    "VLLM_TEST_FORCE_LOAD_FORMAT": Variable("weights in another format", "either", ("", "dummy", "auto")),
    "VLLM_MARLIN_INPUT_DTYPE": Variable("weights as another kernel stores them", "either"),
    "VLLM_HUMMING_ONLINE_QUANT_CONFIG": Variable("weights quantized while loading in this way", "either"),
    "VLLM_HUMMING_INPUT_QUANT_CONFIG": Variable("weights as another kernel stores them", "either"),
    "VLLM_DISABLED_KERNELS": Variable("weights as another kernel stores them", "either"),
    "VLLM_TEST_FORCE_FP8_MARLIN": Variable("weights as another kernel stores them", "either", last="0.28"),
    "VLLM_USE_NVFP4_CT_EMULATIONS": Variable("weights as another kernel stores them", "either", last="0.23"),
    "VLLM_MXFP4_EMULATION_DEQUANT_AT_LOAD": Variable("weights unpacked while loading", "adds"),
    "VLLM_MXFP8_EMULATION_DEQUANT_AT_LOAD": Variable("weights unpacked while loading", "lowers", ON),
    "VLLM_MXFP4_USE_MARLIN": Variable("experts as another kernel stores them", "either", ("", "None"), last="0.23"),
    "VLLM_USE_FLASHINFER_MOE_MXFP4_BF16": Variable("experts as another kernel stores them", "either", last="0.23"),
    "VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8_CUTLASS": Variable("experts as another kernel stores them", "either", last="0.23"),
    "VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE": Variable("the experts' workspace", "either", ("163840",)),
    "VLLM_MOE_DP_CHUNK_SIZE": Variable("the experts' workspace", "either", ("256",), last="0.19"),
    "VLLM_ENABLE_MOE_DP_CHUNK": Variable("the experts' workspace", "either", ON, last="0.19"),
    "VLLM_FUSED_MOE_CHUNK_SIZE": Variable("the experts' workspace", "either", ("16384", "32768", "65536"), last="0.17"),
    "VLLM_ENABLE_FUSED_MOE_ACTIVATION_CHUNKING": Variable("the experts' workspace", "adds", ON, last="0.17"),
    "VLLM_ALL2ALL_BACKEND": Variable("buffers between experts", "adds", ("", "naive", "pplx", "allgather_reducescatter"), last="0.14"),
    "VLLM_NIXL_EP_MAX_NUM_RANKS": Variable("buffers between experts", "either", ("32",), last="0.29"),
    "VLLM_DEEPEP_BUFFER_SIZE_MB": Variable("buffers between experts", "either", ("1024",)),
    "VLLM_STEP5_SHARD_SP_SHARED_EXPERT": Variable("shared experts divided over ranks", "lowers"),
    "VLLM_KIMI_K3_SHARD_SP_SHARED_EXPERT": Variable("shared experts divided over ranks", "lowers"),
    "VLLM_KIMI_K3_AUX_ATTN_RES_STREAM": Variable("buffers of a second stream", "adds"),
    "VLLM_ENABLE_GEMM_RS": Variable("buffers of the fused reduction", "adds"),
    "VLLM_KIMI_K3_GEMM_RS": Variable("buffers of the fused reduction", "adds", last="0.30"),
    "VLLM_USE_NCCL_SYMM_MEM": Variable("buffers that all ranks see", "adds"),
    "VLLM_ALLREDUCE_USE_SYMM_MEM": Variable("buffers that all ranks see", "lowers", ON),
    "VLLM_FLASHINFER_ALLREDUCE_FUSION_THRESHOLDS_MB": Variable("buffers of the fused reduction", "either", ("", "{}"), last="0.25"),
    "VLLM_ROCM_QUICK_REDUCE_QUANTIZATION": Variable("buffers of the quick reduction", "adds", ("", "NONE")),
    "VLLM_ROCM_FP8_PADDING": Variable("weights that are not padded", "lowers", ON),
    "VLLM_ROCM_MOE_PADDING": Variable("experts that are not padded", "lowers", ON),
    "VLLM_ROCM_USE_AITER_FP8BMM": Variable("FP8 copies of the latent projections", "either"),
    "VLLM_ROCM_USE_AITER_FP4BMM": Variable("FP4 copies of the latent projections", "either"),
    "VLLM_ROCM_USE_AITER_FUSION_SHARED_EXPERTS": Variable("shared experts among the routed ones", "adds"),
    "VLLM_ROCM_AITER_MEGA_MOE_FUSE_SHARED_EXPERTS": Variable("shared experts among the routed ones", "adds", last="0.32"),
    "VLLM_DISABLE_DSV4_MEGAMOE_SHARED_EXPERT_FUSION": Variable("shared experts beside the routed ones", "either"),
    "VLLM_ROCM_USE_AITER_MOE_A4W4_DSV4": Variable("experts as another kernel stores them", "either"),
    "VLLM_ROCM_USE_AITER_MOE_SITUV2": Variable("experts as another kernel stores them", "either"),
    "VLLM_ROCM_USE_AITER_MOE_SITUV2_A8W4": Variable("experts as another kernel stores them", "either", last="0.30"),
    "VLLM_ROCM_MUSE_MOE_ONLINE_QUANT": Variable("weights quantized while loading in this way", "either"),
}
IN_THE_LEDGER = (
    "VLLM_ATTENTION_BACKEND",
    "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS",
    "VLLM_PP_LAYER_PARTITION",
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN",
)

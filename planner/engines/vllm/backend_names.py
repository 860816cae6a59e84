"""The names of attention backends that each release of vLLM knows, be their layout known here or not.

Read off v1/attention/backends/registry.py AttentionBackendEnum (platforms/interface.py _Backend in 0.11), 0.11 to 0.33.
"""

from __future__ import annotations

# First and last release, and the names that it has from then on until then.
_NAMES: tuple[tuple[int, int, str], ...] = (
    (11, 11, "XFORMERS ROCM_FLASH DUAL_CHUNK_FLASH_ATTN DIFFERENTIAL_FLASH_ATTN"),
    (11, 13, "PALLAS"),
    (11, 14, "IPEX"),
    (11, 20, "TREE_ATTN"),
    (
        11,
        99,
        "FLASH_ATTN TRITON_ATTN ROCM_ATTN ROCM_AITER_MLA ROCM_AITER_FA TORCH_SDPA FLASHINFER FLASHINFER_MLA TRITON_MLA CUTLASS_MLA FLASHMLA FLASH_ATTN_MLA NO_ATTENTION FLEX_ATTENTION",
    ),
    (12, 99, "ROCM_AITER_TRITON_MLA ROCM_AITER_MLA_SPARSE FLASHMLA_SPARSE ROCM_AITER_UNIFIED_ATTN CPU_ATTN CUSTOM"),
    (14, 99, "FLASH_ATTN_DIFFKV"),
    (17, 99, "FLASHINFER_MLA_SPARSE"),
    (18, 99, "XPU_MLA_SPARSE"),
    (20, 99, "TURBOQUANT"),
    (21, 99, "TOKENSPEED_MLA"),
    (23, 99, "FLASHMLA_SPARSE_DSV4 FLASHINFER_MLA_SPARSE_DSV4 ROCM_FLASHMLA_SPARSE_DSV4"),
    (24, 99, "TRITON_ATTN_DIFFKV FLASHINFER_MLA_SPARSE_SM120 MINIMAX_M3_SPARSE"),
    (25, 99, "FLASH_ATTN_MLA_SPARSE HPC_ATTN"),
    (27, 99, "CUTLASS_MSA TRITON_MSA"),
    (28, 99, "CPU_MLA"),
    (29, 99, "AMX_MLA"),
    (30, 99, "TRITON_FLASH_ATTN TRITON_FLASHINFER FLASHINFER_MLA_SPARSE_SM90 FLASHMLA_SPARSE_DSV41 FLASHINFER_MLA_SPARSE_DSV41 B12X"),
    (31, 99, "FLASHMLA_MEGA_ATTN_DSV41"),
    (32, 99, "ROCM_SEGMENTED_ATTN ULTRAQUANT"),
    (33, 99, "ROCM_FLASHMLA_SPARSE_DSV41 FLASH_ATTN_MLA_SPARSE_FA4 STEP5_DSA ROCM_OCTAVE"),
)
AUTO_SINCE = 18  # --attention-backend auto is vLLM's own choice (config/attention.py)


def names(minor: int) -> tuple[str, ...]:
    """The names that a release ("0.`minor`") knows."""
    return tuple(name for first, last, listed in _NAMES if first <= minor <= last for name in listed.split())


def name_problem(asked: str, minor: int) -> str:
    """Why a release knows no such backend, in its words, or an empty string. `_VLLM_V1` was part of some names until 0.12."""
    name = asked.upper() if minor >= 13 else asked.removesuffix("_VLLM_V1")
    if name in names(minor) or (asked.lower() == "auto" and minor >= AUTO_SINCE):
        return ""
    if minor < 12:
        return f"Invalid attention backend: '{name[:60]}'. Valid backends are: {list(names(minor))}"
    return f"Unknown attention backend: '{name[:60]}'. Valid options are: {', '.join(names(minor))}"

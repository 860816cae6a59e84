"""AMD's GPUs: which releases serve sparse MLA and DeepSeek V4 there, in which blocks."""

import pytest

from planner.catalogue.load import find_gpu, find_model
from planner.engines.vllm.layouts import cache_layout
from planner.errors import UnsupportedError

SPARSE, COMPRESSED = "deepseek-v3.2", "deepseek-v4-flash"


def layout(model, gpu, dtype="auto", version="0.33"):
    return cache_layout(find_model(model).spec(), find_gpu(gpu), dtype, version=version)


@pytest.mark.parametrize("gpu", ["mi300x", "mi325x", "mi355x"])
def test_sparse_mla(gpu):
    rows = layout(SPARSE, gpu)
    assert (rows.backend, rows.block_size, rows.bits, rows.latent_bytes) == ("ROCM_AITER_MLA_SPARSE", 16, 16, 0)
    assert layout(SPARSE, gpu, "fp8").bits == 8  # rows without the scales that FlashMLA packs beside them
    assert layout(SPARSE, gpu, version="0.16").block_size == 1
    with pytest.raises(UnsupportedError, match=r"before vLLM 0\.12"):
        layout(SPARSE, gpu, version="0.11")
    with pytest.raises(UnsupportedError, match=r"no FP8 KV cache on .* before vLLM 0\.20"):
        layout(SPARSE, gpu, "fp8", version="0.16")


@pytest.mark.parametrize("gpu", ["mi300x", "mi325x", "mi355x"])
def test_deepseek_v4(gpu):
    assert layout(COMPRESSED, gpu).block_size == layout(COMPRESSED, "h200").block_size == 256
    with pytest.raises(UnsupportedError, match=r"before vLLM 0\.22"):
        layout(COMPRESSED, gpu, version="0.21")


def test_ampere_has_no_kernel():
    with pytest.raises(UnsupportedError, match="it needs Hopper, Blackwell or CDNA 3"):
        layout(SPARSE, "a100-80gb")
    with pytest.raises(UnsupportedError, match="it needs Hopper, Blackwell or CDNA 3"):
        layout(COMPRESSED, "a100-80gb")

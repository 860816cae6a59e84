"""What kernels leave of weights after loading: beside logs of real starts, and beside vLLM 0.33's own process_weights_after_loading, run without a GPU."""

from dataclasses import replace

import pytest
from conftest import config_model
from conftest import small_model as model

from planner.architecture.formats import FP8_CHANNEL, FP8_TENSOR, MXFP4, NVFP4, fp8_block, grouped_int
from planner.catalogue.load import find_gpu
from planner.engines.shards import module_bytes
from planner.engines.vllm.loaded import Loading, loaded, loading
from planner.engines.vllm.memory import place
from planner.engines.vllm.settings import ServeConfig
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup
from planner.facts.model import LayerGroup
from planner.facts.modules import Axis, Experts, Linear, Role, Split
from planner.facts.storage import BF16, Encoding
from planner.questions.check import check, find_server, group_for
from planner.units import GIB


@pytest.mark.parametrize(
    ("name", "gpu", "release", "logged_gib"),
    [
        ("openai/gpt-oss-120b", "h100", "0.11", 65.97),  # Marlin: 2,944 x 3,072 (vllm issue 27508)
        ("openai/gpt-oss-120b", "h100", "0.14", 64.38),  # Triton's kernels: the scales twice, biases in 32 bits
        ("openai/gpt-oss-20b", "a100-80gb", "0.19", 13.72),
    ],
)
def test_gpt_oss_is_as_large_as_logs_say(name, gpu, release, logged_gib):
    """A log rounds to two digits, and torch's allocator rounds large tensors up: by 1.3 MiB a layer here."""
    placed = place(config_model(name), GpuGroup(gpu=find_gpu(gpu), count=1), ServeConfig(vllm_version=release))
    assert 0 <= logged_gib - (placed.weights[0] + placed.buffers) / GIB < 0.05


def held(
    storage, kernels: Loading, *, experts: bool = False, rows: int = 4096, columns: int = 4096, name: str = "x", latent: bool = False, bias: bool = False
) -> int:
    """Bytes of one module after loading."""
    module = (
        Experts(name=name, experts=1, hidden=columns, intermediate=rows // 2, storage=storage, bias=bias)
        if experts
        else Linear(name=name, role=Role.UP, inputs=Axis(columns), outputs=(Axis(rows, Split.TP),), storage=storage)
    )
    spec = replace(model(), quantization="fp8", layers=(LayerGroup(indices=(0,), modules=(module,), caches=config_caches() if latent else ()),))
    return sum(module_bytes(left, Parallel()) for left in loaded(spec, kernels).layers[0].modules)


def config_caches():
    return config_model("deepseek-ai/DeepSeek-V2-Lite-Chat").layers[0].caches


AMPERE, HOPPER, BLACKWELL = (loading(find_gpu(name), "0.33") for name in ("a100-80gb", "h100", "b200"))
GPTQ, AWQ = (grouped_int(4, 128, zero_points=True, encoding=encoding) for encoding in (Encoding.GPTQ, Encoding.AWQ))
PACKED = grouped_int(4, 128, zero_points=True, encoding=Encoding.PACKED)
N = 4096 * 4096


@pytest.mark.parametrize(
    ("storage", "kernels", "size"),
    [
        (fp8_block(128, 128), AMPERE, N + 2 * N // 128),  # Marlin: a 16-bit scale for each row and 128 columns
        (fp8_block(128, 128), HOPPER, N + 4 * N // 128 // 128),
        (fp8_block(128, 128), BLACKWELL, N + N // 128),  # DeepGEMM: a byte for each row and 128 columns
        (FP8_CHANNEL, AMPERE, N + 2 * 4096),
        (FP8_TENSOR, AMPERE, N + 2 * 4096),
        (FP8_TENSOR, HOPPER, N + 4),
        (GPTQ, AMPERE, N // 2 + 2 * N // 128),  # Marlin drops the zero points
        (GPTQ, HOPPER, N // 2 + 2 * N // 128 + N // 128 // 2),  # Machete does not need them and leaves them
        (AWQ, AMPERE, N // 2 + 2 * N // 128 + N // 128 // 2),
        (AWQ, HOPPER, N // 2 + 4 * N // 128),  # Machete multiplies zero points with the scales
        (AWQ, loading(find_gpu("h100"), "0.18"), N // 2 + 2 * N // 128 + N // 128 // 2),  # before 0.19 Marlin took AWQ on Hopper too
        (PACKED, HOPPER, N // 2 + 4 * N // 128),
        (grouped_int(4, 128, zero_points=False, encoding=Encoding.PACKED), HOPPER, N // 2 + 2 * N // 128),
        (BF16, AMPERE, 2 * N),
    ],
)
def test_a_linear_layer_after_loading(storage, kernels, size):
    assert held(storage, kernels) == size


def test_scales_of_nvfp4_lie_in_tiles_of_128_rows_on_blackwell():
    assert held(NVFP4, BLACKWELL, rows=200, columns=96) == 200 * 48 + 256 * 8 + 8
    assert held(NVFP4, AMPERE, rows=200, columns=96) == 200 * 48 + 200 * 6 + 8


def test_experts_after_loading():
    assert held(fp8_block(128, 128), AMPERE, experts=True) == 3 * N // 2 + 2 * (3 * N // 2) // 128
    biased = grouped_int(4, 128, zero_points=True, encoding=Encoding.GPTQ, bias=True)
    assert held(biased, AMPERE, experts=True) == held(GPTQ, HOPPER, experts=True)  # the biases that every model is given are dropped
    swizzled = 4096 * 128 + 4096 * 64  # already whole tiles
    weights = 3 * N // 2 // 2
    assert held(MXFP4, HOPPER, experts=True, bias=True) == weights + swizzled + 4 * (4096 + 4096)
    kept = loading(find_gpu("h100"), "0.24")  # the scales as they were loaded beside those that are used
    assert held(MXFP4, kept, experts=True, bias=True) == weights + 2 * swizzled + 4 * (4096 + 4096)
    assert held(MXFP4, AMPERE, experts=True, bias=True) == weights + swizzled + 2 * (4096 + 4096)


def test_mla_keeps_its_up_projection_again_in_16_bits_where_it_is_quantized():
    once, name = held(FP8_TENSOR, HOPPER), "self_attn.kv_b_proj"
    assert held(FP8_TENSOR, HOPPER, name=name, latent=True) == once + 2 * N
    assert held(FP8_TENSOR, HOPPER, name=name) == once
    assert held(BF16, HOPPER, name=name, latent=True) == 2 * N


def test_what_is_not_quantized_is_left_alone():
    plain = config_model("Qwen/Qwen3-8B")
    assert loaded(plain, AMPERE) is plain


@pytest.mark.parametrize(
    ("gpu", "model", "verdicts"),
    [
        ("rtx4090", "Qwen/Qwen3-14B", ["does_not_start", "does_not_start", "starts", "starts"]),  # 27.5 GiB in 16 bits on 23.5
        ("h20-141gb", "Qwen/Qwen2.5-72B-Instruct", ["tight", "tight", "starts", "starts"]),  # ran out of 139.7 GiB in 0.13 (vllm issue 31273), not in 0.12
        ("rtx4090", "Qwen/Qwen3-8B-FP8", ["starts"] * 4),  # nothing to quantize
    ],
)
def test_until_0_15_weights_lie_there_in_16_bits_before_they_are_quantized(gpu, model, verdicts):
    for version, verdict in zip(("0.11", "0.15", "0.16", "0.33"), verdicts, strict=True):
        server = replace(find_server(f"vllm serve {model} --quantization fp8 --max-model-len 8192"), version=version)
        assert check(server, group_for(server, gpu, 1, "server")).verdict == verdict, version

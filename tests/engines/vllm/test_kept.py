"""What profiling leaves on the GPU: FlashInfer's workspace and segments that stay reserved, by release, runner and card; sizes of a log beside it."""

from dataclasses import replace

import pytest
from conftest import config_model, gpu, small_model
from test_overhead import VISION, coefficients, config, on  # noqa: F401 - a fixture

from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.kept import attention_workspace, counted_with_graphs, expert_tensors, kept_segments, marlin_workspace, workspace_columns
from planner.engines.vllm.memory import breakdown
from planner.engines.vllm.overhead import Shapes, overhead
from planner.engines.vllm.settings import ServeConfig
from planner.facts.hardware import GpuGroup
from planner.facts.model import Drafter
from planner.units import MIB

FIRST = {"second_runner": False}


def seeing(**changed):
    return replace(small_model(), **({"vision": VISION} | changed))


@pytest.mark.parametrize(
    ("card", "backend", "columns"),
    [("rtx5090", "FLASHINFER", 24 * 256), ("rtx5090", "FLASH_ATTN", 0), ("b200", "FLASHINFER", 1), ("b200", "FLASHINFER_MLA", 1), ("b200", "TRITON_ATTN", 0)],
)
def test_flashinfers_workspace_goes_by_query_heads_but_for_tensorrt_llms_kernels(card, backend, columns):
    wide = replace(small_model(), attention_heads=24, head_dim=256)
    assert workspace_columns(wide, gpu(card), backend) == columns


def test_the_workspace_of_latent_attention_is_another():
    assert workspace_columns(config_model("deepseek-ai/DeepSeek-V3"), gpu("b200"), "FLASHINFER_MLA") == 0


@pytest.mark.parametrize(
    ("version", "batch", "ranks", "columns", "expected"),
    [
        ("0.25", 16384, 1, 24 * 256, 394 * MIB),
        ("0.26", 16384, 1, 24 * 256, 1536 * MIB),  # 16 bytes a token and column
        ("0.26", 16384, 2, 24 * 256, 768 * MIB),
        ("0.26", 2048, 1, 24 * 256, 394 * MIB),
        ("0.26", 16384, 1, 1, 394 * MIB),
        ("0.26", 16384, 2, 1, 394 * MIB),
    ],
)
def test_the_workspace_is_as_large_as_the_largest_batch_needs_since_0_26(version, batch, ranks, columns, expected):
    asked = config(vllm_version=version, max_num_batched_tokens=batch, tensor_parallel_size=ranks)
    assert attention_workspace(asked, columns) == expected


def test_the_workspace_is_counted_with_the_graphs_of_the_first_runner_that_hold_attention():
    drafting = seeing(drafter=Drafter(method="mtp", num_speculative_tokens=2))
    assert counted_with_graphs(seeing(), config(**FIRST), on(), 100)
    assert not counted_with_graphs(seeing(), config(), on(), 100)
    assert not counted_with_graphs(seeing(), config(enforce_eager=True, **FIRST), on(), 100)
    assert not counted_with_graphs(seeing(), config(max_cudagraph_capture_size=0, **FIRST), on(), 100)
    assert not counted_with_graphs(drafting, config(**FIRST), on(), 100)
    assert counted_with_graphs(drafting, config(**FIRST), on(), 1)  # TensorRT-LLM's kernels take several tokens of a sequence


def test_segments_stay_reserved_from_0_27_to_0_30_where_a_tower_was_profiled():
    def kept(version, outlook=Outlook.EXPECTED, asked=None, **changed):
        return kept_segments(Shapes(asked or seeing(), config(**({"vllm_version": version} | FIRST | changed))), on(), outlook, 7)

    batch = 2048 * (3 * 3000 + 4 * 1000) * 2  # what a batch's tensors take
    assert [minor for minor in range(24, 34) if kept(f"0.{minor}")] == [27, 28, 29, 30]
    assert kept("0.27") == kept("0.30", Outlook.CONSERVATIVE) == kept("0.29", Outlook.CONSERVATIVE, second_runner=None) == batch
    assert kept("0.29", second_runner=None) == kept("0.27", Outlook.OPTIMISTIC) == 0  # seen with the first runner only
    assert kept("0.27", tensor_parallel_size=2) == 0 < kept("0.27", Outlook.CONSERVATIVE, tensor_parallel_size=2) < batch
    assert kept("0.27", Outlook.CONSERVATIVE, skip_mm_profiling=True) == kept("0.27", Outlook.CONSERVATIVE, asked=seeing(vision=None)) == 0
    experts = seeing(experts_per_token=4, expert_intermediate=1500)
    assert kept("0.27", Outlook.CONSERVATIVE, asked=experts) > kept("0.27", asked=experts) == 2048 * 4 * 1000 * 2


@pytest.mark.parametrize(
    ("version", "outlook", "expected"), [("0.26", Outlook.CONSERVATIVE, 0), ("0.29", Outlook.EXPECTED, 0), ("0.29", Outlook.CONSERVATIVE, 7)]
)
def test_a_hybrid_may_leave_the_second_embedding_reserved(version, outlook, expected):
    hybrid = config_model("Qwen/Qwen3-Next-80B-A3B-Instruct")
    assert kept_segments(Shapes(hybrid, config(vllm_version=version)), on(), outlook, 7) == expected
    assert kept_segments(Shapes(seeing(vision=None), config(vllm_version=version)), on(), outlook, 7) == 0


def test_the_workspace_lies_in_segments_that_stay_reserved_if_it_is_no_larger(coefficients):  # noqa: F811
    def graphs(version, runner=False, **changed):
        asked = Shapes(seeing(**changed), config(vllm_version=version, second_runner=runner))
        return overhead(asked, on(), Outlook.EXPECTED, columns=6144).cuda_graph_bytes - overhead(asked, on(), Outlook.EXPECTED).cuda_graph_bytes

    assert graphs("0.26") == graphs("0.27") == 394 * MIB
    assert graphs("0.27", intermediate_size=40_000) == 0
    assert graphs("0.29", runner=True) == 0


def test_a_narrow_cache_on_ada_has_a_workspace_and_a_wide_one_none():
    def graphs(dtype):
        asked = ServeConfig(vllm_version="0.21", kv_cache_dtype=dtype, max_num_batched_tokens=2048, max_num_seqs=8)
        return breakdown(config_model("Qwen/Qwen3-8B"), GpuGroup(gpu=gpu("rtx4090"), count=1), asked).cuda_graph_bytes

    assert graphs("fp8") - graphs("auto") == 394 * MIB


@pytest.mark.parametrize(
    ("name", "last"),
    [("made/moe-ct_w4a16g128", 22), ("made/moe-awq4g64", 21), ("Qwen/Qwen3-30B-A3B-FP8", 10), ("Qwen/Qwen3-30B-A3B", 10), ("Qwen/Qwen3-8B", 10)],
)
def test_marlin_runs_packed_experts_by_itself_until_a_release(name, last):
    """vLLM 0.11 to 0.23 quantization/: "return fused_marlin_moe"; both products in one tensor of 2048 columns, the activation in one of 768."""
    told = [marlin_workspace(config_model(name), config(vllm_version=f"0.{minor}")) for minor in range(11, 26)]
    assert told == [2048 * 8 * (2048 + 768) * 2 if minor <= last else None for minor in range(11, 26)]


def test_what_marlin_works_in_is_given_back_before_the_sampler_runs():
    packed = Shapes(config_model("made/moe-ct_w4a16g128"), config(vllm_version="0.19", tensor_parallel_size=2))
    assert expert_tensors(packed, marlin=True) == (2048 * 8 * (2048 + 384) * 2, 0)
    assert expert_tensors(packed, marlin=False) == (packed.workspace, packed.workspace)  # ROCm has Triton's kernels
    later = Shapes(packed.model, config(vllm_version="0.23"))
    assert expert_tensors(later, marlin=True) == (later.workspace, later.workspace)

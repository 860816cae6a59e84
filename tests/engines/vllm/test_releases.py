"""What an older release of vLLM chooses and refuses, each value read off its source distribution on PyPI (the file stands beside it)."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import config_model

from planner.catalogue import resolve
from planner.catalogue.load import find_gpu, find_model
from planner.catalogue.resolve import find_source
from planner.engines.vllm.answer import alone
from planner.engines.vllm.check import check
from planner.engines.vllm.flags import spellings
from planner.engines.vllm.judged import judge
from planner.engines.vllm.kvcache import plan_cache
from planner.engines.vllm.layouts import cache_layout, needs_nvcc
from planner.engines.vllm.plan import Request, not_covered
from planner.engines.vllm.rules import check_model, is_quantized_while_loading, quantization_problem
from planner.engines.vllm.search import best
from planner.engines.vllm.settings import Pins
from planner.engines.vllm.splits import cannot_split
from planner.engines.vllm.versions import METHODS, MINIMUM_CAPABILITY, VERSIONS, is_unread_method, knows_method, minimum_capability
from planner.errors import PlannerError, UnsupportedError
from planner.facts.attention import RecurrentState
from planner.facts.command import Command
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup
from planner.facts.question import ServiceRow, StackRow
from tests.judges import SCRIPTS, judge_venv

ROOT = Path(__file__).parents[3]


def layout(model, gpu, dtype="auto", version="0.33"):
    found = cache_layout(find_model(model).spec(), find_gpu(gpu), dtype, version=version)
    return found.backend, found.block_size


def refused(model, gpu, dtype, version):
    with pytest.raises(UnsupportedError) as error:
        layout(model, gpu, dtype, version)
    return str(error.value)


@pytest.mark.parametrize(
    ("gpu", "dtype", "version", "backend"),
    [
        ("rtx4090", "fp8", "0.11", "TRITON_ATTN"),  # platforms/cuda.py: an FP8 cache off 9.0
        ("rtx4090", "fp8", "0.12", "FLASHINFER"),
        ("h100", "fp8", "0.11", "FLASH_ATTN"),
        ("h100", "fp8_e5m2", "0.21", "FLASH_ATTN"),  # backends/flash_attn.py: whatever begins with fp8
        ("h100", "fp8_e5m2", "0.22", "FLASHINFER"),
        ("t4", "auto", "0.11", "FLEX_ATTENTION"),
        ("t4", "auto", "0.23", "FLASHINFER"),  # backends/flashinfer.py: 7.5, 8.0 since 0.24
        ("t4", "auto", "0.24", "TRITON_ATTN"),
        ("b200", "nvfp4", "0.31", "FLASHINFER"),
        ("rtx4090", "nvfp4", "0.33", "FLASHINFER"),  # is_device_capability_family(80) is any 8.x
    ],
)
def test_backends(gpu, dtype, version, backend):
    assert layout("qwen3-8b", gpu, dtype, version)[0] == backend


def test_block_sizes():
    assert layout("deepseek-v3", "b200", version="0.14") == ("CUTLASS_MLA", 128)
    assert layout("deepseek-v3", "b200", version="0.16") == ("FLASHINFER_MLA", 32)
    assert [layout("gemma-4-31b", "h100", "fp8", version)[1] for version in ("0.30", "0.31")] == [16, 64]  # _get_sm90_fa4_fp8_kv_block_size


def test_sparse_attention_by_release():
    assert layout("deepseek-v3.2", "h100", "bfloat16", "0.24") == ("FLASHMLA_SPARSE", 64)
    assert layout("deepseek-v3.2", "h100", "bfloat16", "0.25") == ("FLASH_ATTN_MLA_SPARSE", 64)
    assert "before vLLM 0.24" in refused("deepseek-v3.2", "rtxpro6000", "auto", "0.23")
    assert layout("deepseek-v3.2", "rtxpro6000", version="0.24")[0] == "FLASHINFER_MLA_SPARSE_SM120"


@pytest.mark.parametrize(
    ("dtype", "since"), [("float16", 18), ("int8_per_token_head", 20), ("fp8_per_token_head", 20), ("nvfp4", 21), ("int4_per_token_head", 25)]
)
def test_cache_dtypes_came_with_a_release(dtype, since):
    assert f"it came with 0.{since}" in refused("qwen3-8b", "b200", dtype, f"0.{since - 1}")
    assert layout("qwen3-8b", "b200", dtype, f"0.{since}")


@pytest.mark.parametrize(
    ("gpu", "version", "words"),
    [
        ("h100", "0.14", "Only support per-tensor scaling factor"),  # validate_kv_cache_scheme
        ("h100", "0.16", ""),
        ("h100", "0.33", ""),
        ("l40s", "0.16", "per-head quant scales not supported by FLASHINFER"),  # FlashAttention 2
        ("l40s", "0.33", "per-head quant scales not supported by FLASHINFER"),
        ("b200", "0.26", "per-head quant scales not supported by FLASHINFER"),  # fa_utils.py: FP8 caches on 9.0 alone
        ("b200", "0.27", ""),
    ],
)
def test_a_cache_with_a_scale_a_head_by_release_and_gpu(gpu, version, words):
    spec = replace(find_model("qwen3-8b").spec(), scales_by_head=True, kv_cache_dtype="fp8")
    if not words:
        assert cache_layout(spec, find_gpu(gpu), "auto", version=version).backend == "FLASH_ATTN"
        return
    with pytest.raises(UnsupportedError, match=words):
        cache_layout(spec, find_gpu(gpu), "auto", version=version)


@pytest.mark.parametrize(("version", "verdict"), [("0.14", "does_not_start"), ("0.15", "unknown"), ("0.16", "starts")])
def test_what_a_release_that_nobody_read_makes_of_such_a_cache_is_not_known(version, verdict):
    spec = replace(find_model("qwen3-8b").spec(), scales_by_head=True, kv_cache_dtype="fp8")
    group = GpuGroup(gpu=find_gpu("h100"), count=1)
    assert check({"--max-model-len": "8192"}, (), spec, group, repo="x/y", argv=(), version=version).verdict == verdict
    request = Request(model=spec, group=group, pins=Pins(vllm_version=version), context=8192)
    if verdict == "does_not_start":
        with pytest.raises(UnsupportedError):
            best(request)
    else:
        assert bool(not_covered(spec, best(request).config)) is (verdict == "unknown")


@pytest.mark.parametrize(
    ("quantization", "own", "version", "bits"),
    [
        ("modelopt", "fp8", "0.13", 16),  # get_kv_cache_quant_algo_string came with 0.14
        ("modelopt", "fp8", "0.14", 8),
        ("modelopt_fp4", "nvfp4", "0.19", 16),  # a name that it warns of
        ("modelopt_fp4", "nvfp4", "0.21", 4),
        ("compressed-tensors", "fp8", "0.11", 8),
    ],
)
def test_the_cache_that_a_checkpoint_names_by_release(quantization, own, version, bits):
    spec = replace(find_model("qwen3-8b").spec(), quantization=quantization, kv_cache_dtype=own)
    assert cache_layout(spec, find_gpu("b200"), "auto", version=version).bits == bits


def test_an_nvfp4_cache():
    assert "compute capability 10.x before vLLM 0.32" in refused("qwen3-8b", "rtx4090", "nvfp4", "0.31")
    assert "heads of 64" in refused("gpt-oss-20b", "rtx4090", "nvfp4", "0.33")  # flashinfer.py supports_combination: sinks, too
    assert "needs FlashInfer" in refused("qwen3-8b", "t4", "nvfp4", "0.33")
    found = cache_layout(find_model("qwen3-8b").spec(), find_gpu("l40s"), "nvfp4")
    assert needs_nvcc(found, find_gpu("l40s"))
    assert found.bytes_per_token_head == (128 + 128) // 16


@pytest.mark.parametrize(
    ("model", "gpu", "version", "starts"),
    [
        ("qwen3-8b-fp8", "t4", "0.13", False),  # fp8.py: 80, since 0.14 75
        ("qwen3-8b-fp8", "t4", "0.14", True),
        ("RedHatAI/Qwen3-8B-FP8-dynamic", "quadro-rtx6000", "0.14", False),  # compressed_tensors_w8a16_fp8.py: 80, since 0.16 75
        ("RedHatAI/Qwen3-8B-FP8-dynamic", "quadro-rtx6000", "0.16", True),
        ("RedHatAI/Qwen3.6-35B-A3B-NVFP4", "t4", "0.14", False),
        ("RedHatAI/Qwen3.6-35B-A3B-NVFP4", "t4", "0.16", True),
        ("cyankiwi/Qwen3.8-27B-AWQ-INT4", "t4", "0.11", True),  # compressed_tensors_wNa16.py: 75
        ("qwen3-8b-awq", "t4", "0.11", True),  # awq.py: 75; awq_marlin stood back
        ("qwen3-32b-fp8-tensor", "rtx3090", "0.26", False),  # modelopt.py: 89, since 0.27 80
        ("qwen3-32b-fp8-tensor", "rtx3090", "0.27", True),
    ],
)
def test_the_capability_that_a_quantization_needs(model, gpu, version, starts):
    spec, card = find_source(model).spec, find_gpu(gpu)
    if starts:
        check_model(spec, card, version)
        return
    with pytest.raises(UnsupportedError, match=rf"in vLLM {version}; "):
        check_model(spec, card, version)


def test_every_method_has_a_minimum_in_every_release():
    assert all(minimum_capability(method, version) > 0 for method in MINIMUM_CAPABILITY for version in VERSIONS)


@pytest.mark.parametrize(
    ("release", "gpu_name", "refused"), [("0.28", "h100", True), ("0.29", "h100", False), ("0.33", "h100", False), ("0.33", "a100-80gb", True)]
)
def test_experts_whose_slice_cuts_fp8_blocks_by_release_and_gpu(release, gpu_name, refused):
    """Scales for finer blocks came with 0.29 (fused_moe/oracle/fp8.py), for Triton's kernels, which multiply FP8: not on Ampere."""
    group = GpuGroup(gpu=find_gpu(gpu_name), count=4)
    problem = cannot_split(Request(model=config_model("Qwen/Qwen3-30B-A3B-FP8"), group=group, pins=Pins(vllm_version=release)), 4, 1)
    assert ("192 is not divisible by weight quantization block_n = 128" in problem) is refused


@pytest.mark.parametrize(
    ("asked", "actual", "version", "refused"),
    [
        ("modelopt", "modelopt_mixed", "0.33", False),  # modelopt.py override_quantization_method reads the file
        ("modelopt_fp4", "modelopt", "0.33", False),
        ("fp4", "modelopt_fp4", "0.19", False),  # a public start of 2026-04 on GB10: no method of vLLM's, and never asked for
        ("fp4", "auto_awq", "0.19", True),
        ("fp4", "gpt_oss_mxfp4", "0.13", True),  # read off the file later
        ("fp4", "gpt_oss_mxfp4", "0.20", False),
        ("auto-round", "inc", "0.13", False),
        ("mxfp4", "gpt_oss_mxfp4", "0.13", False),
        ("mxfp4", "mxfp4", "0.33", False),
        ("marlin", "auto_awq", "0.33", False),
        ("moe_wna16", "auto_gptq", "0.33", False),
        ("moe_wna16", "fp8", "0.33", True),
        ("awq", "auto_gptq", "0.33", True),
        ("awq", None, "0.33", True),
        ("humming", None, "0.19", True),  # it came with 0.20
        ("humming", None, "0.20", False),
        ("fp8_per_block", "fp8_per_block", "0.19", True),  # a 16-bit checkpoint, which this makes one of its own
        ("fp8_per_block", "fp8_per_block", "0.20", False),
        ("deepseek_v4_fp8", "fp8", "0.19", True),
        ("deepseek_v4_fp8", "fp8", "0.20", False),
        ("mxfp8", "modelopt", "0.14", False),  # no name of that release, and never asked for
        ("bitsandbytes", "bitsandbytes", "0.27", False),
        ("bitsandbytes", "bitsandbytes", "0.28", True),
    ],
)
def test_which_quantization_a_command_may_name(asked, actual, version, refused):
    assert bool(quantization_problem(asked, actual, version)) is refused


@pytest.mark.parametrize(
    ("asked", "version", "told"),
    [
        ("bitsandbytes", "0.28", "Unknown quantization method: bitsandbytes, to vLLM 0.28; the last that has it is 0.27"),
        ("fp8_per_block", "0.15", "Unknown quantization method: fp8_per_block, to vLLM 0.15; it came with 0.20"),
        ("fp4", "0.33", "Unknown quantization method: fp4, to vLLM 0.33"),
        ("awq", "0.33", "--quantization awq: the checkpoint is not quantized"),
    ],
)
def test_the_reason_against_a_quantization_is_vllms(asked, version, told):
    assert quantization_problem(asked, asked if asked in ("bitsandbytes", "fp8_per_block") else None, version) == told


@pytest.mark.parametrize("version", VERSIONS)
def test_each_release_has_the_methods_of_its_source(version):
    """layers/quantization/__init__.py, where its source lies beside the judges; of the release without one, what both neighbours have and more."""
    sources = Path.home() / ".cache" / "serve-plan" / "vllm-sources" / version / "vllm" / "model_executor" / "layers" / "quantization" / "__init__.py"
    known = {name for name in METHODS if knows_method(name, version)}
    unread = {name for name in METHODS if is_unread_method(name, version)}
    assert bool(unread) is (version == "0.15")
    if sources.exists():
        listed = sources.read_text().partition("QuantizationMethods = Literal[")[2].partition("\n]")[0]
        assert known == {line.strip().strip('",') for line in listed.splitlines() if line.strip() and not line.strip().startswith("#")}


@pytest.mark.parametrize(
    "name", ["online", "torchao", "humming", "bitsandbytes", "fp8", "fp8_per_block", "fp8_per_channel", "mxfp8", "awq", "deepseek_v4_fp8", "fp4"]
)
@pytest.mark.parametrize("version", ["0.19", "0.24", "0.33"])
def test_plan_and_check_have_one_rule_for_a_quantization(name, version):
    """Of a 16-bit model: what one refuses the other does, in the same words, and neither is surer."""
    group = GpuGroup(gpu=find_gpu("h100"), count=1)
    row = StackRow(gpu="h100", vllm_version=version, services=[ServiceRow(model="qwen3-8b", quantization=name, context=8192)])
    command = Command(engine="vllm", words=("Qwen/Qwen3-8B", "--quantization", name, "--max-model-len", "8192"), version=version)
    judged = judge(command, group, resolve)
    try:
        planned = alone(row, group, resolve)
    except PlannerError as error:
        assert error.message in [problem.message for problem in judged.problems]
        return
    assert not judged.problems
    assert bool(planned.not_covered) is bool(judged.not_covered)
    assert planned.verdict == ("unknown" if judged.not_covered else "starts")


@pytest.mark.judge
@pytest.mark.slow
def test_every_name_with_every_checkpoint_as_vllm_reads_them():
    """vLLM's own method says which names it takes, of all that it has and some that it has not."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "planner" / "engines" / "vllm" / "judge")}
    command = [judge_venv("vllm") / "bin" / "python", SCRIPTS / "read_quantizations.py"]
    told = json.loads(subprocess.run(command, env=environment, text=True, capture_output=True, check=True).stdout.splitlines()[-1])
    assert len(told) == 11 and all(len(row) > 35 for row in told.values())
    for actual, row in told.items():
        refused = {name for name in row if quantization_problem(name, actual, "0.33") and not is_quantized_while_loading(name, actual, "0.33")}
        assert refused == {name for name, method in row.items() if method is None}, actual
        changed = {name for name, method in row.items() if method not in (None, actual, {"auto_awq": "awq"}.get(actual))}
        assert all(is_quantized_while_loading(name, actual, "0.33") for name in changed - {"moe_wna16"}), actual


@pytest.mark.parametrize(
    ("flag", "since", "until"), [("--no-enable-prefix-caching", 11, 33), ("--disable-prefix-caching", 33, 33), ("--enable-cascade-attn", 33, 33)]
)
def test_a_spelling_is_taken_by_the_releases_whose_parser_takes_it(flag, since, until):
    """Each release's own parser said so (benchmarks/flags.py): before 0.33 a switch was turned off by --no-… only."""
    for minor in range(11, 34):
        assert (flag in spellings(f"0.{minor}")) == (since <= minor <= until), minor


def test_choices_are_those_of_the_release():
    for version, taken in (("0.11", False), ("0.13", True), ("0.33", True)):
        assert ("float16" in spellings(version)["--mamba-ssm-cache-dtype"]["choices"]) == taken


@pytest.mark.parametrize(
    ("model", "since", "gpu"),
    [("qwen3.5-9b", 33, "h100"), ("qwen3.5-9b", 33, "rtxpro6000"), ("nemotron-3-nano-30b-a3b", 32, "h100"), ("nemotron-3-nano-30b-a3b", 32, "a100-80gb")],
)
def test_a_request_holds_its_prompts_checkpoint_since_the_release_whose_kernel_exports_it(model, since, gpu):
    """mamba_mixer2.py and gdn/qwen_gdn_linear_attn.py get_kv_cache_spec: two states of each group before, the last two of the prefix."""

    def states(version):
        spec = find_model(model).spec()
        groups = plan_cache(spec, Parallel(), cache_layout(spec, find_gpu(gpu), "auto", version=version)).groups
        return {group.states for group in groups if isinstance(group.attention, RecurrentState)}

    assert [states(f"0.{minor}") for minor in (28, since - 1, since)] == [{2}, {2}, {3}]

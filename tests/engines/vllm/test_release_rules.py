"""Rules that differ between releases of vLLM, judged on whole commands; the source of each release is named beside its data."""

import json
from dataclasses import replace

import pytest
from conftest import DATA

from planner.architecture import Config, build_model
from planner.catalogue.load import find_gpu
from planner.engines.vllm.cache_options import CacheOptions
from planner.engines.vllm.layouts import cache_layout
from planner.engines.vllm.rules import default_batches
from planner.engines.vllm.versions import VERSIONS
from planner.errors import UnsupportedError
from planner.facts.hardware import mixed_group
from planner.questions.check import check, find_server, group_for


def judged(command, gpu, count=1, version="0.33"):
    server = replace(find_server(command), version=version)
    return check(server, group_for(server, gpu, count, "server"))


@pytest.mark.parametrize("version", VERSIONS)
def test_nvml_does_not_tell_the_memory_of_a_gb10(version):
    """vllm pull request 57378: until 0.32 its defaults are those of a card without memory, 0.33 names it."""
    assert default_batches(find_gpu("gb10"), 121 * 2**30, VERSIONS[version]) == (2048, 256)


@pytest.mark.parametrize(("version", "flags"), [("0.15", ""), ("0.21", ""), ("0.33", ""), ("0.33", "--no-async-scheduling")])
def test_what_an_encoder_puts_out_is_of_one_batch(version, flags):
    """(448 + 2048) tokens of 160 KiB: 10.14 GiB were 26.62 requests in 0.15, 16.9 GiB 44.38 in 0.21 (their logs)."""
    assert judged(f"vllm serve openai/whisper-large-v3 {flags}", "l4", version=version).memory["kv_cache_needed_bytes"] == (448 + 2048) * 160 * 1024


@pytest.mark.parametrize(("version", "verdict"), [("0.13", "tight"), ("0.14", "does_not_start"), ("0.16", "does_not_start"), ("0.17", "tight")])
def test_a_stage_is_asked_for_the_need_of_all_in_some_releases(version, verdict):
    """vllm issue 32105: three RTX 4090 with 9.05 GiB each were asked for 24."""
    plan = judged("vllm serve Qwen/Qwen3-VL-30B-A3B-Instruct-FP8 -pp 3 --gpu-memory-utilization 0.95 --max-model-len 262144", "rtx4090", 3, version)
    assert plan.verdict == verdict
    if verdict == "does_not_start":
        assert "needs 24.00 GiB of KV cache" in plan.problems[0].message


@pytest.mark.parametrize(("version", "verdict"), [("0.13", "does_not_start"), ("0.14", "tight"), ("0.18", "tight"), ("0.19", "does_not_start")])
def test_a_hybrids_first_group_alone_is_asked_for_in_some_releases(version, verdict):
    """_max_memory_usage_bytes_from_groups took the blocks of kv_cache_groups[0] until 0.18: gpt-oss' windows."""
    command = "vllm serve openai/gpt-oss-20b --gpu-memory-utilization 0.68 --max-num-batched-tokens 1024 --max-num-seqs 8"
    plan = judged(command, "rtx4090", version=version)
    assert plan.verdict == verdict
    assert ("longest" in [warning.code for warning in plan.warnings]) is (verdict == "tight")


PIPELINE = "vllm serve Qwen/Qwen3-8B -pp 2 --max-model-len 32768"


@pytest.mark.parametrize(
    ("partition", "words"),
    [
        ("10,27", "sum(partitions)=37 does not match num_hidden_layers=36."),
        ("12,12,12", "len(partitions)=3 does not match pp_size=2."),
        ("a,26", "Invalid partition string: a,26"),
        ("", "Invalid partition string: "),
    ],
)
def test_layers_divided_by_hand_are_refused_as_vllm_refuses_them(partition, words):
    plan = judged(f"VLLM_PP_LAYER_PARTITION={partition} {PIPELINE}", "rtx4090", 2)
    assert (plan.verdict, plan.problems[0].message) == ("does_not_start", words)


def test_layers_divided_by_hand_are_in_the_ledger():
    """26 of 36 layers on a stage keep as many thirty-sixths of the cache."""
    evenly, by_hand = (judged(f"{env} {PIPELINE}", "rtx4090", 2) for env in ("", "VLLM_PP_LAYER_PARTITION=10,26"))
    assert (by_hand.verdict, by_hand.not_covered) == ("starts", ())
    assert by_hand.memory["kv_block_bytes"] * 18 == evenly.memory["kv_block_bytes"] * 26


@pytest.mark.parametrize(
    ("command", "version", "words"),
    [
        ("vllm serve Qwen/Qwen3-8B --attention-backend FOO", "0.33", "Unknown attention backend: 'FOO'. Valid options are: "),
        ("vllm serve Qwen/Qwen3-8B --attention-backend B12X", "0.29", "Unknown attention backend: 'B12X'. Valid options are: "),
        ("VLLM_ATTENTION_BACKEND=XFORMERS vllm serve Qwen/Qwen3-8B", "0.14", "Unknown attention backend: 'XFORMERS'. Valid options are: "),
        ("VLLM_ATTENTION_BACKEND=FOO vllm serve Qwen/Qwen3-8B", "0.11", "Invalid attention backend: 'FOO'. Valid backends are: "),
    ],
)
def test_a_backend_that_the_release_does_not_know_is_refused(command, version, words):
    plan = judged(command, "h100", version=version)
    assert plan.verdict == "does_not_start"
    assert plan.problems[0].message.startswith(words)


@pytest.mark.parametrize(
    ("command", "version"),
    [
        ("vllm serve Qwen/Qwen3-8B --attention-backend auto", "0.33"),
        ("vllm serve Qwen/Qwen3-8B --attention-backend flash_attn", "0.20"),
        ("VLLM_ATTENTION_BACKEND=FLASH_ATTN_VLLM_V1 vllm serve Qwen/Qwen3-8B", "0.11"),
        ("VLLM_ATTENTION_BACKEND=FOO vllm serve Qwen/Qwen3-8B", "0.20"),  # not read any more
    ],
)
def test_a_backend_that_it_knows_is_not(command, version):
    assert judged(command, "h100", version=version).verdict == "starts"


ADAPTERS = "vllm serve Qwen/Qwen3.5-27B --tensor-parallel-size 2 --enable-lora --max-model-len 32768"


@pytest.mark.parametrize(
    ("flags", "version", "verdict"),
    [
        ("", "0.17", "does_not_start"),
        ("", "0.18", "does_not_start"),
        ("--enforce-eager", "0.17", "starts"),
        ("", "0.20", "tight"),  # one start failed, and the source says that it is mended
        ("--enforce-eager", "0.20", "starts"),
        ("", "0.21", "starts"),
    ],
)
def test_adapters_of_qwen35_start_without_graphs_only_until_they_were_mended(flags, version, verdict):
    """vllm issue 36372."""
    plan = judged(f"{ADAPTERS} {flags}", "rtxpro6000", 2, version)
    assert plan.verdict == verdict
    if verdict == "does_not_start":
        assert (plan.problems[0].message[:35], plan.problems[0].fix) == ("IndexError: list index out of range", "--enforce-eager")


@pytest.mark.parametrize(("version", "verdict"), [("0.24", "does_not_start"), ("0.29", "does_not_start"), ("0.33", "does_not_start")])
def test_heads_of_512_do_not_fit_turings_shared_memory(version, verdict):
    """Gemma 4 E2B on a T4: out of resources in 0.29 (its log); the kernel's tiles are the same in every release that has the model."""
    plan = judged("vllm serve google/gemma-4-E2B-it --dtype float16 --max-model-len 8192 --max-num-seqs 8", "t4", version=version)
    assert plan.verdict == verdict
    assert ("out of resource: shared memory" in plan.problems[0].message, plan.problems[0].fix) == (True, "another GPU")
    assert judged("vllm serve google/gemma-4-E2B-it --max-model-len 8192 --max-num-seqs 8", "l4", version=version).verdict == "starts"


def test_nearly_a_whole_gpu_is_no_sure_start_where_graphs_lie_outside_the_budget():
    command = "vllm serve Qwen/Qwen3-VL-30B-A3B-Instruct --max-model-len 65536 --gpu-memory-utilization"
    asked = (("0.95", "0.14"), ("0.93", "0.14"), ("0.93", "0.11"), ("0.95", "0.33"))  # 0.11 with a driver that may be older
    said = [judged(f"{command} {share}", "a100-80gb", version=version).verdict for share, version in asked]
    assert said == ["tight", "starts", "tight", "starts"]


def test_stages_of_a_pipeline_by_hand_on_unequal_gpus_are_not_refused_for_the_smallest():
    """The larger card may hold the larger stage, which the ledger does not know: what starts on two of the smaller starts all the same."""
    cards = tuple(map(find_gpu, ("rtx5070ti", "rtx5090d")))
    server = find_server("VLLM_PP_LAYER_PARTITION=16,32 vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 -pp 2 --max-model-len 8192")
    assert check(server, mixed_group(cards, group_for(server, "rtx5070ti", 2, "server"))).verdict == "unknown"


@pytest.mark.parametrize(
    ("model", "width", "version", "times"),
    [
        ("Qwen/Qwen3.5-9B", 64, "0.31", 4),
        ("Qwen/Qwen3.5-9B", 64, "0.32", 1),
        ("Qwen/Qwen3.5-0.8B", 64, "0.23", 4),  # its row does not say how it turns
        ("RedHatAI/Qwen3.6-35B-A3B-NVFP4", 64, "0.20", 4),
        ("Qwen/Qwen3-VL-8B-Instruct", 128, "0.20", 4),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", 128, "0.33", 1),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 64, "0.20", 1),  # one position
    ],
)
def test_rotary_tables_of_three_positions_are_four_times_as_long_until_0_31(model, width, version, times):
    """262,144 positions of so many values in 16 bits: with them 9B logs 17.66 GiB in 0.27, 0.8B 1.72 in 0.23, 35B-A3B in NVFP4 21.86 in 0.20."""
    plan = judged(f"vllm serve {model} --max-model-len 8192", "h200", 4, version)
    assert plan.memory["buffers_bytes"] // 2**20 == times * 262_144 * width * 2 // 2**20


@pytest.mark.parametrize(
    ("gpu", "version", "flags", "verdict"),
    [
        ("rtx3090", "0.8.1", "", "unknown"),
        ("rtx3090", "0.8.3", "", "unknown"),
        ("rtx3090", "0.8.4", "", "starts"),
        ("rtx3090", "0.8.1", "--max-num-seqs 256", "starts"),
        ("h100", "0.8.1", "", "starts"),  # takes 1024 since, too
    ],
)
def test_the_default_of_1024_sequences_on_small_gpus_is_named_until_0_8_4(gpu, version, flags, verdict):
    assert judged(f"vllm serve Qwen/Qwen3-8B --max-model-len 4096 {flags}", gpu, version=version).verdict == verdict


@pytest.mark.parametrize(
    "flags",
    [
        "-O0",
        "--compilation-config.mode 0",
        """--compilation-config '{"mode":0}'""",
        """--compilation-config '{"inductor_compile_config":{"combo_kernels":false}}'""",
    ],
)
def test_what_compiles_nothing_times_no_kernels(flags):
    """A second embedding is made up for kernels that Inductor fuses and times: 152,064 words of 3,584 values, not where nothing is compiled."""
    command = "vllm serve Qwen/Qwen2.5-7B-Instruct-AWQ --max-model-len 8192"
    timed, eager, told = (judged(f"{command} {more}", "l4").memory["activation_bytes"] for more in ("", "--enforce-eager", flags))
    assert timed >= 152_064 * 3584 * 2 > told
    assert told == eager


@pytest.mark.parametrize(
    ("file", "gpu", "backend", "told"),
    [
        ("made--rnj1", "h100", None, "unexpected keyword argument 'chunk_lookback'"),
        ("made--rnj1", "h100", "TRITON_ATTN", ""),
        ("made--step1", "b200", None, "use_alibi_sqrt is not supported by backend FLASHINFER."),
        ("made--step1", "mi300x", None, ""),
        ("made--flint", "h100", None, "Flint requires FlashInfer attention"),
        ("made--flint", "h100", "FLASHINFER", ""),
        ("made--flint", "b200", None, ""),
    ],
)
def test_a_class_that_one_attention_backend_alone_builds_is_refused_with_another(file, gpu, backend, told):
    """Asked of vLLM 0.33's classes: models/rnj1.py, step1.py, models/flint/model.py; earlier releases are not judged."""
    model = build_model(Config(json.loads((DATA / "configs" / f"{file}.json").read_text()), file), file)
    options = CacheOptions(attention_backend=backend)
    if told:
        with pytest.raises(UnsupportedError, match=told) as refused:
            cache_layout(model, find_gpu(gpu), "auto", options=options)
        assert refused.value.hint.startswith("--attention-backend ")
    else:
        assert cache_layout(model, find_gpu(gpu), "auto", options=options).block_size
    cache_layout(model, find_gpu(gpu), "auto", version="0.32", options=CacheOptions())

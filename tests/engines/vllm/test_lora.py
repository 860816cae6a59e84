"""LoRA adapters: bytes as vLLM's own classes make them, what it refuses, what the server's ledger says."""

import json
from dataclasses import replace

import pytest
from conftest import DATA, config_model

from planner.catalogue import load
from planner.engines.vllm import lora
from planner.engines.vllm.lora import Lora, check_lora, graph_sets, stage_adapters
from planner.engines.vllm.memory import breakdown
from planner.engines.vllm.rules import with_kernels
from planner.engines.vllm.settings import ServeConfig
from planner.errors import NotDivisibleError, UnsupportedError
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup

ROWS = [json.loads(line) for line in (DATA / "vllm_0.33_lora.jsonl").read_text().splitlines()]
QWEN3, GPU = "Qwen/Qwen3-8B", "h100"


def adapters(model, *, tp=1, pp=1, ep=False, version="0.33", **held):
    """Bytes of the adapters of a model, a stage each."""
    parallel = with_kernels(Parallel(tensor_parallel_size=tp, pipeline_parallel_size=pp, enable_expert_parallel=ep), load.find_gpu(GPU))
    return stage_adapters(config_model(model), parallel, Lora(**held), 16, version)


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row['model']}-tp{row['tp']}-r{row['max_lora_rank']}{'-sharded' * row['fully_sharded']}{'-ep' * row['ep']}"
)
def test_bytes_equal_vllms_own(row):
    held = {name: row[name] for name in ("max_loras", "max_lora_rank", "fully_sharded")}
    assert adapters(row["model"], tp=row["tp"], ep=row["ep"], **held) == [row["lora_bytes"]]


def test_stages_of_a_pipeline_sum_to_the_whole():
    assert sum(adapters(QWEN3, pp=4)) == adapters(QWEN3)[0]


def test_adapters_of_targets_are_those_of_their_layers():
    assert adapters(QWEN3, target_modules=("o_proj",)) == [36 * 16 * 2 * (4096 + 4096)]
    assert adapters(QWEN3, target_modules=("q_proj", "v_proj")) == adapters(QWEN3, target_modules=("qkv_proj",))  # the fused layer is wrapped whole


def test_releases_differ():
    """Embeddings of Qwen3 take adapters since 0.16; experts since 0.12; until 0.11 an adapter may add 256 words."""
    words = 2 * 16 * 2 * (151_936 + 4096)
    assert adapters(QWEN3)[0] - adapters(QWEN3, version="0.14")[0] == words
    experts = adapters("Qwen/Qwen3-30B-A3B", version="0.12")[0] - adapters("Qwen/Qwen3-30B-A3B", version="0.11")[0]
    assert experts > 48 * 128 * 16 * 2 * 4 * 2048
    assert [
        graph_sets(held, version) for held, version in ((None, "0.33"), (Lora(), "0.11"), (Lora(), "0.33"), (Lora(max_loras=4, by_count=True), "0.33"))
    ] == [1, 1, 2, 5]
    assert adapters("codellama/CodeLlama-7b-hf", version="0.11")[0] > adapters("codellama/CodeLlama-7b-hf", version="0.12")[0]


@pytest.mark.parametrize(
    ("model", "held", "parallel", "version", "error", "words"),
    [
        (QWEN3, {"max_lora_rank": 17}, {}, "0.33", UnsupportedError, "max_lora_rank (17) must be one of (1, 8, 16"),
        (QWEN3, {"max_lora_rank": 1}, {}, "0.11", UnsupportedError, "max_lora_rank (1) must be one of (8, 16"),
        ("stepfun-ai/step3", {}, {}, "0.33", UnsupportedError, "LoRA is not supported for Step3VLForConditionalGeneration"),
        ("openai/gpt-oss-20b", {}, {}, "0.11", UnsupportedError, "LoRA is not supported for GptOssForCausalLM"),
        (QWEN3, {"max_lora_rank": 1, "fully_sharded": True}, {"tensor_parallel_size": 4}, "0.33", NotDivisibleError, "1 is not divisible by 4"),
        (
            "Qwen/Qwen3-30B-A3B",
            {"fully_sharded": True},
            {"tensor_parallel_size": 4, "enable_expert_parallel": True},
            "0.33",
            UnsupportedError,
            "does not support",
        ),
    ],
)
def test_what_vllm_refuses_is_refused_in_its_words(model, held, parallel, version, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(").replace(")", r"\)")):
        check_lora(config_model(model), Lora(**held), Parallel(**parallel), version)


def test_a_large_vocabulary_is_refused_where_its_head_takes_adapters():
    model = replace(config_model(QWEN3), vocab_size=258_049)
    with pytest.raises(UnsupportedError, match="vocab size must be <= 258048"):
        check_lora(model, Lora(), Parallel(), "0.33")
    check_lora(model, Lora(target_modules=("qkv_proj",)), Parallel(), "0.33")
    check_lora(config_model("google/gemma-3-27b-it"), Lora(), Parallel(), "0.33")  # 262,208 words, whose head takes none


def test_fewer_adapters_in_main_memory_than_in_a_step_are_refused():
    assert lora.cpu_problem(Lora(max_loras=4), 2) == "max_cpu_loras (2) must be >= max_loras (4)"
    assert [lora.cpu_problem(Lora(max_loras=4), count) for count in (None, 0, 4)] == ["", "", ""]


def test_the_ledger_holds_matrices_indices_and_twice_the_graphs():
    model, group = config_model(QWEN3), GpuGroup(gpu=load.find_gpu(GPU), count=1)
    plain = ServeConfig(max_model_len=8192, max_num_batched_tokens=8192, max_num_seqs=256)
    before, after = (breakdown(model, group, config) for config in (plain, replace(plain, enable_lora=True)))
    assert after.lora_bytes == 97_280_000
    assert after.buffers_bytes - before.buffers_bytes == 8192 * 48 + 256 * 24
    assert after.cuda_graph_bytes > 1.5 * before.cuda_graph_bytes
    assert after.loaded_bytes - before.loaded_bytes == 97_280_000 + 8192 * 48 + 256 * 24
    beside = after.loaded_bytes + after.activation_bytes + after.non_torch_bytes + after.cuda_graph_bytes + after.kv_cache_bytes
    assert beside == after.requested_bytes

"""Equality with vLLM 0.33 itself: rank weights, KV blocks, tokens, concurrency, needed bytes, longest context.

Fixtures: vllm_0.33_weights.jsonl and vllm_0.33_plans.jsonl (vLLM's model classes and KV planner), vllm_0.33_oracle.jsonl and
vllm_0.33_encoders.jsonl, vllm_0.33_specs.jsonl (the same, asked here for many more configurations on ten simulated GPUs; tests/oracle/README.md says how), vllm_0.33_judged.jsonl
(written by `python -m benchmarks.judge_rows`).
"""

import json

import pytest
from conftest import DATA, config_model, gpu, json_lines

from planner.architecture import Config, build_model
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.device import device
from planner.engines.vllm.kvcache import longest_model_len, plan_cache
from planner.engines.vllm.layouts import cache_layout
from planner.engines.vllm.memory import breakdown
from planner.engines.vllm.overhead import Shapes, activation
from planner.engines.vllm.rules import dtype_bits, with_kernels
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.weights import stage_weights
from planner.errors import PlannerError
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup
from planner.units import GIB

WEIGHTS = json_lines("vllm_0.33_weights.jsonl") + json_lines("vllm_0.33_encoders.jsonl")
PLANS = json_lines("vllm_0.33_plans.jsonl")
ORACLE = json_lines("vllm_0.33_oracle.jsonl") + json_lines("vllm_0.33_judged.jsonl") + json_lines("vllm_0.33_specs.jsonl")
OUTLOOKS = (Outlook.OPTIMISTIC, Outlook.EXPECTED, Outlook.CONSERVATIVE)


@pytest.mark.parametrize("row", WEIGHTS, ids=lambda row: f"{row['model']}-tp{row['tp']}")
def test_weights_equal_vllms_classes(row):
    parallel = with_kernels(Parallel(tensor_parallel_size=row["tp"]), gpu("b300"))
    assert stage_weights(config_model(row["model"]), parallel) == [row["weight_bytes"]]


def judge(row, gpu_name):
    """Our answer to one frozen question."""
    device = gpu(gpu_name)
    model = config_model(row["model"])
    parallel = with_kernels(
        Parallel(tensor_parallel_size=row["tp"], pipeline_parallel_size=row.get("pp", 1), enable_expert_parallel=row.get("expert_parallel", False)),
        device,
    )
    bits = dtype_bits(model, device, "auto")
    layout = cache_layout(model, device, row["kv_cache_dtype"], dtype_bits=bits)
    return stage_weights(model, parallel, bits), plan_cache(model, parallel, layout)


@pytest.mark.parametrize("row", PLANS, ids=lambda row: f"{row['model']}-{row['gpu']}-tp{row['tp']}-{row['kv_cache_dtype']}")
def test_cache_plans_equal_vllms_planner(row):
    weights, plan = judge(row, row["gpu"])
    blocks = row["available_kv_bytes"] // plan.block_bytes
    needed = plan.blocks_per_request(row["max_model_len"], row["max_in_flight"])
    concurrency = blocks / needed
    assert weights == [row["weight_bytes_rank0"]]
    assert plan.block_bytes == row["bytes_per_block"]
    assert blocks == row["num_blocks"]
    assert needed * plan.block_bytes == row["needed_bytes_for_one_request"]
    assert int(concurrency * row["max_model_len"]) == row["kv_tokens"]
    assert round(concurrency, 4) == row["max_concurrency"]


@pytest.mark.parametrize("model", sorted({row["model"] for row in ORACLE}))
def test_every_frozen_answer(model):
    for row in (row for row in ORACLE if row["model"] == model):
        weights, plan = judge(row, row["gpu"])
        where = {key: row[key] for key in ("gpu", "kv_cache_dtype", "tp")}
        assert weights[row.get("stage", 0)] == row["weight_bytes"], where
        if "stage" in row:
            continue
        needed = plan.blocks_per_request(row["max_model_len"], row["in_flight"])
        assert (plan.block_bytes, needed * plan.block_bytes) == (row["block_bytes"], row["needed_bytes"]), where
        if "available_bytes" not in row:
            continue
        blocks = row["available_bytes"] // plan.block_bytes
        if "blocks" in row:
            answer = (blocks, int(blocks / needed * row["max_model_len"]), blocks / needed)
            assert answer == (row["blocks"], row["tokens"], row["concurrency"]), where
        else:
            assert longest_model_len(plan, blocks - 1, row["max_model_len"], row["in_flight"]) == row["longest"], where


def test_a_pipeline_stage_without_attention_limits_nothing():
    pattern = {
        "num_hidden_layers": 4,
        "hybrid_override_pattern": "M*M-",
        "architectures": ["NemotronHForCausalLM"],
        "mamba_num_heads": 64,
        "mamba_head_dim": 64,
    }
    sizes = {"hidden_size": 512, "intermediate_size": 1024, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 64, "vocab_size": 1000}
    model = build_model(Config(pattern | sizes | {"n_groups": 8, "ssm_state_size": 64, "max_position_embeddings": 8192}, "made"), "made")
    ledger = breakdown(model, GpuGroup(gpu=gpu("a100-40"), count=4), ServeConfig(pipeline_parallel_size=4, max_model_len=8192))
    assert ledger.fits_request
    assert ledger.kv_cache_blocks > 100


def test_without_an_indexer_deepseek_v4s_pages_cannot_be_unified():
    """vLLM refuses such a model too: only the indexer's layout packs pages of several sizes."""
    whole = json.loads((DATA / "configs" / "deepseek-ai--DeepSeek-V4-Flash.json").read_text())
    model = build_model(Config(whole | {"compress_ratios": [0, *[128] * 42]}, "made"), "made")
    with pytest.raises(PlannerError, match="cannot unify the page sizes"):
        plan_cache(model, Parallel(), cache_layout(model, gpu("h200"), "auto"))


@pytest.mark.parametrize(("batch", "measured_gib"), [(2048, 1.39), (8224, 5.30)])
def test_the_activation_of_residual_streams_is_what_was_measured(batch, measured_gib):
    """One DGX Spark, a repack of DeepSeek V4 Flash, two starts that differ in the batch (the source is in overhead.json)."""
    config = ServeConfig(max_num_batched_tokens=batch, max_num_seqs=1)
    model, group = config_model("deepseek-ai/DeepSeek-V4-Flash"), GpuGroup(gpu=gpu("gb10"), count=1)
    low, expected, high = (activation(Shapes(model, config), device(group, config), outlook, last_stage=True) / GIB for outlook in OUTLOOKS)
    assert low < measured_gib < high
    assert expected == pytest.approx(measured_gib, abs=0.15)

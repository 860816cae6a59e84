"""Qwen4Exp with embeddings of n-grams. Without them it is in test_truth.py."""

import json

import pytest
from conftest import DATA, config_model, gpu

from planner.architecture import Config, build_model
from planner.architecture.ngrams import _primes
from planner.engines.vllm.kvcache import plan_cache
from planner.engines.vllm.layouts import cache_layout
from planner.engines.vllm.memory import breakdown
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.weights import stage_weights
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup
from planner.facts.modules import Tensor, TensorRole

TABLE_BYTES = 102_400_491_520  # 16 primes from 20,000,000 on, together a multiple of 128, times 160 numbers of 16 bits


def changed(**keys):
    whole = json.loads((DATA / "configs" / "made--Qwen4Exp.json").read_text())
    return build_model(Config(whole | {"text_config": whole["text_config"] | keys}, "made"), "made")


def tables(model):
    return [module for group in model.layers for module in group.modules if isinstance(module, Tensor) and module.role is TensorRole.NGRAMS]


def test_weights_and_cache_are_those_of_vllms_class():
    """0.33 on a simulated H100, --engram-config '{"cpu_offload": false}', 32,768 tokens; only a single rank can be built without others."""
    model = config_model("made/Qwen4Exp")
    plan = plan_cache(model, Parallel(), cache_layout(model, gpu("h100"), "auto"))
    assert stage_weights(model, Parallel()) == [354_809_257_568]
    assert (plan.block_bytes, plan.blocks_per_request(32_768, 16_384) * plan.block_bytes) == (40_550_400, 1_378_713_600)


@pytest.mark.parametrize(("name", "version", "in_main_memory"), [("h200", "0.33", True), ("h200", "0.29", False), ("gb10", "0.33", False)])
def test_the_table_lies_in_main_memory_by_default_where_the_gpu_has_its_own(name, version, in_main_memory):
    ledger = breakdown(config_model("made/Qwen4Exp"), GpuGroup(gpu=gpu(name), count=1), ServeConfig(max_model_len=8192, vllm_version=version))
    assert ledger.offloaded_bytes == (TABLE_BYTES if in_main_memory else 0)
    assert ledger.weights_bytes + ledger.offloaded_bytes == 354_809_257_568


@pytest.mark.parametrize(("dtype", "bytes_of_160"), [("float8_e4m3fn", 160), ("nvfp4", 90)])
def test_a_table_may_be_stored_in_fewer_bits(dtype, bytes_of_160):
    model = changed(ple_embedding_dtype=dtype)
    assert sum(table.axes[0].size * table.axes[1].size * table.bits // 8 for table in tables(model)) == TABLE_BYTES // 320 * bytes_of_160


def test_a_second_table_has_the_primes_behind_the_first():
    first, second = tables(changed(ple_layer_ids=[2, 6]))
    assert first.axes[0].size < second.axes[0].size


def test_no_pipeline_has_such_embeddings():
    assert not config_model("made/Qwen4Exp").pipeline
    assert config_model("made/Qwen4Exp-without-PLE").pipeline


def test_primes_follow_each_other():
    assert _primes(1, 15) == (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)
    assert _primes(2**61 - 2, 1) == (2**61 - 1,)


def test_an_indexer_sets_a_buffer_aside():
    """12 layers, 2,048 + 4 numbers of 32 bits each; numbers and rows of n-grams."""
    assert changed().bytes_per_batched_token == 12 * 2052 * 4 + 16 * 8 + 2 * 2560

"""Where Ollama puts layers, and what it adds of itself, as public logs of its releases say."""

from dataclasses import replace

import pytest

from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp import ollama_estimate
from planner.engines.llamacpp.drafting import by_ollama
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import converted
from planner.engines.llamacpp.ollama_own import runs_itself
from planner.facts.attention import SlidingWindow
from planner.facts.question import ServiceRow, StackRow
from planner.facts.speed import SpeedEstimate
from planner.questions.check import check, find_server, group_for
from planner.questions.plan import answer_for
from planner.units import GIB, MIB


def checked(words, card, version, free_mib=0):
    """A server's plan where so much is free."""
    server = replace(find_server(words), version=version)
    return check(server, group_for(server, card, 1, "server", free_mib * MIB / GIB if free_mib else None))


# ollama run qwen3.8:27b on an RTX 3090: release, context, type of the cache, MiB free, layers of 66 on the GPU.
# llama.cpp counts the predicting one among them, which is a line of its own here.
@pytest.mark.parametrize(("version", "context", "kind", "free", "layers"), [
    ("0.32.15", 131_072, "f16", 23_109, 54), ("0.33.3", 200_704, "q4_0", 23_002, 63), ("0.33.3", 200_704, "q8_0", 23_002, 53),
])  # fmt: skip
def test_layers_where_the_model_predicts_for_itself(version, context, kind, free, layers):
    words = f"OLLAMA_CONTEXT_LENGTH={context} OLLAMA_KV_CACHE_TYPE={kind} ollama serve; ollama run qwen3.8:27b"
    plan = checked(words, "rtx3090", version, free)
    assert (plan.layers_on_gpu, plan.layers) == (layers - 1, 65)


@pytest.mark.parametrize(("tag", "said", "drafted"), [
    ("qwen3.8", None, 4), ("qwen3.8:27b", None, 4), ("qwen3.8:27b", 2, 2), ("qwen3.8:27b", 0, 0), ("qwen3.6:27b", None, 0), ("qwen3.6:27b-mtp-q4_K_M", None, 3),
    ("hf.co/unsloth/Qwen3.8-27B-GGUF:Q4_K_M", None, 0),
])  # fmt: skip
def test_ollama_drafts_with_builds_that_predict(tag, said, drafted):
    name = "qwen3.6-27b" if "3.6" in tag else "qwen3.8-27b"
    assert by_ollama(tag, said, converted(find_plain(name).spec, "Q4_K_M")).drafted == drafted


def test_what_ollama_drafts_unasked_takes_memory_and_no_speed():
    plan = answer_for(StackRow(gpu="rtx3090", engine="ollama", services=[ServiceRow(model="qwen3.8-27b")])).main
    assert {"draft_weights", "draft_kv_cache", "draft_compute"} <= {line.key for line in plan.lines}
    assert isinstance(plan.speed, SpeedEstimate)
    assert "ollama-drafts" in {warn.code for warn in plan.warnings}


@pytest.mark.parametrize(("version", "flash", "compute"), [("0.13.5", "", 353.01), ("0.13.5", "OLLAMA_FLASH_ATTENTION=1 ", 206.0), ("0.20.1", "", 206.0)])
def test_flash_attention_was_off_where_nobody_asked_for_it(version, flash, compute):
    """Phi-4 at 4,096 tokens on an RTX 3060 (ollama#13552)."""
    plan = checked(f"{flash}OLLAMA_CONTEXT_LENGTH=4096 ollama serve; ollama run phi4", "rtx3060", version)
    assert {line.key: line.bytes / MIB for line in plan.lines}["compute"] == pytest.approx(compute, abs=0.02)


def test_releases_before_030_read_512_tokens_at_once():
    """Qwen2.5 7B at 8,192 tokens on a Radeon 8060S, November 2025: 492.00 MiB."""
    plan = checked("OLLAMA_CONTEXT_LENGTH=8192 ollama serve; ollama run qwen2.5:7b-instruct", "rtx4090", "0.12.9")
    assert {line.key: line.bytes / MIB for line in plan.lines}["compute"] == pytest.approx(492, rel=0.005)


def held(version, tag, context=8192, env=""):
    plan = checked(f"{env}OLLAMA_CONTEXT_LENGTH={context} ollama serve; ollama run {tag}", "strix-halo-128gb", version)
    return {line.key: line for line in plan.lines}


def test_its_own_engine_kept_more_than_a_window_and_reserved_one_tokens_logits():
    """gpt-oss:120b, Ollama of 11 September 2025 on a Radeon 8060S (ROCm#4909): KV 450.0, compute 121.8 MiB."""
    lines = held("0.11.10", "gpt-oss:120b")
    assert lines["kv_cache"].bytes == 450 * MIB
    assert lines["compute"].low_bytes <= 121.8 * MIB <= lines["compute"].high_bytes


@pytest.mark.parametrize(("version", "tag", "cells"), [
    ("0.11.10", "gpt-oss:20b", 4096 + 512), ("0.20.5", "gemma4:12b", 4096 + 512), ("0.20.5", "gemma3:12b", 1024 + 512), ("0.5.7", "gemma2:9b", 8192),
    ("0.12.9", "gemma2:9b", 4096 + 512), ("0.33.1", "gpt-oss:20b", 128 + 1024),
])  # fmt: skip
def test_windows_are_as_long_as_a_release_kept_them(version, tag, cells):
    """kvcache/causal.go and model/models of those releases; llama.cpp kept them whole until May 2025, and Ollama had that one from 0.11.5 on."""
    kinds = converted(
        find_plain({"gpt-oss:20b": "gpt-oss-20b", "gemma4:12b": "gemma-4-12b", "gemma3:12b": "gemma-3-12b", "gemma2:9b": "gemma-2-9b"}[tag]).spec, "Q4_K_M"
    ).caches
    row = {isinstance(kind, SlidingWindow): (kind.head_dim + kind.head_dim_v) * kind.kv_heads * count * 2 for kind, count in kinds}
    assert held(version, tag, 8192)["kv_cache"].bytes == row[False] * 8192 + row[True] * -(-cells // 256) * 256


@pytest.mark.parametrize(("architecture", "version", "own"), [
    ("Qwen3ForCausalLM", "0.11.10", False), ("Qwen3ForCausalLM", "0.12.0", True), ("Qwen3MoeForCausalLM", "0.12.1", False), ("Qwen3MoeForCausalLM", "0.12.2", True),
    ("Gemma3nForConditionalGeneration", "0.9.0", False), ("Gemma3ForConditionalGeneration", "0.6.0", True), ("Qwen3_5ForConditionalGeneration", "0.17.0", False),
    ("LlamaForCausalLM", "0.20.0", False),
])  # fmt: skip
def test_which_releases_ran_a_model_themselves(architecture, version, own):
    assert runs_itself(architecture, version) is own


# Public logs of Ollama of October 2025 on an RTX 5070 Ti; its "required partial" of 14.6 GiB says what was free up to a layer.
@pytest.mark.parametrize(("tag", "free", "layers", "weights"), [
    ("deepseek-r1:32b", 15_300, 46, 12_792.90), ("qwen2.5-coder:32b-instruct-q4_K_M", 15_050, 45, 12_531.27),
])  # fmt: skip
def test_llama_cpp_got_as_many_layers_as_ollama_estimated(tag, free, layers, weights):
    plan = checked(f"OLLAMA_CONTEXT_LENGTH=4096 ollama serve; ollama run {tag}", "rtx5070ti", "0.12.3", free)
    assert plan.layers_on_gpu == layers
    assert {line.key: line.bytes / MIB for line in plan.lines}["weights"] == pytest.approx(weights, rel=0.005)


def test_a_latent_counts_as_one_head_whose_key_it_is():
    """DeepSeek V3.1 at 4,096 tokens in a batch of 512: 4 * 512 * (3 * 7168 + 129280) of logits and three hidden states, and the output matrix that comes for a
    batch, 7168 * 129280 * 105 / 128 (fs/ggml/ggml.go, deepseek2); scores of a single head stay below. Its cache has 576 and 512 values a token and layer.
    """
    model = converted(find_plain("deepseek-v3.1").spec, "Q4_K_M")
    config = LlamaCppConfig(context=4096)
    caches = {cache for cache, _ in model.caches}
    kept = {ollama_estimate._cache_bytes(cache, config) for cache in caches}
    assert kept == {4096 * (576 + 512) * 2}
    assert ollama_estimate._graph_bytes(model, config, 61 * kept.pop()) == (308_805_632 + 760_166_400, 308_805_632)


def settled(words, version, card="rtx4090"):
    plan = checked(words, card, version)
    return plan, dict(plan.settings), {warn.message for warn in plan.warnings if warn.code == "does-nothing"}


# envconfig/config.go and api/types.go of those releases: OLLAMA_CONTEXT_LENGTH's default, and OLLAMA_NUM_PARALLEL's with server/sched.go's defaultParallel.
@pytest.mark.parametrize(("version", "context", "parallel"), [
    ("0.1.32", 2048, 1), ("0.2.0", 2048, 4), ("0.6.6", 2048, 4), ("0.6.7", 4096, 2), ("0.9.6", 4096, 2), ("0.10.0", 4096, 1), ("0.15.4", 4096, 1),
    ("0.15.5", 32_768, 1), ("0.33", 32_768, 1),
])  # fmt: skip
def test_what_a_release_took_where_nobody_said(version, context, parallel):
    plan, _, _ = settled("ollama run llama3.1:8b", version)
    assert (plan.context, plan.users) == (context, parallel)


def test_one_request_at_a_time_where_more_do_not_fit_whole():
    """llama2:13b has 800 KiB of cache a token: with a batch's graph 4 of 2,048 tokens are more than 12 GiB, one is not."""
    assert settled("ollama run llama2:13b", "0.5.7", "rtx3060")[0].users == 1
    assert settled("OLLAMA_NUM_PARALLEL=2 ollama serve; ollama run llama2:13b", "0.5.7", "rtx3060")[0].users == 2


def test_a_variable_does_nothing_before_a_release_reads_it():
    plan, _, remarks = settled("OLLAMA_CONTEXT_LENGTH=8192 ollama serve; ollama run llama3.1:8b", "0.5.12")
    assert plan.context == 2048
    assert any("OLLAMA_CONTEXT_LENGTH does nothing" in remark for remark in remarks)
    assert settled("OLLAMA_CONTEXT_LENGTH=8192 ollama serve; ollama run llama3.1:8b", "0.5.13")[0].context == 8192


# llm/server.go and fs/ggml/ggml.go SupportsFlashAttention, SupportsKVCacheType of those releases.
@pytest.mark.parametrize(("version", "tag", "flash", "kind", "kept"), [
    ("0.12.3", "llama3.1:8b", "", "q8_0", "f16"),
    ("0.12.3", "llama3.1:8b", "1", "q8_0", "q8_0"),
    ("0.12.3", "llama3.1:8b", "0", "q8_0", "f16"),  # it warned, and did not refuse
    ("0.12.3", "llama3.1:8b", "1", "q5_1", "f16"),
    ("0.20.0", "llama3.1:8b", "", "q8_0", "f16"),  # flash attention is llama.cpp's choice: it must be asked for
    ("0.12.3", "qwen3:8b", "", "q8_0", "f16"),
    ("0.12.4", "qwen3:8b", "", "q8_0", "q8_0"),  # its own engine turned it on
    ("0.12.3", "gpt-oss:20b", "", "q8_0", "f16"),
    ("0.12.4", "gpt-oss:20b", "", "q8_0", "q8_0"),
    ("0.11.11", "gemma2:9b", "1", "q8_0", "q8_0"),
    ("0.12.0", "gemma2:9b", "1", "q8_0", "f16"),
    ("0.4.7", "llama3.1:8b", "1", "q8_0", "f16"),  # OLLAMA_KV_CACHE_TYPE came with 0.5
    ("0.33", "llama3.1:8b", "", "q8_0", "q8_0"),
])  # fmt: skip
def test_a_quantized_cache_needed_flash_attention(version, tag, flash, kind, kept):
    env = f"OLLAMA_KV_CACHE_TYPE={kind} " + (f"OLLAMA_FLASH_ATTENTION={flash} " if flash else "")
    plan, settings, remarks = settled(f"{env}ollama serve; ollama run {tag}", version)
    assert plan.starts
    assert settings["kv_cache_type"] == kept
    assert any("OLLAMA_KV_CACHE_TYPE" in remark for remark in remarks) is (kept != kind)


def test_the_compute_buffer_says_which_engine_ran_it():
    notes = {tag: held("0.12.3", tag)["compute"].note for tag in ("llama3.1:8b", "gemma3:12b")}
    assert "own engine" in notes["gemma3:12b"]
    assert "llama.cpp" in notes["llama3.1:8b"]

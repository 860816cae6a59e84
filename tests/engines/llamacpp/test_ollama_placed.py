"""Where Ollama puts layers, and what it adds of itself, as public logs of its releases say."""

from dataclasses import replace

import pytest

from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp.drafting import by_ollama
from planner.engines.llamacpp.model import converted
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

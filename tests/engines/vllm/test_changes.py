"""What `check` takes for granted, and what it tries: defaults as vLLM derives them, changes that change something."""

from dataclasses import replace

import pytest
from conftest import config_model, gpu

from planner.engines.vllm import changes
from planner.engines.vllm.check import default_config
from planner.engines.vllm.choice import Request
from planner.engines.vllm.search import evaluate
from planner.engines.vllm.settings import ServeConfig
from planner.facts.hardware import GpuGroup

RTX4090 = GpuGroup(gpu=gpu("rtx4090"), count=1)


@pytest.mark.parametrize(
    ("given", "batch", "seqs"),
    [
        ({}, 2048, 256),  # of a 24 GB card
        ({"--max-num-batched-tokens": "64"}, 64, 64),  # no more sequences than tokens of a batch
        ({"--max-num-batched-tokens": "8192"}, 8192, 256),
        ({"--max-num-batched-tokens": "64", "--max-num-seqs": "100"}, 64, 100),  # both given: vLLM refuses that later
        ({"--max-num-seqs": "512"}, 2048, 512),
        ({"--max-num-seqs": "4096"}, 2048, 4096),  # the batch stays as it is: vLLM refuses that later
        ({"--max-num-seqs": "2", "--max-model-len": "512"}, 1024, 2),  # no more tokens than two contexts
    ],
)
def test_batch_and_sequences_bound_each_other_as_in_vllm(given, batch, seqs):
    """engine/arg_utils.py:3221-3234, 0.33."""
    start = default_config(config_model("Qwen/Qwen3-8B"), RTX4090, given, "0.33")
    assert int(given.get("--max-num-batched-tokens", start.max_num_batched_tokens)) == batch
    assert int(given.get("--max-num-seqs", start.max_num_seqs)) == seqs


def tried(config: ServeConfig, model: str, monkeypatch) -> list[ServeConfig]:
    """What is evaluated to find a change that makes a command start."""
    seen: list[ServeConfig] = []
    request = Request(model=config_model(model), group=RTX4090)
    asked = evaluate(request, config)
    assert asked.verdict == "does_not_start"
    monkeypatch.setattr(changes, "evaluate", lambda request, config: (seen.append(config), evaluate(request, config))[1])
    list(changes.changes(request, asked))
    return seen


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"skip_mm_profiling": True},
        {"enforce_eager": True},
        {"max_num_seqs": 16},
        {"max_num_batched_tokens": 2048},
        {"kv_cache_dtype": "fp8"},
    ],
)
def test_nothing_is_tried_that_the_command_already_says(said, monkeypatch):
    """An 8B model with images on a 24 GB card, whole contexts of 256k tokens."""
    config = replace(ServeConfig(max_model_len=262_144, max_num_batched_tokens=8192), **said)
    seen = tried(config, "Qwen/Qwen3-VL-8B-Instruct", monkeypatch)
    assert seen
    assert config not in seen


def test_language_model_only_is_tried_where_there_are_images(monkeypatch):
    config = ServeConfig(max_model_len=262_144)
    assert replace(config, skip_mm_profiling=True) in tried(config, "Qwen/Qwen3-VL-8B-Instruct", monkeypatch)
    assert replace(config, max_model_len=40_960, skip_mm_profiling=True) not in tried(replace(config, max_model_len=40_960), "Qwen/Qwen3-14B", monkeypatch)

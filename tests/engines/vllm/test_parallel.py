"""Data, expert and context parallelism: each rank's bytes equal vLLM's own classes, and sizes that contradict each other are refused in vLLM's words."""

import json
from dataclasses import replace

import pytest
from conftest import DATA, config_model

from planner.catalogue.load import find_gpu, find_model
from planner.engines.vllm.choice import Request
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.command import parse_argv, read_settings, serve_argv
from planner.engines.vllm.expert_rules import with_experts
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.kvcache import plan_cache
from planner.engines.vllm.layouts import cache_layout
from planner.engines.vllm.memory import breakdown, fullest, place, stage_budgets
from planner.engines.vllm.offload import offloaded
from planner.engines.vllm.rules import with_kernels
from planner.engines.vllm.search import best
from planner.engines.vllm.settings import Pins, ServeConfig
from planner.engines.vllm.weights import buffer_bytes, stage_weights
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup
from planner.questions.check import check, find_server, group_for

ROWS = [json.loads(line) for line in (DATA / "vllm_0.33_parallel.jsonl").read_text().splitlines()]
GIB = 2**30
SCALES = 12_800  # of the matrix that reaches the limit: vLLM may leave its scales or bias on the GPU


def settings(words: str, **changes) -> ServeConfig:
    """The settings of a command's flags."""
    values, _, faults = parse_flags(["x", *words.split()], "0.33")
    assert not faults, faults
    return read_settings(values, ServeConfig(**changes))[0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['config']} {row['flags'].replace('--', '')}")
def test_a_rank_holds_what_vllms_class_builds(row):
    model, gpu = config_model(row["config"].replace("--", "/", 1)), find_gpu(row["gpu"])
    config = settings(row["flags"])
    parallel = with_kernels(with_experts(config.parallel, model), gpu, "0.33")
    assert stage_weights(model, parallel)[0] == row["weight_bytes"]
    assert plan_cache(model, parallel, cache_layout(model, gpu, "auto")).block_bytes == row["block_bytes"]
    if "offloaded_bytes" in row:
        (away,) = offloaded(model, model, parallel, config.offload)
        assert 0 <= away.weights_bytes - row["offloaded_bytes"] <= SCALES
        assert away.buffers_bytes == row["offload_buffer_bytes"]


def checked(words: str, gpu: str = "h100", count: int = 8, version: str | None = None):
    """The answer about a command."""
    server = find_server(f"vllm serve {words}")
    server = replace(server, version=version) if version else server
    return check(server, group_for(server, gpu, count, "server"))


REFUSED = [
    ("Qwen/Qwen3-8B -tp 2 --enable-expert-parallel", "Number of experts in the model must be greater than 0 when expert parallelism is enabled."),
    ("Qwen/Qwen3-30B-A3B -tp 4 -dp 4", "DP adjusted local rank 8 is out of bounds for 8 devices"),
    ("Qwen/Qwen3-8B -tp 16", "World size (16) is larger than the number of available GPUs (8) in this node"),
    ("Qwen/Qwen3-8B -tp 4 -dcp 2", "requires `--tensor-parallel-size` (4) to be greater than the model's total number of KV heads (8)"),
    ("Qwen/Qwen3-30B-A3B -tp 8 -dcp 4", "`--decode-context-parallel-size` (4) exceeds the maximum supported value (2)"),
    ("Qwen/Qwen3-8B -tp 4 -dcp 3", "tp_size=4 must be divisible by dcp_size=3."),
    ("Qwen/Qwen3-8B -dp 2 --data-parallel-external-lb --data-parallel-rank 0", "Non-MoE models do not support external data parallel mode."),
    ("Qwen/Qwen3-30B-A3B -dp 2 --data-parallel-rank 2", "data_parallel_rank (2) must be in the range [0, 2)"),
    ("Qwen/Qwen3-30B-A3B -dp 2 --data-parallel-size-local 4", "data_parallel_size_local (4) must be <= data_parallel_size (2)"),
    ("Qwen/Qwen3-30B-A3B -dp 2 --data-parallel-hybrid-lb", "`--data-parallel-hybrid-lb` requires `--data-parallel-size-local`"),
    ("Qwen/Qwen3-30B-A3B -tp 3 --nnodes 2", "`--nnodes 2` must evenly divide the total world size (3)"),
    ("Qwen/Qwen3-30B-A3B -tp 16 --nnodes 2 --node-rank 2", "`--node-rank` must be between 0 and 1; got `--node-rank 2`"),
    ("Qwen/Qwen3-30B-A3B -tp 4 --enable-eplb", "enable_expert_parallel must be True to use EPLB."),
    ("Qwen/Qwen3-30B-A3B -tp 4 --eplb-config.num_redundant_experts 8", "num_redundant_experts is set to 8 but EPLB is not enabled"),
    (
        "Qwen/Qwen3-30B-A3B -tp 4 --enable-expert-parallel --enable-eplb --eplb-config.num_redundant_experts 7",
        "EPLB currently only supports even distribution of experts across ranks. Got 135 experts and 4 EP ranks.",
    ),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_sizes_that_contradict_each_other_are_refused_in_vllms_words(words, message):
    answer = checked(f"{words} --max-model-len 4096")
    assert answer.verdict == "does_not_start"
    assert any(message in problem.message for problem in answer.problems), answer.problems


@pytest.mark.parametrize(
    "words",
    [
        "Qwen/Qwen3-30B-A3B -tp 2 -dp 4 --enable-expert-parallel",
        "Qwen/Qwen3-30B-A3B -dp 16 --data-parallel-size-local 8 --data-parallel-address 10.0.0.1 --enable-expert-parallel",
        "Qwen/Qwen3-30B-A3B -dp 16 -tp 2 --data-parallel-rank 3 --data-parallel-address 10.0.0.1",
        "Qwen/Qwen3-30B-A3B -tp 16 --nnodes 2 --node-rank 1 --headless --enable-expert-parallel",
        "Qwen/Qwen3-30B-A3B -dp 16 --data-parallel-backend ray --enable-expert-parallel",
        "Qwen/Qwen3-30B-A3B -tp 8 -dcp 2",
        "Qwen/Qwen3-8B -dp 8",
    ],
)
def test_what_vllm_starts_is_not_refused(words):
    answer = checked(f"{words} --max-model-len 4096")
    assert not answer.problems
    assert answer.verdict in ("starts", "tight"), answer.not_covered


def test_experts_are_spread_over_all_engines_and_attention_is_not():
    """The figures of vLLM's own classes: Qwen3-30B-A3B on one GPU, as two engines of two, as four."""
    alone, pairs, four = (
        checked(f"Qwen/Qwen3-30B-A3B {flags} --max-model-len 16384").memory["weights_bytes"]
        for flags in ("", "-tp 2 -dp 2 --enable-expert-parallel", "-dp 4 --enable-expert-parallel")
    )
    assert (alone, pairs, four) == (61_064_245_248, 16_049_401_856, 17_577_701_376)


def test_engines_of_a_dense_model_share_nothing():
    one, two = (checked(f"Qwen/Qwen3-8B {flags} --max-model-len 16384").memory for flags in ("", "-dp 2"))
    assert one == two


def test_balanced_experts_cost_their_copies_and_a_layers_buffer():
    words = "-tp 4 --enable-expert-parallel"
    plain, balanced = settings(words).parallel, settings(f"{words} --enable-eplb").parallel
    model = config_model("Qwen/Qwen3-30B-A3B")
    assert stage_weights(model, balanced) == stage_weights(model, plain)
    assert buffer_bytes(model, balanced) - buffer_bytes(model, plain) == 32 * 3 * 2048 * 768 * 2


def test_decode_context_parallelism_divides_the_tokens_of_a_request():
    whole, divided = (checked(f"Qwen/Qwen3-30B-A3B -tp 8 {flags} --max-model-len 16384").memory for flags in ("", "-dcp 2"))
    assert divided["kv_block_bytes"] == whole["kv_block_bytes"] == 393_216
    assert divided["kv_cache_needed_bytes"] == 201_326_592
    assert divided["kv_cache_tokens"] == pytest.approx(2 * whole["kv_cache_tokens"], rel=0.001)


def test_a_tower_is_whole_on_each_rank_where_it_is_asked_for():
    split, whole = (checked(f"Qwen/Qwen3-VL-32B-Instruct -tp 2 {flags} --max-model-len 8192").memory for flags in ("", "--mm-encoder-tp-mode data"))
    assert whole["weights_bytes"] - split["weights_bytes"] == 33_953_333_728 - 33_362_728_816


def test_of_a_pinned_cache_the_fullest_stage_is_told():
    """The second of two stages holds the head as well; the cache of both is the same."""
    model, group = config_model("Qwen/Qwen3-8B"), GpuGroup(gpu=find_gpu("h100"), count=2)
    config = ServeConfig(pipeline_parallel_size=2, max_model_len=8192, kv_cache_memory_bytes=20 * GIB)
    budgets = stage_budgets(model, group, config, Outlook.EXPECTED, place(model, group, config))
    shown = breakdown(model, group, config)
    assert shown.used_bytes == max(budget.held_bytes for budget in budgets)
    assert fullest(budgets, pinned=True)[0] == max(budgets, key=lambda budget: budget.held_bytes)


def asked(name: str, gpu: str = "h200", **wish) -> Request:
    """A question about eight GPUs."""
    return Request(model=find_model(name).spec(), group=GpuGroup(gpu=find_gpu(gpu), count=8), **wish)


def test_engines_that_share_their_experts_are_chosen_where_one_does_not_hold_all_users():
    """Qwen3-30B-A3B has four key-value heads, so that half the cache of eight ranks is a copy."""
    few, many = (best(asked("qwen3-30b-a3b", users=users, context=32_768)) for users in (100, 400))
    assert (few.config.tensor_parallel_size, few.config.data_parallel_size) == (8, 1)
    config = many.config
    assert (config.tensor_parallel_size, config.data_parallel_size, config.enable_expert_parallel) == (4, 2, True)
    assert many.holds(400)
    assert config.max_num_seqs == 200
    words = serve_argv("x/y", "y", config)
    assert {"--data-parallel-size", "--enable-expert-parallel"} <= set(words)
    assert parse_argv(words) == config
    assert dict(many.reasons)["tensor_parallel_size"].startswith("tensor parallel size 8 would")
    assert dict(many.reasons)["data_parallel_size"] == "engines of 4 GPUs each: every one keeps a cache of its own, all share the experts of 8"


def test_experts_whose_slices_would_not_divide_are_spread():
    """Before 0.29 vLLM refuses slices of 192 whose scales are for blocks of 128; the recipe spreads experts there."""
    old, new = (best(asked("qwen3-235b-a22b-fp8", "h100", pins=Pins(vllm_version=release))) for release in ("0.15", "0.33"))
    assert (old.config.tensor_parallel_size, old.config.enable_expert_parallel) == (8, True)
    assert (new.config.tensor_parallel_size, new.config.enable_expert_parallel) == (8, False)
    assert "experts are spread whole" in dict(old.reasons)["tensor_parallel_size"]


@pytest.mark.parametrize(("name", "spread"), [("qwen3-30b-a3b", True), ("qwen3-8b", False)])
def test_a_pinned_number_of_engines_is_kept(name, spread):
    choice = best(asked(name, pins=Pins(data_parallel_size=4)))
    config = choice.config
    assert (config.tensor_parallel_size, config.data_parallel_size, config.enable_expert_parallel) == (2, 4, spread)
    assert dict(choice.reasons)["data_parallel_size"] == "pinned"


def test_more_engines_than_gpus_are_refused():
    with pytest.raises(PlannerError, match="tensor parallel size 1 x pipeline parallel size 1 x data parallel size 16 needs 16 GPUs, there are 8"):
        best(asked("qwen3-30b-a3b", pins=Pins(data_parallel_size=16)))

"""What of a server lies in main memory: by vLLM's own rules, and held against what the machine has."""

import pytest
from conftest import config_model

from planner.catalogue.load import find_gpu
from planner.engines.vllm.choice import Request
from planner.engines.vllm.host import HostMemory, connector_bytes
from planner.engines.vllm.offload import Offload, Offloaded, offloaded
from planner.engines.vllm.plan import plan_as_asked
from planner.engines.vllm.settings import Pins
from planner.errors import PlannerError
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup
from planner.questions.check import check, find_server, group_for
from tests.engines.vllm.test_parallel import settings

GIB = 2**30
QWEN = config_model("Qwen/Qwen3-8B")


def checked(words: str, count: int = 1, ram_gib: int = 0):
    """The answer about a command on H100s."""
    server = find_server(f"vllm serve {words}")
    return check(server, group_for(server, "h100", count, "server", ram_bytes=ram_gib * GIB))


def test_the_parameter_that_reaches_the_limit_lies_there_as_a_whole():
    (one,) = offloaded(QWEN, QWEN, Parallel(), Offload(max_bytes=1))
    assert one == Offloaded(weights_bytes=4096 * (4096 + 2 * 1024) * 2)  # the first layer's qkv_proj


def test_no_more_than_the_layers_lie_there():
    (one,) = offloaded(QWEN, QWEN, Parallel(), Offload(max_bytes=1 << 50))
    assert one.weights_bytes == 13_892_143_104  # vLLM's own count: embedding, head and the last norm stay


def test_more_layers_ahead_take_more_buffers():
    layers = [offloaded(QWEN, QWEN, Parallel(), Offload(group_size=4, buffers=step))[0] for step in (1, 2, 3)]
    assert {each.weights_bytes for each in layers} == {3_473_035_776}
    assert [each.buffers_bytes for each in layers] == [385_892_864, 771_785_728, 1_157_678_592]


def test_each_stage_has_its_own():
    first, second = offloaded(QWEN, QWEN, Parallel(pipeline_parallel_size=2), Offload(max_bytes=GIB))
    assert first == second
    assert GIB <= first.weights_bytes < GIB + 4096 * 12_288 * 2 * 2


def test_only_what_is_named_is_taken():
    taken = Offload(names=("experts.w2_weight", "q_norm"))
    assert [taken.takes(name) for name in ("mlp.experts.w2_weight", "mlp.experts.w13_weight", "mlp.experts.w2_weight_scale", "self_attn.q_norm")] == [
        True,
        False,
        False,
        True,
    ]


def test_a_model_that_is_too_large_starts_with_weights_in_main_memory():
    words = "Qwen/Qwen3-32B --max-model-len 8192 --gpu-memory-utilization 0.5"
    assert checked(words).verdict == "does_not_start"
    answer = checked(f"{words} --cpu-offload-gb 48", ram_gib=96)
    assert answer.verdict == "starts"
    assert not answer.problems
    assert answer.memory["offloaded_bytes"] == answer.host_bytes
    assert 48 * GIB <= answer.host_bytes < 49 * GIB
    assert answer.memory["weights_bytes"] + answer.memory["offloaded_bytes"] == checked(words).memory["weights_bytes"]


def test_main_memory_is_held_against_what_the_machine_has():
    words = "Qwen/Qwen3-8B --max-model-len 8192 -tp 2 --kv-offloading-size 64 --enable-sleep-mode"
    little, narrow, enough, unsaid = (checked(words, 2, ram) for ram in (64, 80, 96, 0))
    assert little.verdict == "does_not_start"
    assert little.problems[0].message.startswith("79.26 GiB of main memory are needed (64.00 GiB KV cache, 15.26 GiB weights while it sleeps")
    assert enough.verdict == unsaid.verdict == "starts"
    assert narrow.verdict == "tight"
    assert not any(warning.code == "main-memory" for warning in enough.warnings)
    assert any(warning.code == "main-memory" and "--ram" in warning.message for warning in unsaid.warnings)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--offload-backend prefetch", "offload_num_in_group (1) must be <= offload_group_size (0)"),
        ("--offload-group-size 2 --offload-prefetch-step 0", "offload_prefetch_step (0) must be >= 1"),
        ("--cpu-offload-gb -1", "expected a number of GiB, 0 or more"),
    ],
)
def test_offloading_that_contradicts_itself_is_refused(words, message):
    answer = checked(f"Qwen/Qwen3-8B --max-model-len 8192 {words}")
    assert answer.verdict == "does_not_start"
    assert any(message in problem.message for problem in answer.problems), answer.problems


@pytest.mark.parametrize(
    ("connector", "verdict", "host_gib"),
    [
        ('{"kv_connector": "OffloadingConnector", "kv_role": "kv_both", "kv_connector_extra_config": {"cpu_bytes_to_use": 8589934592}}', "starts", 8),
        ('{"kv_connector": "NixlConnector", "kv_role": "kv_both"}', "starts", 0),
        ('{"kv_connector": "MooncakeConnector", "kv_role": "kv_producer"}', "starts", 0),
        ('{"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}', "tight", 0),  # one chunk of the cache, far less than is spare
        ('{"kv_connector": "LMCacheMPConnector", "kv_role": "kv_both"}', "unknown", 0),  # a process of its own on the GPU
        (
            '{"kv_connector": "MultiConnector", "kv_role": "kv_both", "kv_connector_extra_config": {"connectors": [{"kv_connector": "NixlConnector"}]}}',
            "starts",
            0,
        ),
        (
            '{"kv_connector": "MultiConnector", "kv_role": "kv_both", "kv_connector_extra_config": {"connectors": [{"kv_connector": "NixlConnector"}, {"kv_connector": "x"}]}}',
            "unknown",
            0,
        ),
    ],
)
def test_connectors_without_buffers_of_their_own_cost_the_gpu_nothing(connector, verdict, host_gib):
    answer = checked(f"Qwen/Qwen3-8B --max-model-len 8192 --kv-transfer-config '{connector}'")
    assert answer.verdict == verdict
    assert answer.host_bytes == host_gib * GIB


def test_a_chunk_of_lmcache_is_bounded_where_no_window_is_kept_whole():
    words = """--max-model-len 8192 --kv-transfer-config '{"kv_connector": "LMCacheConnectorV1"}'"""
    (dense,) = checked(f"Qwen/Qwen3-8B {words}").not_covered
    assert dense.most_bytes == pytest.approx(2048 * 147_456, rel=0.01)  # of 36 layers, 8 heads of 128 for keys and values, 16 bits
    (windows,) = checked(f"google/gemma-3-4b-it {words} --language-model-only").not_covered
    assert (windows.flag, windows.most_bytes) == ("--kv-transfer-config", None)


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"kv_connector": "OffloadingConnector", "kv_connector_extra_config": 3}'])
def test_a_connector_that_says_no_size_takes_none(text):
    assert connector_bytes(text) == 0


@pytest.mark.parametrize(("ram_gib", "starts"), [(0, "starts"), (64, "starts"), (50, "tight"), (32, "")])
def test_a_plan_keeps_what_is_pinned_where_the_machine_has_the_memory(ram_gib, starts):
    group = GpuGroup(gpu=find_gpu("rtx4090"), count=1, ram_bytes=ram_gib * GIB)
    request = Request(model=config_model("Qwen/Qwen3-32B"), group=group, pins=Pins(cpu_offload_gb=48.0), context=8192)
    if not starts:
        with pytest.raises(PlannerError, match="main memory are needed"):
            plan_as_asked(request, repo="Qwen/Qwen3-32B", served_name="x")
        return
    plan = plan_as_asked(request, repo="Qwen/Qwen3-32B", served_name="x")
    assert plan.argv[plan.argv.index("--cpu-offload-gb") + 1] == "48"
    assert plan.choice.expected.offloaded_bytes >= 48 * GIB
    assert any(warning.code == "main-memory" for warning in plan.warnings) == (ram_gib == 0)
    assert any(warning.code == "main-memory-tight" for warning in plan.warnings) == (starts == "tight")
    assert plan.verdict == starts


def test_words_of_main_memory():
    assert HostMemory(weights_bytes=GIB).note == "weights, of all ranks of a machine"
    assert settings("--cpu-offload-gb 2.5").cpu_offload_gb == 2.5

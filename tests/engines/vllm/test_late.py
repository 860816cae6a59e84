"""What comes once the KV cache is sized, by runner, release and machine; the coefficients are round ones of test_overhead.py."""

from dataclasses import replace

import pytest
from conftest import small_model
from test_overhead import coefficients, config, on  # noqa: F401 - a fixture

from planner.catalogue.load import find_gpu
from planner.engines.vllm import late
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.late import may_have_older_driver, reserves_graphs, runs_second
from planner.engines.vllm.overhead import Shapes, overhead
from planner.facts.model import Drafter
from planner.facts.question import StackRow
from planner.questions.check import check, find_server, machine_for
from planner.units import GIB

DENSE, MOE = "Qwen2ForCausalLM", "Qwen3MoeForCausalLM"


def model(architecture, **changed):
    return replace(small_model(), architecture=architecture, **changed)


@pytest.mark.parametrize(
    ("architecture", "changed", "first"),
    [
        ("Qwen3ForCausalLM", {}, 22),
        ("LlamaForCausalLM", {}, 23),
        ("LlamaForCausalLM", {"quantization": "fp8"}, 24),
        (DENSE, {}, 25),
        (DENSE, {"quantization": "awq"}, 25),
        ("Qwen2MoeForCausalLM", {"experts_per_token": 4}, 24),
        (MOE, {"experts_per_token": 4}, 29),
        (DENSE, {"pooling": True}, 29),
        (DENSE, {"drafter": Drafter(method="eagle3", num_speculative_tokens=2)}, 25),
        (DENSE, {"drafter": Drafter(method="ngram", num_speculative_tokens=2)}, 34),
        (MOE, {"experts_per_token": 4, "drafter": Drafter(method="dspark", num_speculative_tokens=2)}, 25),
    ],
)
def test_the_second_runner_serves_since_the_release_that_chose_it(architecture, changed, first):
    """config/vllm.py of 0.21 to 0.30, read off their source distributions."""
    asked = model(architecture, **changed)
    serves = [minor for minor in range(11, 34) if runs_second(asked, config(vllm_version=f"0.{minor}"), on())]
    assert serves == list(range(first, 34))


def test_the_environment_chooses_the_runner():
    dense, moe = model(DENSE), model(MOE, experts_per_token=4)
    assert not runs_second(dense, config(vllm_version="0.26", second_runner=False), on())
    assert runs_second(moe, config(vllm_version="0.26", second_runner=True), on())


def test_the_second_runner_sets_no_graphs_aside_until_0_28_whatever_the_environment_asks():
    dense, moe = model(DENSE), model(MOE, experts_per_token=4)
    reserved = [minor for minor in range(11, 34) if reserves_graphs(dense, config(vllm_version=f"0.{minor}"), on())]
    assert reserved == [*range(20, 25), *range(29, 34)]
    assert [minor for minor in range(11, 34) if reserves_graphs(moe, config(vllm_version=f"0.{minor}"), on())] == list(range(20, 34))
    assert not reserves_graphs(dense, config(vllm_version="0.26", estimates_graphs=True), on())
    assert not reserves_graphs(moe, config(vllm_version="0.26", estimates_graphs=False), on())


def test_graphs_come_late_where_activations_were_and_may_be_those_of_an_older_driver(coefficients):  # noqa: F811
    def graphs(version, outlook, **device):
        return late.late_graphs(config(vllm_version=version), on(**device), outlook, graphs=1000, peak=300)

    assert graphs("0.19", Outlook.EXPECTED) == graphs("0.26", Outlook.EXPECTED, older_driver=True) == 700
    assert graphs("0.19", Outlook.CONSERVATIVE) == 1000
    assert graphs("0.13", Outlook.CONSERVATIVE, older_driver=True) == 3000  # the three times of the round coefficients
    assert graphs("0.14", Outlook.CONSERVATIVE, older_driver=True) == graphs("0.13", Outlook.CONSERVATIVE) == 1000
    assert graphs("0.19", Outlook.EXPECTED, pages=True) == 0  # Windows' driver moves what does not fit
    assert graphs("0.19", Outlook.CONSERVATIVE, pages=True) == 1000


def test_the_samplers_warm_up_takes_copies_that_its_profile_did_not_see_until_0_32(coefficients):  # noqa: F811
    def more(version, outlook, asked=None, **device):
        asked = asked or model(DENSE, vocab_size=1000)
        return late.warm_up(asked, config(vllm_version=version, max_num_seqs=64), on(**device), outlook)

    assert [more("0.26", outlook) for outlook in (Outlook.EXPECTED, Outlook.CONSERVATIVE, Outlook.OPTIMISTIC)] == [512_000, 768_000, 0]  # 256,000 bytes a copy
    assert more("0.32", Outlook.CONSERVATIVE) == 768_000
    assert more("0.33", Outlook.CONSERVATIVE) == more("0.24", Outlook.CONSERVATIVE) == 0
    assert more("0.26", Outlook.CONSERVATIVE, model(MOE, experts_per_token=4)) == 0
    assert more("0.26", Outlook.EXPECTED, pages=True) == 0


def test_before_0_17_the_warm_up_of_several_cards_without_a_link_may_find_none_of_the_room_of_its_profile(coefficients):  # noqa: F811
    def more(version, outlook=Outlook.CONSERVATIVE, ranks=4, **device):
        return late.warm_up(model(DENSE, vocab_size=1000), config(vllm_version=version, max_num_seqs=64, tensor_parallel_size=ranks), on(**device), outlook)

    copies = late.calibrated.coefficients()["estimates"]["sampler_copies_at_most"]
    assert more("0.15", nvlink=False) == copies * 256_000
    assert more("0.15", nvlink=True) == more("0.17", nvlink=False) == more("0.15", ranks=1, nvlink=False) == more("0.15", Outlook.EXPECTED, nvlink=False) == 0


def test_graphs_of_experts_over_several_engines_may_take_any_room_from_0_20_to_0_28(coefficients):  # noqa: F811
    def reserved(version, outlook=Outlook.CONSERVATIVE, **changed):
        asked = config(**{"vllm_version": version, "data_parallel_size": 2} | changed)
        return overhead(Shapes(model(MOE, experts_per_token=4), asked), on(), outlook).cuda_graph_bytes

    assert reserved("0.20") == reserved("0.28") == 100 * GIB
    assert 0 < reserved("0.29") < 10 * GIB
    assert 0 < reserved("0.28", Outlook.EXPECTED) < 10 * GIB
    assert 0 < reserved("0.28", data_parallel_size=1) < 10 * GIB
    assert reserved("0.28", enforce_eager=True) == reserved("0.19") == reserved("0.28", estimates_graphs=False) == 0


def test_cards_of_data_centres_before_blackwell_may_have_an_older_driver():
    names = ("h100", "a100-80gb", "b200", "rtx4090", "l4", "mi300x")
    assert [name for name in names if may_have_older_driver(find_gpu(name))] == ["h100", "a100-80gb"]


def judged(gpu, count, version, command, host="server"):
    server = replace(find_server(command), version=version)
    return check(server, machine_for(server, StackRow(gpu=gpu, count=count, host=host, services=[])))


@pytest.mark.parametrize(
    ("gpu", "count", "version", "command", "verdict"),
    [
        # vllm#49224: eight L40S; graphs came after all had been handed out
        ("l40s", 8, "0.25", "vllm serve meta-llama/Llama-3.1-70B-Instruct --quantization fp8 --tensor-parallel-size 8 --gpu-memory-utilization 0.95", "tight"),
        # public file 29156490496: another model of as much on four such cards, out of memory as the sampler was warmed up with 1024 sequences
        ("rtx-pro-6000", 4, "0.15", "vllm serve Qwen/Qwen3-235B-A22B-Instruct-2507-FP8 --tensor-parallel-size 4 --max-model-len 8192", "tight"),
        (
            "rtx-pro-6000",
            4,
            "0.15",
            "vllm serve Qwen/Qwen3-235B-A22B-Instruct-2507-FP8 --tensor-parallel-size 4 --max-model-len 8192 --max-num-seqs 32",
            "starts",
        ),
        ("h100", 1, "0.19", "vllm serve Qwen/Qwen3-8B --gpu-memory-utilization 0.97 --max-model-len 8192 --max-num-seqs 8", "tight"),
        ("h100", 1, "0.19", "vllm serve Qwen/Qwen3-8B --gpu-memory-utilization 0.95 --max-model-len 8192 --max-num-seqs 8", "starts"),
        ("h100", 1, "0.19", "vllm serve Qwen/Qwen3-8B --gpu-memory-utilization 0.97 --max-model-len 8192 --max-num-seqs 8 --enforce-eager", "starts"),
        (
            "h100",
            1,
            "0.19",
            "vllm serve Qwen/Qwen3-8B --gpu-memory-utilization 0.97 --max-model-len 8192 --max-num-seqs 8 --kv-cache-memory-bytes 20G",
            "starts",
        ),
    ],
)
def test_what_comes_late_makes_no_sure_start(gpu, count, version, command, verdict):
    assert judged(gpu, count, version, command).verdict == verdict


@pytest.mark.parametrize(
    ("gpu", "command", "why"),
    [
        (
            "gb10",
            "vllm serve Qwen/Qwen2.5-3B-Instruct --max-model-len 8192 --gpu-memory-utilization 0.85",
            "other programs of the machine take of the same memory",
        ),
        ("h100", "vllm serve Qwen/Qwen3-8B --gpu-memory-utilization 0.97 --max-model-len 8192 --max-num-seqs 8", "more than 0.95 of the memory"),
        ("a100-40gb", "vllm serve Qwen/Qwen3-8B", "not with the conservative one"),
    ],
)
def test_a_start_that_is_not_sure_says_why(gpu, command, why):
    warnings = {
        warning.code: warning.message for warning in judged(gpu, 1, "0.19" if gpu == "h100" else "0.9.2" if gpu == "a100-40gb" else "0.33", command).warnings
    }
    assert why in warnings["tight"]
    assert warnings["tight"].endswith("it may fail on your machine")

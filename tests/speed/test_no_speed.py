"""Speed never vanishes: every plan has one or says why not; from the bandwidth alone where nothing more of a GPU is known."""

import json
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cards import kinds_of_cards
from benchmarks.speed_refusals import reason
from benchmarks.speed_rows import left_out, rows
from planner.catalogue import load
from planner.engines.pace import host_bytes_per_s
from planner.engines.vllm.choice import Request
from planner.engines.vllm.pace import estimate, paces, vllm_work
from planner.engines.vllm.plan import Plan, plan_as_asked
from planner.engines.vllm.settings import Pins
from planner.errors import PlannerError, UnsupportedError
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.question import ServiceRow, StackRow
from planner.facts.speed import Load, NoSpeed, SpeedEstimate, expected_tokens_per_s
from planner.questions.plan import answer_for
from planner.report.contract import plan_json
from planner.report.contract_parts import SpeedJson
from planner.report.html import report
from planner.report.speed import blank_notes, speed_json, speed_reason
from planner.report.view import view_of
from planner.report.words import speed_lines
from planner.speed.constants import fitted
from tests.conftest import run_plan
from tests.strategies import groups, models

GPUS = kinds_of_cards()
MACS = tuple(f"{row.name}-{max(row.memory_options_gb)}gb" for row in load.gpu_rows() if row.vendor == "apple")
MODELS = ("qwen3-0.6b", "qwen3-8b-awq", "gpt-oss-20b", "qwen3-embedding-0.6b", "nomic-embed-text-v1.5", "llama-3.1-70b")
PINS = {"free": Pins(), "eager": Pins(enforce_eager=True), "stages": Pins(pipeline_parallel_size=2), "graphs": Pins(enforce_eager=False)}


@cache
def spec(name: str):
    return load.find_model(name).spec()


def planned(gpu: str | GpuSpec, model: str, count: int = 1, asked: Load | None = None, **pins) -> Plan:
    card = load.find_gpu(gpu) if isinstance(gpu, str) else gpu
    group = GpuGroup(gpu=card, count=count)
    return plan_as_asked(Request(model=spec(model), group=group, pins=Pins(**pins), load=asked or Load()), repo="x", served_name="x")


def local_plan(engine: str, gpu: str, model: str, **asked):
    return answer_for(StackRow(gpu=gpu, count=asked.pop("count", 1), engine=engine, services=[ServiceRow(model=model, **asked)])).main


def holds(found: SpeedEstimate | NoSpeed) -> None:
    """A speed or a reason, never neither; JSON and words say the same."""
    as_json, reason, lines = speed_json(found), speed_reason(found), list(speed_lines(found))
    if isinstance(found, NoSpeed):
        assert as_json is None
        assert reason
        assert reason.strip() == reason
        assert lines == [f"No speed: {reason}."]
        return
    assert reason is None
    assert set(as_json) == set(SpeedJson.__annotations__)
    assert 0 < found.tokens_per_s.conservative <= found.tokens_per_s.expected <= found.tokens_per_s.optimistic
    if found.time_to_first_token_s is None:
        assert found.total_tokens_per_s is None
        assert found.grade in ("extrapolated", "measured here")
        assert "TTFT unknown" in lines[0]
    assert len(lines) == 2


CASES = [(model, count, pins) for model in MODELS for count in (1, 2) for pins in PINS.values() if (pins.pipeline_parallel_size or 1) <= count]


def has_a_speed_or_a_reason(gpu: GpuSpec, model: str, count: int, pins: Pins) -> None:
    try:
        plan = plan_as_asked(Request(model=spec(model), group=GpuGroup(gpu=gpu, count=count), pins=pins, context=None), repo="x", served_name="x")
    except (PlannerError, UnsupportedError):
        return
    found = estimate(plan)
    holds(found)
    starts = not plan.verdict.falls_short
    assert isinstance(found, SpeedEstimate) == (starts and not spec(model).pooling and not plan.config.enforce_eager)


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_every_gpu_under_vllm(gpu):
    """A speed or a reason on every GPU, with every setting that takes the speed away: a third of the cases on each, other ones on the next."""
    for case in CASES[GPUS.index(gpu) % 3 :: 3]:
        has_a_speed_or_a_reason(gpu, *case)


@pytest.mark.slow
@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_every_case_on_every_gpu_under_vllm(gpu):
    for case in CASES:
        has_a_speed_or_a_reason(gpu, *case)


@pytest.mark.parametrize("gpu", MACS)
@pytest.mark.parametrize("engine", ["mlx", "llama.cpp", "ollama"])
def test_every_mac(gpu, engine):
    for model in ("qwen3-0.6b", "qwen3-8b", "qwen3-embedding-0.6b"):
        plan = local_plan(engine, gpu, model, context=4096)
        holds(plan.speed)
        wanted = not plan.verdict.falls_short and not spec(model).pooling
        assert isinstance(plan.speed, SpeedEstimate) == wanted


@pytest.mark.parametrize("gpu", ["gb10", "t4", "mi300x", "v100-16gb", "h100", "rtx3060"])
@pytest.mark.parametrize("engine", ["llama.cpp", "ollama"])
def test_every_kind_of_card_under_llama_cpp(gpu, engine):
    for model in ("qwen3-0.6b", "llama-3.3-70b", "qwen3-embedding-0.6b"):
        plan = local_plan(engine, gpu, model, context=4096)
        holds(plan.speed)
        assert isinstance(plan.speed, SpeedEstimate) == (not plan.verdict.falls_short and not spec(model).pooling)


@pytest.mark.parametrize(
    ("gpu", "model", "count", "pins", "words"),
    [
        ("h100", "qwen3-8b", 1, {"enforce_eager": True}, ("CUDA graphs are off", "1.2 to 4.3 times")),
        ("h100", "qwen3-embedding-0.6b", 1, {}, ("pooling model", "texts a second")),
        ("h100", "nomic-embed-text-v1.5", 1, {}, ("an encoder", "texts a second")),
        ("h100", "llama-3.1-70b", 1, {}, ("does not start",)),
    ],
)
def test_the_reason_is_that_of_the_plan(gpu, model, count, pins, words):
    reason = estimate(planned(gpu, model, count, **pins)).reason
    assert all(word in reason for word in words), reason


def test_a_pipeline_is_computed_and_said_to_be():
    """Two stages of two ranks: each token passes both, so that one user is as slow as on two GPUs, and many get more than there."""
    pipeline, two = (
        estimate(planned("h100", "llama-3.1-70b", count, **pins)) for count, pins in ((4, {"pipeline_parallel_size": 2, "tensor_parallel_size": 2}), (2, {}))
    )
    assert pipeline.grade == "extrapolated"
    assert "2 pipeline stages are computed, not measured" in pipeline.because
    assert pipeline.tokens_per_s.expected == pytest.approx(two.tokens_per_s.expected, rel=0.05)
    many = [
        estimate(planned("h100", "llama-3.1-70b", count, Load(concurrency=64), **pins))
        for count, pins in ((4, {"pipeline_parallel_size": 2, "tensor_parallel_size": 2}), (4, {"tensor_parallel_size": 4}))
    ]
    assert two.total_tokens_per_s.expected < many[0].total_tokens_per_s.expected
    assert all(isinstance(found, SpeedEstimate) for found in many)


def test_engines_that_share_their_experts_exchange_tokens():
    """A lone user decodes as slowly as the ranks' common experts and their exchange let him; many get more than of one engine."""
    pins = {"tensor_parallel_size": 1, "data_parallel_size": 4, "enable_expert_parallel": True}
    few, many = (estimate(planned("h100", "qwen3-30b-a3b", 4, asked=Load(concurrency=count), **pins)) for count in (1, 64))
    assert "4 engines that share their experts are computed, not measured" in few.because
    assert few.grade == "extrapolated"
    assert many.tpot_s.expected > few.tpot_s.expected
    assert many.total_tokens_per_s.expected > 10 * few.total_tokens_per_s.expected


def test_engines_alike_divide_the_users():
    one, four = (
        estimate(planned("h100", "qwen3-8b", count, asked=Load(concurrency=16 * count), tensor_parallel_size=1, data_parallel_size=count)) for count in (1, 4)
    )
    assert four.tpot_s == one.tpot_s
    assert four.total_tokens_per_s.expected == pytest.approx(4 * one.total_tokens_per_s.expected, rel=0.05)


def test_several_machines_say_why():
    group = GpuGroup(gpu=load.find_gpu("h100"), count=16, nodes=2)
    plan = plan_as_asked(Request(model=spec("llama-3.1-70b"), group=group), repo="x", served_name="x")
    assert "network between 2 machines" in estimate(plan).reason


def test_a_gpu_without_bandwidth_says_so():
    bare = replace(load.find_gpu("h100"), bandwidth_bytes_per_s=0, title="Unheard-of 5")
    assert estimate(planned(bare, "qwen3-8b")) == NoSpeed("the memory bandwidth of Unheard-of 5 is not known")


def test_layers_on_the_cpu_are_read_at_a_guessed_speed():
    plan = local_plan("llama.cpp", "rtx3060", "llama-3.3-70b", context=4096)
    assert plan.speed.reads_main_memory
    assert "a guess: main memory at 55 GB/s" in plan.speed.because
    assert expected_tokens_per_s(plan.speed) == plan.speed.tokens_per_s.conservative < 1


def test_a_chip_with_one_memory_reads_it_by_its_own_bandwidth():
    assert host_bytes_per_s(load.find_gpu("m4-max-64gb"))[0] > host_bytes_per_s(load.find_gpu("rtx3060"))[2]


def test_the_page_and_the_report_print_the_reason():
    answer = answer_for(StackRow(gpu="rtx3060", count=2, engine="llama.cpp", services=[ServiceRow(model="qwen3-8b", context=4096, split_mode="tensor")]))
    assert any(line.startswith("No speed: ") for line in view_of(answer).lines)
    eager = answer_for(StackRow(gpu="h100", count=1, services=[ServiceRow(model="qwen3-8b", enforce_eager=True)]))
    assert "No speed: CUDA graphs are off" in report(view_of(eager), "plan")


def test_from_the_bandwidth_alone_by_hand():
    """Llama 3.1 8B in 16 bits on a Jetson Thor (273.2 GB/s, no peak in its row): what a token reads, over the share of the bandwidth, plus the starts."""
    plan = planned("jetson-thor", "llama-3.1-8b", enforce_eager=False)
    found = estimate(plan)
    constants = fitted().constants
    # 32 layers: q, o 4096 x 4096; k, v 4096 x 1024; gate, up, down 4096 x 14336; two norms. Then the final norm is no matrix of a layer; the head.
    layer = 2 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096)
    head = 2 * (128_256 * 4096 + 4096)
    cache = 32 * 2 * 8 * 128 * 2 * (2000 + 500 / 2)  # layers, keys and values, heads, width, 16 bits, tokens in the middle of the answer
    seconds = (32 * layer + head) / (273.2e9 * constants["bandwidth.vllm"]) + cache / (273.2e9 * constants["cache"])
    kernels = len(plan.model.layers[0].modules)
    seconds += 32 * (constants["layer.vllm.blackwell"] + kernels * constants["module"])
    assert found.tokens_per_s.expected == pytest.approx(1 / seconds, rel=0.03)  # 12.9 tokens a second, two digits of them
    assert found.grade == "extrapolated"
    assert found.because == "from memory bandwidth alone; compute peak unknown: no TTFT"
    assert found.time_to_first_token_s is None
    assert found.total_tokens_per_s is None


# llama.cpp benches/dgx-spark.md (b6918, 8,192 tokens before); eval-apple-models.vercel.app, mlx-lm 0.31.1
PUBLISHED = (
    ("llama.cpp", "gb10", "qwen3-coder-30b-a3b", "Q8_0", 48.6),
    ("llama.cpp", "gb10", "qwen2.5-7b", "Q8_0", 27.4),
    ("mlx", "apple-m5-max-128gb", "qwen3-30b-a3b", "4bit", 127.8),
    ("mlx", "apple-m5-max-128gb", "llama-3.1-8b", "4bit", 113.0),
    ("llama.cpp", "v100-32gb", "qwen3.5-9b", "Q4_K_M", 85.0),
)


def test_the_bandwidth_alone_tells_what_others_measured():
    """The interval is one of 80 %: four of five figures."""
    inside = 0
    for engine, gpu, model, quantization, published in PUBLISHED:
        speed = local_plan(engine, gpu, model, quantization=quantization, context=8192).speed
        assert speed.tokens_per_s.expected == pytest.approx(published, rel=0.25)
        inside += speed.tokens_per_s.conservative < published < speed.tokens_per_s.optimistic
    assert inside >= 4


@pytest.mark.parametrize("name", ["h100", "rtx4090", "l40s", "rtxpro6000", "a100-80"])
@pytest.mark.parametrize("model", ["qwen3-8b", "qwen3-30b-a3b", "gpt-oss-20b"])
def test_arithmetic_does_not_bound_one_user(name, model):
    """Why the bandwidth suffices: with the peaks taken away a lone user's figure is the same, and only its interval is wider."""
    gpu = load.find_gpu(name)
    plan = planned(gpu, model, enforce_eager=False)
    if plan.verdict.falls_short:
        pytest.skip("does not fit")
    known = estimate(plan)
    blind = estimate(replace(plan, request=replace(plan.request, group=replace(plan.request.group, gpu=replace(gpu, dense_flops=())))))
    last_digit = 10 ** (len(str(int(known.tokens_per_s.expected))) - 2)  # two are told
    assert blind.tokens_per_s.expected == pytest.approx(known.tokens_per_s.expected, rel=0.02, abs=last_digit)
    assert blind.tokens_per_s.conservative <= known.tokens_per_s.conservative
    assert blind.tokens_per_s.optimistic >= known.tokens_per_s.optimistic


def test_amd_is_told_from_its_bandwidth_and_says_why():
    for name in ("mi300x", "mi325x", "mi355x"):
        found = estimate(planned(name, "qwen3-8b"))
        assert found.grade == "extrapolated"
        assert "AMD" in found.because
        assert found.time_to_first_token_s is None
        assert isinstance(paces(planned(name, "qwen3-8b")), NoSpeed)


def test_an_unmeasured_fabric_is_at_worst_the_slowest_link():
    one, four = (estimate(planned("mi300x", "qwen3-8b", count, tensor_parallel_size=count)) for count in (1, 4))
    assert four.tokens_per_s.expected / four.tokens_per_s.conservative > 1.2 * one.tokens_per_s.expected / one.tokens_per_s.conservative


@given(models(), groups(), st.sampled_from([1, 2, 4]), st.sampled_from(sorted(PINS)), st.booleans(), st.booleans())
def test_generated_plans_have_a_speed_or_a_reason(model, group, count, pins, known_peak, known_bandwidth):
    gpu = replace(group.gpu, bandwidth_bytes_per_s=10**12 if known_bandwidth else 0, dense_flops=(("bf16", 10**14),) if known_peak else ())
    try:
        plan = plan_as_asked(Request(model=model, group=replace(group, gpu=gpu, count=count), pins=PINS[pins]), repo="x", served_name="x")
    except (PlannerError, UnsupportedError):
        return
    found = estimate(plan)
    holds(found)
    assert isinstance(found, NoSpeed) == isinstance(vllm_work(plan), NoSpeed)
    if isinstance(found, SpeedEstimate):
        assert (found.time_to_first_token_s is None) == isinstance(paces(plan), NoSpeed)


def test_json_of_a_plan_names_the_reason():
    plan = planned("h100", "qwen3-8b", enforce_eager=True)
    answer = answer_for(StackRow(gpu="h100", count=1, services=[ServiceRow(model="qwen3-8b", enforce_eager=True)]))
    found = plan_json(answer, [])
    assert found["speed"] is None
    assert found["speed_reason"] == estimate(plan).reason


def test_a_table_says_why_cells_are_blank(tmp_path):
    speed, slow, stages = estimate(planned("h100", "qwen3-8b")), NoSpeed("graphs are off"), NoSpeed("two stages")
    assert list(blank_notes([("1", speed), ("2", slow), ("3", stages), ("4", slow)])) == [
        "No tokens/s for 2, 4: graphs are off.",
        "No tokens/s for 3: two stages.",
    ]
    assert list(blank_notes([("1", slow), ("2", slow)])) == ["No tokens/s: graphs are off."]
    assert list(blank_notes([("1", speed)])) == []
    for words in (("--gpu", "rtx4090", "--for", "embedding"), ("--model", "qwen3-embedding-0.6b", "--context", "2k")):
        assert "No tokens/s" in run_plan(*words, cwd=tmp_path).stdout


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("--gpu", "gb10", "--for", "code"), marks=pytest.mark.slow),
        pytest.param(("--gpu", "t4"), marks=pytest.mark.slow),
        ("--gpu", "m5-max-36gb"),
        ("--model", "gpt-oss-120b", "--users", "20"),
    ],
)
def test_rows_of_json_have_a_speed_or_a_reason(words, tmp_path):
    found = json.loads(run_plan(*words, "--format", "json", cwd=tmp_path).stdout)
    for row in found.get("models") or found["machines"]:
        assert (row["speed"] is None) == bool(row["speed_reason"])


def test_compared_runtimes_have_a_speed_or_a_reason(tmp_path):
    words = ("compare", "--gpu", "rtx3060", "--model", "llama-3.3-70b", "--context", "4k")
    for row in json.loads(run_plan(*words, "--format", "json", cwd=tmp_path).stdout)["runtimes"]:
        assert row["refusal"] or (row["tokens_per_s"] is None) == bool(row["speed_reason"])
    assert "layers on the CPU" in run_plan(*words, cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"concurrency": "4000"}, ""),  # the others wait, which a plan says (Little's law)
        ({"dp": "2"}, ""),  # computed, and said to be extrapolated
        ({"spec_decode": "True"}, "speculative decoding, data or pipeline parallelism, or no CUDA graphs"),
        ({"enforce_eager": "True", "dp": "2"}, "speculative decoding, data or pipeline parallelism, or no CUDA graphs"),
        ({"suspect": "x"}, None),
    ],
)
def test_a_row_is_refused_where_a_plan_says_no_speed(changed, why):
    row = next(
        row for row in rows() if row["engine"] == "vllm" and row["model"].endswith("gemma-4-12B-it-FP8-Dynamic") and row["tp"] == "1" and not left_out(row)
    )
    assert reason(row | changed) == why


@pytest.mark.parametrize(("gpu", "device", "said"), [("rx7900xtx", None, True), ("rx7900xtx", "Vulkan0", False), ("rx580", None, False), ("mi50", None, True)])
def test_prompts_on_amd_are_told_where_its_kernels_were_fitted(gpu, device, said):
    """ROCm's, of RDNA 2 to 4, Vega 20 and CDNA: neither Vulkan's nor those of earlier cards."""
    row = StackRow(gpu=gpu, engine="llama.cpp", services=[ServiceRow(model="qwen3-8b", context=4096, device=device)])
    speed = answer_for(row).main.speed
    assert (speed.time_to_first_token_s is not None) == said

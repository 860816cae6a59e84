"""Speed of a plan: grades by what was measured, intervals that contain the expectation."""

import json
from dataclasses import replace

import pytest

from planner.catalogue import load
from planner.engines.vllm.choice import Request
from planner.engines.vllm.pace import estimate
from planner.engines.vllm.plan import make_plan
from planner.engines.vllm.replicas import replicas
from planner.engines.vllm.settings import Pins
from planner.facts.hardware import GpuGroup
from planner.facts.speed import significant
from planner.facts.verdict import Grade
from planner.speed.constants import fitted
from planner.speed.estimate import Basis
from tests.conftest import run_plan


def planned(gpu, model, count=1, **pins):
    entry = load.find_model(model)
    group = GpuGroup(gpu=load.find_gpu(gpu), count=count)
    return make_plan(Request(model=entry.spec(), group=group, pins=Pins(**pins)), repo=entry.variant.repo, served_name=entry.name)


@pytest.mark.parametrize(
    ("gpu", "model", "count", "grade"),
    [
        ("h100", "qwen3-32b-fp8", 1, "measured class"),
        ("h100", "qwen2.5-7b", 1, "new model"),
        ("a6000", "qwen3-8b", 1, "new GPU"),
        ("rtx4090", "qwen3-vl-32b-awq", 2, "extrapolated"),
    ],
)
def test_the_grade_says_what_was_measured(gpu, model, count, grade):
    assert estimate(planned(gpu, model, count)).grade == grade


@pytest.mark.parametrize("model", ["qwen3-0.6b", "qwen3-8b-awq", "gpt-oss-20b", "gemma-3-12b", "qwen3-30b-a3b"])
def test_the_expectation_lies_in_its_interval(model):
    found = estimate(planned("h100", model))
    for figure in (found.tokens_per_s, found.total_tokens_per_s):
        assert figure.conservative < figure.expected < figure.optimistic
    first = found.time_to_first_token_s
    assert first.optimistic < first.expected < first.conservative
    assert found.total_tokens_per_s.expected > found.tokens_per_s.expected / 2


def test_an_unmeasured_link_widens_the_interval():
    known, unknown = estimate(planned("h100", "qwen3-32b", 2)), estimate(planned("rtx4090", "qwen3-32b-awq", 2))
    assert unknown.tokens_per_s.optimistic / unknown.tokens_per_s.conservative > known.tokens_per_s.optimistic / known.tokens_per_s.conservative


def test_what_is_extrapolated_has_the_widest_factor():
    tables = (fitted().new_model, fitted().new_gpu)
    assert Basis(grade=Grade.EXTRAPOLATED, because="", kind="").factor(("tpot",)) == max(
        found["tpot"] for table in tables for found in table.values() if "tpot" in found
    )


def test_two_digits_are_kept():
    assert [significant(value) for value in (0.0, 0.2176, 3.14159, 57.9, 1234.0)] == [0.0, 0.22, 3.1, 58, 1200]


def test_a_token_uses_at_most_all_experts():
    plan = planned("h100", "qwen3-30b-a3b-fp8")
    more = replace(plan, request=replace(plan.request, model=replace(plan.model, experts_per_token=999)))
    assert estimate(more).tokens_per_s.expected < estimate(plan).tokens_per_s.expected


def spoken(*arguments, cwd):
    done = run_plan(*arguments, "--format", "json", "--dry-run", cwd=cwd)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)["speed"]


@pytest.mark.parametrize(
    ("arguments", "published"),
    [  # XiongjieDai/GPU-Benchmarks-on-LLM-Inference, generation of 1,024 tokens; mlx-lm BENCHMARKS.md: in tests/data/speed_cases.csv
        (("--gpu", "rtx4090", "--engine", "llama.cpp", "--model", "llama-3.1-8b", "--quantization", "Q4_K_M"), 127.7),
        (("--gpu", "rtx3090", "--engine", "llama.cpp", "--model", "llama-3.1-8b", "--quantization", "F16"), 46.5),
        (("--gpu", "rtxa6000", "--engine", "ollama", "--model", "llama-3.1-8b", "--quantization", "Q4_K_M"), 102.2),
        (("--gpu", "apple-m2-ultra-192gb", "--engine", "llama.cpp", "--model", "llama-3.1-70b", "--quantization", "Q4_K_M"), 12.1),
    ],
)
def test_other_runtimes_decode_about_as_fast_as_published(arguments, published, tmp_path):
    found = spoken(*arguments, "--context", "8k", cwd=tmp_path)["tokens_per_s"]
    assert found["cautious"] < published < found["hopeful"] * 1.05
    assert found["expected"] == pytest.approx(published, rel=0.25)


def test_a_macs_memory_does_not_change_its_grade(tmp_path):
    grades = {spoken("--gpu", f"m4-max-{size}gb", "--model", "qwen3-4b", "--context", "8k", cwd=tmp_path)["grade"] for size in (36, 64, 128)}
    assert grades == {"new model"} or grades == {"measured class"}


def test_fewer_bits_are_faster_on_a_mac(tmp_path):
    rates = [
        spoken("--gpu", "m4-max-64gb", "--model", "qwen3-8b", "--quantization", form, cwd=tmp_path)["tokens_per_s"]["expected"]
        for form in ("bf16", "8bit", "4bit")
    ]
    assert rates == sorted(rates)
    assert rates[2] > 2 * rates[0]


def hints(*arguments, cwd):
    found = json.loads(run_plan(*arguments, "--format", "json", "--dry-run", cwd=cwd).stdout)
    return [warning["message"] for warning in found["warnings"] if warning["code"] == "replicas"]


def test_replicas_are_named_where_they_give_more_over_pcie(tmp_path):
    (said,) = hints("--gpu", "rtx3090", "--count", "4", "--model", "qwen3-8b-awq", "--context", "4k", "--users", "64", cwd=tmp_path)
    assert "4 servers of one GPU each" in said or "2 servers of 2 GPUs each" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("--gpu", "h100", "--count", "4", "--model", "qwen3-8b", "--users", "64"),  # NVLink
        ("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-32b-fp8", "--context", "16k"),  # one card does not hold it
        ("--gpu", "rtx3090", "--count", "4", "--model", "qwen3-8b-awq", "--context", "4k", "--users", "64", "-tp", "4"),  # as asked
        ("--gpu", "rtx3090", "--count", "4", "--model", "qwen3-8b-awq", "--context", "4k", "--users", "1"),  # a lone user gains from all GPUs
        ("--gpu", "rtx3090", "--model", "qwen3-8b-awq"),
    ],
)
def test_replicas_are_not_named_otherwise(arguments, tmp_path):
    assert hints(*arguments, cwd=tmp_path) == []


def test_what_is_said_of_replicas_is_what_their_plans_say():
    whole = planned("rtx3090", "qwen3-8b-awq", 4)
    asked = replace(whole.request, context=4096, users=64)
    found = replicas(make_plan(asked, repo="x", served_name="x"), lambda request: make_plan(request, repo="x", served_name="x"))
    each = make_plan(replace(asked, group=replace(asked.group, count=found.gpus_each), users=64 // found.servers), repo="x", served_name="x")
    alone, one = estimate(each), estimate(make_plan(asked, repo="x", served_name="x"))
    assert found.servers * alone.total_tokens_per_s.expected / one.total_tokens_per_s.expected == pytest.approx(found.together, rel=0.1)
    assert alone.tokens_per_s.expected / one.tokens_per_s.expected == pytest.approx(found.alone, rel=0.1)


def test_a_measured_link_takes_the_guess_out(tmp_path):
    asked = ("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-32b-fp8", "--context", "8k")
    guessed, slow, fast = (spoken(*asked, *link, cwd=tmp_path) for link in ((), ("--link-gb-per-s", "2"), ("--link-gb-per-s", "20")))
    assert guessed["grade"] == "extrapolated"
    assert slow["grade"] == fast["grade"] == "new GPU" or slow["grade"] == fast["grade"] != "extrapolated"
    assert slow["time_to_first_token_s"]["expected"] > fast["time_to_first_token_s"]["expected"]
    spread = [one["tokens_per_s"]["hopeful"] / one["tokens_per_s"]["cautious"] for one in (fast, guessed)]
    assert spread[0] < spread[1]
    assert run_plan(*asked, "--link-gb-per-s", "nan", cwd=tmp_path).returncode == 2

"""Starts and failures of vLLM that people reported: each command is judged as what happened to it."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from planner.catalogue.load import find_gpu, find_model
from planner.engines.vllm.choice import Request
from planner.engines.vllm.search import best
from planner.engines.vllm.settings import Pins
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup
from planner.facts.question import ServiceRow, StackRow
from planner.questions.check import check, find_server, group_for
from planner.questions.plan import answer_for

DATA = Path(__file__).parents[2] / "data"
CASES = {case["id"]: case for case in yaml.safe_load((DATA / "field_vllm.yaml").read_text())}
STARTED, FAILED = {"starts", "tight"}, {"does_not_start", "unlikely"}
EDGE = {"tight"}  # what is right where it failed by little, or the same starts elsewhere: `edge` says how
GIB = 2**30
PATCHED = "qwen36-27b-nvfp4-5090-65k-nvfp4kv"  # its build has a backend for such a cache on 12.x; 0.25 as released has none


@pytest.fixture
def models(tmp_path, monkeypatch):
    """`models/NAME` of a command is the folder of that name."""
    (tmp_path / "models").symlink_to(DATA / "field_models")
    monkeypatch.chdir(tmp_path)


def judged(case):
    server = replace(find_server(case["command"]), version=case["vllm_version"])
    return check(server, group_for(server, case["gpu"], case["count"], case["host"], case.get("free_gib")))


@pytest.mark.parametrize("name", [name for name in CASES if name != PATCHED])
def test_verdict(name, models):
    case = CASES[name]
    plan = judged(case)
    told = STARTED if case["observed_verdict"] == "starts" else FAILED
    assert plan.verdict in (EDGE if "edge" in case else told), (plan.problems, plan.not_covered)


def test_what_a_release_refuses_a_build_of_ones_own_may_take(models):
    case = CASES[PATCHED]
    assert judged(case | {"vllm_version": "0.25.1"}).verdict == "does_not_start"
    built = judged(case)
    assert built.verdict == "unknown"
    assert built.problems
    assert built.not_covered[-1].flag == f"vLLM {case['vllm_version']}"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "kv_gib" in case.get("observed", {}) and case.get("flags_told", True)])
def test_kv_cache_is_inside_the_interval_and_a_gib_of_it_holds_the_tokens_that_the_log_says(name, models):
    memory, observed = judged(CASES[name]).memory, CASES[name]["observed"]
    assert memory["kv_cache_bytes_low"] <= observed["kv_gib"] * GIB <= memory["kv_cache_bytes_high"]
    if "tokens" in observed and CASES[name].get("tokens_told", True):
        held = memory["kv_cache_tokens"] / memory["kv_cache_bytes"] * GIB
        assert observed["tokens"] / observed["kv_gib"] == pytest.approx(held, rel=0.01)


@pytest.mark.parametrize(
    ("version", "requests"), [("0.20.0", False), ("0.20", False), ("0.20.1rc1.dev16", False), ("0.20.1", True), ("0.20.2", True), ("0.21.0", True)]
)
def test_since_0_20_1_a_hybrid_counts_its_tokens_by_requests(version, requests, models):
    memory = judged(CASES["qwen35-122b-gptq-pro6000-4096"] | {"vllm_version": version}).memory
    assert (memory["kv_cache_tokens"] == int(memory["max_concurrency"] * 8192)) is requests


@pytest.mark.parametrize(
    ("words", "verdict", "said"),
    [
        ("", "starts", "is read as 0.11, the oldest release that is known here"),
        ("--enable-reasoning --use-v2-block-manager", "starts", "; --enable-reasoning, --use-v2-block-manager: flags of earlier releases that moved no memory"),
        ("--disable-log-requests", "starts", "known here"),
        ("--num-scheduler-steps 8", "unknown", "--num-scheduler-steps: what vLLM 0.8.5 makes of it"),
        ("--optimization-level 2", "does_not_start", "is read as 0.11"),  # it came later
        ("--gpu-memory-utilization 1.5", "does_not_start", "is read as 0.11"),
    ],
)
def test_a_release_older_than_the_oldest_known_has_flags_that_this_has_not(words, verdict, said):
    case = {"command": f"vllm serve Qwen/Qwen3-0.6B --max-model-len 4096 {words}", "gpu": "rtx4090", "count": 1, "host": "server"}
    old, known = judged(case | {"vllm_version": "0.8.5"}), judged(case | {"vllm_version": "0.11.0"})
    assert (old.verdict, sum(warn.code == "older-release" for warn in old.warnings)) == (verdict, 1)
    assert any(said in warn.message for warn in old.warnings)
    assert not any(warn.code == "older-release" for warn in known.warnings)


@pytest.mark.parametrize(
    ("version", "code", "said"),
    [
        ("0.19.2rc1.dev134+gfe9c3d6c5", "not-a-release", "vLLM 0.19.2rc1.dev134+gfe9c3d6c5 is no release: it is read as 0.20"),
        ("v0.20.2rc1", "not-a-release", "is no release: it is read as 0.20"),
        ("0.21.0+gabc1234", "not-a-release", "is no release: it is read as 0.21"),
        ("nightly", "not-a-release", "is no release: it is read as 0.33"),
        ("0.41.2", "newer-release", "vLLM 0.41.2 is read as 0.33, the newest release that is known here"),
        ("1.0", "newer-release", "is read as 0.33"),
    ],
)
def test_a_version_that_another_stands_for_is_said_once(version, code, said):
    case = {"command": "vllm serve Qwen/Qwen3-0.6B --max-model-len 4096", "gpu": "rtx4090", "count": 1, "host": "server", "vllm_version": version}
    assert [(warn.code, said in warn.message) for warn in judged(case).warnings if "read as" in warn.message] == [(code, True)]


@pytest.mark.parametrize("version", ["0.19.1", "v0.20.0", "0.33", "v0.11.0-cu129", "latest", "0.10.2.post1"])
def test_a_release_that_is_known_is_no_builds_stand_in(version):
    case = {"command": "vllm serve Qwen/Qwen3-0.6B --max-model-len 4096", "gpu": "rtx4090", "count": 1, "host": "server", "vllm_version": version}
    assert not {"not-a-release", "newer-release"} & {warn.code for warn in judged(case).warnings}


@pytest.mark.parametrize(("share", "verdict"), [("0.82", "starts"), ("0.95", "tight"), ("0.96", "unlikely"), ("0.99", "unlikely"), ("1.0", "does_not_start")])
def test_more_than_was_ever_seen_free_of_a_shared_memory_is_no_sure_refusal(share, verdict):
    """A GB10 without a desktop may have more than the 116 GiB that logs tell, but not what a CUDA context takes."""
    case = {"command": f"vllm serve Qwen/Qwen3-8B --max-model-len 8192 --gpu-memory-utilization {share}", "gpu": "gb10", "count": 1, "host": "server"}
    assert judged(case | {"vllm_version": "0.33.0"}).verdict == verdict


@pytest.mark.parametrize("gpu", ["strix-halo-128gb", "strix-halo-32gb", "radeon-890m-32gb"])
def test_no_start_is_sure_on_memory_that_an_amd_gpu_shares(gpu):
    case = {"command": "vllm serve Qwen/Qwen3-0.6B --max-model-len 4096 --gpu-memory-utilization 0.5", "gpu": gpu, "count": 1, "host": "server"}
    answer = judged(case | {"vllm_version": "0.33.0"})
    assert answer.verdict == "tight"
    assert any(warn.code == "tight" and "nobody measured what vLLM takes of the memory that" in warn.message for warn in answer.warnings)
    radeon = judged(case | {"vllm_version": "0.33.0", "gpu": "rx7900xtx"})
    assert radeon.verdict == "starts"


@pytest.mark.parametrize(
    ("model", "flags", "version", "tokens"),
    [
        ("openai/whisper-large-v3", "--max-num-batched-tokens 1499", "0.11.0", 1500),  # an encoder's output is never divided
        ("openai/whisper-large-v3", "--max-num-batched-tokens 1024", "0.33.0", 1500),
        ("openai/whisper-large-v3", "--max-num-seqs 3", "0.33.0", 1500),  # the default is no larger than all sequences: 3 x 448
        ("openai/whisper-large-v3", "--max-num-batched-tokens 1500", "0.33.0", 0),
        ("openai/whisper-large-v3", "--max-num-batched-tokens 1024 --limit-mm-per-prompt.audio 0", "0.33.0", 0),
        ("openai/whisper-large-v3", "", "0.33.0", 0),
        ("google/gemma-4-31B-it", "--max-num-batched-tokens 2048", "0.19.0", 0),  # divided then
        ("google/gemma-4-31B-it", "--max-num-batched-tokens 2048", "0.20.0", 2496),
        ("google/gemma-4-31B-it", "--max-num-batched-tokens 2496", "0.21.0", 0),
        ("google/gemma-4-31B-it", "", "0.21.0", 0),  # refused by its source, and started (vllm issue 43308)
        ("google/gemma-4-31B-it", "", "0.22.0", 0),  # raised since
    ],
)
def test_an_item_that_comes_whole_needs_a_batch_that_holds_it(model, flags, version, tokens):
    """v1/core/encoder_cache_manager.py compute_mm_encoder_budget of these releases."""
    length = 448 if "whisper" in model else 8192
    case = {"command": f"vllm serve {model} --max-model-len {length} {flags}", "gpu": "rtx5090", "count": 1, "host": "server", "vllm_version": version}
    told = [problem.message for problem in judged(case).problems if "max_tokens_per_mm_item" in problem.message]
    assert [f"({tokens}) is larger than" in message for message in told] == ([True] if tokens else [])


@pytest.mark.parametrize("gpu", ["rtx3060", "gtx1660", "t4"])
@pytest.mark.parametrize("users", [1, 4, None])
def test_no_plan_for_a_sound_has_a_batch_that_holds_none(gpu, users):
    model = find_model("whisper-large-v3").spec()
    pins = Pins(vllm_version="0.19" if gpu == "gtx1660" else "0.33", gpu_memory_utilization=0.4)
    choice = best(Request(model=model, group=GpuGroup(gpu=find_gpu(gpu), count=1), pins=pins, users=users))
    assert choice.config.max_num_batched_tokens >= 1500


@pytest.mark.parametrize(("gpu_name", "model", "batch", "least"), [("rtx4090", "whisper-large-v3", 1024, 1500), ("h200", "gemma-4-31b", 2048, 2496)])
def test_a_pinned_batch_that_does_not_hold_an_item_is_refused_in_a_plan_too(gpu_name, model, batch, least):
    with pytest.raises(PlannerError, match=f"{batch} does not hold the {least:,} tokens"):
        answer_for(StackRow(gpu=gpu_name, services=[ServiceRow(model=model, max_num_batched_tokens=batch)]))

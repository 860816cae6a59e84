"""Parts outside the ledger that are bounded: the answer is sure where it is the same with all that they may take and with all that they may spare."""

import json
from dataclasses import replace

import pytest
from conftest import DATA

from planner.questions.check import check, find_server, group_for

MOE = "vllm serve openai/gpt-oss-20b"


def judged(command, gpu="h100", count=1):
    return check(server := find_server(command), group_for(server, gpu, count, "server"))


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ("--max-model-len 8192", "starts"),
        ("--max-model-len 8192 --moe-backend triton", "tight"),  # a tenth of 13 GiB more still fits
        ("--max-model-len 131072 --gpu-memory-utilization 0.15 --moe-backend triton", "does_not_start"),  # needs more than a tenth of the weights
        ("--max-model-len 8192 --moe-backend triton --compilation-config.compile_mm_encoder true", "tight"),  # no picture: nothing to compile
    ],
)
def test_a_bounded_part_does_not_hide_what_is_sure(more, verdict):
    assert judged(f"{MOE} {more}").verdict == verdict


def test_it_hides_what_it_decides():
    """Somewhere between the two ends nobody can say: one of the budgets lies there."""
    verdicts = [judged(f"{MOE} --max-model-len 32768 --moe-backend triton --gpu-memory-utilization {share / 100}").verdict for share in range(14, 40, 1)]
    assert "unknown" in verdicts
    assert [rank for rank, _ in sorted(enumerate(verdicts), key=lambda pair: ["does_not_start", "unlikely", "unknown", "tight"].index(pair[1]))] == list(
        range(len(verdicts))
    )


def test_the_cache_may_be_smaller_and_larger_by_all_that_they_move():
    """Five starts of NVFP4 experts with `--moe-backend cutlass` on a 5090 held 1.2 to 1.8 GiB less than without: public files 51995050688, 56816929356."""
    plain, other, adds = (
        judged(f"{MOE} --max-model-len 8192 {more}").memory for more in ("", "--moe-backend triton", "--moe-backend triton --kv-cache-memory 8G")
    )
    moved = int(0.1 * (plain["weights_bytes"]))
    assert other["kv_cache_bytes_low"] == plain["kv_cache_bytes_low"] - moved
    assert other["kv_cache_bytes"] == plain["kv_cache_bytes"]
    assert other["kv_cache_bytes_high"] == plain["kv_cache_bytes_high"] + moved
    assert adds["kv_cache_bytes_low"] == adds["kv_cache_bytes_high"]  # pinned
    line = next(line for line in judged(f"{MOE} --max-model-len 8192 --moe-backend triton").lines if line.key == "kv_cache")
    assert (line.low_bytes, line.high_bytes) == (other["kv_cache_bytes_low"], other["kv_cache_bytes_high"])


def test_what_nothing_bounds_stays_unknown():
    assert judged("vllm serve Qwen/Qwen3-8B --max-model-len 8192 --enable-prompt-embeds").verdict == "unknown"


@pytest.mark.parametrize(
    ("command", "gpu", "verdict"),
    [
        (
            "vllm serve moonshotai/Kimi-K2.5 -tp 8 --max-model-len 65536 --speculative-config.method eagle3 --speculative-config.model nobody/drafts",
            "b300",
            "tight",
        ),
        ("vllm serve deepseek-ai/DeepSeek-V4-Flash -tp 8 --max-model-len 65536 --speculative-config.method dspark", "b300", "tight"),
        ("vllm serve Qwen/Qwen3-8B --max-model-len 8192 --speculative-config.method dflash --speculative-config.model nobody/drafts", "b300", "unknown"),
        ("VLLM_ROCM_QUICK_REDUCE_QUANTIZATION=INT4 vllm serve Qwen/Qwen3-32B -tp 8 --max-model-len 8192", "mi300x", "tight"),
        ("vllm serve deepseek-ai/DeepSeek-V3.2 -tp 8 --max-model-len 65536 --block-size 1", "mi325x", "tight"),
    ],
)
def test_drafters_that_nobody_knows_and_buffers_of_quick_reduction_are_bounded(command, gpu, verdict):
    drafted = "" if "speculative" not in command else " --speculative-config.num_speculative_tokens 3"
    assert judged(command + drafted, gpu, 8).verdict == verdict


def test_a_drafter_of_the_catalogue_is_in_the_ledger():
    plan = judged("vllm serve moonshotai/Kimi-K2.5 -tp 8 --spec-method eagle3 --spec-model lightseekorg/kimi-k2.5-eagle3-mla --spec-tokens 3", "h200", 8)
    assert (plan.verdict, plan.not_covered) == ("starts", ())
    assert 0.6e9 < plan.memory["drafter_bytes"] < 0.9e9  # 3.0 billion parameters less the target's words, divided by eight but for its attention's latents


@pytest.mark.parametrize("value", ["0", "1"])
def test_either_sampler_is_in_the_ledger(value):
    """The copies of the logits were fitted on 0.19, where torch's own was the default; before 0.17 as many are reckoned with as any start held."""
    for utilization in ("0.22", "0.26", "0.9"):
        command = f"vllm serve Qwen/Qwen3-8B --max-model-len 8192 --gpu-memory-utilization {utilization}"
        assert judged(f"VLLM_USE_FLASHINFER_SAMPLER={value} {command}").verdict == judged(command).verdict


def test_weights_of_bitsandbytes_are_four_bits_and_scales_and_no_sure_start():
    """vLLM logged 5.34 GiB for a Llama 3 8B; embedding and head stay as they are."""
    command = "vllm serve meta-llama/Llama-3.1-8B-Instruct --max-model-len 8192 --quantization bitsandbytes --load-format bitsandbytes"
    server = replace(find_server(command), version="0.19")
    plan = check(server, group_for(server, "rtx4090", 1, "server"))
    assert (plan.verdict, [part.flag for part in plan.not_covered]) == ("tight", ["--quantization bitsandbytes"])
    assert plan.memory["weights_bytes"] / 2**30 == pytest.approx(5.34, abs=0.05)


@pytest.mark.parametrize(
    ("share", "more", "verdict"), [("0.98", "", "tight"), ("0.98", "--enforce-eager", "starts"), ("0.97", "", "tight"), ("0.95", "", "starts")]
)
def test_a_budget_of_nearly_all_that_is_free_is_no_sure_start_where_graphs_are_captured(share, more, verdict):
    assert judged(f"vllm serve Qwen/Qwen3-8B --max-model-len 32000 --gpu-memory-utilization {share} {more}", "rtx5090").verdict == verdict


@pytest.mark.parametrize(
    ("version", "more", "verdict"),
    [
        ("0.16", "--enable-prefix-caching", "starts"),
        ("0.17", "--enable-prefix-caching", "does_not_start"),
        ("0.26", "--enable-prefix-caching", "does_not_start"),
        ("0.27", "--enable-prefix-caching", "starts"),
        ("0.26", "", "starts"),
        ("0.26", "--enable-prefix-caching --max-num-batched-tokens 2096", "starts"),
    ],
)
def test_kept_states_want_batches_of_a_block(version, more, verdict):
    """vLLM's issue 36697 (Qwen3.5 with an FP8 cache: blocks of 2096 tokens, batches of 2048), pull requests 34445 and 36734."""
    batch = "" if "batched" in more else " --max-num-batched-tokens 2048"
    command = f"vllm serve Qwen/Qwen3.5-35B-A3B --kv-cache-dtype fp8 --max-num-seqs 16 --max-model-len 8192 {more}{batch}"
    server = replace(find_server(command), version=version)
    answer = check(server, group_for(server, "h100", 1, "server"))
    assert answer.verdict == verdict
    if verdict == "does_not_start":
        assert [problem.message for problem in answer.problems] == ["In Mamba cache align mode, block_size (2096) must be <= max_num_batched_tokens (2048)."]
        assert answer.problems[0].fix == "--max-num-batched-tokens 2096"


def test_the_line_says_its_ends_and_no_cache_as_none():
    """The number itself is what vLLM's message tells: "Available KV cache memory: -1.49 GiB"."""
    asked = f"{MOE} --max-model-len 4096 --gpu-memory-utilization 0.74"
    answer, plain = judged(f"{asked} --moe-backend triton", "l4"), judged(asked, "l4").memory
    assert answer.memory["kv_cache_bytes_low"] == plain["kv_cache_bytes_low"] - int(0.1 * plain["weights_bytes"]) < 0
    [line] = [line for line in answer.lines if line.key == "kv_cache"]
    assert line.note.startswith("0.00 to ")
    assert line.note.endswith("with what is not in the ledger")
    assert not answer.binds  # what surely runs at once is not said of the plan without it


def test_the_backend_that_a_class_needs_is_the_fix(tmp_path):
    (tmp_path / "config.json").write_text((DATA / "configs" / "made--step1.json").read_text())
    [problem] = judged(f"vllm serve {tmp_path}").problems
    assert (problem.code, problem.fix) == ("unsupported", "--attention-backend TRITON_ATTN")
    assert judged(f"vllm serve {tmp_path} {problem.fix}").verdict == "starts"


def test_a_target_that_shows_no_hidden_states_is_refused_whatever_drafts():
    config = json.dumps({"method": "eagle3", "model": "nobody/knows", "num_speculative_tokens": 3})
    [problem] = judged(f"vllm serve google/gemma-3-27b-it --speculative-config '{config}'", "h200").problems
    assert "Model does not support EAGLE3 interface" in problem.message

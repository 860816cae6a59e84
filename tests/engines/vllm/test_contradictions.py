"""What vLLM 0.33 refuses of a command's arguments before a GPU is touched, and what it takes: the same here, in its words.

`tests/data/vllm_0.33_arguments.jsonl` holds its answers on eight H100: `python tests/engines/vllm/test_contradictions.py` asks its commands again.
"""

import json
import re
import shlex
from dataclasses import replace

import pytest
from conftest import DATA, config_model, json_lines

from planner.catalogue.load import find_gpu
from planner.engines.vllm.check import default_config, value_problems
from planner.engines.vllm.choice import Request
from planner.engines.vllm.command import read_settings
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.search import sizes
from planner.engines.vllm.served import as_served
from planner.facts.hardware import GpuGroup
from planner.questions.check import check, find_server, group_for

FROZEN = "vllm_0.33_arguments.jsonl"
ROWS = json_lines(FROZEN)
# Refused for what the ledger does not hold: the answer is `unknown`, never a start.
NAMED = ("--watermark-config", "--use-replayssm", "--profiler-config", "--mm-encoder-attn-backend FOO")
ELSEWHERE = (  # where the checkpoint, the drafter, the cache and the largest picture are read
    "--disable-chunked-mm-input",
    *(f"--quantization {name}" for name in ("awq", "bitsandbytes", "fp8", "mxfp8", "int8", "experts_int8", "foo")),
    "--speculative-config",
    "--kv-cache-dtype nvfp4",
    "fp8_ds_mla",
)
OWN_WORDS = ("--max-num-batched-tokens 128", "--distributed-executor-backend foo", "--max-model-len 0", "max_position_embeddings 1000")


def refused(model: str, flags: str, version: str = "0.33", env: dict | None = None) -> list[str]:
    """What is refused of flags, on eight H100."""
    spec, group = config_model(model), GpuGroup(gpu=find_gpu("h100"), count=8)
    values, _, faults = parse_flags(["x", *shlex.split(flags)], version)
    spec = as_served(spec, values, version)
    config, settings = read_settings(values, default_config(spec, group, values, version))
    return [*(fault.message for fault in faults), *settings.values(), *(problem.message for problem in value_problems(config, values, spec, group, env or {}))]


@pytest.mark.parametrize(
    "row", [row for row in ROWS if not any(name in row["flags"] for name in (*NAMED, *ELSEWHERE))], ids=lambda row: f"{row['model']} {row['flags']}"
)
def test_arguments_are_refused_as_vllm_refuses_them(row):
    messages = refused(row["model"], row["flags"])
    assert bool(messages) == bool(row["error"]), (messages, row["error"])
    told = re.search(r"(?:Value error|Assertion failed), (.*?)(?: \[type=|$)", row["error"] or "")
    if told and not any(flags in row["flags"] for flags in OWN_WORDS):
        assert any(told[1][:36] in message for message in messages), (messages, told[1])


@pytest.mark.parametrize(
    ("flags", "earlier", "later"),
    [
        ("--max-cudagraph-capture-size 8 --cudagraph-capture-sizes 1 2 4", None, "0.13"),
        ("--kv-cache-dtype float16", "0.32", "0.33"),
        ("--attention-config.hisparse_config {}", None, "0.33"),
        ("--max-num-batched-tokens 4096 --max-model-len 8192 --no-enable-chunked-prefill", None, "0.11"),
        ("--long-prefill-token-threshold 9000 --max-model-len 8192", None, "0.11"),
        ("--max-logprobs -2", "0.24", "0.25"),
    ],
)
def test_a_release_refuses_from_the_one_on_that_has_the_check(flags, earlier, later):
    assert refused("Qwen/Qwen3-8B", flags, later)
    assert earlier is None or not refused("Qwen/Qwen3-8B", flags, earlier)


def test_0_15_has_no_kernel_of_its_own_for_nvfp4_experts_on_12():
    def said(gpu, version, command="VLLM_USE_FLASHINFER_MOE_FP4=1 vllm serve nvidia/Qwen3-30B-A3B-NVFP4 --max-model-len 8192"):
        server = replace(find_server(command), version=version)
        return check(server, group_for(server, gpu, 1, "server")).verdict

    assert [said("rtx5090", version) for version in ("0.14", "0.15", "0.16")] == ["starts", "does_not_start", "starts"]
    assert said("b200", "0.15") == said("rtx5090", "0.15", "vllm serve nvidia/Qwen3-30B-A3B-NVFP4 --max-model-len 8192") == "starts"


def test_what_the_environment_mends_is_not_refused():
    flags = "--mm-tensor-ipc torch_shm"
    assert refused("Qwen/Qwen3-VL-8B-Instruct", flags)
    assert not refused("Qwen/Qwen3-VL-8B-Instruct", flags, env={"VLLM_WORKER_MULTIPROC_METHOD": "spawn"})


def asked_again() -> list[dict]:
    """What vLLM answers now."""
    from test_oracle import ask

    questions = [
        {
            "config": json.loads((DATA / "configs" / f"{row['model'].replace('/', '--')}.json").read_text()),
            "argv": ["vllm", "serve", "x", *shlex.split(row["flags"])],
        }
        for row in ROWS
    ]
    answers = ask(find_gpu("h100"), 8, questions)
    return [{"model": row["model"], "flags": row["flags"], "error": answer.get("error")} for row, answer in zip(ROWS, answers, strict=True)]


WHOLE, IN_2048 = "--disable-chunked-mm-input", "--max-num-batched-tokens 2048"


@pytest.mark.parametrize(
    ("model", "flags", "version", "item"),
    [
        ("Qwen/Qwen3.6-35B-A3B", f"{WHOLE} --max-num-batched-tokens 10240 --limit-mm-per-prompt '{{\"image\": 4}}'", "0.24", 16_384),  # seen so
        ("Qwen/Qwen3.6-35B-A3B", f"{WHOLE} --max-num-batched-tokens 16384", "0.24", 0),  # seen to start
        ("Qwen/Qwen3.6-35B-A3B", IN_2048, "0.24", 0),
        ("Qwen/Qwen3.6-35B-A3B", f"{WHOLE} {IN_2048} --language-model-only", "0.24", 0),
        ("Qwen/Qwen3.6-35B-A3B", f'{WHOLE} {IN_2048} --limit-mm-per-prompt \'{{"image": 0, "video": 0}}\'', "0.14", 0),
        ("Qwen/Qwen3-VL-8B-Instruct", f"{WHOLE} {IN_2048} --mm-processor-kwargs '{{\"max_pixels\": 1048576}}' --limit-mm-per-prompt.video 0", "0.33", 0),
        ("Qwen/Qwen2.5-VL-7B-Instruct", f"{WHOLE} --max-num-batched-tokens 16384 --max-model-len 32768", "0.33", 32_768),  # a film
        ("Qwen/Qwen3-8B", f"{WHOLE} {IN_2048}", "0.33", 0),
        ("google/gemma-4-31B-it", IN_2048, "0.33", 2496),  # its pictures are seen from both sides: never divided
        ("google/gemma-4-12B-it", IN_2048, "0.33", 2496),  # the class without towers has the same films
        ("google/gemma-4-12B-it", f"{IN_2048} {WHOLE}", "0.33", 2496),
        ("google/gemma-4-31B-it", f'{IN_2048} --limit-mm-per-prompt \'{{"video": {{"count": 1, "num_frames": 27}}}}\'', "0.33", 2106),
        ("google/gemma-4-31B-it", f'{IN_2048} --limit-mm-per-prompt \'{{"video": {{"count": 1, "num_frames": 26}}}}\'', "0.33", 0),
        ("google/gemma-4-31B-it", "", "0.33", 0),
        ("google/gemma-4-31B-it", IN_2048, "0.19", 0),
        ("google/gemma-4-E4B-it", IN_2048, "0.33", 0),
    ],
)
def test_an_item_that_must_not_be_divided_fits_a_batch(model, flags, version, item):
    messages = [text for text in refused(model, flags, version) if "Chunked MM" in text]
    assert messages == [text for text in messages if f"max_tokens_per_mm_item ({item}) is larger than" in text]
    assert bool(messages) is bool(item)


def test_a_planned_batch_holds_an_item_that_is_never_divided():
    spec = config_model("google/gemma-4-31B-it")
    for count in (1, 4):
        tried = sizes(Request(model=spec, group=GpuGroup(gpu=find_gpu("a100-80gb"), count=count)))
        assert {size.max_num_batched_tokens for size in tried} == {2496}
    group = GpuGroup(gpu=find_gpu("a100-80gb"), count=1)
    assert [default_config(spec, group, {}, version).max_num_batched_tokens for version in ("0.21", "0.22")] == [2048, 2496]


@pytest.mark.parametrize(("words", "unsure"), [(WHOLE, [WHOLE]), (f"{WHOLE} --language-model-only", []), ("", [])])
def test_where_nobody_knows_the_largest_item_no_batch_surely_holds_it(words, unsure):
    server = find_server(f"vllm serve Qwen/Qwen3-ASR-1.7B {words} --max-model-len 2048")
    plan = check(server, group_for(server, "h100", 1, "server"))
    assert [part.flag for part in plan.not_covered] == unsure
    assert (plan.verdict == "unknown") is bool(unsure)


@pytest.mark.parametrize(("batch", "unsure"), [(1119, True), (1120, False)])
def test_a_picture_that_is_never_divided_may_be_larger_than_a_small_batch(batch, unsure):
    words = f"--limit-mm-per-prompt.video 0 --max-num-batched-tokens {batch} --max-num-seqs 16"
    server = find_server(f"vllm serve google/gemma-4-12B-it {words} --max-model-len 4096")
    plan = check(server, group_for(server, "h100", 1, "server"))
    assert [part.flag for part in plan.not_covered] == ["--max-num-batched-tokens"] * unsure
    assert (plan.verdict == "unknown") is unsure


@pytest.mark.parametrize(("caching", "refused"), [("--enable-prefix-caching", True), ("--no-enable-prefix-caching", False)])
def test_states_are_kept_at_the_ends_of_blocks_that_may_divide_a_picture(caching, refused):
    server = find_server(f"vllm serve Qwen/Qwen3.5-27B {WHOLE} {caching} --max-model-len 4096 --max-num-batched-tokens 16384 --max-num-seqs 16")
    told = [problem.message for problem in check(server, group_for(server, "h100", 1, "server")).problems]
    assert [text for text in told if text.startswith("Chunked MM input is required")] == told
    assert bool(told) is refused


@pytest.mark.judge
def test_the_frozen_rows_are_vllms():
    """Whether it takes them: addresses of objects stand in some of its words."""
    assert [bool(row["error"]) for row in asked_again()] == [bool(row["error"]) for row in ROWS]


if __name__ == "__main__":
    (DATA / FROZEN).write_text("".join(json.dumps(row) + "\n" for row in asked_again()))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("google/gemma-3-27b-it --dtype float16", "The model type 'gemma3' does not support float16."),
        ("Qwen/Qwen3-8B-AWQ --dtype float32", "torch.float32 is not supported for quantization method auto_awq."),
        ("Qwen/Qwen3-8B --dtype float32", ""),
        ("Qwen/Qwen3-8B-AWQ --dtype float16", ""),
    ],
)
def test_dtypes_that_break_a_model_or_its_quantization_are_refused(words, message):
    server = find_server(f"vllm serve {words} --max-model-len 2048")
    told = [problem.message for problem in check(server, group_for(server, "h100", 8, "server")).problems]
    assert [text for text in told if "float" in text] == [] if not message else any(message in text for text in told), told

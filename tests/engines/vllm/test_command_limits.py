"""What `check` decides of a command before the ledger does: limits of values, GPUs that are there, splits; each with the fix it offers."""

from dataclasses import replace

import pytest
from conftest import config_model, gpu

from planner.engines.vllm.check import check
from planner.engines.vllm.flag_rules import FlagFault
from planner.facts.hardware import GpuGroup

QWEN = config_model("Qwen/Qwen3-8B")


def asked(values=None, *, card: str = "h100", count: int = 2, version: str = "0.33", model=QWEN, env=None, argv=(), faults=()):
    """The answer about a server of Qwen3 8B with 4096 tokens and these flags."""
    given = {"--max-model-len": "4096"} | (values or {})
    return check(given, faults, model, GpuGroup(gpu=gpu(card), count=count), repo="Qwen/Qwen3-8B", argv=argv, version=version, env=env)


def told(answer) -> list[tuple[str, str, str]]:
    return [(problem.code, problem.message, problem.fix) for problem in answer.problems]


def test_a_command_that_starts_has_no_problem():
    answer = asked()
    assert (answer.verdict, answer.problems, answer.plan.rejection, answer.plan.alternatives) == ("starts", (), None, ())
    assert (answer.repo, answer.config.max_model_len, answer.plan.served_name, answer.plan.backend) == ("Qwen/Qwen3-8B", 4096, "Qwen/Qwen3-8B", "FLASH_ATTN")
    assert not answer.plan.needs_nvcc


@pytest.mark.parametrize(
    ("values", "env", "code", "message", "fix"),
    [
        (
            {"--max-model-len": "40961"},
            {},
            "bad-value",
            "--max-model-len 40961 is greater than the model's 40960",
            "--max-model-len 40960",
        ),
        (
            {"--max-model-len": "40961"},
            {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "0"},
            "bad-value",
            "--max-model-len 40961 is greater than the model's 40960",
            "--max-model-len 40960",
        ),
        (
            {"--max-num-seqs": "65", "--max-num-batched-tokens": "64"},
            {},
            "bad-value",
            "--max-num-batched-tokens 64 is below --max-num-seqs 65",
            "--max-num-batched-tokens 65",
        ),
        (
            {"--tensor-parallel-size": "4"},
            {},
            "bad-value",
            "4 GPUs are asked for, there are 2: World size (4) is larger than the number of available GPUs (2) in this node",
            "--tensor-parallel-size 2",
        ),
        (
            {"--tensor-parallel-size": "2"},
            {"CUDA_VISIBLE_DEVICES": "1"},
            "bad-value",
            "2 GPUs are asked for, CUDA_VISIBLE_DEVICES shows 1",
            "set it to 2 GPUs, or --tensor-parallel-size 1",
        ),
        ({}, {"CUDA_VISIBLE_DEVICES": ""}, "bad-value", "1 GPU is asked for, CUDA_VISIBLE_DEVICES shows 0", "set it to 1 GPU"),
        (
            {"--tensor-parallel-size": "2", "--device-ids": "0"},
            {},
            "bad-value",
            "2 GPUs are asked for, --device-ids shows 1",
            "set it to 2 GPUs, or --tensor-parallel-size 1",
        ),
        (
            {"--quantization": "awq"},
            {},
            "unsupported",
            "--quantization awq: the checkpoint is not quantized",
            "leave --quantization out; the checkpoint stays in 16 bits; --quantization fp8 makes 8 of them",
        ),
    ],
)
def test_a_value_that_vllm_refuses_is_named_with_one_that_it_takes(values, env, code, message, fix):
    answer = asked(values, env=env)
    assert (code, message, fix) in told(answer)
    assert answer.verdict == "does_not_start"


@pytest.mark.parametrize(
    ("values", "env"),
    [
        ({"--max-model-len": "40960"}, {}),
        ({"--max-model-len": "65536", "--hf-overrides": '{"max_position_embeddings": 65536}'}, {}),
        ({"--max-model-len": "65536"}, {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}),
        ({"--max-num-seqs": "64", "--max-num-batched-tokens": "64"}, {}),
        ({"--tensor-parallel-size": "2"}, {"CUDA_VISIBLE_DEVICES": "6,7"}),
        ({"--tensor-parallel-size": "2"}, {"CUDA_VISIBLE_DEVICES": "$GPUS"}),
        ({"--tensor-parallel-size": "4", "--nnodes": "2"}, {}),
        ({"--tensor-parallel-size": "4", "--nnodes": "$N"}, {}),
        ({"--tensor-parallel-size": "4", "--distributed-executor-backend": "ray"}, {}),
    ],
)
def test_values_at_the_limit_are_no_problem(values, env):
    assert not [code for code, _, _ in told(asked(values, env=env)) if code == "bad-value"]


def test_no_gpu_at_all_is_not_mended_by_ray():
    answer = asked({"--distributed-executor-backend": "ray"}, env={"CUDA_VISIBLE_DEVICES": "-1"})
    assert ("bad-value", "1 GPU is asked for, CUDA_VISIBLE_DEVICES shows 0", "set it to 1 GPU") in told(answer)


@pytest.mark.parametrize(
    ("values", "count", "code", "fix"),
    [
        ({"--tensor-parallel-size": "3"}, 4, "not-divisible", "--tensor-parallel-size 2"),  # of 32 heads
        ({"--tensor-parallel-size": "3"}, 1, "not-divisible", "--tensor-parallel-size 1"),
        ({"--pipeline-parallel-size": "37"}, 64, "unsupported", "--tensor-parallel-size 1"),  # 36 layers
    ],
)
def test_a_split_that_cannot_be_has_no_ledger_and_a_size_that_can(values, count, code, fix):
    answer = asked(values, count=count)
    assert (code, fix) in [(problem.code, problem.fix) for problem in answer.problems]
    assert answer.plan is None
    assert answer.verdict == "does_not_start"


def test_an_old_card_is_told_the_release_that_ran_on_it():
    (problem,) = asked(card="v100-32gb", count=1, model=replace(QWEN, dtype="float16")).problems
    assert (problem.code, problem.fix) == ("unsupported", "use vLLM 0.19")


def test_a_quantization_that_a_card_lacks_is_told_what_it_has():
    problem, *_ = asked(card="t4", count=1, model=replace(QWEN, quantization="modelopt")).problems
    assert (problem.code, problem.fix) == ("unsupported", "a 16-bit checkpoint, or one quantized in another way")


@pytest.mark.parametrize(
    ("values", "card", "fix"),
    [
        ({"--kv-cache-dtype": "fp8"}, "t4", "--kv-cache-dtype auto"),
        ({"--dtype": "bfloat16"}, "t4", "--dtype auto"),
    ],
)
def test_a_type_that_a_card_lacks_is_mended_by_its_own(values, card, fix):
    answer = asked(values, card=card, count=1)
    assert (answer.problems[-1].code, answer.problems[-1].fix, answer.plan) == ("unsupported", fix, None)


def test_what_the_flags_parser_said_comes_first():
    faults = (FlagFault(flag="--a", message="--a is not known", fix="--b"), FlagFault(flag="--c", message="--c wants a number", fix="", value=True))
    answer = asked({"--tensor-parallel-size": "4"}, faults=faults)
    assert [problem.code for problem in answer.problems] == ["unknown-flag", "bad-value", "bad-value"]
    assert told(answer)[0] == ("unknown-flag", "--a is not known", "--b")


def test_a_request_too_long_is_refused_with_the_changes_that_help():
    """40,960 tokens on 24 GB at 0.8 of it."""
    answer = asked({"--max-model-len": "40960", "--gpu-memory-utilization": "0.8"}, card="rtx4090")
    (problem,) = answer.problems
    assert problem.code == "kv-cache-too-small"
    assert problem.fix == answer.plan.alternatives[0].arguments
    assert 1 <= len(answer.plan.alternatives) <= 3


def test_auto_lowers_the_context_to_what_fits():
    answer = asked({"--max-model-len": "auto", "--gpu-memory-utilization": "0.8"}, card="rtx4090")
    assert 1024 < answer.config.max_model_len < 40_960
    assert answer.config.max_model_len == answer.plan.choice.expected.longest_max_model_len
    assert asked({"--max-model-len": "auto"}).config.max_model_len == 40_960


def test_settings_say_where_they_come_from():
    reasons = dict(asked({"--max-num-seqs": "8"}).plan.choice.reasons)
    assert (reasons["max_num_seqs"], reasons["max_model_len"]) == ("from the command", "from the command")
    assert (reasons["kv_cache_dtype"], reasons["tensor_parallel_size"]) == ("vLLM's default", "vLLM's default")
    assert set(reasons) >= {"pipeline_parallel_size", "gpu_memory_utilization", "max_num_batched_tokens", "enforce_eager"}


@pytest.mark.parametrize("argv", [("--max-model-len", "4k"), ("--max-model-len=4k",)])
def test_a_small_k_is_a_thousand_to_vllm(argv):
    (warned,) = (warning for warning in asked(argv=argv).plan.warnings if warning.code == "thousands")
    assert warned.message == "vLLM reads --max-model-len 4k as 4,000; 4K is 4,096"
    assert not [warning for warning in asked(argv=("--max-model-len", "4K")).plan.warnings if warning.code == "thousands"]
    assert not [warning for warning in asked(argv=("--port", "4k")).plan.warnings if warning.code == "thousands"]


def test_a_cache_of_unknown_layout_is_named_and_not_guessed():
    answer = asked({"--kv-cache-dtype": "turboquant_k8v4", "--kv-cache-dtype-skip-layers": "sliding_window"}, model=config_model("google/gemma-2-9b-it"))
    assert (answer.verdict, answer.plan, answer.problems) == ("unknown", None, ())
    assert ("--kv-cache-dtype turboquant_k8v4", "either") in [(one.flag, one.effect) for one in answer.not_covered]


TOO_LONG = {"--max-model-len": "40960", "--gpu-memory-utilization": "0.8"}
TOO_LONG_WHY = "one request of 40,960 tokens needs 5.62 GiB of KV cache"


def test_a_value_out_of_its_bounds_is_told_and_the_rest_is_judged():
    answer = asked({"--gpu-memory-utilization": "1.5"})
    told_of = ("bad-value", "--gpu-memory-utilization is '1.5': expected a share above 0 and at most 1", "correct --gpu-memory-utilization")
    assert told(answer) == [told_of]
    assert answer.plan.verdict == "starts"


def test_what_may_lower_the_need_makes_a_refusal_unknown():
    answer = asked(TOO_LONG | {"--mm-encoder-only": True}, card="rtx4090")
    assert (answer.verdict, answer.problems) == ("unknown", ())
    first, *rest = answer.plan.warnings
    assert first.code == "kv-cache-too-small"
    assert first.message.startswith(f"as far as the ledger goes: {TOO_LONG_WHY}")
    not_held = "--mm-encoder-only: a server without the language model is not in the ledger; the server takes less than is shown"
    assert [warning.message for warning in rest if warning.code == "not-covered"] == [not_held]


def test_what_only_adds_leaves_a_refusal_as_it_is():
    answer = asked(TOO_LONG | {"--enable-prompt-embeds": True}, card="rtx4090")
    (problem,) = answer.problems
    assert problem.message.startswith(TOO_LONG_WHY)
    assert problem.fix == "make it start without --enable-prompt-embeds first"
    assert answer.plan.alternatives == ()


def test_a_share_that_is_not_free_is_refused_whatever_is_kept_elsewhere():
    answer = asked({"--gpu-memory-utilization": "0.999", "--cpu-offload-gb": "5"}, card="rtx4090")
    assert (answer.verdict, [problem.code for problem in answer.problems]) == ("does_not_start", ["free-memory"])


def test_what_only_adds_makes_a_start_unknown_and_what_lowers_does_not():
    assert asked({"--enable-prompt-embeds": True}).verdict == "unknown"
    assert asked({"--cpu-offload-gb": "5"}).verdict == "starts"


def test_the_command_itself_stands_in_its_answer():
    answer = asked({"--served-model-name": "mine", "--kv-cache-dtype": "fp8"}, card="a100-80", argv=("vllm", "serve"))
    assert (answer.argv, answer.plan.argv, answer.plan.repo, answer.plan.served_name) == (("vllm", "serve"), ("vllm", "serve"), "Qwen/Qwen3-8B", "mine")
    assert answer.plan.needs_nvcc  # an FP8 cache on Ampere is FlashInfer's


@pytest.mark.parametrize(("words", "skips", "warned"), [("0,1,2", False, True), ("0 1 2", True, False), ("layers.0", False, True), ("0 1,2", True, True)])
def test_layers_to_skip_are_words_and_one_with_commas_is_no_layer(words, skips, warned):
    """layers/attention/attention.py looks for str(layer) among the words, and says nothing of those that are none."""
    plain = asked({"--kv-cache-dtype": "fp8"})
    answer = asked({"--kv-cache-dtype": "fp8", "--kv-cache-dtype-skip-layers": words})
    assert (answer.plan.choice.expected.kv_cache_tokens < 0.99 * plain.plan.choice.expected.kv_cache_tokens) is skips
    assert ("skip-layers" in [warn.code for warn in answer.plan.warnings]) is warned

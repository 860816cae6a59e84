"""Prompts of llama.cpp: batches of 512 tokens, each of which reads the weights anew and pads the tokens of every expert."""

from dataclasses import replace

import pytest

from benchmarks.speed_models import spec
from benchmarks.speed_rows import measured
from planner.catalogue.load import find_gpu
from planner.engines.llamacpp.model import converted
from planner.engines.llamacpp.pace import gguf_weights
from planner.engines.pace import local_work, passed_bytes
from planner.speed.constants import rates
from planner.speed.roofline import prompt_s


def work_of(name, mix, gpu, batch=512):
    model = spec(name, "")
    return local_work("llamacpp", model, find_gpu(gpu), gguf_weights(model, converted(model, mix)), batch=batch)


def seconds(work, prompt, attention=True):
    return prompt_s(work, rates(work), float(prompt), work.attention_flops(float(prompt)) if attention else 0.0)


def multiplied(work, batch):
    """Seconds of a batch on a card that reads and starts in no time."""
    instant = replace(work.peak, bandwidth_bytes_per_s=1e30)
    rate = replace(rates(work), layer_s=0.0, module_s=0.0, moe_layer_s=0.0, recurrent_layer_s=0.0)
    return prompt_s(replace(work, peak=instant), rate, float(batch), 0.0) / batch


@pytest.mark.parametrize(
    ("name", "batch", "padded"),
    [("gemma-4-26b-a4b", 512, 4.0), ("gemma-4-26b-a4b", 1024, 2.0), ("gemma-4-26b-a4b", 4096, 1.25), ("gpt-oss-20b", 2048, 1.25), ("gpt-oss-20b", 512, 2.0)],
)
def test_an_expert_multiplies_whole_products(name, batch, padded):
    """Of 128 experts a token uses 8: of 512 tokens an expert has 32, which are multiplied like 128; of 4,096 it has 256, and half a product more."""
    work = work_of(name, "Q4_K_M", "rtx3090", batch)
    experts = work.weights.expert_macs * work.shape.experts_per_token / work.shape.experts
    without = multiplied(replace(work, expert_rows=0), batch)
    assert multiplied(work, batch) / without == pytest.approx((work.weights.dense_macs + experts * padded) / (work.weights.dense_macs + experts), rel=1e-6)


def test_each_batch_reads_the_weights_and_starts_the_kernels_anew():
    work = work_of("qwen3-8b", "Q4_K_M", "rtx4090")
    assert seconds(work, 2048, attention=False) == pytest.approx(4 * seconds(work, 512, attention=False))
    assert seconds(work_of("qwen3-8b", "Q4_K_M", "rtx4090", 2048), 2048) < seconds(work, 2048)


def test_what_a_token_passes_between_matrices_is_counted_by_hand():
    """Qwen3 8B, 36 layers of 4,096: inputs of q, k, v, o, gate, up and down; their outputs; two norms."""
    inputs = 3 * 4096 + 4096 + 2 * 4096 + 12288
    outputs = 4096 + 2 * 1024 + 4096 + 2 * 12288 + 4096
    assert passed_bytes(spec("qwen3-8b", "")) == 36 * (5 * inputs + 12 * outputs + 16 * 4096)


@pytest.mark.parametrize(
    ("name", "mix", "gpu", "prompt", "batch", "tokens_per_s"),
    [
        ("gemma-4-26b-a4b", "Q4_K_M", "rtx3090", 2048, 256, 2552.34),  # ggml-org/llama.cpp#22298
        ("gemma-4-26b-a4b", "Q4_K_M", "rtx3090", 2048, 1024, 4438.32),
        ("gemma-4-26b-a4b", "Q4_K_M", "rtx3090", 2048, 2048, 5212.41),
        ("gpt-oss-20b", "MXFP4_MOE", "rtx4090", 4096, 1024, 11078.32),  # ggml-org/llama.cpp#15631
        ("gpt-oss-20b", "MXFP4_MOE", "rtx4090", 4096, 2048, 10649.30),
    ],
)
def test_prompts_of_mixtures_in_batches_of_any_size(name, mix, gpu, prompt, batch, tokens_per_s):
    """Published figures that take no part in the fit."""
    assert prompt / seconds(work_of(name, mix, gpu, batch), prompt) == pytest.approx(tokens_per_s, rel=0.3)


def test_builds_of_other_days_do_what_these_did():
    """Of 2024 weights are widened first; until August 2025 the host sorted tokens by expert, until April it started their kernels one by one; today's do neither."""
    by_id = {figure.id: figure.work for figure in measured()}
    old, sorting, looping = (by_id[name] for name in ("xd-4090x1-Llama-3-8B-gguf-q4_k_m", "guide-rtx4090-gpt-oss-20b-2048", "vault-h100x8-deepseek-v3-512"))
    assert old.era == "2024"
    assert old.unpacked_bytes > 2 * old.weights.dense_macs
    assert sorting.prompt_batch == 2048
    assert sorting.sorting_s == pytest.approx(24 * 3 * 32 * 4 * 1e-9)
    assert looping.expert_starts == 5 * 3 * 58 * 256
    today = by_id["guide-rtx4080super-gpt-oss-20b-2048"]
    assert (today.era, today.unpacked_bytes, today.sorting_s, today.expert_starts) == ("", 0, 0, 0)

"""The speed of several users of llama.cpp, Ollama and MLX: what others measured, and the laws."""

import itertools
from dataclasses import replace
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner
from benchmarks.speed_fit import NAMES
from benchmarks.speed_models import spec
from benchmarks.speed_rows import measured
from planner.catalogue.load import find_gpu, find_model
from planner.engines.llamacpp.model import converted
from planner.engines.llamacpp.pace import gguf_weights
from planner.engines.pace import local_work
from planner.speed.constants import rate_names, rates
from planner.speed.roofline import step


@pytest.mark.parametrize("more", [{"engine": "llama.cpp"}, {"engine": "ollama"}, {"gpu": "apple-m4-max-64gb"}])
def test_several_users_of_every_engine_are_told(more):
    """More at once never make one faster nor all together slower; what nobody measured of them is said."""
    plans = [planner.plan(**{"model": "qwen3-8b", "gpu": "rtx4090", "context": 4096, "users": users} | more).to_dict() for users in (1, 2, 4, 8)]
    speeds = [plan["speed"] for plan in plans]
    assert [speed["concurrency"] for speed in speeds] == [1, 2, 4, 8]
    for fewer, more_users in itertools.pairwise(speeds):
        for outlook in ("low", "expected", "high"):
            assert fewer["tpot_s"][outlook] <= more_users["tpot_s"][outlook] or outlook == "low"
            assert fewer["ttft_s"][outlook] <= more_users["ttft_s"][outlook] or outlook == "low"
        assert fewer["output_tokens_per_s"]["expected"] < more_users["output_tokens_per_s"]["expected"]
        assert more_users["grade"] == "extrapolated"
        assert "wait for each other was not measured" in more_users["because"]
        assert fewer["tokens_per_s"] == more_users["tokens_per_s"]


@pytest.mark.parametrize(("batch", "tokens_per_s"), [(2, 160.5), (4, 293.5), (8, 429.5), (16, 844.6), (32, 1184.3), (64, 1491.7)])
def test_llamacpp_multiplies_more_than_eight_by_the_kernels_of_prompts(batch, tokens_per_s):
    """Llama 3.1 8B Q4_0 on an RTX 3090 behind 32,768 tokens, one sequence in micro-batches of so many (ggml-org/llama.cpp#17505): no part of the fit."""
    model = find_model("llama-3.1-8b").spec()
    work = local_work("llamacpp", model, find_gpu("rtx3090"), gguf_weights(model, converted(model, "Q4_0")))
    rate, parts = rates(work), step(work, rates(work), float(batch), work.cache_bytes(32_768.0) / batch)
    pairs = work.attention_flops(32_768.0 + batch) - work.attention_flops(32_768.0)
    attention_s = pairs / (work.peak.flops_16bit * rate.attention_share)
    seconds = parts.total_s - parts.caches + max(parts.caches, attention_s)
    assert batch / seconds == pytest.approx(tokens_per_s, rel=0.4)


@given(st.integers(1, 300))
def test_one_more_never_makes_a_step_of_llamacpp_shorter(users):
    model = find_model("qwen3-8b").spec()
    work = local_work("llamacpp", model, find_gpu("rtx4090"), gguf_weights(model, converted(model, "Q4_K_M")))
    one, more = (step(work, rates(work), float(count), 1e8).total_s for count in (users, users + 1))
    assert one <= more <= one * (users + 1) / users


def test_several_users_of_llamacpp_decode_as_was_measured():
    """Of 2, 4 and 8 at once: gemma-4-12b on RTX 3090 (docs/speed.md says how far off)."""
    several = [figure for figure in measured() if figure.work.engine == "llamacpp" and figure.users > 1]
    errors = []
    for figure in several:
        work, tokens = figure.work, figure.prompt + figure.answer / 2
        errors.append(abs(step(work, rates(work), float(figure.users), work.cache_bytes(tokens)).total_s / figure.value - 1))
    assert len(errors) >= 28
    assert median(errors) < 0.07
    assert sum(error < 0.16 for error in errors) >= len(errors) - 1


def test_where_int8_was_cut_prompts_take_what_is_left_and_steps_do_not():
    """A B300 has 157 T int8 operations a second beside 2,250 in 16 bits: llama.cpp's prompts are int8 products, its steps multiply vectors."""
    model = spec("qwen3-8b", "")
    for name, cut in (("b300", True), ("h100", False), ("rtx4090", False)):
        gpu = find_gpu(name)
        peaks, work = dict(gpu.dense_flops), local_work("llamacpp", model, gpu, gguf_weights(model, converted(model, "Q4_K_M")))
        assert work.peak.flops * work.peak.prompt_share == pytest.approx(peaks["int8"] // 2)
        assert (work.peak.flops == peaks["bf16"]) is cut or peaks["int8"] // 2 == peaks["bf16"]


@pytest.mark.parametrize("era", ["", "2024"])
def test_every_start_of_llamacpp_is_slower_by_one_factor_on_cards_with_hbm(era):
    """A chain of short kernels takes as long as the clock lets it, whatever the build and whatever the kernel: nothing else about a start differs from a GeForce's."""
    model = spec("qwen3.6-35b-a3b", "")
    held = gguf_weights(model, converted(model, "Q4_K_M"))
    plain, hbm = (rate_names(replace(local_work("llamacpp", model, find_gpu(name), held), era=era), NAMES) for name in ("rtx4090", "h100"))
    for start in ("layer_s", "module_s", "moe_layer_s", "recurrent_layer_s"):
        assert getattr(hbm, start) == (*getattr(plain, start), "starts.llamacpp_hbm.hopper")

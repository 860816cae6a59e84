"""Caches that pack a key and a value into one slot: their bytes, who takes them, since when, and one start that was measured.

Fixture: vllm_0.33_slots.jsonl, what vLLM's own planner answers about nineteen families with such caches on an H100, and about flags beside them.
"""

import json

import pytest
from conftest import config_model, gpu, json_lines

from benchmarks.crossing import difference, plain_configs
from planner.engines.vllm.cache_options import CacheOptions
from planner.engines.vllm.check import check
from planner.engines.vllm.dtypes import SLOTS
from planner.engines.vllm.kvcache import plan_cache
from planner.engines.vllm.layouts import cache_layout
from planner.engines.vllm.pace import paces
from planner.engines.vllm.plan import Request
from planner.engines.vllm.search import best
from planner.engines.vllm.settings import Pins
from planner.engines.vllm.slots import slot_workspace
from planner.errors import UnsupportedError
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup
from planner.facts.speed import NoSpeed

QWEN, HYBRID, WINDOWS = config_model("Qwen/Qwen3-4B"), config_model("Qwen/Qwen3.5-4B"), config_model("google/gemma-2-2b-it")
SPARSE = config_model("deepseek-ai/DeepSeek-V3.2")
TURBO = "turboquant_k3v4_nc"


def asked(dtype: str, *, model=QWEN, card: str = "h100", version: str = "0.33", **more: str):
    """The answer about a server with such a cache and 8192 tokens."""
    values = {"--max-model-len": "8192", "--kv-cache-dtype": dtype} | {"--" + name.replace("_", "-"): value for name, value in more.items()}
    return check(values, (), model, GpuGroup(gpu=gpu(card), count=1), repo="x/y", argv=(), version=version)


def layout(dtype: str, *, model=QWEN, card: str = "h100", version: str = "0.33", backend: str | None = None, bits: int = 16):
    """How a cache lies there."""
    return cache_layout(model, gpu(card), dtype, dtype_bits=bits, version=version, options=CacheOptions(attention_backend=backend))


@pytest.fixture(scope="module")
def configs():
    return plain_configs()


@pytest.mark.parametrize("row", json_lines("vllm_0.33_slots.jsonl"), ids=lambda row: f"{row['model']} {row['way']}")
def test_packed_caches_are_laid_out_and_refused_as_vllm_does(row, configs):
    assert difference(row | {"config": json.loads(json.dumps(configs[row["model"]]))}, row["theirs"]) == ""


@pytest.mark.parametrize(
    ("dtype", "head", "slot_bytes"),
    [
        ("turboquant_k8v4", 128, 196),
        ("turboquant_4bit_nc", 128, 134),
        (TURBO, 128, 118),
        (TURBO, 256, 230),
        ("turboquant_3bit_nc", 128, 102),
        ("turboquant_k8v4", 80, 124),
        ("ultraquant_4bit", 128, 136),
        ("ultraquant_4bit", 256, 272),
        ("octave_k3v4", 256, 248),
        ("octave_k3v3", 256, 216),
        ("octave_k3v3_compact", 256, 196),
    ],
)
def test_bytes_of_a_slot(dtype, head, slot_bytes):
    """Those of 0.33's own formats: TurboQuantConfig.slot_size_aligned, ultraquant's slot_size, OctaveFormat.slot_bytes."""
    assert SLOTS[dtype].bytes_of(head) == slot_bytes


@pytest.mark.parametrize(("version", "block"), [("0.20", 16), ("0.24", 16), ("0.25", 32), ("0.33", 32)])
def test_a_token_takes_the_same_in_every_release_and_blocks_grew_in_0_25(version, block):
    cache = plan_cache(QWEN, Parallel(), layout(TURBO, version=version))
    assert (cache.groups[0].block_size, cache.block_bytes) == (block, block * 8 * (4 * 512 + 32 * 118))


def test_a_start_on_a_5080_had_three_times_the_tokens():
    """Qwen3-4B on WSL2 with vLLM 0.25, eager, 8192 tokens a batch, 0.85: 38,544 tokens, and 121,984 with turboquant_k3v4_nc."""
    more = {"max_num_batched_tokens": "8192", "gpu_memory_utilization": "0.85", "enforce_eager": True}
    for dtype, tokens in (("auto", 38_544), (TURBO, 121_984)):
        choice = asked(dtype, card="rtx5080", version="0.25", **more).plan.choice
        assert choice.conservative.kv_cache_tokens <= tokens <= choice.optimistic.kv_cache_tokens


@pytest.mark.parametrize(
    ("dtype", "more", "said"),
    [
        (TURBO, {"version": "0.19"}, "came with 0.20"),
        (TURBO, {"model": HYBRID, "version": "0.20"}, "not supported for hybrid"),
        (TURBO, {"model": WINDOWS}, "sliding window not supported"),
        (TURBO, {"model": SPARSE}, "MLA not supported"),
        (TURBO, {"card": "b200"}, "No KV cache layout satisfies every supported set"),
        (TURBO, {"backend": "TURBOQUANT"}, "Selected backend TURBOQUANT is not valid"),
        (TURBO, {"backend": "FLASH_ATTN", "model": HYBRID}, "Selected backend FLASH_ATTN is not valid"),
        (TURBO, {"bits": 32}, "dtype not supported"),
        ("ultraquant_4bit", {}, "only ROCm has ULTRAQUANT"),
        ("ultraquant_4bit", {"card": "mi355x", "version": "0.31"}, "came with 0.32"),
        ("octave_k3v4", {"card": "mi355x", "model": HYBRID}, "supports RDNA3 and CDNA3 only"),
        ("octave_k3v4", {"card": "mi300x"}, "head_size not supported"),
        ("octave_k3v3", {"card": "mi300x", "model": QWEN, "version": "0.32"}, "came with 0.33"),
        ("nvfp4_4over6", {}, "needs compute capability 10.x"),
        ("nvfp4_4over6", {"card": "b200", "version": "0.27"}, "came with 0.28"),
        ("nvfp4_ds_mla", {"model": SPARSE}, "on SM100"),
        ("nvfp4_ds_mla", {"card": "b200"}, "MLA models only"),
        ("fp8_inc", {}, "Gaudi"),
        ("fp8_inc", {"card": "mi300x"}, "Gaudi"),
    ],
)
def test_what_takes_no_such_cache_says_why(dtype, more, said):
    with pytest.raises(UnsupportedError, match=said):
        layout(dtype, **more)


@pytest.mark.parametrize(
    ("dtype", "more", "backend", "skipped"),
    [
        (TURBO, {}, "TURBOQUANT", ("0", "1", "34", "35")),
        (TURBO, {"card": "b200", "version": "0.28"}, "TURBOQUANT", ("0", "1", "34", "35")),
        (TURBO, {"card": "b200", "model": HYBRID}, "TURBOQUANT", ()),
        (TURBO, {"card": "t4"}, "TURBOQUANT", ("0", "1", "34", "35")),
        (TURBO, {"card": "mi300x", "backend": "TRITON_ATTN"}, "TURBOQUANT", ("0", "1", "34", "35")),
        ("ultraquant_4bit", {"card": "mi355x"}, "ULTRAQUANT", ("0", "1", "34", "35")),
        ("octave_k3v4", {"card": "mi300x", "model": HYBRID}, "ROCM_OCTAVE", ()),
        ("nvfp4_4over6", {"card": "b200"}, "FLASHINFER", ()),
        ("nvfp4_ds_mla", {"card": "b200", "model": SPARSE}, "FLASHMLA_SPARSE", ()),
    ],
)
def test_what_takes_such_a_cache_and_which_layers_it_leaves(dtype, more, backend, skipped):
    found = layout(dtype, **more)
    assert (found.backend, found.skip_layers) == (backend, skipped)


def test_nvfp4_latents_take_352_bytes_a_token():
    assert layout("nvfp4_ds_mla", card="b200", model=SPARSE).latent_bytes == 352


def test_blocks_that_differ_from_stage_to_stage_are_named_and_not_guessed():
    answer = asked(TURBO, pipeline_parallel_size="1")
    assert answer.verdict == "starts"
    values = {"--max-model-len": "8192", "--kv-cache-dtype": TURBO, "--pipeline-parallel-size": "2"}
    answer = check(values, (), QWEN, GpuGroup(gpu=gpu("h100"), count=2), repo="x/y", argv=(), version="0.33")
    assert (answer.verdict, answer.plan) == ("unknown", None)


def test_a_workspace_that_comes_after_the_cache_makes_no_sure_start_of_a_full_gpu():
    """Splits of 2048 requests take 1.02 GiB beyond the budget; the GPU has 0.68 GiB there."""
    more = {"enforce_eager": True, "gpu_memory_utilization": "0.985", "max_num_seqs": "2048"}
    sure, unsure = (asked(dtype, **more).verdict for dtype in ("auto", TURBO))
    assert (sure, unsure) == ("starts", "tight")
    answer = asked(TURBO, **more)
    (told,) = [warn.message for warn in answer.plan.warnings if warn.code == "tight"]
    assert told == f"{TURBO} works in 1.02 GiB that it takes once the cache is there, where 0.68 GiB may be left: it may fail on your machine"


def test_the_search_counts_that_workspace_too():
    """What `plan` calls sure `plan check` does: with as many sequences the context shrinks, or the start is not sure."""
    group = GpuGroup(gpu=gpu("h100"), count=1)
    for seqs in (256, 1024, 2048, 4096):
        choice = best(Request(model=QWEN, group=group, pins=Pins(kv_cache_dtype=TURBO, max_num_seqs=seqs, gpu_memory_utilization=0.985, enforce_eager=True)))
        late = slot_workspace(QWEN, choice.config)
        assert choice.late_bytes == late > 0
        assert (choice.verdict == "starts") is (choice.conservative.starts and choice.conservative.short_of_free_bytes + late <= 0)
    assert choice.verdict == "tight"


@pytest.mark.parametrize("card", ["mi300x", "h100"])
def test_octave_on_a_model_that_nobody_asked_vllm_about_is_no_sure_answer(card):
    model = config_model("made/Qwen4Exp")
    answer = asked("octave_k3v4", model=model, card=card)
    assert answer.verdict == ("unknown" if card == "mi300x" else "does_not_start")


def test_what_unpacking_takes_was_not_measured_and_is_not_told():
    told = paces(asked(TURBO).plan)
    assert isinstance(told, NoSpeed)
    assert "unpack" in told.reason
    assert not isinstance(paces(asked("auto").plan), NoSpeed)

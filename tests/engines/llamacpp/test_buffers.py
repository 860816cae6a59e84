"""Weights by device, caches and compute buffers against llama.cpp's own loader, caches and allocator on a card of CUDA's rules (tests/oracle/llamacpp_device.py)."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from statistics import median

import pytest
from conftest import DATA, ROOT, gpu
from hypothesis import given
from hypothesis import strategies as st

from planner.catalogue.gguf import read_header
from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp.builds import COPIES_RESERVED, DEFAULT_BUILD, FEW_OUTPUTS, MASK_IS_HALF, build_number
from planner.engines.llamacpp.compute import compute_bytes, head_bytes, host_compute_bytes, pool_bytes
from planner.engines.llamacpp.drafter import head_of, rolled_back
from planner.engines.llamacpp.ggml import AS_PUBLISHED
from planner.engines.llamacpp.ledger import free_bytes, ledger_of
from planner.engines.llamacpp.memory import LlamaCppConfig, kv_bytes
from planner.engines.llamacpp.model import converted
from planner.engines.llamacpp.stored import from_header
from planner.facts.attention import FullAttention
from planner.facts.hardware import GpuGroup
from planner.units import MIB
from tests.judges import judge_venv
from tests.oracle import gguf_shapes

ROWS = [json.loads(line) for line in (DATA / "llamacpp_buffers.jsonl").read_text().splitlines()]
MODELS = list(dict.fromkeys(row["model"] for row in ROWS))
OLD, BETWEEN = MASK_IS_HALF - 1, FEW_OUTPUTS - 1


@cache
def file_of(name: str):
    return converted(find_plain(name).spec, AS_PUBLISHED if name.startswith("gpt-oss") else "F16")


def served(file, row):
    """As a server of embeddings has it where the row is of one."""
    return replace(file, pooling=True) if row.get("embeddings") else file


def config_of(row, build=DEFAULT_BUILD):
    return LlamaCppConfig(
        context=row["context"],
        parallel=row.get("parallel", 1),
        sequences=row.get("sequences", 1),
        kv_type=row.get("kv", "f16"),
        flash_attention=row.get("flash", True),
        ubatch=row.get("ubatch", 512),
        drafted=row.get("ubatch", 512) if row.get("all_outputs") else 0,
        build=build,
    )


@pytest.mark.parametrize("name", MODELS)
def test_caches_are_llama_cpps_and_buffers_within_five_percent(name):
    errors = []
    for row in (row for row in ROWS if row["model"] == name and "mib" in row):
        assert kv_bytes(file_of(name), config_of(row)) / MIB == pytest.approx(row["mib"]["kv"] + row["mib"]["states"], abs=0.011), row
        errors.append(abs(compute_bytes(served(file_of(name), row), config_of(row)) / MIB / row["mib"]["CUDA0 compute"] - 1))
    assert median(errors) <= 0.03
    assert max(errors) <= 0.07 if name in ("gemma-4-26b-a4b", "phi-4", "glm-4.7-flash", "qwen3.6-27b") else max(errors) <= 0.05


OLDER = [json.loads(line) for line in (DATA / "llamacpp_older.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("build", "name"), dict.fromkeys((row["build"], row["model"]) for row in OLDER))
def test_earlier_builds_lie_as_their_allocator_has_them(build, name, tmp_path):
    """With flash attention and without, whole megabytes in main memory too (tests/oracle/llamacpp_older.py, llamacpp_wide.py)."""
    write, shape = gguf_shapes.MODELS[name]
    write(tmp_path / "older.gguf", shape | {"layers": 4})
    file = from_header(read_header(tmp_path / "older.gguf"), name)
    for row in (row for row in OLDER if (row["build"], row["model"]) == (build, name)):
        config = config_of(row, build)
        assert compute_bytes(served(file, row), config) / MIB == pytest.approx(row["gpu"], rel=0.002), row
        assert host_compute_bytes(file, config) / MIB == pytest.approx(row["host"], abs=0.031), row


# -ngl 3 of six layers, whose head lies in main memory: b4753 and b5590, MiB (tests/oracle/llamacpp_older.py with n_gpu_layers).
@pytest.mark.parametrize(("name", "context", "flash", "mib"), [
    ("llama-3.1-8b", 4096, False, 1260.5), ("llama-3.1-8b", 16384, True, 1260.5), ("qwen2.5-32b", 4096, True, 1802), ("qwen2.5-32b", 16384, False, 1792),
])  # fmt: skip
def test_a_head_in_main_memory_is_copied_for_a_batch_of_logits(name, context, flash, mib, tmp_path):
    write, shape = gguf_shapes.MODELS[name]
    write(tmp_path / "older.gguf", shape | {"layers": 6})
    config = LlamaCppConfig(context=context, flash_attention=flash, gpu_layers=3, build=5590)
    (held,) = ledger_of(from_header(read_header(tmp_path / "older.gguf"), name), config, (900 << 30,)).gpus
    assert held.compute_bytes / MIB == pytest.approx(mib, rel=0.007)


# -ngl 0: the GPU computes batches all the same, of b4753 as of b5590; ROCm/ROCm#5104 has it in b5898.
@pytest.mark.parametrize(("name", "context", "mib"), [("llama-3.1-8b", 2048, 1260.5), ("qwen2.5-32b", 2048, 1792), ("qwen2.5-32b", 16384, 1792)])
@pytest.mark.parametrize(("build", "flash"), [(4753, False), (5590, True)])
def test_a_batch_is_computed_on_a_gpu_where_nothing_lies(build, flash, name, context, mib, tmp_path):
    write, shape = gguf_shapes.MODELS[name]
    write(tmp_path / "older.gguf", shape | {"layers": 4})
    config = LlamaCppConfig(context=context, flash_attention=flash, gpu_layers=0, build=build)
    (held,) = ledger_of(from_header(read_header(tmp_path / "older.gguf"), name), config, (900 << 30,)).gpus
    assert held.compute_bytes / MIB == pytest.approx(mib, abs=0.03)


PIPELINES = [json.loads(line) for line in (DATA / "llamacpp_pipelines.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("cards", [2, 5])
def test_buffers_of_each_card_of_a_pipeline_are_llama_cpps(cards):
    """Masks, hidden states, inputs of layers and borrowed caches lie four times on every card that they are sent to."""
    errors = []
    for row in (row for row in PIPELINES if row["cards"] == cards):
        gpus = ledger_of(file_of(row["model"]), config_of(row), (200 << 30,) * cards).gpus
        ours = [gpu.compute_bytes / MIB / mib - 1 for gpu, mib in zip(gpus, row["mib"], strict=True)]
        assert max(map(abs, ours)) <= (0.07 if row.get("all_outputs") else 0.015), row
        errors += map(abs, ours)
    assert median(errors) <= 0.00001


def test_a_cache_that_layers_borrow_comes_to_the_card_of_each():
    model = file_of("gemma-4-e4b")
    assert [layer for layer, cache in model.borrowed if isinstance(cache, FullAttention)] == [29, 35, 41]
    config = LlamaCppConfig(context=131072)
    alone, split = (ledger_of(model, config, (200 << 30,) * cards).gpus for cards in (1, 5))
    assert split[4].compute_bytes > 4 * 2 * kv_bytes(model, config) // 4 > alone[0].compute_bytes


@pytest.mark.parametrize("row", [row for row in ROWS if row.get("embeddings")], ids=lambda row: str(row["context"]))
def test_a_server_of_embeddings_reserves_logits_of_every_token(row):
    """A decoder's graph ends in its head for embedding too; what tells which states are pooled lies behind the masks to the end."""
    embeds, config = served(file_of(row["model"]), row), config_of(row)
    assert compute_bytes(embeds, config) / MIB == pytest.approx(row["mib"]["CUDA0 compute"], abs=0.06)
    assert compute_bytes(embeds, config) > 4 * config.ubatch * embeds.vocab > compute_bytes(replace(embeds, has_logits=False), config)


def test_half_of_all_buffers_are_exact():
    errors = [abs(compute_bytes(served(file_of(row["model"]), row), config_of(row)) / MIB / row["mib"]["CUDA0 compute"] - 1) for row in ROWS if "mib" in row]
    assert median(errors) <= 0.00001
    assert sorted(errors)[int(len(errors) * 0.9)] <= 0.01


@pytest.mark.parametrize("row", [row for row in ROWS if "weights" in row], ids=MODELS)
def test_weights_lie_where_llama_cpp_puts_them(row):
    file = file_of(row["model"])
    on_gpu, on_host = sum(file.layer_bytes) + file.output_bytes, file.input_bytes
    assert on_gpu // MIB == pytest.approx(row["weights"]["CUDA0"], abs=1 if not row["model"].startswith("gpt-oss") else row["weights"]["CUDA0"] * 0.001)
    assert on_host // MIB == pytest.approx(row["weights"]["Host"], abs=1)


# What builds before 27 May 2026 take (MiB): llama.cpp b8390 measured the same way; the last five from public logs.
EARLIER = [
    ("qwen3-8b", {"context": 131072}, 416.01),
    ("qwen3-30b-a3b", {"context": 131072}, 408.01),
    ("llama-3.1-8b", {"context": 131072, "ubatch": 2048}, 1664.05),
    ("gpt-oss-20b", {"context": 131072}, 413.52),
    ("gemma-3-27b", {"context": 131072, "kv": "q8_0"}, 522.62),
    ("mistral-small-24b", {"context": 131072}, 420.01),
    ("qwen3-coder-next", {"context": 262144}, 804.01),
    ("gpt-oss-20b", {"context": 131072, "ubatch": 2048}, 1672),
    ("qwen3.6-27b", {"context": 200192, "kv": "q8_0"}, 654.78),
    ("qwen3.6-27b", {"context": 131072, "kv": "q8_0", "sequences": 4}, 495),
    ("qwen3.6-35b-a3b", {"context": 32768, "sequences": 4}, 497),
    ("qwen2.5-32b", {"context": 4096}, 307),
]


@pytest.mark.parametrize(("name", "case", "mib"), EARLIER)
def test_earlier_builds_hold_larger_masks_and_the_logits_of_a_whole_step(name, case, mib):
    assert compute_bytes(file_of(name), config_of(case, OLD)) / MIB == pytest.approx(mib, rel=0.03)


def test_the_pool_of_earlier_builds_holds_what_the_buffer_holds_now():
    row = {"context": 131072, "kv": "q8_0"}
    copies = 2 * 131072 * 1024 * 2
    assert pool_bytes(file_of("qwen3-8b"), config_of(row, COPIES_RESERVED - 1)) == copies
    assert pool_bytes(file_of("qwen3-8b"), config_of(row)) == 0
    assert compute_bytes(file_of("qwen3-8b"), config_of(row)) - compute_bytes(file_of("qwen3-8b"), config_of(row, BETWEEN)) > copies // 2


def test_builds_are_numbers_or_releases():
    assert [build_number(name) for name in ("b9842", "9842", " b10488 ")] == [9842, 9842, 10488]
    assert build_number("b10488") < build_number("v0.1.2") < build_number("v0.5.0") < build_number("1.0")
    for wrong in ("", "b", "latest", "b12", "0.5.0.1", "v"):
        with pytest.raises(ValueError, match="no build of llama"):
            build_number(wrong)


@given(
    st.sampled_from(MODELS),
    st.integers(1, 300),
    st.sampled_from([256, 512, 2048]),
    st.booleans(),
    st.sampled_from(["f16", "q8_0"]),
    st.sampled_from([OLD, BETWEEN, DEFAULT_BUILD]),
)
def test_more_context_and_larger_steps_never_need_less(name, blocks, ubatch, flash, kind, build):
    config = LlamaCppConfig(context=blocks * 512, ubatch=ubatch, flash_attention=flash, kv_type=kind, build=build)
    longer = LlamaCppConfig(context=blocks * 512 + 256, ubatch=ubatch, flash_attention=flash, kv_type=kind, build=build)
    wider = LlamaCppConfig(context=blocks * 512, ubatch=2 * ubatch, flash_attention=flash, kv_type=kind, build=build)
    size = compute_bytes(file_of(name), config)
    assert size <= compute_bytes(file_of(name), longer)
    assert size <= compute_bytes(file_of(name), wider)


@pytest.mark.judge
def test_the_frozen_rows_are_llama_cpps_today():
    script = ROOT / "tests" / "oracle" / "llamacpp_buffers.py"
    names = ["qwen3-0.6b", "gpt-oss-20b", "qwen3.5-9b", "gemma-4-e4b"]
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run([sys.executable, script, judge_venv("llamacpp"), *names], env=env, capture_output=True, text=True, check=False)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [row for row in ROWS if row["model"] in names], done.stderr[-2000:]


@pytest.mark.parametrize("name", MODELS)
def test_a_files_header_tells_what_its_model_does(name, tmp_path):
    """Files of the judge's shapes, read back: weights by device, caches and buffers as llama.cpp has them."""
    write, shape = gguf_shapes.MODELS[name]
    write(tmp_path / "model.gguf", shape)
    file = from_header(read_header(tmp_path / "model.gguf"), name)
    for row in (row for row in ROWS if row["model"] == name):
        if weights := row.get("weights"):
            assert (sum(file.layer_bytes) + file.output_bytes) // MIB == pytest.approx(weights["CUDA0"], abs=1)
            assert file.input_bytes // MIB == pytest.approx(weights["Host"], abs=1)
        else:
            assert kv_bytes(file, config_of(row)) / MIB == pytest.approx(row["mib"]["kv"] + row["mib"]["states"], abs=0.011), row
            assert compute_bytes(file, config_of(row)) == pytest.approx(compute_bytes(file_of(name), config_of(row)), rel=0.001), row


# A context of predicting layers, of v0.5.0 (MiB): its cache, its compute buffer. The target's own are its rows above.
HEADS = [
    ("qwen3.6-27b", {"context": 32768}, 128, 130.02),
    ("qwen3.6-27b", {"context": 131072}, 512, 196.02),
    ("qwen3.6-27b", {"context": 131072, "kv": "q8_0"}, 272, 720.28),
    ("qwen3.6-27b", {"context": 131072, "ubatch": 2048}, 512, 784.06),
    ("qwen3.6-27b", {"context": 32768, "parallel": 2}, 256, 130.02),
    ("qwen3.6-27b", {"context": 32768, "flash": False}, 128, 1660.01),
    ("qwen3.5-9b", {"context": 32768}, 128, 96.02),
    ("qwen3.5-9b", {"context": 131072}, 512, 172.02),
    ("qwen3.5-9b", {"context": 32768, "flash": False}, 128, 1132.01),
    ("qwen3.6-35b-a3b", {"context": 32768}, 64, 76.02),
    ("qwen3.6-35b-a3b", {"context": 131072, "kv": "q8_0"}, 136, 432.28),
]


@pytest.mark.parametrize(("name", "row", "kv", "compute"), HEADS)
def test_predicting_layers_have_a_cache_and_a_buffer_of_their_own(name, row, kv, compute):
    head = head_of(file_of(name))
    assert kv_bytes(head, config_of(row)) == kv * MIB
    assert head_bytes(head, config_of(row)) / MIB == pytest.approx(compute, rel=0.0005)


@pytest.mark.judge
def test_the_rows_of_pipelines_are_llama_cpps_today():
    script = ROOT / "tests" / "oracle" / "llamacpp_pipelines.py"
    names = ["gpt-oss-20b", "gemma-4-e4b"]
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run([sys.executable, script, judge_venv("llamacpp"), "2", *names], env=env, capture_output=True, text=True, check=False)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said == [row for row in PIPELINES if row["cards"] == 2 and row["model"] in names], done.stderr[-2000:]


@pytest.mark.judge
def test_the_contexts_of_predicting_layers_are_llama_cpps_today():
    script = ROOT / "tests" / "oracle" / "llamacpp_heads.py"
    rows = [row for row in HEADS if row[0] == "qwen3.6-27b"]
    words = [judge_venv("llamacpp"), "qwen3.6-27b", json.dumps([row[1] for row in rows])]
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run([sys.executable, script, *words], env=env, capture_output=True, text=True, check=False)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [list(row[2:]) for row in rows], done.stderr[-2000:]


@pytest.mark.parametrize(("name", "states"), [("qwen3.6-27b", 598.5), ("qwen3.5-9b", 201.0), ("qwen3.6-35b-a3b", 251.25)])
def test_states_are_kept_for_what_is_drafted_in_vain(name, states):
    model, config = file_of(name), LlamaCppConfig(context=32_768, drafted=3)
    kept = kv_bytes(model, replace(config, snapshots=rolled_back(model, ["draft-mtp"], 3))) - kv_bytes(head_of(model), config) * sum(
        count for cache, count in model.caches if isinstance(cache, FullAttention)
    )
    assert kept / MIB == pytest.approx(states, abs=0.01)
    assert compute_bytes(model, config) == compute_bytes(model, replace(config, drafted=0))
    assert (rolled_back(model, ["draft-simple"], 3), rolled_back(file_of("qwen3-coder-next"), ["draft-mtp"], 3)) == (0, 0)


@pytest.mark.parametrize(("card", "mib"), [("rtx4090", 23818), ("rtx3090", 23858), ("rtx5090", 31600)])
def test_what_is_free_of_an_idle_card_is_what_llama_cpp_says_of_it(card, mib):
    group = GpuGroup(gpu=gpu(card), count=1)
    assert free_bytes(group, 1)[0] / MIB == pytest.approx(mib, abs=40)
    told = replace(group, gpu=replace(group.gpu, free_at_start_bytes=22 << 30, free_is_told=True))
    assert free_bytes(told, 1) == (22 << 30,)


# Layers or experts in main memory, on one card and on two: a batch's products are given copies of matrices, attention a layer's cache.
APART = [json.loads(line) for line in (DATA / "llamacpp_parts.jsonl").read_text().splitlines()]


def apart(row):
    config = replace(config_of(row), gpu_layers=row.get("gpu_layers"), cpu_moe_layers=row.get("cpu_moe", 0))
    return ledger_of(file_of(row["model"]), config, (200 << 30,) * row["cards"])


def apart_errors(rows):
    return sorted(abs(gpu.compute_bytes / MIB / mib - 1) for row in rows for gpu, mib in zip(apart(row).gpus, row["mib"], strict=True) if mib)


@pytest.mark.parametrize("name", list(dict.fromkeys(row["model"] for row in APART)))
def test_a_batch_is_given_what_lies_in_main_memory_as_llama_cpp_lays_it_out(name):
    errors = apart_errors(row for row in APART if row["model"] == name)
    assert errors[-1] <= 0.009
    assert median(errors) <= 0.0001


def test_a_gpu_without_layers_computes_batches_all_the_same():
    """--n-gpu-layers 0: the first card is given every matrix in turn, a further one has nothing."""
    rows = [row for row in APART if row.get("gpu_layers") == 0]
    assert len(rows) == 110
    assert all([gpu.compute_bytes == 0 for gpu in apart(row).gpus][1:] == [mib == 0 for mib in row["mib"]][1:] for row in rows)
    assert median(apart_errors(rows)) <= 0.0001
    unlent = replace(config_of({"context": 32768}), gpu_layers=0, lends=False)  # --no-op-offload
    assert [gpu.total_bytes for gpu in ledger_of(file_of("qwen3-8b"), unlent, (200 << 30,)).gpus] == [0]


def test_half_of_all_buffers_of_parts_are_exact():
    errors = apart_errors(APART)
    assert median(errors) <= 0.00001
    assert errors[int(len(errors) * 0.9)] <= 0.0001


@pytest.mark.judge
def test_the_rows_of_parts_are_llama_cpps_today():
    script = ROOT / "tests" / "oracle" / "llamacpp_parts.py"
    names = ["qwen3-8b", "gpt-oss-20b"]
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run([sys.executable, script, judge_venv("llamacpp"), "2", *names], env=env, capture_output=True, text=True, check=False)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said == [row for row in APART if row["cards"] == 2 and row["model"] in names], done.stderr[-2000:]


@pytest.mark.parametrize(("name", "context", "mib"), [("qwen3.6-35b-a3b", 131072, 1244.06)])
def test_an_earlier_build_sends_masks_of_32_bits(name, context, mib):
    """A log of two cards (RTX 3080 and one of 24 GB) whose main memory holds 1,032 MiB of inputs: four masks of 256 MiB."""
    gpus = ledger_of(file_of(name), config_of({"context": context}, OLD), (10 << 30, 200 << 30)).gpus
    assert gpus[0].compute_bytes / MIB == pytest.approx(mib, rel=0.05)


def host_rows():
    """Configurations, and the buffer in main memory that llama.cpp has for each."""
    for row in ROWS:
        if "mib" in row:
            yield host_compute_bytes(file_of(row["model"]), config_of(row)) / MIB, row["mib"]["CUDA_Host compute"]
    for row in APART:
        yield apart(row).host.compute_bytes / MIB, row["host_mib"]


def test_main_memory_has_a_compute_buffer_too():
    """Inputs of a micro-batch, and what comes back from a GPU where layers lie in main memory."""
    errors = sorted(abs(ours / mib - 1) for ours, mib in host_rows())
    assert median(errors) <= 0.0005
    assert errors[int(len(errors) * 0.95)] <= 0.03
    assert errors[-1] <= 0.15


@pytest.mark.parametrize(("context", "mib"), [(4096, 32.05), (32768, 144.05)])
def test_a_pipeline_keeps_four_copies_of_its_masks_in_main_memory(context, mib):
    host = ledger_of(file_of("qwen3-8b"), LlamaCppConfig(context=context), (200 << 30, 200 << 30)).host
    assert host.compute_bytes / MIB == pytest.approx(mib, abs=0.1)

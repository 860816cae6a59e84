"""Public reports of llama.cpp and Ollama with everything on the GPU (field_local.yaml, the half that is not kept for acceptance): weights, cache, buffers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import run_plan

from planner.catalogue import resolve
from planner.catalogue.gguf import read_header
from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp.backend import Backend
from planner.engines.llamacpp.compute import compute_bytes, host_compute_bytes
from planner.engines.llamacpp.dynamic import dynamic
from planner.engines.llamacpp.layers import EXPERTS
from planner.engines.llamacpp.memory import LlamaCppConfig, kv_bytes
from planner.engines.llamacpp.model import converted, in_library
from planner.engines.llamacpp.named import by_repository
from planner.engines.llamacpp.stored import from_header
from planner.facts.question import StackRow
from planner.questions.check import check, find_server, group_for, machine_for
from planner.units import MIB
from tests.oracle import gguf_shapes

OLD = 8900  # builds of April 2026
Q8 = {"kv_type": "q8_0"}
# id, model, mix, settings, MiB by what they are. `weights` are on the GPU, `host` the token embeddings.
CASES = [
    ("L01", "qwen2.5-32b", "Q4_K_M", {"context": 4096}, {"weights": 18508, "kv": 1024, "compute": 307}),
    ("L02", "qwen3-30b-a3b", "Q4_K_M", {"context": 14592}, {"weights": 17524, "kv": 1368}),
    ("L03", "qwen3-32b", "Q4_K_M", {"context": 4096}, {"file": 18842}),
    ("L04", "qwen2.5-72b", "Q4_K_M", {"context": 4096}, {"kv": 1280, "file": 16013.6 + 29199.6}),
    ("L08", "gpt-oss-20b", "MXFP4_MOE", {"context": 131072, "ubatch": 2048, "sequences": 4}, {"kv": 3126, "compute": 1672}),
    (
        "L09",
        "qwen3.6-27b",
        "UD-Q4_K_XL",
        {"context": 131072, "sequences": 4, **Q8},
        {"weights": 16386.9, "host": 682, "kv": 4352 + 598.5, "compute": 495, "mmproj": 887.99},
    ),
    ("L10", "qwen3.6-27b", "Q4_K_M", {"context": 200192, **Q8}, {"kv": 6647 + 149.62, "compute": 654.78}),
    ("L11", "qwen3.6-35b-a3b", "UD-Q4_K_M", {"context": 4096}, {"kv": 80 + 62.81, "file": 20.6 * 1024}),
    ("L11", "qwen3.6-35b-a3b", "Q4_K_M", {"context": 32768}, {"kv": 640 + 62.81}),
    ("L11", "qwen3.6-35b-a3b", "Q4_K_M", {"context": 131072}, {"kv": 2560 + 62.81}),
    ("L11", "qwen3.6-27b", "Q4_K_M", {"context": 4096}, {"kv": 256 + 149.62, "file": 15.65 * 1024}),
    ("L11", "qwen3.6-27b", "Q6_K", {"context": 32768}, {"kv": 2048 + 149.62, "file": 20.97 * 1024}),
    ("L11", "qwen3.6-27b", "Q8_0", {"context": 131072}, {"kv": 8192 + 149.62, "file": 26.62 * 1024}),
    ("L16", "qwen3-next-80b-a3b", "Q8_0", {"context": 4096}, {"weights": 80885}),  # its embeddings were left in 16 bits
    ("L22", "qwen3.6-35b-a3b", "IQ4_XS", {"context": 32768, "sequences": 4}, {"kv": 640 + 251.25, "compute": 497}),
    # Public files of 2026, collected and frozen before plan saw them: builds of their logs, most with -lv 4.
    ("F01", "qwen3.5-9b", "Q4_K_M", {"build": 8571, "context": 262144, "sequences": 2, **Q8}, {"kv": 4352 + 100.5, "compute": 808.02}),
    ("F02", "qwen3.5-9b", "Q4_K_M", {"build": 8571, "context": 32768, "sequences": 2, **Q8}, {"kv": 544 + 100.5, "compute": 501}),
    ("F03", "qwen3-4b", "Q4_K_M", {"build": 10488, "context": 8192, "sequences": 4}, {"weights": 2375.91, "host": 304.28, "kv": 1152}),
    (
        "F08",
        "gemma-4-12b",
        "Q4_0",
        {"build": 9849, "context": 8192, "sequences": 4, "ubatch": 2048},
        {"weights": 6637.63, "host": 787.5, "kv": 2048, "compute": 541.07},
    ),
    ("F09", "gemma-4-12b", "Q4_K_M", {"build": 10621, "context": 32768, "sequences": 4}, {"kv": 512 + 1440, "compute": 157.52}),
    ("F15", "qwen3.5-4b", "Q4_K_M", {"context": 4096, "sequences": 10, **Q8}, {"weights": 2571.63, "host": 497.31, "kv": 68 + 502.5}),
    ("F18", "qwen3-14b", "Q6_K", {"build": 7146, "context": 2048, "sequences": 4}, {"weights": 10945.06, "host": 607.5, "kv": 320, "compute": 306.23}),
    ("F20", "gpt-oss-20b", "Q4_K_M", {"build": 8200, "context": 131072, "sequences": 4}, {"host": 379.71, "kv": 3072 + 24, "compute": 420.83}),
    ("F23", "gpt-oss-20b", "Q4_K_M", {"build": 6700, "context": 8192}, {"weights": 10694.15, "host": 379.71}),  # its experts stay in MXFP4
    ("F28", "llama-3.2-3b", "Q4_K_M", {"context": 4096}, {"weights": 1918.35, "kv": 448, "compute": 256.5}),
    ("F29", "granite-4.1-8b", "Q8_0", {"build": 9106, "context": 31488, "sequences": 4}, {"kv": 4920, "compute": 204}),
    ("F32", "qwen3.5-9b", "Q4_K_S", {"build": 8800, "context": 262144, **Q8}, {"host": 545.62, "kv": 4352 + 50.25, "compute": 832.6}),
    ("F36", "qwen2.5-7b", "Q4_K_M", {"build": 10488, "context": 16384, "sequences": 4, **Q8}, {"weights": 4168.09, "kv": 476, "compute": 148.09}),
    ("F42", "qwen3.5-35b-a3b", "Q6_K", {"build": 8200, "context": 150016, **Q8}, {"kv": 1556.56 + 62.81}),
    # A second set, frozen and judged once.
    ("S04", "qwen2.5-coder-7b", "Q8_0", {"build": 8900, "context": 16384, "backend": Backend.VULKAN}, {"kv": 896, "compute": 304}),
    (
        "S10",
        "qwen3.5-0.8b",
        "Q8_0",
        {"build": 10976, "context": 2048, "sequences": 4},
        {"weights": 763.78, "host": 257.66, "kv": 24 + 77.06, "compute": 42.58},
    ),
    ("S13", "qwen3-14b", "Q4_K_M", {"build": 5800, "context": 32768, **Q8}, {"kv": 2720, "compute": 306.75}),
    ("S16", "llama-3.2-3b", "Q4_K_M", {"build": 8000, "context": 4096, "ubatch": 128}, {"kv": 448, "compute": 64.12}),
    (
        "S17",
        "gemma-2-2b",
        "Q4_0",
        {"build": 7500, "context": 8192, "parallel": 2, "ubatch": 256, "whole_windows": True, "flash_attention": False},
        {"kv": 1664, "compute": 252.25},
    ),
    ("F43", "qwen3.8-27b", "Q4_K_M", {"context": 131072, "kv_type": "q4_0"}, {"kv": 2304 + 149.62}),
    # A third set, likewise: KoboldCpp's cache is 256 cells longer.
    ("N01", "qwen3-coder-next", "UD-IQ3_XXS", {"build": 7900, "context": 4096, "sequences": 4}, {"weights": 28609, "kv": 397}),
    ("N03", "qwen3-coder-next", "UD-IQ3_XXS", {"build": 7900, "context": 262144, "sequences": 4}, {"kv": 6445}),
    ("N04", "qwen3-1.7b", "Q4_K_M", {"build": 7400, "context": 40960}, {"weights": 1050, "kv": 4480, "compute": 300}),
    ("N07", "qwen3-4b", "Q4_K_M", {"build": 9010, "context": 2048}, {"weights": 2375.91, "host": 304.28, "kv": 288, "compute": 301.75}),
    ("N09", "qwen3-14b", "Q5_K_M", {"build": 9500, "context": 16640}, {"weights": 9511.75, "host": 510.04, "kv": 2600}),
    ("N10", "qwen3-14b", "Q5_K_M", {"build": 9500, "context": 65792, **Q8}, {"kv": 5461.25}),
    ("N11", "qwen3-14b", "Q5_K_M", {"build": 9500, "context": 65792, "kv_type": "q4_0"}, {"kv": 2891.25}),
    ("N14", "qwen3-30b-a3b", "Q4_K_M", {"build": 9500, "context": 65792, "kv_type": "q4_0"}, {"kv": 1734.75}),
    ("N17", "gemma-4-12b", "Q4_K_M", {"build": 9500, "context": 33024, "whole_windows": True, **Q8}, {"kv": 5756.62}),
    ("N18", "gemma-4-12b", "Q4_K_M", {"build": 9500, "context": 16640, "whole_windows": True, "flash_attention": False}, {"kv": 5850}),
    # A sixth, of early builds.
    ("H01", "qwen3-coder-30b-a3b", "Q8_0", {"build": 7342, "context": 65536}, {"weights": 30658.12, "host": 315.30, "kv": 6144, "compute": 300.75}),
    (
        "H11",
        "llama-2-7b",
        "Q4_K_M",
        {"build": 2200, "context": 2048, "flash_attention": False},
        {"weights": 3820.94, "host": 70.31, "kv": 1024, "compute": 164.01},
    ),
    ("H12", "qwen3-32b", "Q8_0", {"build": 5348, "context": 131072}, {"weights": 32410.82, "kv": 32768}),
    ("H13", "deepseek-r1-distill-qwen-7b", "Q4_K_M", {"build": 4900, "context": 2500, "flash_attention": False}, {"cells": 2528, "kv": 138.25}),
    ("H14", "qwen3-0.6b", "Q8_0", {"build": 5500, "context": 4096, "flash_attention": False}, {"kv": 448, "compute": 298.75}),
    ("H17", "llama-3-8b", "Q5_K_M", {"build": 2700, "context": 2048, "flash_attention": False}, {"kv": 256, "compute": 258.5}),
    # A fourth, of ROCm.
    ("T31", "qwen3-32b", "Q4_K_M", {"build": 9000, "context": 16384, "flash_attention": False}, {"weights": 18423.65, "kv": 4096, "compute": 2136.01}),
    ("T33", "qwen3-8b", "Q4_K_M", {"build": 9300, "context": 8192, "kv_type": "q4_0"}, {"weights": 4455.34, "kv": 324, "compute": 304.75}),
    ("T34", "embeddinggemma", "Q8_0", {"build": 10488, "context": 2048}, {"weights": 311.97, "host": 204.0}),
    # A seventh, frozen and judged once: Vulkan and ROCm of Strix Halo, May 2026, and a GeForce of July 2025.
    (
        "home7-L01",
        "qwen3-next-80b-a3b",
        "UD-Q4_K_XL",
        {"build": 9010, "context": 132352, "backend": Backend.VULKAN},
        {"host": 166.92, "kv": 3102 + 75.38, "compute": 423.76},
    ),
    (
        "home7-L03",
        "qwen3-30b-a3b",
        "UD-Q4_K_XL",
        {"build": 9010, "context": 4096, "parallel": 8, "backend": Backend.VULKAN},
        {"weights": 16674.36, "host": 166.92, "kv": 3072, "compute": 304.75},
    ),
    (
        "home7-L04",
        "qwen3.6-35b-a3b",
        "UD-Q4_K_M",
        {"build": 9000, "context": 4096, "parallel": 16, "backend": Backend.HIP},
        {"weights": 20583.34, "host": 515.31, "kv": 1280 + 1005, "compute": 497},
    ),
    (
        "home7-L13",
        "phi-3-mini",
        "Q4_K_M",
        {"build": 5770, "context": 4096, "ubatch": 256, "flash_attention": False},  # its build is not told: that of the end of June
        {"weights": 2228.82, "host": 52.84, "kv": 1536, "compute": 150},
    ),
    # An eighth: embeddings for each layer among wide masks of a whole window, and a server of embeddings with a step of 2,048 tokens (mean: 16 MiB beside).
    ("home7b-Z02", "gemma-4-e4b", "Q8_0", {"build": 9400, "context": 32768, "whole_windows": True}, {"compute": 569.01}),
    ("home7b-L02", "qwen3-embedding-8b", "Q8_0", {"build": 5618, "context": 40960, "ubatch": 2048}, {"weights": 7668.64, "kv": 5760, "compute": 1552.90}),
    ("T38", "qwen3-embedding-0.6b", "Q8_0", {"build": 10488, "context": 2048}, {"weights": 603.87, "host": 157.37}),  # Qwen3-Reranker-0.6B, the same shape
]


@pytest.mark.parametrize(("case", "name", "mix", "settings", "observed"), CASES, ids=[f"{row[0]}-{row[1]}-{row[3]['context']}" for row in CASES])
def test_what_lies_on_the_gpu_is_what_the_log_said(case, name, mix, settings, observed):
    spec, config = find_plain(name).spec, LlamaCppConfig(**{"build": OLD, **settings})
    file = dynamic(spec, mix) if mix.startswith("UD-") else converted(spec, mix)
    predicting = file.layer_bytes[3] if case == "L09" else 0  # a -MTP file: builds of that time loaded the layer that predicts
    ours = {
        "weights": (sum(file.layer_bytes) + file.output_bytes + predicting) / MIB,
        "host": file.input_bytes / MIB,
        "file": file.file_bytes / MIB,
        "kv": kv_bytes(file, config) / MIB,
        "cells": config.cells,
        "compute": compute_bytes(file, config) / MIB,
        "mmproj": file.mmproj_bytes / MIB,
    }
    assert {what: ours[what] for what in observed} == pytest.approx(observed, rel=0.002 if case.startswith("H") else 0.02)


# Published files, GB: of Qwen3.5 ggml-org/Llama-macOS#63, of Gemma 4 the Hub's list of unsloth/gemma-4-26B-A4B-it-GGUF.
@pytest.mark.parametrize(("name", "mix", "size"), [
    ("qwen3.5-27b", "UD-Q4_K_XL", 17.6), ("qwen3.5-35b-a3b", "UD-Q4_K_XL", 22.2), ("qwen3.5-9b", "UD-Q4_K_XL", 5.966), ("qwen3.5-4b", "UD-Q4_K_XL", 2.9),
    ("qwen3.5-2b", "UD-Q4_K_XL", 1.34), ("qwen3.5-27b", "Q8_0", 28.6), ("qwen3.5-35b-a3b", "Q8_0", 36.9), ("qwen3.5-122b-a10b", "Q8_0", 129.9),
    ("qwen3.6-27b", "UD-Q3_K_XL", 13.469 * 1.073741824), ("qwen3.6-27b", "IQ4_XS", 14.266 * 1.073741824), ("qwen3.5-9b", "UD-IQ2_XXS", 3.191),
    ("qwen3.6-35b-a3b", "UD-IQ3_XXS", 13.21), ("qwen3.6-35b-a3b", "UD-IQ4_XS", 17.7), ("qwen3.6-35b-a3b", "UD-Q4_K_M", 22.1),
    ("qwen3.6-35b-a3b", "UD-Q5_K_M", 26.5), ("qwen3.6-35b-a3b", "UD-Q6_K", 29.3), ("gemma-4-26b-a4b", "UD-Q4_K_XL", 17.011),
])  # fmt: skip
def test_mixes_of_others_take_what_their_files_do(name, mix, size):
    spec = find_plain(name).spec
    file = dynamic(spec, mix) if mix.startswith("UD-") else converted(spec, mix)
    if not mix.startswith("UD-"):
        assert file.file_bytes / 1e9 == pytest.approx(size, rel=0.02)
    else:
        assert abs(file.file_bytes / 1e9 / size - 1) * 1000 <= file.weights_error_permille


FILES = yaml.safe_load((Path(__file__).parents[2] / "data" / "gguf_files.yaml").read_text())


@pytest.mark.parametrize("name", FILES)
def test_files_take_what_the_hub_lists(name):
    """llama.cpp's own mixes to a part in a hundred (of a small hybrid three), those of others within their interval."""
    spec = find_plain(name).spec
    for mix, size in FILES[name].items():
        file = dynamic(spec, mix) if mix.startswith("UD-") else converted(spec, mix)
        permille = file.weights_error_permille if mix.startswith("UD-") else 30 if spec.has_state else 10
        assert abs(file.file_bytes / size - 1) * 1000 <= permille, (mix, file.file_bytes)


def test_mixes_of_others_keep_gpt_oss_experts_too():
    """Files of 11.87 and 13.2 GB differ in what is no expert."""
    sizes = [sum(layer.bytes_of(EXPERTS) for layer in dynamic(find_plain("gpt-oss-20b").spec, mix).layers) for mix in ("UD-Q4_K_XL", "UD-Q8_K_XL")]
    assert sizes == 2 * [sum(layer.bytes_of(EXPERTS) for layer in converted(find_plain("gpt-oss-20b").spec, "Q4_K_M").layers)]


# unsloth/Qwen3.8-27B-GGUF, with the layer that predicts: bytes on 24 September 2026, GB on 19 August, before it was made anew.
QWEN38 = {
    "UD-IQ2_XXS": (7_266_070_528, 9.01), "UD-Q2_K_XL": (9_828_981_664, 10.68), "UD-IQ3_XXS": (10_934_860_704, 11.91), "UD-Q3_K_XL": (13_146_393_504, 13.44),
    "UD-IQ4_XS": (14_252_845_984, 15.71), "UD-Q4_K_M": (16_464_440_224, None), "UD-Q4_K_XL": (17_559_178_144, 17.92), "UD-Q5_K_M": (19_771_509_664, None),
    "UD-Q5_K_XL": (20_876_938_144, 20.22), "UD-Q6_K": (21_983_677_344, None), "UD-Q6_K_XL": (25_299_061_664, 25.92), "UD-Q8_K_XL": (31_457_991_680, 31.46),
}  # fmt: skip


@pytest.mark.parametrize("mix", QWEN38)
def test_every_mix_of_one_repository_lies_within_its_interval(mix):
    file = dynamic(find_plain("qwen3.8-27b").spec, mix)
    ours = file.file_bytes + file.layer_bytes[3]
    new, old = QWEN38[mix]
    assert abs(ours / new - 1) * 1000 <= file.weights_error_permille
    assert old is None or abs(ours / 1e9 / old - 1) * 1000 <= file.weights_error_permille


def test_what_is_no_expert_lies_in_eight_bits_beside_experts():
    """--cpu-moe and --n-cpu-moe 32 of Qwen3.6-35B-A3B UD-Q4_K_M: 1,921.34 and 5,735.34 MiB on the GPU."""
    file = dynamic(find_plain("qwen3.6-35b-a3b").spec, "UD-Q4_K_M")
    experts = [layer.bytes_of(EXPERTS) for layer in file.layers]
    on_gpu = (sum(file.layer_bytes) + file.output_bytes - sum(experts)) / MIB
    assert on_gpu == pytest.approx(1921.34, rel=0.01)
    assert on_gpu + sum(experts[32:]) / MIB == pytest.approx(5735.34, rel=0.02)


def test_gpt_oss_experts_stay_in_mxfp4_whatever_the_mix():
    """Logs of --n-cpu-moe 21 with Q4_K_M, and of --cpu-moe with a file called F16: 2,200.21 and 2,329.33 MiB on the GPU."""
    spec = find_plain("gpt-oss-20b").spec
    four, sixteen = converted(spec, "Q4_K_M"), converted(spec, "F16")
    outside = [sum(layer.bytes_of(EXPERTS) for layer in file.layers[:layers]) for file, layers in ((four, 21), (sixteen, 24))]
    on_gpu = [sum(file.layer_bytes) + file.output_bytes - kept for file, kept in zip((four, sixteen), outside, strict=True)]
    assert [size / MIB for size in on_gpu] == pytest.approx([2200.21, 2329.33], abs=0.05)


@pytest.mark.parametrize(("context", "observed"), [(2048, (540, 104.27, 12.01)), (4096, (1080, 188.27, 16.01)), (8192, (2160, 340.27, 24.01))])
def test_files_of_2024_keep_keys_and_values_of_every_head(context, observed, tmp_path):
    """Ollama 0.32.13, `ollama run deepseek-coder-v2:16b-lite-instruct-q5_K_M`: KV, CUDA's buffer and the host's; CUDA has no flash attention for it."""
    gguf_shapes.spread(tmp_path / "old.gguf", gguf_shapes.DEEPSEEK_V2_LITE)
    config = LlamaCppConfig(context=context, build=10488)
    for file in (converted(in_library(find_plain("deepseek-coder-v2-lite-instruct").spec), "Q5_K_M"), from_header(read_header(tmp_path / "old.gguf"), "old")):
        ours = (kv_bytes(file, config), compute_bytes(file, config), host_compute_bytes(file, config))
        assert [size / MIB for size in ours] == pytest.approx(observed, abs=0.02)


def test_deepseeks_files_of_early_2025_keep_them_too():
    """Ollama's deepseek-r1:671b of that time: 39,040 MiB for 8,192 tokens; a build before MLA has no other cache, whatever the file."""
    spec = find_plain("deepseek-r1").spec
    assert kv_bytes(converted(in_library(spec), "Q4_K_M"), LlamaCppConfig(context=8192)) == 39_040 * MIB
    assert kv_bytes(converted(in_library(find_plain("deepseek-v3.1").spec), "Q4_K_M"), LlamaCppConfig(context=8192)) < 1000 * MIB
    of_names = [
        check(
            server := replace(find_server("llama-server -m DeepSeek-R1-Q4_K_M.gguf -c 8192 -np 1 -ngl 99"), version=version),
            group_for(server, "mi300x", 8, "server", None),
        )
        for version in ("b4780", "b5500")
    ]
    caches = [next(line.bytes for line in plan.lines if line.key == "kv_cache") for plan in of_names]
    assert caches[0] == 5120 * MIB > 10 * caches[1]  # of the fullest of eight cards, with eight layers


@pytest.mark.parametrize(("file", "observed"), [("Qwen3.6-27B-Q4_K_M.gguf", 15345.66), ("Qwen3.5-9B-Q4_K_M.gguf", 5060.88), ("Qwen3.5-0.8B.Q8_0.gguf", 763.78)])
def test_a_hybrids_file_of_any_publisher_lies_in_the_interval(file, observed, tmp_path):
    """Logs of files of Unsloth's, bartowski's and one in 8 bits, which everybody makes alike."""
    answer = json.loads(run_plan("check", "--json", "--gpu", "rtx4090", f"llama-server -m {file} -c 2048", cwd=tmp_path).stdout)
    weights = next(line for line in answer["memory"]["lines"] if line["key"] == "weights")
    assert weights["low_bytes"] <= (observed + 0.01) * MIB
    assert (observed - 0.01) * MIB <= weights["high_bytes"]
    assert (weights["low_bytes"] == weights["high_bytes"]) is ("Q8_0" in file)


# Logs of builds that reserve logits of all tokens: what experts and states leave lies before the logits.
@pytest.mark.parametrize(("name", "settings", "observed"), [
    ("qwen3-30b-a3b", {"build": 9010, "context": 4096, "parallel": 8, "backend": Backend.VULKAN}, 304.75),
    ("qwen3-30b-a3b", {"build": 7342, "context": 65536}, 300.75),
    ("qwen3.6-35b-a3b", {"build": 9000, "context": 4096, "parallel": 16, "backend": Backend.HIP}, 497),
    ("qwen3.6-35b-a3b", {"build": 8900, "context": 32768, "sequences": 4}, 497),
    ("qwen3.5-9b", {"build": 8571, "context": 32768, "sequences": 2, **Q8}, 501),
    ("qwen2.5-coder-7b", {"build": 8900, "context": 16384, "backend": Backend.VULKAN}, 304),  # dense, of attention alone
])  # fmt: skip
def test_logits_lie_behind_what_the_last_layer_leaves(name, settings, observed):
    assert compute_bytes(converted(find_plain(name).spec, "Q4_K_M"), LlamaCppConfig(**settings)) / MIB == pytest.approx(observed, abs=0.01)


def test_a_sparse_indexers_scores_are_sorted():
    """GLM-5.2 at 768,000 tokens by b10505 on four cards: 78 layers' latent vectors and the keys of 21 indexers in 16 bits; 3,236.07 to 3,252.07 MiB."""
    file, config = converted(find_plain("glm-5.2").spec, "Q5_K_M"), LlamaCppConfig(build=10505, context=768_000)
    assert kv_bytes(file, config) / MIB == 49406.25 + 7968.75 + 7125 + 5250
    assert compute_bytes(file, config) / MIB == pytest.approx(3252.07, rel=0.02)


# Windows' count of a Radeon RX 9070 XT's memory, with what the program itself takes; compute buffers of Vulkan beside a wide mask.
@pytest.mark.parametrize(("words", "card", "observed"), [
    ("-m gemma-4-26B-A4B-it-qat-UD-Q4_K_XL.gguf -c 32768 -b 2048 -ub 288 -ctk q4_0 -ctv q4_0 --n-cpu-moe 8", "rx9070xt", 11_351),
    ("-m gemma-4-26B-A4B-it-qat-UD-Q4_K_XL.gguf -c 32768 -b 2048 -ub 288 -ctk q8_0 -ctv q8_0 --n-cpu-moe 8", "rx9070xt", 11_586),
    ("-m gemma-4-26B-A4B-it-UD-Q2_K_XL.gguf -c 262144 -b 2048 -ub 288 -ctk q4_0 -ctv q4_0 --n-cpu-moe 12", "rx9070xt", 9919),
])  # fmt: skip
def test_what_a_card_held_lies_in_the_interval(words, card, observed):
    server = replace(find_server(f"llama-server {words} -np 1 -ngl 99 -fa on"), version="b10549")
    plan = check(server, group_for(server, card, 1, "server", None))
    assert sum(line.low_bytes for line in plan.lines) <= observed * MIB <= sum(line.high_bytes for line in plan.lines)


@pytest.mark.parametrize(("context", "kind", "observed"), [(66_816, "q4_0", 627.78), (34_048, "f16", 576.52), (132_352, "f16", 768.52)])
def test_vulkans_buffer_of_a_hybrid_may_keep_a_wide_mask(context, kind, observed):
    server = replace(
        find_server(f"llama-server -m Qwen3.6-35B-A3B-UD-Q4_K_M.gguf -c {context} -np 1 -fa on -ctk {kind} -ctv {kind} --device Vulkan0 -ngl 99"),
        version="b9010",
    )
    line = next(line for line in check(server, group_for(server, "strix-halo-128gb", 1, "server", None)).lines if line.key == "compute")
    assert line.low_bytes <= observed * MIB <= line.high_bytes


@pytest.mark.parametrize(
    ("repo", "weights", "host"), [("Qwen3.5-122B-A10B-GGUF:Q4_K_M", 72_207.88, 772.97), ("Qwen3.6-35B-A3B-GGUF:UD-Q4_K_M", 20_583.34, 515.31)]
)
def test_unsloths_mixtures_are_laid_out_by_their_types(repo, weights, host):
    named = by_repository({"hf_repo": f"unsloth/{repo}"}, resolve)
    assert named.model.input_bytes / MIB == pytest.approx(host, abs=0.01)
    assert (sum(named.model.layer_bytes) + named.model.output_bytes) / MIB == pytest.approx(weights, rel=named.model.weights_error_permille / 1000)


@pytest.mark.parametrize(("gpu", "version", "layers"), [("rx7900gre", "b5898", 0), ("rx7900gre", "b6400", 41), ("m4-max-64gb", "b5898", 41)])
def test_without_a_number_of_layers_none_lay_on_a_gpu_before_august_2025_but_with_metal(gpu, version, layers):
    """ROCm/ROCm#5104, b5898: 14,965.61 MiB of Qwen3-14B Q8_0 in main memory. llama_model_default_params of b4753, b5590 and b6301 says 0, of b7347 999."""
    command = replace(find_server("llama-server -m Qwen3-14B-Q8_0.gguf -c 4096"), version=version)
    assert dict(check(command, machine_for(command, StackRow(gpu=gpu, services=[]))).settings)["gpu_layers"] == layers


def test_before_august_2025_a_quantized_cache_of_values_wants_the_switch():
    """b5590: 'V cache quantization requires flash_attn' (ggml-org/llama.cpp#10378); today it is on where nothing is said."""
    text = "llama-server -m Qwen3-14B-Q8_0.gguf -c 4096 -ngl 99 -ctv q8_0"
    for words, version, fixes in ((text, "b5590", ["--flash-attn"]), (f"{text} -fa", "b5590", []), (text, "b6400", [])):
        command = replace(find_server(words), version=version)
        plan = check(command, group_for(command, "h100", 1, "server"))
        assert [problem.fix for problem in plan.problems] == fixes
        assert plan.starts is not bool(fixes)


def test_layers_that_a_build_leaves_in_main_memory_come_with_what_puts_them_on_the_gpu():
    command = replace(find_server("llama-server -m Qwen3-14B-Q8_0.gguf -c 4096"), version="b5590")
    (told,) = (warn.message for warn in check(command, group_for(command, "rtx4090", 1, "server")).warnings if warn.code == "layers-on-cpu")
    assert "--n-gpu-layers 41 puts all on the GPU" in told


def test_states_are_kept_for_drafted_tokens_since_may_2026():
    """b9222, a guide's dry run on an M4 Pro of 24 GB: 2,176 MiB of KV cache and 351.75 of seven states, of the slot and of six drafted tokens."""
    text = "llama-server -m Qwen3.5-9B-MTP-UD-Q4_K_XL.gguf -c 131072 -b 512 -fa on -kvu -np 1 -ctk q8_0 -ctv q8_0 -ngl 999 --spec-type draft-mtp --spec-draft-n-max 6"
    command = replace(find_server(text), version="b9222")
    lines = {line.key: line.bytes / MIB for line in check(command, group_for(command, "m4-pro-24gb", 1, "server")).lines}
    assert lines["kv_cache"] == 2176 + 351.75

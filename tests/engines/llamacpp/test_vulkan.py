"""What llama.cpp's Vulkan backend holds, against its own library (tests/oracle/llamacpp_vulkan.py), and where the backend is told."""

import json
from dataclasses import replace
from statistics import median

import pytest
from conftest import DATA, gpu, run_plan
from test_buffers import config_of, file_of

from planner.engines.llamacpp.backend import Backend, backend_of, ollamas
from planner.engines.llamacpp.compute import compute_bytes, has_foreign_scores, host_compute_bytes
from planner.engines.llamacpp.engine import LLAMA_CPP
from planner.engines.llamacpp.log import read_log
from planner.engines.llamacpp.memory import kv_bytes
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup
from planner.questions.check import _catalogue
from planner.questions.check import check as check_command
from planner.units import MIB

ROWS = [json.loads(line) for line in (DATA / "llamacpp_vulkan.jsonl").read_text().splitlines()]
NOT_TWICE = ("qwen3-0.6b", 32768)  # its scores are as large as a chunk to the byte, and the order of its nodes spares the second


def on_vulkan(row):
    return replace(config_of(row), backend=Backend.VULKAN)


def lies_on_the_card(row):
    """Where the scores are too large for Vulkan, or a cache's layers, its library computes in main memory."""
    return not has_foreign_scores(file_of(row["model"]), on_vulkan(row))


FEW = ("qwen3-8b", "qwen3.5-9b")


@pytest.mark.parametrize("names", [pytest.param(FEW, id="few"), pytest.param(None, marks=pytest.mark.slow, id="all")])
def test_buffers_are_what_vulkans_own_library_reserves(names):
    errors = []
    for row in (row for row in ROWS if lies_on_the_card(row) and row["model"] in (names or row["model"])):
        said, ours = row["mib"]["Vulkan0 compute"], compute_bytes(file_of(row["model"]), on_vulkan(row)) / MIB
        low, high = Backend.VULKAN.error
        assert kv_bytes(file_of(row["model"]), on_vulkan(row)) / MIB == pytest.approx(row["mib"]["kv"] + row["mib"]["states"], abs=0.011)
        if (row["model"], row["context"]) == NOT_TWICE and row.get("flash") is False:
            continue
        assert low * ours <= said <= high * ours, row
        errors.append(abs(ours / said - 1))
    assert len(errors) > (20 if names else 180)
    assert median(errors) <= (0.04 if names else 0.02)


def test_main_memorys_buffer_is_vulkans_too():
    errors = sorted(
        abs(host_compute_bytes(file_of(row["model"]), on_vulkan(row)) / MIB / row["mib"]["Vulkan_Host compute"] - 1) for row in ROWS if lies_on_the_card(row)
    )
    assert errors[int(len(errors) * 0.97)] <= 0.03


def test_scores_that_no_vulkan_buffer_holds_are_not_guessed():
    rows = [row for row in ROWS if not lies_on_the_card(row)]
    assert {row["model"] for row in rows} == {"gpt-oss-20b"}
    assert all(row["mib"]["Vulkan_Host compute"] > 4000 for row in rows)  # MiB: computed there
    plan = check("-m gpt-oss-20b-MXFP4_MOE.gguf -c 32768 -np 1 -fa off --device Vulkan0", "rx7900xtx")
    assert plan.verdict.name == "UNKNOWN"


def check(words, card, **more):
    command = Command(engine="llama.cpp", words=tuple(words.split()), **more)
    return check_command(command, GpuGroup(gpu=gpu(card), count=1))


def buffer_of(plan):
    return next(line for line in plan.lines if line.key == "compute")


@pytest.mark.parametrize(
    ("vendor", "said", "env", "backend"),
    [
        ("amd", ["Vulkan0"], {}, Backend.VULKAN),
        ("amd", ["ROCm0"], {}, Backend.HIP),
        ("nvidia", ["", "server-vulkan-b10488"], {}, Backend.VULKAN),
        ("amd", ["", "server-rocm-b10488"], {}, Backend.HIP),
        ("intel", [""], {"GGML_VK_VISIBLE_DEVICES": "0"}, Backend.VULKAN),
        ("amd", ["", ""], {}, Backend.OPEN),
        ("nvidia", [], {}, Backend.CUDA),
        ("apple", ["MTL0"], {}, Backend.METAL),
    ],
)
def test_a_device_an_image_or_the_environment_tells_the_backend(vendor, said, env, backend):
    assert backend_of(vendor, *said, env=env) is backend


def test_ollama_takes_rocm_for_amd_and_vulkan_for_intel():
    assert [ollamas(vendor, {}) for vendor in ("amd", "intel", "nvidia", "apple")] == [Backend.HIP, Backend.VULKAN, Backend.CUDA, Backend.METAL]
    assert ollamas("amd", {"OLLAMA_LLM_LIBRARY": "vulkan"}) is Backend.VULKAN


def test_where_nothing_tells_the_backend_the_interval_holds_both():
    words = "-m qwen3-8b-Q4_K_M.gguf -ngl 99 -c 32768 -np 1 -ctk q8_0 -ctv q8_0"
    vulkan, rocm, unsaid = (buffer_of(check(f"{words}{device}", "rx7900xtx")) for device in (" --device Vulkan0", " --device ROCm0", ""))
    assert vulkan.bytes < rocm.bytes == unsaid.bytes
    assert unsaid.low_bytes <= vulkan.low_bytes
    assert "Vulkan" in unsaid.note
    assert buffer_of(check(words, "arc-b580", version="server-vulkan-b10488")).bytes == vulkan.bytes
    assert buffer_of(check(f"{words} --device Metal", "m4-max-64gb")).bytes == vulkan.bytes


def test_a_log_tells_its_backend():
    lines = ["load_tensors:      Vulkan0 model buffer size =  4455.34 MiB", "llama_context:    Vulkan1 compute buffer size =   120.09 MiB"]
    assert read_log(lines, is_ollama=False).flags["device"] == "Vulkan0,Vulkan1"
    assert "device" not in read_log(["llama_context:      CUDA0 compute buffer size =   192.09 MiB"], is_ollama=False).flags


def test_a_vulkan_log_is_held_against_vulkans_rules():
    lines = [
        "llama_model_loader: loaded meta data with 30 key-value pairs and 399 tensors from /models/Qwen3-8B-Q4_K_M.gguf (version GGUF V3 (latest))",
        "load_tensors: offloaded 37/37 layers to GPU",
        "load_tensors:      Vulkan0 model buffer size =  4455.34 MiB",
        "llama_context: n_ctx         = 131072",
        "llama_context: n_seq_max     = 1",
        "llama_kv_cache:    Vulkan0 KV buffer size =  9792.00 MiB",
        "llama_kv_cache: size = 9792.00 MiB (131072 cells,  36 layers,  1/1 seqs), K (q8_0): 4896.00 MiB, V (q8_0): 4896.00 MiB",
        "llama_context:    Vulkan0 compute buffer size =   216.09 MiB",
    ]
    told = LLAMA_CPP.explain(read_log(lines, is_ollama=False), model="", gpu=gpu("rx7900xtx"), count=1, catalogue=_catalogue())
    compute = next(part for part in told.differences if part.what == "compute")
    assert compute.predicted == pytest.approx(compute.observed, rel=0.05)


def test_a_device_that_is_asked_is_emitted_in_its_image_and_found_again(tmp_path):
    words = ["--engine", "llama.cpp", "--gpu", "rx7900xtx", "--model", "qwen3-8b", "--context", "32k", "--kv-cache-dtype", "q8_0", "--device", "Vulkan0"]
    done = run_plan(*words, "--format", "json", "--output", "stack", cwd=tmp_path)
    planned = json.loads(done.stdout)
    run_plan("emit", "stack", "--to", "compose", cwd=tmp_path)
    assert "server-vulkan-b" in (tmp_path / "stack" / "compose.yaml").read_text()
    argv = planned["commands"][0]["argv"]
    assert argv[argv.index("--device") + 1] == "Vulkan0"
    found = buffer_of(check(" ".join(argv[1:]), "rx7900xtx"))
    assert found.bytes == next(line["bytes"] for line in planned["memory"]["lines"] if line["key"] == "compute")

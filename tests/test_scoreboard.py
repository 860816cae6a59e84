"""The scoreboard of memory estimators: its page is what was measured, and the Hub that stands in says what a model's shapes are."""

import json
import ssl
import urllib.error
import urllib.request
from math import prod

import pytest

from benchmarks import estimators, scoreboard
from benchmarks.estimators import Answer, Question, Tool
from benchmarks.estimators.hub import Repository, served
from benchmarks.estimators.page import page
from benchmarks.estimators.shapes import tensors
from planner.catalogue.load import find_model

DATA = json.loads(scoreboard.DATA.read_text())
GIB = 2**30
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def question(**changes):
    told = {
        "id": "x", "group": "H100", "repo": LLAMA, "gpu": "h100", "total_gib": 79.19, "free_gib": None, "host": "server", "count": 2, "tp": 2, "pp": 1, "utilization": 0.95,
        "max_model_len": 8192, "max_num_seqs": 256, "max_num_batched_tokens": 8192, "kv_cache_dtype": "auto", "dtype": "auto", "bits": 16, "vllm_version": "0.19", "flags": (), "started": True, "weights_gib": 14.99, "kv_gib": 58.11,
    }  # fmt: skip
    return Question(**told | changes)


def test_the_page_is_what_was_measured():
    assert scoreboard.PAGE.read_text() == page(DATA), "run `python -m benchmarks.scoreboard --page`"


def test_every_tool_was_asked_every_question():
    ids = [start["id"] for start in DATA["questions"]]
    assert len(ids) == len(set(ids)) > 50
    assert set(DATA["answers"]) == {tool["name"] for tool in DATA["tools"]}
    for name, said in DATA["answers"].items():
        assert list(said) == ids, name
    assert set(DATA["left_out"]) <= set(ids)
    assert scoreboard.assembled(DATA) == DATA


def test_a_wrong_figure_shows_on_the_page():
    changed = json.loads(json.dumps(DATA))
    changed["answers"]["plan"][DATA["questions"][0]["id"]]["starts"] = False
    assert page(changed) != page(DATA)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # as the Hub counts them
        (LLAMA, 8_030_261_248),
        ("Qwen/Qwen3-8B", 8_190_735_360),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46_702_792_704),
        ("google/gemma-2-9b-it", 9_241_705_984),
    ],
)
def test_a_header_has_the_parameters_that_a_model_is_known_to_have(name, parameters):
    held = tensors(find_model(name).spec())
    assert sum(prod(shape) for _, shape in held.values()) == parameters


def test_packed_weights_lie_in_words_and_fp8_in_bytes():
    counts = Repository({}, tensors(find_model("Qwen/Qwen3-8B-AWQ").spec())).parameters
    assert counts["I32"] * 8 > 5_000_000_000
    counts = Repository({}, tensors(find_model("RedHatAI/Qwen2.5-7B-Instruct-fp8-dynamic").spec())).parameters
    assert counts["F8_E4M3"] > 6_000_000_000


def test_the_hub_that_stands_in_is_asked_as_the_real_one():
    repository = Repository({"model_type": "llama"}, {"model.norm.weight": ("BF16", (4096,)), "x.weight": ("F8_E4M3", (8, 4))})
    with served({"owner/name": repository}) as led:
        context = ssl.create_default_context(cafile=led["SSL_CERT_FILE"])
        proxied = urllib.request.build_opener(urllib.request.ProxyHandler({"https": led["HTTPS_PROXY"]}), urllib.request.HTTPSHandler(context=context))

        def get(path, **headers):
            with proxied.open(urllib.request.Request(f"https://huggingface.co{path}", headers=headers), timeout=10) as found:
                return found.read()

        assert json.loads(get("/owner/name/resolve/main/config.json")) == {"model_type": "llama"}
        length = int.from_bytes(get("/owner/name/resolve/main/model.safetensors", Range="bytes=0-7"), "little")
        header = json.loads(get("/owner/name/resolve/main/model.safetensors", Range=f"bytes=8-{7 + length}"))
        assert header["x.weight"] == {"dtype": "F8_E4M3", "shape": [8, 4], "data_offsets": [8192, 8224]}
        info = json.loads(get("/api/models/owner/name"))
        assert info["safetensors"] == {"parameters": {"BF16": 4096, "F8_E4M3": 32}, "total": 4128}
        assert info["siblings"][1]["size"] == 8 + length + 8224
        for missing in ("/api/models/owner/other", "/owner/name/resolve/main/other.json"):
            with pytest.raises(urllib.error.HTTPError, match="404") as error:
                get(missing)
            error.value.close()


SAID = {
    "llm-d-planner": ('Fetching …\n{"per_gpu_model_memory_gb": 7.5, "allocatable_kv_cache_memory_gb": 130.0, "max_concurrent_requests": 130}', 7.5, 65.0, True),
    "vramscout": ('{"parts_gib": {"Model weights / rank": 7.5, "KV cache": 1.0, "CUDA / runtime": 0.75}, "spare_gib": 60.0, "fits": true}', 7.5, 61.0, True),
    "ridgepoint": (
        json.dumps({"memory": {"weights_bytes": {"best": 15.0 * GIB}, "kv_pool_bytes": {"best": 120.0 * GIB}}, "verdict": {"serves": True}}),
        7.5,
        60.0 + 0.05 * 79.19,
        True,
    ),
    "hf-mem": (json.dumps({"memory": 15 * GIB, "kv_cache": GIB}), 15.0, None, None),
    "modelinfo": ("├─ Static Weights:  -14.96 GB (BF16)\n└─ Paged KV Pool:   = 61.04 GB Available\nHardware Fit:       ✓ Yes", 14.96, 61.04, True),
    "llmfit": (
        json.dumps({"estimate": {"weights_resident_gb": 16.0, "kv_budget_gb": 60.0, "ladder": [{"max_sessions": 0}]}}),
        16e9 / GIB,
        60e9 / GIB,
        False,
    ),
    "accelerate": ("│ float16 │ 1002.0 MB │ 14.96 GB │ 59.83 GB │", 14.96, None, None),
    "aiconfigurator": (
        json.dumps({"found": {"memory_breakdown": {"weights_bytes": 7.5 * GIB}, "total_kv_size_bytes": 65 * GIB, "total_kv_size_tokens": 8191}}),
        7.5,
        65.0,
        False,
    ),
}


@pytest.mark.parametrize("tool", [tool for tool in scoreboard.tools() if tool.name != "plan"], ids=lambda tool: tool.name)
def test_what_a_tool_says_is_read_per_gpu(tool):
    text, weights, kv, starts = SAID[tool.name]
    answer = tool.read(text, 0, question())
    assert answer.starts is starts
    assert [answer.weights_gib, answer.kv_gib] == [pytest.approx(weights) if weights else None, pytest.approx(kv) if kv else None]


def test_what_a_tool_has_no_flag_for_it_is_not_asked():
    tools = {tool.name: tool for tool in scoreboard.tools()}
    asked = {name for name, tool in tools.items() if tool.words(question(pp=2)) is not None}
    assert asked == {"plan", "llm-d-planner", "ridgepoint", "aiconfigurator"}
    assert tools["aiconfigurator"].words(question(gpu="rtx4090")) is None
    assert "--tp" in tools["vramscout"].words(question())
    assert "fp8" in tools["vramscout"].words(question(kv_cache_dtype="fp8"))
    assert tools["plan"].words(question(flags=("--tensor-parallel-size", "2")))[-2:] == ["--tensor-parallel-size", "2"]
    asked = json.loads(tools["aiconfigurator"].words(question(kv_cache_dtype="fp8", flags=("--enable-expert-parallel",)))[-1])
    assert (asked["moe_ep_size"], asked["kvcache_quant_mode"], asked["system"]) == (2, "fp8", "h100_sxm")


def test_no_room_for_a_cache_is_a_verdict():
    tool = next(tool for tool in scoreboard.tools() if tool.name == "aiconfigurator")
    assert tool.read('{"found": null}', 0, question()) == Answer(starts=False)


def fake(folder, script):
    """A tool of one program, as if installed."""
    program = folder / "bin" / "guess"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (folder / "whole").touch()
    return Placed(
        name="guess", package="guess", version="1", words=lambda asked: ["guess", asked.repo], read=lambda text, _code, _asked: Answer(float(text)), claims=""
    )


class Placed(Tool):
    folder = None  # of the test


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(Placed, "folder", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("script", "limit", "why"),
    [
        ("sleep 30 & sleep 30", 0.1, "no answer within 0.1 s"),
        ("echo it broke >&2; exit 3", 60, "it broke"),
        ("kill -9 $$", 60, "exit code -9"),
        ("echo no number", 60, "no number"),
    ],
)
def test_a_tool_that_hangs_or_fails_has_no_answer_and_why(place, monkeypatch, script, limit, why):
    monkeypatch.setattr(scoreboard, "SECONDS", limit)
    said = scoreboard.asked(fake(place, script), [question()], {"PATH": "/usr/bin:/bin"})["x"]
    assert said["refused"] == why
    assert said["seconds"] < 20


def test_the_same_words_are_run_once(place):
    tool = fake(place, f"echo x >> {place}/runs; echo 7")
    said = scoreboard.asked(tool, [question(), question(id="y")], {"PATH": "/usr/bin:/bin"})
    assert said["x"] == said["y"]
    assert said["x"]["weights_gib"] == 7
    assert (place / "runs").read_text() == "x\n"


def test_a_tool_has_so_long_and_no_longer(place, monkeypatch):
    monkeypatch.setattr(scoreboard, "TOOL_SECONDS", -1)
    assert scoreboard.asked(fake(place, "echo 7"), [question()], {})["x"]["refused"].startswith("not begun")


def test_a_tool_that_cannot_be_installed_is_refused_and_asked_for_anew(place, monkeypatch):
    tool = fake(place, "echo 7")
    (place / "whole").unlink()
    monkeypatch.setattr(estimators, "INSTALL_SECONDS", 0)
    assert scoreboard.asked(tool, [question()], {})["x"]["refused"] == "not installed: TimeoutExpired"
    assert not (place / "whole").exists()

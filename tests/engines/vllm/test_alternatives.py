"""What would do where a wish cannot be met: of several kinds, least effort first, and each, typed as it stands, starts and meets the wish."""

from __future__ import annotations

import json
import shlex

import pytest
from conftest import run_plan

QUESTIONS = {
    "a pinned 16-bit cache": "--gpu a100-80 --model qwen3-vl-32b --context 64k --kv-cache-dtype auto",
    "too long a context": "--gpu a100-80 --model qwen3-vl-32b --context 128k",
    "too many users": "--gpu rtx4090 --count 2 --model qwen3-vl-32b-awq --users 20 --context 64k",
    "too large for the card": "--gpu rtx3060 --model qwen3-8b --users 4 --context 32k",
    "too large for the machine": "--gpu h100 --count 8 --model deepseek-v3",
    "a utilization that is not free": "--gpu rtx4090 --model qwen3-8b --gpu-memory-utilization 0.995",
    "half of the GPUs": "--gpu rtx4090 --count 2 --model qwen3-vl-32b-awq -tp 1 --context 64k",
    "too many layers": "--gpu rtx3060 --engine llama.cpp --model qwen3-32b --gpu-layers 40",
    "too much for Ollama": "--gpu rtx4090 --engine ollama --model qwen3-32b --context 40k --users 2",
    "too large for the Mac": "--gpu m4-max-36gb --model qwen3-vl-32b --context 64k --users 3",
    "an offload that leaves the system little": "--gpu rtx4090 --model qwen3-32b --cpu-offload-gb 48 --ram 50GiB --context 32k --users 4",
    "a server too many": "--gpu rtx4090 --count 2 --model qwen3-vl-32b-awq --with llama-3.3-70b",
}


def asked(command: str, tmp_path) -> dict:
    done = run_plan(*shlex.split(command), "--format", "json", cwd=tmp_path)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow if number % 2 else []) for number, kind in enumerate(QUESTIONS)])
def test_each_is_typed_as_it_stands_and_meets_the_wish(kind, tmp_path):
    answer = asked(QUESTIONS[kind], tmp_path)
    assert not answer["meets_wish"]
    assert answer["alternatives"]
    for alternative in answer["alternatives"]:
        assert alternative["command"].startswith("plan ")
        again = asked(alternative["command"].removeprefix("plan "), tmp_path)
        assert (again["verdict"], again["meets_wish"]) == ("starts", True), alternative
    assert len({alternative["change"] for alternative in answer["alternatives"]}) == len(answer["alternatives"])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("a pinned 16-bit cache", ["FP8 KV cache", "a context of", "published qwen3-vl-32b-awq", "2 GPUs"]),
        ("too many users", ["one user at full length", "a context of"]),
        ("too large for the card", ["published qwen3-8b-awq, with one user"]),
        ("too large for the machine", ["2 machines of 8 GPUs", "at about the same price"]),
        ("a utilization that is not free", ["utilization that is free"]),
        ("half of the GPUs", ["all GPUs"]),
        ("too many layers", ["layers on the GPU", "Q3_K_M weights"]),
    ],
)
def test_the_obvious_is_among_them_least_effort_first(kind, words, tmp_path):
    changes = [alternative["change"] for alternative in asked(QUESTIONS[kind], tmp_path)["alternatives"]]
    places = [next((place for place, change in enumerate(changes) if word in change), None) for word in words]
    assert None not in places, changes
    assert places == sorted(places) or kind == "too large for the machine", changes


def test_what_was_typed_is_kept(tmp_path):
    answer = asked("--gpu a100-80 --model qwen3-vl-32b --context 128k --port 9001 --max-num-seqs 4 --host desktop", tmp_path)
    for alternative in answer["alternatives"]:
        words = shlex.split(alternative["command"])
        assert words[words.index("--host") + 1] == "desktop"
        assert words[words.index("--port") + 1] == "9001"
        assert words[words.index("--max-num-seqs") + 1] == "4" or "sequences" in alternative["change"]

"""What another engine would do where the one that is meant cannot, and machines of several kinds of cards: each change is typed as it stands."""

from __future__ import annotations

import json
import shlex

import pytest
from conftest import run_plan


def asked(command: str, tmp_path) -> dict:
    done = run_plan(*shlex.split(command), "--format", "json", cwd=tmp_path)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def by_engine(answer: dict) -> list[dict]:
    return [change for change in answer["alternatives"] if "--engine" in change["command"]]


@pytest.mark.parametrize(
    ("question", "engine"),
    [
        ("--gpu rtx3060 --model gpt-oss-20b --ram 32GiB", "ollama"),  # experts in main memory
        ("--gpu rtx3060 --model gemma-4-e4b", "ollama"),  # 8 bits, which vLLM has no checkpoint of
        ("--gpu rtx3060 --model gpt-oss-20b --gpu-memory-utilization 0.9 --enforce-eager --kv-cache-dtype auto", "ollama"),
        ("--gpu rtx3060 --gpu rtx2080ti --model qwen3-30b-a3b-fp8", "ollama"),  # splits by memory, in fewer bits
    ],
)
def test_what_another_engine_does_on_this_machine_comes_before_further_hardware(question, engine, tmp_path):
    answer = asked(question, tmp_path)
    assert answer["verdict"] == "does_not_start"
    [change] = by_engine(answer)
    assert f"--engine {engine}" in change["command"]
    assert not any(word in change["command"] for word in ("--gpu-memory-utilization", "--enforce-eager", "fp8"))
    again = asked(change["command"].removeprefix("plan "), tmp_path)
    assert (again["verdict"], again["meets_wish"]) == ("starts", True)
    places = [place for place, other in enumerate(answer["alternatives"]) if "GPUs" in other["change"] or "price" in other["change"]]
    assert all(place > answer["alternatives"].index(change) for place in places)


@pytest.mark.parametrize(
    "question",
    [
        "--gpu rtx3060 --engine vllm --model gpt-oss-20b",  # an engine is named: that one is meant
        "--gpu rtx4090 --model qwen3-32b",  # its published AWQ meets the whole wish
        "--gpu h100 --model deepseek-v3",  # where one serves many
        "--gpu rtx3060 --model gpt-oss-20b --with bge-m3",  # two models share the card
    ],
)
def test_no_other_engine_where_one_is_named_or_needed_for_nothing(question, tmp_path):
    answer = asked(question, tmp_path)
    assert not answer["meets_wish"]
    assert not by_engine(answer)


def test_what_the_engine_refuses_on_a_card_another_one_does(tmp_path):
    done = run_plan("--gpu", "rtx2060", "--model", "gpt-oss-20b", "--ram", "32GiB", cwd=tmp_path)
    assert done.returncode == 2
    what, _, command = done.stderr.rpartition(" works: plan ")
    assert "Ollama, MXFP4_MOE" in what
    assert "GiB in main memory" in what  # what it costs
    assert asked(command, tmp_path)["verdict"] == "starts"


@pytest.mark.parametrize(
    ("machine", "model", "form", "where"),
    [
        ("rtx4070", "trinity-mini", "Q4_K_M", "in main memory"),  # 8 bits start too, and read three times as much from there
        ("rtx3060", "deepseek-coder-v2-lite", "Q4_K_M", ""),
        ("rtx5090,rtx3060", "olmo-3.1-32b --context 8k", "Q8_0", ""),  # of cards that differ all that they have together
        ("rtx3090", "gemma-3-27b", "Q4_K_M", ""),  # a context that nobody asked for is one that surely fits
    ],
)
def test_the_form_that_reads_least_from_main_memory_else_the_most_bits(machine, model, form, where, tmp_path):
    [change] = by_engine(asked(f"--gpu {machine} --model {model}", tmp_path))
    assert form in change["command"]
    assert (where in change["change"]) if where else ("main memory" not in change["change"])


@pytest.mark.parametrize("question", ["qwen3-30b-a3b --enable-lora", "qwen3-30b-a3b --speculate ngram:3", "qwen3-reranker-8b"])
def test_what_only_the_meant_engine_does_is_a_wish(question, tmp_path):
    assert not by_engine(asked(f"--gpu rtx3060 --model {question}", tmp_path))


@pytest.mark.parametrize("engine", ["", "--engine ollama --quantization BF16 --context 32k --ram 16GiB"])
def test_more_cards_where_they_differ_are_named_each(engine, tmp_path):
    answer = asked(f"--gpu rtx3090 --gpu rtx4090 --model qwen3-vl-32b {engine}", tmp_path)
    [change] = [change for change in answer["alternatives"] if change["change"] == "4 GPUs"]
    assert "--gpu rtx3090,rtx4090,rtx3090,rtx4090" in change["command"]
    assert asked(change["command"].removeprefix("plan "), tmp_path)["verdict"] == "starts"
    assert not any("price" in other["change"] for other in answer["alternatives"])


def test_sizes_are_written_as_they_are_typed(tmp_path):
    commands = [change["command"] for change in asked("--gpu rtx4060ti --model gpt-oss-120b --ram 64g", tmp_path)["alternatives"]]
    assert commands
    assert all("--ram 64GiB" in command for command in commands)

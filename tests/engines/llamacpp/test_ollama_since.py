"""Releases of Ollama that are older than a model: its own words instead of a start (llama-arch.cpp and model/models by tag)."""

from dataclasses import replace

import pytest

from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp import ollama_own
from planner.engines.llamacpp.model import converted
from planner.engines.llamacpp.ollama_since import _SINCE, too_new
from planner.facts.verdict import Verdict
from planner.questions.check import check, find_server, group_for


@pytest.mark.parametrize(("tag", "name", "before", "first"), [
    ("qwen3:8b", "qwen3", "0.6.5", "0.6.6"), ("gemma3:4b", "gemma3", "0.5.13", "0.6.0"), ("gpt-oss:20b", "gptoss", "0.10.1", "0.11.0"),
    ("qwen3.5:9b", "qwen35", "0.17.0", "0.17.1"), ("gemma4:31b", "gemma4", "0.19.0", "0.20.0"), ("qwen3-next:80b", "qwen3next", "0.13.1", "0.13.2"),
    ("deepseek-ocr:3b", "deepseekocr", "0.12.11", "0.13.0"),
])  # fmt: skip
def test_a_release_older_than_the_model_refuses_it(tag, name, before, first):
    server = find_server(f"ollama serve; ollama run {tag}")
    old, new = (check(replace(server, version=version), group_for(server, "h200", 1, "server", None)) for version in (before, first))
    assert old.verdict is Verdict.DOES_NOT_START
    assert [(problem.message, problem.fix) for problem in old.problems] == [
        (f"Ollama {before}: unknown model architecture: '{name}'", f"Ollama {first} or later")
    ]
    assert not new.problems


def test_files_of_others_may_have_an_older_name():
    model = converted(find_plain("olmo-3-7b").spec, "Q4_K_M")
    assert too_new(model, "0.12.0", "olmo-3:7b")
    assert not too_new(model, "0.12.0", "hf.co/unsloth/Olmo-3-7B-Instruct-GGUF")
    assert not too_new(model, None, "olmo-3:7b")


def test_its_own_engine_runs_nothing_before_a_release_reads_it():
    assert {"bert", "deepseek2", "deepseekv2", "deepseekv3", "mllama", "nomicbert"} == set(ollama_own._OWN) - set(_SINCE)  # read before, by llama.cpp
    assert {name for name in _SINCE if ollama_own.is_before(".".join(map(str, ollama_own._OWN.get(name, ((9, 9), ()))[0])), _SINCE[name][1])} == set()


def test_models_of_2024_are_read_by_the_oldest_release_that_was_looked_at():
    for name in ("llama-3.1-8b", "qwen2.5-7b", "phi-4", "gemma-2-9b"):
        assert not too_new(converted(find_plain(name).spec, "Q4_K_M"), "0.4.0", name)

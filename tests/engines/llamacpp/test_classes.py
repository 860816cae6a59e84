"""Which models llama.cpp has a GGUF file of: those whose class its converter knows, or that somebody published."""

import json
from importlib.resources import files

import pytest
from conftest import run_plan

from planner.catalogue import load
from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp.classes import check_that_it_is_read
from planner.errors import PlannerError


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("diffusiongemma-26b-a4b", "a diffusion model"),
        ("molmo2-8b", "does not know Molmo2ForConditionalGeneration"),
        ("longcat-flash", "does not know LongcatFlashForCausalLM"),
        ("phi-4-multimodal", "does not know Phi4MMForCausalLM"),
        ("intern-s2-preview", "does not know InternS2PreviewForConditionalGeneration"),
    ],
)
def test_what_the_converter_does_not_know_is_refused(model, said):
    with pytest.raises(PlannerError, match=said):
        check_that_it_is_read(find_plain(model))


@pytest.mark.parametrize(
    "model", ["qwen3-8b", "internvl3.5-8b", "command-a-vision", "nemotron-nano-12b-v2-vl", "minicpm-v-2.6", "deepseek-v4-flash", "kimi-k3", "gemma-4-31b"]
)
def test_what_it_knows_by_its_own_class_or_that_of_the_text_is_read(model):
    check_that_it_is_read(find_plain(model))


def test_a_model_of_ollamas_library_is_read_whatever_its_class():
    tagged = [row.name for row in load.current().model_rows() if any(variant.runtime == "ollama" for variant in row.variants)]
    assert len(tagged) > 100
    for name in tagged:
        check_that_it_is_read(find_plain(name))


def test_each_class_stands_once():
    rows = json.loads(files("planner.engines.llamacpp").joinpath("classes.json").read_text())
    names = [name for part in ("converted", "later", "by_hand") for name in rows[part]]
    assert len(names) == len(set(names))


def test_the_refusal_is_one_line_and_such_a_model_is_not_offered(tmp_path):
    done = run_plan("--gpu", "rtx4090", "--engine", "llama.cpp", "--model", "molmo2-8b", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "plan: llama.cpp v0.5.0 makes no GGUF file of molmo2-8b: its converter does not know Molmo2ForConditionalGeneration; "
        "another --engine, or a .gguf file that somebody made of it\n"
    )
    offered = json.loads(run_plan("--gpu", "rtx3060", "--format", "json", cwd=tmp_path).stdout)
    assert "diffusiongemma" not in json.dumps(offered)

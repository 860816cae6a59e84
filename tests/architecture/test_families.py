"""The list of architectures and the files that tell how each is built agree."""

import importlib
import json

import pytest

from benchmarks.judge_rows import CONFIGS
from planner.architecture import Config, build_model, families
from planner.catalogue.resolve import find_source


def test_every_name_is_told_by_the_file_that_is_said_to():
    for file, names in families.NAMES.items():
        assert names.split() == list(importlib.import_module(f"planner.architecture.families.{file}").FAMILIES), file


def test_no_name_stands_twice():
    assert len(families.FAMILIES) == sum(len(names.split()) for names in families.NAMES.values())


@pytest.mark.parametrize(("name", "experts"), [("nemotron-3-nano-4b", 0), ("nemotron-nano-9b-v2", 0), ("nemotron-3-super-120b-a12b", 22)])
def test_a_class_whose_layers_have_no_experts_routes_to_none(name, experts):
    """Transformers' Nemotron-H defaults to two of eight, whatever its pattern: nothing is set aside for the experts of a dense one."""
    assert find_source(name).spec.experts_per_token == experts


def test_every_gated_delta_rule_tells_its_columns():
    """OLMo Hybrid's class calls the matrix behind it otherwise than Qwen3-Next's."""
    config = Config(json.loads((CONFIGS / "made--olmohybrid.json").read_text()), "config.json")
    linears = [module for group in build_model(config, "made").layers for module in group.modules if module.name.endswith("linear_attn.o_proj")]
    projected, values = build_model(config, "made").delta_columns
    assert {module.inputs.size for module in linears} == {values}
    assert projected > 2 * values

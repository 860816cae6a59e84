"""What a command leaves out of a model or changes of it. Equality with vLLM's classes: test_flag_plans.py."""

import pytest

from planner.catalogue.resolve import find_source
from planner.engines.vllm.served import as_served, only_lengths

YARN = '{"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}'


@pytest.mark.parametrize(("version", "longest"), [("0.29", 131_072), ("0.30", 40_960), ("0.33", 40_960)])
def test_yarn_gives_a_longer_context_until_0_29(version, longest):
    model = find_source("qwen3-8b").spec
    served = as_served(model, {"--hf-overrides": YARN}, version)
    assert served.max_position_embeddings == longest
    assert served.buffers[0].axes[0].size == 131_072


def test_a_nested_override_is_one_of_the_text_model():
    served = as_served(find_source("qwen3-8b").spec, {"--hf-overrides": '{"text_config": {"max_position_embeddings": 65536}}'}, "0.33")
    assert served.max_position_embeddings == 65_536


@pytest.mark.parametrize(("text", "only"), [(YARN, True), ('{"rope_theta": 1}', True), ('{"architectures": ["X"]}', False), ("{", False), ("[]", False)])
def test_other_changes_are_not_covered(text, only):
    assert only_lengths({"--hf-overrides": text}) is only


@pytest.mark.parametrize(
    ("values", "loaded"),
    [
        ({"--language-model-only": True}, False),
        ({"--limit-mm-per-prompt": '{"image": 0, "video": {"count": 0}}'}, False),
        ({"--limit-mm-per-prompt": '{"image": 0}'}, True),  # films may come
        ({"--limit-mm-per-prompt": '{"image": 2, "video": 0}'}, True),
        ({}, True),
    ],
)
def test_a_tower_of_which_nothing_may_come_is_not_loaded(values, loaded):
    model = find_source("qwen3-vl-8b").spec
    assert bool(as_served(model, values, "0.33").tower) is loaded
    assert as_served(model, values, "0.15").tower == model.tower


def test_a_chat_model_that_embeds_has_no_head():
    model = find_source("qwen3-8b").spec
    served = as_served(model, {"--runner": "pooling"}, "0.33")
    assert served.pooling
    assert len(served.last) == len(model.last) - 1

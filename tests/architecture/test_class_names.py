"""Names by which a checkpoint's list of modules left out is read: those of vLLM's class, whatever the layers here call them."""

import pytest
from conftest import config_model

from planner.architecture import Config
from planner.architecture.class_names import NAMES, UNMAPPED, as_its_class_names
from planner.architecture.families import FAMILIES, OWN_NAMES
from planner.architecture.formats import Target
from planner.architecture.quantization import read_quantization
from planner.engines.vllm.served import takes_text_only


def test_classes_with_names_of_their_own_are_known_before_these_are_imported():
    assert set(NAMES) == OWN_NAMES
    assert set(FAMILIES) >= OWN_NAMES
    assert set(FAMILIES) >= UNMAPPED


@pytest.mark.parametrize(
    ("architecture", "ignored", "name", "left_out"),
    [
        ("ExaoneForCausalLM", "re:.*attn.attention.*", "layers.0.self_attn.q_proj", True),
        ("ExaoneForCausalLM", "re:.*self_attn.*", "layers.0.self_attn.q_proj", False),
        ("ExaoneForCausalLM", "transformer.h.3.mlp.c_proj", "layers.3.mlp.down_proj", True),
        ("FalconH1ForCausalLM", "re:.*mixer.*", "layers.0.mamba.in_proj", True),
        ("GPTNeoXForCausalLM", "re:.*dense_4h_to_h", "layers.1.mlp.down_proj", True),
        ("LlamaForCausalLM", "re:.*self_attn.*", "layers.0.self_attn.q_proj", True),
    ],
)
def test_a_pattern_is_held_against_the_classs_name(architecture, ignored, name, left_out):
    weights = {"num_bits": 8, "type": "float", "strategy": "channel"}
    section = {"quant_method": "compressed-tensors", "ignore": [ignored], "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}
    quantization = as_its_class_names(read_quantization(Config(section, "config.json")), [architecture])
    assert quantization.storage([name], Target.LINEAR).is_quantized != left_out


@pytest.mark.parametrize("mapped", [True, False])
def test_a_pattern_with_a_star_is_read_as_it_stands_where_names_are_not_mapped(mapped):
    section = {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["*mlp.gate*"]}
    quantization = read_quantization(Config(section, "config.json"), mapped=lambda: mapped)
    assert quantization.storage(["layers.0.mlp.gate_proj", "layers.0.mlp.up_proj"], Target.LINEAR).is_quantized == mapped
    assert not quantization.storage(["layers.0.mlp.gate"], Target.LINEAR).is_quantized


@pytest.mark.parametrize(
    ("name", "limits", "text_only"),
    [
        ("zai-org/GLM-OCR", '{"image": 0}', False),
        ("zai-org/GLM-OCR", '{"image": 0, "video": 0}', True),
        ("google/gemma-3-27b-it", '{"image": 0}', True),
    ],
)
def test_a_tower_stays_while_anything_may_come_in(name, limits, text_only):
    assert takes_text_only(config_model(name), {"--limit-mm-per-prompt": limits}) == text_only

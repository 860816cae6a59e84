"""Drafters: layers that a target brings to predict further tokens, and small models beside it. Bytes are vLLM 0.33's own classes'."""

import json

import pytest
from conftest import DATA

from planner.architecture import Config, build_model
from planner.architecture.draft_configs import draft_config
from planner.architecture.drafters import without_shared
from planner.engines.vllm.weights import stage_weights
from planner.facts.config import Parallel

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 1,
    "vocab_size": 128256,
    "max_position_embeddings": 2048,
}


def config(name: str, **keys) -> Config:
    return Config(json.loads((DATA / "configs" / f"{name.replace('/', '--')}.json").read_text()) | keys, name)


def weights(model, tp: int = 1) -> int:
    return stage_weights(model, Parallel(tensor_parallel_size=tp))[0]


@pytest.mark.parametrize(
    ("target", "keys", "tp", "loaded"),
    [
        ("Qwen/Qwen3.5-27B", {}, 1, 849_398_784),
        ("deepseek-ai/DeepSeek-V3", {}, 8, 1_661_047_968),
    ],
)
def test_predicting_layers_share_words_and_head_with_their_target(target, keys, tp, loaded):
    model = build_model(draft_config(config(target, **keys)), target)
    assert weights(without_shared(model), tp) == loaded
    assert weights(model, tp) > loaded


@pytest.mark.parametrize(
    ("target", "keys", "whole"),
    [
        ("Qwen/Qwen3.5-0.8B", {}, (549_465_088, 274_738_176)),
        ("Qwen/Qwen3.5-35B-A3B", {}, (3_723_518_976, 1_862_296_576)),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", {}, (4_545_602_560, 2_273_862_656)),
        ("XiaomiMiMo/MiMo-7B-Base", {"num_nextn_predict_layers": 1}, (2_906_705_920, 1_486_927_872)),
        ("XiaomiMiMo/MiMo-V2-Flash", {}, (2_896_272_008, 1_481_710_920)),
        ("baidu/ERNIE-4.5-21B-A3B-PT", {"num_nextn_predict_layers": 1}, (775_966_720, 401_100_800)),
        ("meituan-longcat/LongCat-Flash-Chat", {}, (4_006_412_288, 2_091_712_512)),
        ("LGAI-EXAONE/K-EXAONE-236B-A23B", {}, (4_831_900_160, 2_415_981_056)),
        ("deepseek-ai/DeepSeek-V3.2", {"num_hidden_layers": 4}, (15_439_567_072, 7_839_658_464)),
        ("deepseek-ai/DeepSeek-V3", {"num_hidden_layers": 4}, (15_424_227_552, 7_824_318_944)),
    ],
)
def test_predicting_layers_are_as_vllm_creates_them(target, keys, whole):
    model = build_model(draft_config(config(target, **keys)), target)
    assert tuple(weights(model, tp) for tp in (1, 2)) == whole


def test_a_target_that_brings_no_predicting_layers():
    assert draft_config(config("Qwen/Qwen3-8B")) is None


@pytest.mark.parametrize(
    ("architecture", "keys"),
    [("LlamaForCausalLMEagle3", {"draft_vocab_size": 32000}), ("Eagle3LlamaForCausalLM", {}), ("EagleLlamaForCausalLM", {})],
)
def test_a_drafter_of_its_own(architecture, keys):
    model = build_model(Config(LLAMA | keys | {"architectures": [architecture]}, "made"), "made")
    words, layer = 128_256 * 4096 * 2, 2 * (4096 * 6144 + 4096 * 4096 + 3 * 4096 * 14_336)
    assert weights(without_shared(model)) < weights(model) - words + 1
    assert weights(model) > words + layer
    assert len(model.caches) == 1

"""A config.json that leaves out what its class defaults is the same model as one that says it (defaults.json, read off transformers' own classes)."""

import json

import pytest
from conftest import DATA

from benchmarks.hf_defaults import FILE, newest
from planner.architecture import Config, build_model
from planner.architecture.defaults import completed
from planner.engines.vllm.weights import stage_weights
from planner.facts.config import Parallel
from tests.judges import judge_venv

VISION = {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 2, "num_attention_heads": 16}
SMALL = {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 1000}


def rank_bytes(config: dict) -> int:
    return stage_weights(build_model(Config(config, "made"), "made"), Parallel())[0]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", **SMALL}, {"head_dim": 256}),
        (
            {"architectures": ["InternVLForConditionalGeneration"], "model_type": "internvl", "text_config": {"model_type": "qwen2", **SMALL}},
            {"tie_word_embeddings": True},
        ),
        (
            {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "text_config": {"model_type": "mistral", **SMALL}},
            {"tie_word_embeddings": True},
        ),
    ],
)
def test_what_is_left_out_is_the_classes_default(config, said):
    assert rank_bytes(config) == rank_bytes(config | said)


def test_paligemma_2_has_gemma_2s_head_size():
    whole = {"architectures": ["PaliGemmaForConditionalGeneration"], "model_type": "paligemma", "vision_config": VISION}
    config = whole | {"text_config": {"model_type": "gemma2", **SMALL}}
    assert build_model(Config(config, "made"), "made").head_dim == 256


def test_llava_without_text_sizes_is_llama_7b():
    """As llava-hf/llava-1.5-7b-hf says it: only what differs from Vicuna's sizes."""
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "text_config": {"_name_or_path": "lmsys/vicuna-7b-v1.5", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096, "vocab_size": 32_064},
        "vision_config": {"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "model_type": "clip_vision_model", "num_attention_heads": 16}
        | {"num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768, "vocab_size": 32_000},
    }
    model = build_model(Config(config, "made"), "made")
    assert (model.layer_count, model.hidden_size, model.max_position_embeddings) == (32, 4096, 4096)


def test_what_the_file_says_stays():
    config = {"model_type": "gemma2", "head_dim": 64, "num_key_value_heads": None}
    assert {"head_dim": 64, "num_key_value_heads": None}.items() <= completed(Config(config, "made")).data.items()


def test_a_value_is_read_under_each_of_its_names():
    data = completed(Config({"model_type": "gpt2", "n_embd": 1600}, "made")).data
    assert (data["hidden_size"], data["num_hidden_layers"]) == (1600, 12)


def test_the_order_of_the_sections_is_no_matter():
    """An older Qwen2-VL file has its text model in the open; no second one is made beside it."""
    flat = json.loads((DATA / "configs" / "Qwen--Qwen2-VL-7B-Instruct.json").read_text())
    assert "text_config" not in completed(Config(flat, "made")).data or "text_config" in flat


@pytest.mark.judge
def test_the_file_is_what_the_classes_say():
    judge_venv("vllm")
    assert FILE.read_text() == newest(), "python -m benchmarks.hf_defaults"

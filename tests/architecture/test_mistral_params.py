"""Mistral's params.json is read as vLLM reads it."""

import json

from conftest import DATA

from planner.architecture import Config, build_model
from planner.architecture.mistral_params import from_params
from planner.catalogue.resolve import find_source
from planner.engines.vllm.weights import stage_weights
from planner.facts.config import Parallel

PIXTRAL = json.loads((DATA / "configs" / "mistralai--Pixtral-12B-2409.json").read_text())
ENCODER = {"dim": 1280, "n_layers": 32, "n_heads": 20, "hidden_dim": 5120, "audio_encoding_args": {"num_mel_bins": 128}}


def test_pixtral_is_a_text_model_that_sees():
    model = build_model(Config(PIXTRAL, "made"), "made")
    # 12,682,739,712 parameters by vLLM's class on the config that it makes of this file
    assert (model.architecture, stage_weights(model, Parallel())) == ("PixtralForConditionalGeneration", [25_365_479_424])


def test_a_file_with_whispers_arguments_is_voxtral():
    text = {key: value for key, value in PIXTRAL.items() if key != "vision_encoder"}
    whole = from_params(Config(text | {"multimodal": {"whisper_model_args": {"encoder_args": ENCODER}}}, "made")).data
    assert whole["architectures"] == ["VoxtralForConditionalGeneration"]
    assert {"d_model": 1280, "encoder_layers": 32, "num_mel_bins": 128}.items() <= whole["audio_config"].items()


def test_a_folder_may_hold_it_alone(tmp_path):
    (tmp_path / "params.json").write_text(json.dumps(PIXTRAL))
    assert find_source(str(tmp_path)).spec.architecture == "PixtralForConditionalGeneration"

"""Mistral's own params.json, as vLLM 0.33 reads it (transformers_utils/configs/mistral.py): the same values under other names."""

from __future__ import annotations

from collections.abc import Mapping

from planner.architecture.config import Config

_NAMES = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "hidden_dim": "intermediate_size",
    "tied_embeddings": "tie_word_embeddings",
}
_SOUND = {"dim": "d_model", "n_layers": "encoder_layers", "n_heads": "encoder_attention_heads", "hidden_dim": "encoder_ffn_dim"}


def from_params(config: Config) -> Config:
    """The config that vLLM makes of a params.json: a text model alone, one that sees (Pixtral) or one that hears (Voxtral)."""
    named = {_NAMES.get(key, key): value for key, value in config.data.items()}
    text = {"architectures": ["MistralForCausalLM"], "sliding_window": None, "max_position_embeddings": named.get("max_seq_len", 128_000), **named}
    multimodal = config.section("multimodal")
    vision = multimodal.section("vision_encoder_args").data or config.section("vision_encoder").data
    sound = multimodal.section("whisper_model_args")
    if vision:
        return Config({"architectures": ["PixtralForConditionalGeneration"], "text_config": text, "vision_config": vision, "dtype": "bfloat16"}, config.path)
    if sound.has("encoder_args"):
        return Config({"architectures": ["VoxtralForConditionalGeneration"], "text_config": text, "dtype": "bfloat16", **_hearing(sound)}, config.path)
    if config.has("moe"):
        text = {**text, "architectures": ["MixtralForCausalLM"], **_experts(config.section("moe"))}
    return Config({"dtype": "bfloat16", **text}, config.path)


def _hearing(sound: Config) -> Mapping[str, object]:
    encoder = sound.section("encoder_args").data
    heard = Config(encoder, sound.path).section("audio_encoding_args")
    named = {_SOUND.get(key, key): value for key, value in encoder.items()}
    factor = sound.section("downsample_args").integer("downsample_factor", default=4)
    return {"audio_config": {**named, "num_mel_bins": heard.integer("num_mel_bins", default=128)}, "downsample_factor": factor}


def _experts(moe: Config) -> Mapping[str, object]:
    return {"num_local_experts": moe.integer("num_experts"), "num_experts_per_tok": moe.integer("num_experts_per_tok")}

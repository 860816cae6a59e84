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
_EXPERTS = {
    "num_experts": "n_routed_experts",
    "num_experts_per_tok": "num_experts_per_tok",
    "expert_hidden_dim": "moe_intermediate_size",
    "num_shared_experts": "n_shared_experts",
    "first_k_dense_replace": "first_k_dense_replace",
    "route_every_n": "moe_layer_freq",
}


def from_params(config: Config) -> Config:
    """The config that vLLM makes of a params.json: a text model alone, one that sees (Pixtral) or one that hears (Voxtral)."""
    named = {_NAMES.get(key, key): value for key, value in config.data.items()}
    text = {"architectures": ["MistralForCausalLM"], "sliding_window": None, "max_position_embeddings": named.get("max_seq_len", 128_000), **named}
    whole = {"dtype": "bfloat16", **_quantized(config.section("quantization"))}
    if config.has("qk_nope_head_dim") or config.section("moe").has("num_shared_experts"):
        text = {**text, "architectures": ["MistralLarge3ForCausalLM"], "model_type": "deepseek_v3", **_latent(config)}
    elif config.has("moe"):
        text = {**text, "architectures": ["MixtralForCausalLM"], **_experts(config.section("moe"))}
    multimodal = config.section("multimodal")
    vision = multimodal.section("vision_encoder_args").data or config.section("vision_encoder").data
    sound = multimodal.section("whisper_model_args")
    if vision:
        return Config({"architectures": ["PixtralForConditionalGeneration"], "text_config": text, "vision_config": vision, **whole}, config.path)
    if sound.has("encoder_args"):
        return Config({"architectures": ["VoxtralForConditionalGeneration"], "text_config": text, **whole, **_hearing(sound)}, config.path)
    return Config({**whole, **text}, config.path)


def _quantized(section: Config) -> Mapping[str, object]:
    """FP8 as Mistral says it, or compressed-tensors (_remap_mistral_quantization_args)."""
    if section.text("qformat_weight", default="") == "fp8_e4m3":
        scheme = "dynamic" if section.text("qscheme_act", default="TENSOR") == "NO_SCALES" else "static"
        return {"quantization_config": {"quant_method": "fp8", "activation_scheme": scheme}}
    method = section.text("quant_method", default="").lower().replace("_", "-")
    return {"quantization_config": {**section.data, "quant_method": method}} if method == "compressed-tensors" else {}


def _latent(config: Config) -> Mapping[str, object]:
    """Mistral Large 3: DeepSeek V3's layers; without experts all of them dense (_remap_mistral_mla_args, _remap_moe_args)."""
    moe = config.section("moe").data or {"num_experts": 1, "num_experts_per_tok": 1, "num_shared_experts": 1, "first_k_dense_replace": config.data["n_layers"]}
    wide = {"expert_hidden_dim": config.data.get("hidden_dim"), **moe}
    return {_EXPERTS[key]: value for key, value in wide.items() if key in _EXPERTS} | {"topk_method": None}


def _hearing(sound: Config) -> Mapping[str, object]:
    encoder = sound.section("encoder_args").data
    heard = Config(encoder, sound.path).section("audio_encoding_args")
    named = {_SOUND.get(key, key): value for key, value in encoder.items()}
    factor = sound.section("downsample_args").integer("downsample_factor", default=4)
    return {"audio_config": {**named, "num_mel_bins": heard.integer("num_mel_bins", default=128)}, "downsample_factor": factor}


def _experts(moe: Config) -> Mapping[str, object]:
    return {"num_local_experts": moe.integer("num_experts"), "num_experts_per_tok": moe.integer("num_experts_per_tok")}

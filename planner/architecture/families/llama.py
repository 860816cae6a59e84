"""Llama and what is built as it: dense decoders that differ in biases, norms and windows; what most people serve, so that theirs alone is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import rope, text
from planner.architecture.family import ALL_ENDS, Family, reading

THE_TWO = ("attention_bias", "mlp_bias")  # what transformers' classes read of biases
OWN_THREE = (*THE_TWO, "bias")  # and those of vLLM's classes which read no qkv_bias as Llama's does
LLAMA = Family(layers=text.llama(), name="llama")
MISTRAL = Family(layers=text.llama(window=4096), name="mistral")
QWEN2 = Family(layers=reading(text.llama(bias=True, output_bias=False)), name="qwen")
QWEN3 = Family(layers=reading(text.llama(output_bias=False, qk_norm=True), "attention_bias"), name="qwen")
GLM4 = Family(
    layers=reading(text.llama(output_bias=False, more_norms=("post_self_attn_layernorm", "post_mlp_layernorm")), "attention_bias"),
    rope=rope.HALF,
    name="glm",
)
INTERNLM2 = replace(LLAMA, layers=reading(text.llama()), head_name="output", whole_stages=ALL_ENDS, name="internlm")

FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": MISTRAL,
    "Ministral3ForCausalLM": LLAMA,
    "Qwen2ForCausalLM": QWEN2,
    "Glm4ForCausalLM": GLM4,
    "Exaone4ForCausalLM": Family(layers=reading(text.llama(qk_norm=True, every=4), *OWN_THREE), name="exaone"),
    "Ernie4_5ForCausalLM": Family(layers=text.llama(output_bias=False), tied=True, name="ernie"),
    "Qwen3ForCausalLM": QWEN3,
    "GraniteForCausalLM": Family(layers=reading(text.llama(), *OWN_THREE), name="granite"),
    "SmolLM3ForCausalLM": Family(layers=reading(text.llama(), *THE_TWO), rope=rope.no_rope, tied=True, name="smollm"),
    "SeedOssForCausalLM": Family(layers=text.llama(bias=True, output_bias=False), rope=rope.no_rope, name="seed"),
    "MiMoForCausalLM": QWEN2,
    "InternLM2ForCausalLM": INTERNLM2,
    "InternLM3ForCausalLM": replace(LLAMA, name="internlm"),
    "IQuestCoderForCausalLM": replace(LLAMA, name="iquest"),
    "LLaMAForCausalLM": LLAMA,
    "ExaoneForCausalLM": replace(LLAMA, layers=reading(text.llama(), *OWN_THREE), renamed={"num_layers": "num_hidden_layers"}, name="exaone"),
    "SolarForCausalLM": replace(LLAMA, layers=reading(text.llama(), *OWN_THREE), name="solar"),
    "CwmForCausalLM": replace(LLAMA, layers=reading(text.llama(), "mlp_bias"), rope=rope.no_rope, name="cwm"),
    "NanbeigeForCausalLM": replace(LLAMA, layers=reading(text.llama(), *THE_TWO), rope=rope.no_rope, name="nanbeige"),
    "GlmForCausalLM": Family(
        layers=reading(text.joined(text.llama(bias=True, output_bias=False), "gate_up_proj"), "attention_bias"), rope=rope.no_rope, name="glm"
    ),
    "HeliumForCausalLM": Family(layers=text.llama(output_bias=False), rope=rope.no_rope, name="helium"),
    "TeleChat3ForCausalLM": LLAMA,
    "TeleFLMForCausalLM": LLAMA,
}

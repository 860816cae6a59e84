"""Decoders with multi-head latent attention."""

from __future__ import annotations

from collections.abc import Mapping

from planner.architecture import deepseek_v4, hunyuan, latent, own, rope
from planner.architecture.family import ALL_ENDS, Family
from planner.facts.storage import FP32

DEEPSEEK = Family(layers=latent.deepseek(), rope=rope.latent_rope, name="deepseek")
LONGCAT_KEYS = {"num_layers": "num_hidden_layers", "ffn_hidden_size": "intermediate_size", "expert_ffn_hidden_size": "moe_intermediate_size"}
_PANGU_NORMS = ("pre_mlp_layernorm", "post_mlp_layernorm")
PANGU_ULTRA = Family(layers=latent.deepseek(more_norms=_PANGU_NORMS, correction_key="router_enable_expert_bias"), rope=rope.latent_rope, name="pangu")

FAMILIES: Mapping[str, Family] = {
    "DeepseekV2ForCausalLM": DEEPSEEK,
    "DeepseekV3ForCausalLM": DEEPSEEK,
    "DeepseekV32ForCausalLM": DEEPSEEK,
    "DeepseekV4ForCausalLM": Family(
        layers=deepseek_v4.deepseek_v4,
        more={"every": deepseek_v4.stream_head},
        rope=deepseek_v4.deepseek_v4_rope,
        methods={"fp8": "deepseek_v4_fp8"},
        name="deepseek",
    ),
    "GlmMoeDsaForCausalLM": Family(layers=DEEPSEEK.layers, rope=rope.latent_rope, name="glm"),
    "Glm4MoeLiteForCausalLM": Family(layers=latent.deepseek(router=FP32), rope=rope.latent_rope, defaults={"topk_method": "noaux_tc"}, name="glm"),
    "LongcatFlashForCausalLM": Family(
        layers=latent.longcat,
        rope=rope.latent_rope,
        renamed=LONGCAT_KEYS,
        name="longcat",
    ),
    "LongcatFlashNgramForCausalLM": Family(
        layers=latent.longcat,
        more={"embedding": latent.ngram_embedding},
        rope=rope.latent_rope,
        renamed=LONGCAT_KEYS,
        name="longcat",
    ),
    "MistralLarge3ForCausalLM": DEEPSEEK,
    "MiniCPM3ForCausalLM": Family(layers=own.minicpm3, rope=rope.latent_rope, tied=True, whole_stages=ALL_ENDS, name="minicpm"),
    "AXK1ForCausalLM": Family(
        layers=latent.deepseek(more_norms=("post_mlp_layernorm",)), rope=rope.latent_rope, defaults={"topk_method": "noaux_tc"}, name="skt"
    ),
    "PanguUltraMoEForCausalLM": PANGU_ULTRA,
    "SarvamMLAForCausalLM": Family(
        layers=latent.deepseek(experts_key="num_experts", shared_key="num_shared_experts", correction_key="moe_router_enable_expert_bias"),
        rope=rope.latent_rope,
        name="sarvam",
    ),
    "HYV4ForCausalLM": Family(layers=hunyuan.hunyuan_v4, more={"norm": hunyuan.stream_head}, rope=rope.latent_rope, name="hunyuan"),
}

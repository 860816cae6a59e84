"""Decoders with routed experts and plain attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from planner.architecture import experts, k2_horizon, minimax_m3, moe, own, plain, rope
from planner.architecture.composed import FOUR, TWO, Bank, Heads, decoder, routed
from planner.architecture.families.dense import GRANITE_SWA
from planner.architecture.family import ALL_ENDS, EMBEDDING, Family, reading
from planner.facts.storage import FP32

QWEN3_MOE = Family(layers=moe.qwen_moe(bias=False, qk_norm=True, quantized_gate=True), whole_stages=ALL_ENDS, name="qwen")
GLM4_MOE = Family(layers=moe.glm4_moe, rope=rope.HALF, name="glm")
EXAONE_MOE = Family(layers=experts.exaone_moe, head_name="", name="exaone")
BAILING = Family(layers=experts.bailing_moe, name="ling")
MINIMAX_M3 = Family(layers=minimax_m3.minimax_m3, name="minimax")
GRANITE_BANK = Bank(experts=("num_local_experts",), width=("intermediate_size",), shared=("shared_intermediate_size",))
KOLIBRI = Bank(experts=("num_local_experts", "num_experts"), shared=("shared_expert_intermediate_size",))
COHERE2 = Heads(window=4096)
COHERE2_BANK = Bank(width=("intermediate_size",), shared_count=("num_shared_experts",))
LAGUNA = Heads(norms="head", gate="gating", heads="num_attention_heads_per_layer")
LAGUNA_BANK = Bank(correction=True, shared=("shared_expert_intermediate_size",), fused=False)
HUNYUAN_3 = Bank(width=("expert_hidden_dim",), router=FP32, correction=True, shared_count=("num_shared_experts",))
HUNYUAN_V3 = Family(layers=reading(decoder(Heads(norms="head", norms_key="qk_norm"), routed(HUNYUAN_3))), whole_stages=ALL_ENDS, name="hunyuan")
LLAMA4 = Family(layers=moe.llama4, name="llama")
MIMO_V2 = Family(layers=moe.mimo_v2, rope=rope.mimo_rope, name="mimo")
SARVAM = replace(BAILING, defaults={"use_rmsnorm": True, "moe_router_enable_expert_bias": True}, name="sarvam")
BEAM = Heads(norms="head", gated="per-element", gate_joined=True, gate_bias=True, window=4096)
BEAM_BANK = Bank(router=FP32, correction=True)
GPT_OSS = Family(layers=moe.gpt_oss, whole_stages=ALL_ENDS, rope=partial(rope.rope_tables, yarn_bits=32), head_quantized=False, name="gpt-oss")

FAMILIES: Mapping[str, Family] = {
    "Ernie4_5_MoeForCausalLM": Family(layers=moe.ernie, tied=True, pipeline_tied=False, name="ernie"),
    "OlmoeForCausalLM": Family(layers=reading(moe.olmoe), whole_stages=ALL_ENDS, name="olmo"),
    "GraniteMoeForCausalLM": Family(layers=moe.granite_moe, whole_stages=ALL_ENDS, name="granite"),
    "GraniteMoeSharedForCausalLM": Family(layers=moe.granite_moe, whole_stages=ALL_ENDS, name="granite"),
    "Qwen2MoeForCausalLM": Family(layers=moe.qwen_moe(bias=True, qk_norm=False, quantized_gate=False), whole_stages=ALL_ENDS, name="qwen"),
    "Qwen3MoeForCausalLM": QWEN3_MOE,
    "MixtralForCausalLM": Family(layers=moe.mixtral, whole_stages=ALL_ENDS, name="mistral"),
    "GptOssForCausalLM": GPT_OSS,
    "Llama4ForCausalLM": LLAMA4,
    "Glm4MoeForCausalLM": GLM4_MOE,
    "MiniMaxM2ForCausalLM": Family(layers=moe.minimax_m2, rope=rope.rotary_dim_rope, name="minimax"),
    "MiniMaxM3SparseForCausalLM": MINIMAX_M3,
    "MiMoV2FlashForCausalLM": MIMO_V2,
    "AfmoeForCausalLM": Family(layers=experts.afmoe, head_name="", defaults={"num_experts": 64, "moe_intermediate_size": 1408}, name="arcee"),
    "ExaoneMoeForCausalLM": EXAONE_MOE,
    "ExaoneMoEForCausalLM": EXAONE_MOE,
    "PhiMoEForCausalLM": Family(
        layers=experts.phi_moe, more={"norm": plain.final_bias, "head": experts.head_bias}, whole_stages=ALL_ENDS, head_quantized=False, name="phi"
    ),
    "HunYuanMoEV1ForCausalLM": Family(layers=experts.hunyuan_moe, rope=rope.no_rope, name="hunyuan"),
    "FlexOlmoForCausalLM": Family(layers=moe.olmoe, defaults={"num_experts": 5}, rope=rope.no_rope, name="olmo"),
    "BailingMoeForCausalLM": BAILING,
    "BailingMoeV2ForCausalLM": BAILING,
    "Step3p5ForCausalLM": Family(layers=experts.step3p5, rope=rope.step_rope, renamed={"num_attention_groups": "num_key_value_heads"}, name="step"),
    "DeepseekForCausalLM": Family(layers=experts.deepseek_moe, name="deepseek"),
    "GraniteMoeSWAForCausalLM": Family(layers=reading(decoder(GRANITE_SWA, routed(GRANITE_BANK, dense_key=""))), whole_stages=ALL_ENDS, name="granite"),
    "MellumForCausalLM": Family(
        layers=decoder(Heads(norms="head", window=1024), routed(Bank(), dense_key="")), rope=rope.no_rope, defaults={"head_dim": 128}, name="mellum"
    ),
    "Kolibri1ForCausalLM": Family(
        layers=reading(
            decoder(Heads(norms="head", window=513, every=5), routed(KOLIBRI, dense_key=""), (*TWO, "post_self_attn_layernorm", "post_mlp_layernorm"))
        ),
        rope=rope.no_rope,
        defaults={"head_dim": 128},
        name="kolibri",
    ),
    "Cohere2MoeForCausalLM": Family(
        head_quantized=False,
        layers=reading(decoder(COHERE2, routed(COHERE2_BANK, dense_width="prefix_dense_intermediate_size"), ("input_layernorm",), wider=1)),
        tied=True,
        whole_stages=ALL_ENDS,
        name="cohere",
    ),
    "LagunaForCausalLM": Family(layers=decoder(LAGUNA, routed(LAGUNA_BANK, dense_layers=1, dense_key="")), rope=rope.laguna_rope, name="laguna"),
    "HYV3ForCausalLM": HUNYUAN_V3,
    "MiMoV2ForCausalLM": MIMO_V2,
    "SarvamMoEForCausalLM": SARVAM,
    "Param2MoEForCausalLM": replace(SARVAM, layers=experts.param2, defaults={**SARVAM.defaults, "router_dtype": "fp32"}),
    "BeamForCausalLM": Family(layers=reading(decoder(BEAM, routed(BEAM_BANK, dense_key=""), FOUR)), rope=rope.exact, never_tied="Beam", name="beam"),
    "FlintForCausalLM": Family(layers=own.flint, rope=rope.exact, whole_stages=EMBEDDING, name="flint"),
    "Step3TextForCausalLM": Family(
        layers=experts.step3_text,
        renamed={"max_position_embedding": "max_position_embeddings", "num_attention_groups": "num_key_value_heads"},
        scaled=False,
        head_quantized=False,
        name="step",
    ),
    "K2HorizonForCausalLM": Family(layers=k2_horizon.k2_horizon, rope=k2_horizon.partial_rope, whole_stages=ALL_ENDS, name="k2"),
}

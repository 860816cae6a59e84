"""Decoders that mix attention with recurrent layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from planner.architecture import hybrid, kimi_linear, linear, mamba, qwen4_exp, rope
from planner.architecture.family import ALL_ENDS, EMBEDDING, Family

QWEN_NEXT = Family(layers=hybrid.qwen_next, rope=rope.QUARTER, whole_stages=frozenset({"embedding", "head"}), head_quantized=False, name="qwen")
QUARTER_FILMS = partial(rope.film_tables, fraction=0.25)
QWEN35 = Family(layers=hybrid.qwen35, rope=QUARTER_FILMS, whole_stages=EMBEDDING, defaults={"mamba_ssm_dtype": "float32"}, name="qwen")
QWEN4_EXP = Family(
    layers=qwen4_exp.qwen4_exp,
    more={"norm": qwen4_exp.last_mixer},
    norm=False,
    rope=QUARTER_FILMS,
    batched=qwen4_exp.set_aside,
    head_quantized=False,
    whole_stages=frozenset({"embedding", "head"}),
    renamed={"hc_count": "hc_mult"},
    defaults={"mamba_ssm_dtype": "float32"},
    name="qwen",
)
KIMI_LINEAR = Family(
    layers=kimi_linear.kimi_linear,
    more={"norm": kimi_linear.residual_end},
    rope=kimi_linear.kimi_buffers,
    renamed={"num_experts_per_token": "num_experts_per_tok"},
    name="kimi",
)
NEMOTRON_H = Family(layers=hybrid.nemotron_h, whole_stages=ALL_ENDS, rope=rope.no_rope, name="nemotron")
MAMBA = Family(
    layers=mamba.mamba,
    rope=rope.no_rope,
    tied=True,
    attends=False,
    whole_stages=ALL_ENDS,
    defaults={"max_position_embeddings": 2048},
    head_quantized=False,
    name="mamba",
)
LFM2 = Family(layers=hybrid.lfm2, tied=True, scaled=False, name="lfm")
JAMBA = Family(layers=mamba.jamba, rope=rope.no_rope, whole_stages=ALL_ENDS, scaled=False, head_quantized=False, name="jamba")

FAMILIES: Mapping[str, Family] = {
    "Qwen3NextForCausalLM": QWEN_NEXT,
    "Qwen3_5ForCausalLM": QWEN35,
    "Qwen3_5MoeForCausalLM": QWEN35,
    "GraniteMoeHybridForCausalLM": Family(layers=hybrid.granite_hybrid, rope=rope.no_rope, whole_stages=ALL_ENDS, tied=True, name="granite"),
    "Lfm2ForCausalLM": LFM2,
    "Lfm2MoeForCausalLM": LFM2,
    "FalconH1ForCausalLM": Family(layers=hybrid.falcon_h1, head_quantized=False, pipeline_tied=False, name="falcon"),
    "KimiLinearForCausalLM": KIMI_LINEAR,
    "NemotronHForCausalLM": NEMOTRON_H,
    "MambaForCausalLM": MAMBA,
    "FalconMambaForCausalLM": MAMBA,
    "Mamba2ForCausalLM": replace(MAMBA, layers=mamba.mamba2_only, tied=False, pipeline=False),
    "JambaForCausalLM": JAMBA,
    "Zamba2ForCausalLM": Family(
        layers=mamba.zamba2, head_quantized=False, rope=mamba.zamba2_rope, tied=True, pipeline=False, adapted=mamba.zamba2_keys, name="zamba"
    ),
    "NemotronHPuzzleForCausalLM": NEMOTRON_H,
    "OlmoHybridForCausalLM": Family(layers=linear.olmo_hybrid, whole_stages=ALL_ENDS, name="olmo"),
    "BailingMoeV2_5ForCausalLM": Family(layers=linear.bailing_linear, rope=linear.bailing_rope, name="ling"),
    "Qwen4ExpForCausalLM": QWEN4_EXP,
    "BailingMoeV3ForCausalLM": Family(layers=linear.bailing_delta, rope=rope.latent_rope, adapted=linear.biased_router, name="ling"),
}

"""Decoders of the first generation: OPT, GPT-2 and GPT-J, BLOOM, StarCoder 1, DBRX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import classic, experts, plain, rope
from planner.architecture.family import ALL_ENDS, Family

GPT2 = Family(
    layers=classic.classic(classic.GPT2),
    more={"embedding": classic.gpt2_positions, "norm": plain.final_bias},
    rope=rope.no_rope,
    tied=True,
    whole_stages=ALL_ENDS,
    renamed=classic.GPT2_KEYS,
    adapted=classic.four_times_as_wide,
    name="gpt",
)

FAMILIES: Mapping[str, Family] = {
    "OPTForCausalLM": Family(
        layers=classic.classic(classic.OPT),
        more={"embedding": classic.opt_positions, "norm": classic.opt_norm},
        norm=False,
        rope=rope.no_rope,
        tied=True,
        whole_stages=ALL_ENDS,
        renamed={"ffn_dim": "intermediate_size"},
        defaults={"max_position_embeddings": 2048},
        word_width="word_embed_proj_dim",
        name="opt",
    ),
    "GPT2LMHeadModel": GPT2,
    "GPTJForCausalLM": replace(
        GPT2,
        layers=classic.classic(classic.GPTJ),
        more={"norm": plain.final_bias, "head": experts.head_bias},
        rope=classic.gptj_rope,
        tied=False,
    ),
    "BloomForCausalLM": Family(
        layers=classic.classic(classic.BLOOM),
        more={"embedding": classic.word_layer_norm, "norm": plain.final_bias},
        rope=rope.no_rope,
        tied=True,
        whole_stages=ALL_ENDS,
        head_quantized=False,
        renamed=classic.BLOOM_KEYS,
        adapted=classic.four_times_as_wide,
        defaults={"max_position_embeddings": 2048},
        name="bloom",
    ),
    "GPTBigCodeForCausalLM": replace(GPT2, layers=classic.big_code, rope=classic.causal_mask, whole_stages=frozenset(), name="starcoder"),
    "DbrxForCausalLM": Family(
        layers=classic.dbrx,
        whole_stages=ALL_ENDS,
        renamed={"d_model": "hidden_size", "n_heads": "num_attention_heads", "n_layers": "num_hidden_layers", "max_seq_len": "max_position_embeddings"},
        adapted=classic.dbrx_sections,
        never_tied="DBRX",
        name="dbrx",
    ),
}

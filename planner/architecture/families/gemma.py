"""Gemma, of every generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import gemma3n, gemma4, rope, text
from planner.architecture.family import ALL_ENDS, Family, reading
from planner.architecture.towers import gemma3n as gemma3n_towers

GEMMA3_DEFAULTS = {"vocab_size": 262_208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131_072}
GEMMA3 = Family(
    layers=text.gemma(qk_norm=True, every=6, window=4096), rope=rope.gemma3_rope, tied=True, whole_stages=ALL_ENDS, defaults=GEMMA3_DEFAULTS, name="gemma"
)
GEMMA4 = Family(
    layers=gemma4.gemma4,
    more={"embedding": gemma4.per_layer_embedding},
    rope=rope.gemma4_rope,
    tied=True,
    whole_stages=ALL_ENDS,
    name="gemma",
    batched=gemma4.per_layer_rows,
)
GEMMA2 = Family(layers=text.gemma(qk_norm=False, every=2, window=4096), tied=True, head_quantized=False, whole_stages=ALL_ENDS, name="gemma")

GEMMA3N = Family(
    layers=gemma3n.gemma3n,
    more={"embedding": gemma3n.embeddings, "norm": gemma3n.gathered},
    rope=rope.mimo_rope,
    tied=True,
    adapted=gemma3n.sizes,
    pipeline=False,
    name="gemma",
)

FAMILIES: Mapping[str, Family] = {
    "GemmaForCausalLM": Family(layers=reading(text.llama()), tied=True, whole_stages=ALL_ENDS, name="gemma"),
    "Gemma2ForCausalLM": GEMMA2,
    "Gemma3ForCausalLM": GEMMA3,
    "Gemma3TextModel": replace(GEMMA3, head=False, pipeline=False),
    "Gemma4ForCausalLM": GEMMA4,
    "Gemma3nForCausalLM": GEMMA3N,
    "Gemma3nForConditionalGeneration": replace(GEMMA3N, tower=gemma3n_towers.gemma3n, bidirectional_images=False),
}

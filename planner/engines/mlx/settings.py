"""The settings of mlx_lm.server and mlx_vlm.server that decide what they hold. Sources: their argument parsers, in the releases that flags.json names."""

from __future__ import annotations

from dataclasses import replace

from planner.engines.mlx.prefill import PREFILL_STEP
from planner.facts.settings import Kind, Setting

_ROWS = (
    Setting(name="model", flag="--model", kind=Kind.TEXT, help="A repository of the Hub, or a folder."),
    Setting(name="embedding_model", flag="--embedding-model", kind=Kind.TEXT, help="A model for embeddings (mlx_vlm.server)."),
    Setting(name="max_kv_size", flag="--max-kv-size", kind=Kind.TOKENS, least=1, help="Tokens that a request's cache may hold (mlx_vlm.server)."),
    Setting(name="max_num_seqs", flag="--max-num-seqs", kind=Kind.COUNT, least=1, help="Requests at a time (mlx_vlm.server)."),
    Setting(name="decode_concurrency", flag="--decode-concurrency", kind=Kind.COUNT, default=32, least=1, help="Requests decoded at a time (mlx_lm.server)."),
    Setting(name="prompt_concurrency", flag="--prompt-concurrency", kind=Kind.COUNT, default=8, least=1, help="Prompts read at a time (mlx_lm.server)."),
    Setting(name="prompt_cache_size", flag="--prompt-cache-size", kind=Kind.COUNT, default=10, help="Old prompts that are kept (mlx_lm.server)."),
    Setting(name="prompt_cache_bytes", flag="--prompt-cache-bytes", kind=Kind.BYTES, help="What old prompts may hold (mlx_lm.server)."),
    Setting(name="kv_bits", flag="--kv-bits", kind=Kind.TEXT, help="Bits of the cache; without it 16."),
    Setting(name="prefill_step_size", flag="--prefill-step-size", kind=Kind.COUNT, default=PREFILL_STEP, least=1, help="Tokens of a prompt's step."),
)
SETTINGS = tuple(replace(row, is_pin=False, group="MLX") for row in _ROWS)

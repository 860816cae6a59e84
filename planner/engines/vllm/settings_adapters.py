"""The rows of the table of settings for what is added to a model: LoRA adapters (config/lora.py) and a drafter (config/speculative.py)."""

from __future__ import annotations

from planner.engines.vllm.speculation import wish
from planner.facts.settings import Kind, Setting

ADAPTERS = (
    Setting(
        name="speculative_config",
        flag="--speculative-config",
        aliases=("-sc",),
        kind=Kind.TEXT,
        help="What drafts tokens: mtp:3, ngram:5, eagle3:OWNER/NAME:3, or vLLM's JSON.",
        place=10,
        only_where_said=True,
        parse=wish,
        asked_as="--speculate",
    ),
    Setting(
        name="enable_lora",
        flag="--enable-lora",
        off=("--no-enable-lora", "--disable-lora"),
        kind=Kind.SWITCH,
        default=False,
        unpinned=False,
        help="Room for LoRA adapters.",
        place=11,
        only_where_said=True,
    ),
    Setting(
        name="max_loras",
        flag="--max-loras",
        kind=Kind.COUNT,
        default=1,
        least=1,
        most=10_000,
        help="LoRA adapters of one step.",
        place=12,
        only_where_said=True,
    ),
    Setting(
        name="max_lora_rank",
        flag="--max-lora-rank",
        kind=Kind.COUNT,
        default=16,
        least=1,
        most=512,
        help="The largest rank of an adapter: 1, 8, 16, 32, 64, 128, 256, 320 or 512.",
        place=13,
        only_where_said=True,
    ),
    Setting(name="max_cpu_loras", flag="--max-cpu-loras", kind=Kind.COUNT, is_pin=False),
    Setting(
        name="fully_sharded_loras",
        flag="--fully-sharded-loras",
        off=("--no-fully-sharded-loras",),
        kind=Kind.SWITCH,
        default=False,
        unpinned=False,
        help="Divide both matrices of an adapter over the GPUs.",
    ),
    Setting(name="lora_dtype", flag="--lora-dtype", kind=Kind.TEXT, default="auto", choices=("auto", "bfloat16", "float16"), is_pin=False),
    Setting(name="lora_target_modules", flag="--lora-target-modules", kind=Kind.TEXT, is_pin=False),
    Setting(
        name="specialize_active_lora",
        flag="--specialize-active-lora",
        off=("--no-specialize-active-lora",),
        kind=Kind.SWITCH,
        default=False,
        is_pin=False,
    ),
    Setting(
        name="enable_tower_connector_lora",
        flag="--enable-tower-connector-lora",
        off=("--no-enable-tower-connector-lora", "--disable-tower-connector-lora"),
        kind=Kind.SWITCH,
        default=False,
        is_pin=False,
    ),
)

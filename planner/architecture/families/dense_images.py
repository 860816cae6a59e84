"""Dense text models with a tower for images: what most people serve, so that theirs alone is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import rope
from planner.architecture.families.llama import MISTRAL, QWEN2, QWEN3
from planner.architecture.family import Family
from planner.architecture.towers import vision

QWEN2_VL = replace(QWEN2, tower=vision.qwen2_vision, rope=rope.VIDEO)
QWEN3_VL = replace(QWEN3, tower=vision.qwen3_vision, rope=rope.film_tables)

FAMILIES: Mapping[str, Family] = {
    "Mistral3ForConditionalGeneration": replace(MISTRAL, tower=vision.pixtral_vision),
    "Qwen2VLForConditionalGeneration": QWEN2_VL,
    "Qwen2_5_VLForConditionalGeneration": replace(QWEN2, tower=vision.qwen25_vision, rope=rope.VIDEO),
    "Qwen3VLForConditionalGeneration": QWEN3_VL,
}

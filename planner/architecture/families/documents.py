"""Models that read documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import rope
from planner.architecture.families.dense import FAMILIES as DENSE
from planner.architecture.families.dense import GLM4, QWEN2
from planner.architecture.families.images import by_type
from planner.architecture.family import Family
from planner.architecture.towers import documents, vision

FAMILIES: Mapping[str, Family] = {
    "PaddleOCRVLForConditionalGeneration": replace(DENSE["Ernie4_5ForCausalLM"], tower=documents.paddleocr, pipeline=False, name="paddleocr"),
    "GlmOcrForConditionalGeneration": replace(GLM4, tower=documents.glm_ocr, rope=rope.HALF_VIDEO),
    "DeepseekOCRForCausalLM": by_type(documents.deepseek_ocr, "deepseek"),
    "DeepseekOCR2ForCausalLM": by_type(documents.deepseek_ocr2, "deepseek"),
    "DeepseekVLV2ForCausalLM": by_type(documents.deepseek_vl2, "deepseek"),
    "DotsOCRForCausalLM": replace(QWEN2, tower=documents.dots_ocr, name="dots"),
    "LightOnOCRForConditionalGeneration": by_type(vision.pixtral_vision, "lighton"),
}

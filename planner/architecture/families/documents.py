"""Models that read documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import rope
from planner.architecture.families.images import by_type
from planner.architecture.families.llama import FAMILIES as LLAMAS
from planner.architecture.families.llama import GLM4, QWEN2
from planner.architecture.family import Family
from planner.architecture.towers import documents, vision

TWO_ENDS = documents.line_ends("image_newline", "view_seperator")

FAMILIES: Mapping[str, Family] = {
    "PaddleOCRVLForConditionalGeneration": replace(LLAMAS["Ernie4_5ForCausalLM"], tower=documents.paddleocr, pipeline=False, name="paddleocr"),
    "GlmOcrForConditionalGeneration": replace(GLM4, tower=documents.glm_ocr, rope=rope.HALF_VIDEO),
    "DeepseekOCRForCausalLM": replace(by_type(documents.deepseek_ocr, "deepseek"), more={"every": TWO_ENDS}),
    "UnlimitedOCRForCausalLM": replace(by_type(documents.deepseek_ocr, "unlimited"), more={"every": TWO_ENDS}),
    "DeepseekOCR2ForCausalLM": replace(by_type(documents.deepseek_ocr2, "deepseek"), more={"every": documents.line_ends("view_seperator")}),
    "DeepseekVLV2ForCausalLM": replace(by_type(documents.deepseek_vl2, "deepseek"), more={"every": TWO_ENDS}),
    "DotsOCRForCausalLM": replace(QWEN2, tower=documents.dots_ocr, name="dots"),
    "LightOnOCRForConditionalGeneration": by_type(vision.pixtral_vision, "lighton"),
}

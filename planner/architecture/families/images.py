"""Text models with a tower for images beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import experts, gemma4, hybrid, minimax_m3, moe, rope, text
from planner.architecture.defaults import text_model
from planner.architecture.families.experts import GLM4_MOE, MINIMAX_M3, QWEN3_MOE
from planner.architecture.families.gemma import GEMMA3, GEMMA4
from planner.architecture.families.hybrid import KIMI_LINEAR, QWEN4_EXP, QWEN35
from planner.architecture.families.latent import DEEPSEEK
from planner.architecture.families.llama import FAMILIES as LLAMAS
from planner.architecture.families.llama import GLM4
from planner.architecture.family import Family
from planner.architecture.towers import conformer, glm_kimi, llava, projectors, vision
from planner.architecture.towers.tower import TowerBuilder

QWEN3_5_VL = replace(QWEN35, tower=vision.qwen3_vision, tied_by_text=True)


def by_type(tower: TowerBuilder, name: str) -> Family:
    """A tower beside whatever text model the config names."""
    return Family(layers=text.llama(), tower=tower, name=name, text=text_model)


PALIGEMMA = replace(by_type(llava.paligemma, "gemma"), bidirectional_images=True)

FAMILIES: Mapping[str, Family] = {
    "Qwen3VLMoeForConditionalGeneration": replace(QWEN3_MOE, tower=vision.qwen3_vision, rope=rope.film_tables),
    "Qwen3_5ForConditionalGeneration": QWEN3_5_VL,
    "Qwen3_5MoeForConditionalGeneration": QWEN3_5_VL,
    "Gemma3ForConditionalGeneration": replace(GEMMA3, tower=vision.siglip_vision, bidirectional_images=True),
    "Gemma4ForConditionalGeneration": replace(GEMMA4, tower=gemma4.gemma4_towers),
    "Gemma4UnifiedForConditionalGeneration": replace(
        GEMMA4,
        tower=gemma4.gemma4_unified,
        defaults={"hidden_size_per_layer_input": 0, "sliding_window": 1024, "use_bidirectional_attention": "vision"},
    ),
    "LlavaForConditionalGeneration": by_type(llava.llava(images=1), "llava"),
    "LlavaNextForConditionalGeneration": replace(by_type(llava.llava(images=10), "llava"), more={"every": llava.newline}),
    "LlavaOnevisionForConditionalGeneration": replace(by_type(llava.llava(images=10, divided=False), "llava"), more={"every": llava.newline}),
    "InternVLForConditionalGeneration": by_type(llava.internvl, "internvl"),
    "Idefics3ForConditionalGeneration": replace(by_type(llava.idefics3, "idefics"), tied_by_text=True, pipeline=False),
    "SmolVLMForConditionalGeneration": replace(by_type(llava.idefics3, "smolvlm"), tied_by_text=True, pipeline=False),
    "PaliGemmaForConditionalGeneration": PALIGEMMA,
    "Llama4ForConditionalGeneration": Family(layers=moe.llama4, tower=vision.llama4_vision, name="llama"),
    "Glm4vForConditionalGeneration": replace(GLM4, tower=glm_kimi.glm4_vision, rope=rope.HALF_VIDEO),
    "Glm4vMoeForConditionalGeneration": replace(GLM4_MOE, tower=glm_kimi.glm4_vision, rope=rope.HALF_VIDEO),
    "MiniMaxM3SparseForConditionalGeneration": replace(MINIMAX_M3, tower=minimax_m3.minimax_m3_vision),
    "KimiVLForConditionalGeneration": replace(DEEPSEEK, tower=glm_kimi.kimi_vision, name="kimi"),
    "KimiK25ForConditionalGeneration": Family(layers=DEEPSEEK.layers, rope=rope.latent_rope, tower=glm_kimi.kimi_vision, name="kimi"),
    "KimiK3ForConditionalGeneration": replace(KIMI_LINEAR, tower=glm_kimi.kimi_vision, methods={"compressed-tensors/mxfp4-pack-quantized": "mxfp4"}),
    "Cohere2VisionForConditionalGeneration": by_type(projectors.cohere2_vision, "cohere"),
    "Lfm2VlForConditionalGeneration": by_type(projectors.lfm2_vl, "lfm"),
    "AriaForConditionalGeneration": Family(layers=experts.aria, tower=projectors.aria, pipeline=False, name="aria"),
    "Exaone4_5_ForConditionalGeneration": replace(LLAMAS["Exaone4ForCausalLM"], tower=projectors.exaone45),
    "LlavaNextVideoForConditionalGeneration": by_type(llava.llava(images=32, divided=False), "llava"),
    "Blip2ForConditionalGeneration": by_type(conformer.blip2, "blip"),
    "Qwen4ExpForConditionalGeneration": replace(QWEN4_EXP, tower=vision.qwen3_vision),
    "InternS2PreviewForConditionalGeneration": replace(QWEN3_5_VL, adapted=hybrid.states_as_model),
}

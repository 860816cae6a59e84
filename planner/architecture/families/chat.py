"""Chat models with images whose config comes with their own code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import experts, gemma4, hybrid, moe, rope, text
from planner.architecture.families.dense import CHATGLM
from planner.architecture.families.dense import FAMILIES as DENSE
from planner.architecture.families.dense_images import QWEN3_VL
from planner.architecture.families.experts import FAMILIES as EXPERTS
from planner.architecture.families.experts import QWEN3_MOE
from planner.architecture.families.gemma import GEMMA4
from planner.architecture.families.hybrid import FAMILIES as HYBRID
from planner.architecture.families.hybrid import QWEN35
from planner.architecture.families.images import by_type
from planner.architecture.families.llama import FAMILIES as LLAMAS
from planner.architecture.families.llama import LLAMA, QWEN2, QWEN3
from planner.architecture.family import ALL_ENDS, Family, reading
from planner.architecture.towers import chat, eva_molmo, llava, nemotron, ovis_phi_keye, siglips, step_ernie, vision
from planner.architecture.towers.tower import together, unquantized

INTERNVL = by_type(chat.intern_vit(chat.two_layers), "internvl")
NEMOTRON = replace(HYBRID["NemotronHForCausalLM"], tower=nemotron.nano, pipeline=False)
NEMOTRON_OMNI = replace(NEMOTRON, adapted=hybrid.states_as_model)
OVIS25 = by_type(ovis_phi_keye.ovis25, "ovis")
MINICPMV46 = replace(QWEN35, tower=chat.minicpmv46, tied_by_text=True, adapted=hybrid.states_as_model, name="minicpm")
MINICPMV = replace(LLAMA, tower=chat.minicpmv, text=chat.minicpmv_text, name="minicpm")

FAMILIES: Mapping[str, Family] = {
    "InternVLChatModel": INTERNVL,
    "InternS1ForConditionalGeneration": by_type(llava.internvl, "internvl"),
    "H2OVLChatModel": replace(INTERNVL, name="h2ovl"),
    "SkyworkR1VChatModel": by_type(chat.intern_vit(chat.skywork_layers), "skywork"),
    "NVLM_D": by_type(chat.intern_vit(chat.wide_layers, dummy_heads=7), "nvlm"),
    "Eagle2_5_VLForConditionalGeneration": by_type(chat.eagle, "eagle"),
    "BeeForConditionalGeneration": replace(by_type(chat.normed_onevision(4), "bee"), more={"every": llava.newline}),
    "RForConditionalGeneration": replace(by_type(chat.normed_onevision(1), "r"), more={"every": llava.newline}),
    "MiniCPMV": MINICPMV,
    "MiniCPMO": replace(MINICPMV, tower=together(chat.minicpmv, chat.minicpmo_audio)),
    "Phi3VForCausalLM": replace(LLAMA, tower=ovis_phi_keye.phi3_vision, name="phi"),
    "KeyeForConditionalGeneration": replace(QWEN3, tower=ovis_phi_keye.keye(joined_norm=False), rope=rope.VIDEO, name="keye"),
    "KeyeVL1_5ForConditionalGeneration": replace(QWEN3, tower=ovis_phi_keye.keye(joined_norm=True), rope=rope.VIDEO, name="keye"),
    "Ovis": by_type(ovis_phi_keye.ovis, "ovis"),
    "Ovis2_5": OVIS25,
    "Ovis2_6ForCausalLM": OVIS25,
    "Ovis2_6_MoeForCausalLM": replace(OVIS25, tied_by_text=True),
    "GLM4VForCausalLM": replace(CHATGLM, tower=eva_molmo.glm4v_vision),
    "MolmoForCausalLM": Family(
        layers=reading(text.llama(output_bias=False), "qkv_bias"),
        tower=eva_molmo.molmo,
        more={"embedding": eva_molmo.molmo_words},
        whole_stages=ALL_ENDS,
        adapted=eva_molmo.molmo_sizes,
        name="molmo",
    ),
    "Phi4MMForCausalLM": replace(LLAMA, tower=together(eva_molmo.phi4_vision, eva_molmo.phi4_audio), pipeline=False, name="phi"),
    "MiniCPMV4_6ForConditionalGeneration": MINICPMV46,
    "MiniCPMV4_7ForConditionalGeneration": MINICPMV46,
    "Molmo2ForConditionalGeneration": Family(
        layers=text.unnamed(text.llama(qk_norm=True, output_bias=False)),
        head_name="",
        tower=eva_molmo.molmo2,
        more={"embedding": eva_molmo.molmo2_words},
        name="molmo",
    ),
    "Step3VLForConditionalGeneration": replace(EXPERTS["Step3TextForCausalLM"], tower=step_ernie.step3),
    "StepVLForConditionalGeneration": by_type(step_ernie.perception, "step"),
    "Step3p7ForConditionalGeneration": by_type(step_ernie.perception, "step"),
    "Ernie4_5_VLMoeForConditionalGeneration": Family(
        layers=experts.ernie_vl, tower=step_ernie.ernie, rope=rope.VIDEO, tied=True, pipeline_tied=False, name="ernie"
    ),
    "NemotronH_Nano_VL_V2": NEMOTRON,
    "NemotronH_Nano_Omni_Reasoning_V3": NEMOTRON_OMNI,
    "NemotronH_Super_Omni_Reasoning_V3": NEMOTRON_OMNI,
    "NemotronH_Omni_Reasoning_V3": NEMOTRON_OMNI,
    "LlamaNemotronVLModel": replace(by_type(nemotron.llama_nemotron, "nemotron"), head=False),
    "OpenCUAForConditionalGeneration": replace(QWEN2, tower=vision.still_vision, name="opencua"),
    "HCXVisionV2ForCausalLM": by_type(vision.qwen25_projected, "hyperclova"),
    "PixtralForConditionalGeneration": by_type(vision.pixtral_native, "mistral"),
    "Phi4ForCausalLMV": replace(DENSE["Phi3ForCausalLM"], tower=siglips.phi4_vision),
    "QianfanOCRForConditionalGeneration": by_type(chat.qianfan, "qianfan"),
    "Llama_Nemotron_Nano_VL": by_type(nemotron.nano_llama, "nemotron"),
    "InternS1ProForConditionalGeneration": replace(
        QWEN3_MOE,
        layers=moe.qwen_moe(bias=False, qk_norm=True, quantized_gate=False),
        tower=unquantized(vision.qwen3_vision),
        more={"every": rope.fourier_coefficients},
        rope=rope.fourier_tables,
        tied_by_text=True,
        name="interns",
    ),
    "IsaacForConditionalGeneration": replace(QWEN3, tower=siglips.isaac, rope=rope.VIDEO, name="isaac"),
    "BagelForConditionalGeneration": replace(QWEN2, tower=siglips.bagel, name="bagel"),
    "Granite4VisionForConditionalGeneration": replace(LLAMAS["GraniteForCausalLM"], tower=siglips.granite4_vision, more={"every": llava.newline}),
    "MuseGlimmerForConditionalGeneration": replace(DENSE["MuseGlimmerForCausalLM"], tower=chat.muse_glimmer),
    "Cosmos3ForConditionalGeneration": replace(QWEN3_VL, name="cosmos"),
    "Alpamayo2Super": replace(QWEN3_VL, inside="vlm_config", name="alpamayo"),
    "MiniCPMOcrForConditionalGeneration": MINICPMV46,
    "OpenPanguVLForConditionalGeneration": replace(DENSE["PanguEmbeddedForCausalLM"], tower=vision.openpangu_vision, rope=rope.VIDEO),
    "DiffusionGemmaForBlockDiffusion": replace(
        GEMMA4,
        tower=gemma4.gemma4_towers,
        tied_by_text=True,
        more={**GEMMA4.more, "every": gemma4.diffusion_conditioning},
        outer=(*GEMMA4.outer, "self_conditioning_size"),
        adapted=gemma4.keys_as_values,
        pipeline=False,
    ),
}

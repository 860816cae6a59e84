"""Which targets and divisions vLLM refuses a drafter, in its words.

Sources: vLLM 0.33 v1/worker/gpu/spec_decode/eagle/{utils,eagle3_utils}.py, models/interfaces.py SupportsEagle3, the drafters' own classes.
"""

from __future__ import annotations

from planner.engines.vllm.weights import stage_layers
from planner.facts.config import Parallel
from planner.facts.model import ModelSpec

_HIDDEN = ("eagle3", "dflash", "dspark")  # they read hidden states of some of the target's layers
# their layers are numbered behind those of the target's last stage alone (get_num_layers)
_FROM_OWN_STAGE = """
    EagleLlamaForCausalLM EagleMistralForCausalLM EagleCohereForCausalLM EagleDeepSeekMTPModel
"""
# their checkpoints never bring words of their own
_WITHOUT_WORDS = "EagleCohereForCausalLM DFlashLagunaForCausalLM DFlash2BeamDraftModel"

# read off the classes with the judge: those that show no hidden states of their layers, and those that show them on one stage alone
_HIDES = """
    AXK1ForCausalLM AriaForConditionalGeneration AudioFlamingo3ForConditionalGeneration BagelForConditionalGeneration BailingMoeForCausalLM
    BailingMoeV2ForCausalLM BailingMoeV2_5ForCausalLM BailingMoeV3ForCausalLM BeeForConditionalGeneration Blip2ForConditionalGeneration
    Cohere2ForCausalLM Cohere2VisionForConditionalGeneration CohereForCausalLM DeciLMForCausalLM DeepseekOCR2ForCausalLM DeepseekOCRForCausalLM
    DeepseekVLV2ForCausalLM DiffusionGemmaForBlockDiffusion DotsOCRForCausalLM Eagle2_5_VLForConditionalGeneration Ernie4_5_MoeForCausalLM
    Ernie4_5_VLMoeForConditionalGeneration Exaone4ForCausalLM Exaone4_5_ForConditionalGeneration ExaoneForCausalLM ExaoneMoEForCausalLM
    ExaoneMoeForCausalLM FalconForCausalLM FalconH1ForCausalLM FalconMambaForCausalLM GLM4VForCausalLM GPTJForCausalLM Gemma2ForCausalLM
    Gemma3ForCausalLM Gemma3ForConditionalGeneration Gemma3nForCausalLM Gemma3nForConditionalGeneration GemmaForCausalLM Glm4ForCausalLM
    Glm4MoeForCausalLM Glm4MoeLiteForCausalLM Glm4vForConditionalGeneration Glm4vMoeForConditionalGeneration GlmAsrForConditionalGeneration
    GlmOcrForConditionalGeneration Granite4VisionForConditionalGeneration GraniteMoeHybridForCausalLM GraniteSpeechForConditionalGeneration
    GraniteSpeechPlusForConditionalGeneration HCXVisionV2ForCausalLM HYV3ForCausalLM HYV4ForCausalLM HyperCLOVAXForCausalLM IQuestLoopCoderForCausalLM
    Idefics3ForConditionalGeneration InternLM2ForCausalLM InternS1ForConditionalGeneration InternVLForConditionalGeneration
    IsaacForConditionalGeneration JambaForCausalLM KeyeForConditionalGeneration KeyeVL1_5ForConditionalGeneration KimiVLForConditionalGeneration
    Lfm2ForCausalLM Lfm2MoeForCausalLM Lfm2VlForConditionalGeneration LlavaNextForConditionalGeneration LlavaNextVideoForConditionalGeneration
    LlavaOnevisionForConditionalGeneration LongcatFlashForCausalLM LongcatFlashNgramForCausalLM Mamba2ForCausalLM MambaForCausalLM MiniCPMO MiniCPMV
    MixtralForCausalLM MolmoForCausalLM MossTranscribeDiarizeForConditionalGeneration NVLM_D NemotronForCausalLM OPTForCausalLM OlmoeForCausalLM
    OrionForCausalLM Ovis Ovis2_5 Ovis2_6ForCausalLM Ovis2_6_MoeForCausalLM PaddleOCRVLForConditionalGeneration PaliGemmaForConditionalGeneration
    PanguUltraMoEForCausalLM Param2MoEForCausalLM Phi3VForCausalLM Phi4MMForCausalLM PhiMoEForCausalLM QianfanOCRForConditionalGeneration
    Qwen2AudioForConditionalGeneration Qwen2MoeForCausalLM Qwen2VLForConditionalGeneration Qwen2_5OmniForConditionalGeneration
    RForConditionalGeneration SmolVLMForConditionalGeneration SolarForCausalLM StableLmForCausalLM Step3TextForCausalLM
    Step3VLForConditionalGeneration Step3p5ForCausalLM StepVLForConditionalGeneration UnlimitedOCRForCausalLM VoxtralForConditionalGeneration
    WhisperForConditionalGeneration Zamba2ForCausalLM
"""
_SHOWS_ON_ONE_STAGE = """
    AfmoeForCausalLM ArceeForCausalLM BeamForCausalLM Cohere2MoeForCausalLM CwmForCausalLM DeepseekForCausalLM DeepseekV2ForCausalLM
    DeepseekV32ForCausalLM DeepseekV3ForCausalLM FlexOlmoForCausalLM GPTBigCodeForCausalLM GPTNeoXForCausalLM Gemma4ForCausalLM
    Gemma4ForConditionalGeneration Gemma4UnifiedForConditionalGeneration GlmForCausalLM GlmMoeDsaForCausalLM GptOssForCausalLM GraniteForCausalLM
    GraniteMoeForCausalLM GraniteMoeSWAForCausalLM GraniteMoeSharedForCausalLM GraniteSWAForCausalLM HeliumForCausalLM HunYuanDenseV1ForCausalLM
    HunYuanMoEV1ForCausalLM InternS2PreviewForConditionalGeneration Jais2ForCausalLM K2HorizonForCausalLM KimiK25ForConditionalGeneration Kolibri1ForCausalLM
    LagunaForCausalLM MellumForCausalLM MiMoForCausalLM MiMoV2FlashForCausalLM MiniCPM3ForCausalLM MiniCPMForCausalLM
    MiniCPMOcrForConditionalGeneration MiniCPMV4_6ForConditionalGeneration MiniCPMV4_7ForConditionalGeneration MiniMaxM2ForCausalLM
    MuseGlimmerForCausalLM MuseGlimmerForConditionalGeneration NanbeigeForCausalLM NemotronHForCausalLM Olmo2ForCausalLM Olmo3ForCausalLM
    OlmoForCausalLM PhiForCausalLM Plamo3ForCausalLM Qwen3MoeForCausalLM Qwen3NextForCausalLM Qwen3OmniMoeForConditionalGeneration
    Qwen3VLMoeForConditionalGeneration Qwen3_5ForCausalLM Qwen3_5ForConditionalGeneration Qwen3_5MoeForCausalLM Qwen3_5MoeForConditionalGeneration
    SeedOssForCausalLM SmolLM3ForCausalLM Starcoder2ForCausalLM VaultGemmaForCausalLM
"""


def pipeline_problem(model: ModelSpec, stages: int) -> str:
    """Why a target and its drafter cannot be divided over pipeline stages, or an empty string."""
    drafter = model.drafter
    if drafter is None or drafter.model is None:
        return ""
    name = drafter.model.architecture
    if name == "Gemma4MTPModel":
        return "Pipeline parallelism is not supported for this model. Supported models implement the `SupportsPP` interface."
    if drafter.method in _HIDDEN and model.architecture in _SHOWS_ON_ONE_STAGE.split():
        return f"{model.architecture} does not support {drafter.method} with pipeline parallelism"
    last = stage_layers(model.layer_count, Parallel(pipeline_parallel_size=stages))[-1]
    if name in _FROM_OWN_STAGE.split() and last >= model.layer_count - last:
        return f"Duplicate layer name: model.layers.{last}.self_attn.attn, of the drafter and of its target"
    if name in _WITHOUT_WORDS.split() and not model.tied_copy:
        return f"{name} needs the target input embedding, but it is unavailable on this PP stage"
    return ""


def keeps_words(model: ModelSpec, method: str) -> bool:
    """Whether a target's last stage holds its words for a drafter (models/utils.py spec_decode_needs_target_embed, in classes that show hidden states there)."""
    return method in ("eagle", *_HIDDEN) and model.architecture not in _HIDES.split() and model.architecture not in _SHOWS_ON_ONE_STAGE.split()


def target_problem(model: ModelSpec, method: str) -> str:
    """Why a target cannot have a drafter of this method, or an empty string."""
    if method in _HIDDEN and model.architecture in _HIDES.split():
        return "Model does not support EAGLE3 interface"
    return ""

"""What vLLM's classes call their modules where that is not what the layers here call them: a checkpoint's list of what is left out is held against it.

Read off vLLM 0.33's classes with the judge: the `prefix` that each gives its quantization (layers/linear.py LinearBase), and which of them have no
`hf_to_vllm_mapper`, without which ModelOpt's patterns are read as they stand (model_loader/utils.py configure_quant_config, modelopt.py apply_vllm_mapper).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from planner.architecture.formats import Quantization, Target
from planner.facts.storage import Storage

Names = tuple[tuple[str, str], ...]
"""Patterns and what replaces them, one after the other."""

_H: Names = ((r"^layers\.", "h."),)
_BERT: Names = ((r"^layers\.", "encoder.layer."), (r"attention\.self\.", "attention.output."))
_MASKED_BERT: Names = (*_BERT, (r"^encoder", "bert.encoder"))
_JINA_ROBERTA: Names = (
    (r"^layers\.", ".encoder.layer."),
    (r"attention\.self\.(?:query|key|value)", "attention.qkv_proj"),
    (r"attention\.output\.dense", "attention.dense"),
    (r"intermediate\.dense", "mlp.up_proj"),
    (r"(\d)\.output\.dense", r"\1.mlp.down_proj"),
)
_BLOOM: Names = (
    *((r"^layers\.", "h."),),
    (r"attn\.out_proj", "self_attention.dense"),
    (r"attn\.query_key_value", "self_attention.query_key_value"),
    (r"fc_in", "dense_h_to_4h"),
    (r"fc_out", "dense_4h_to_h"),
)
_CHATGLM: Names = ((r"^layers\.", "encoder.layers."),)
_OCR: Names = ((r"^vision_model\.transformer", "vision_model.encoder"), (r"^(vision_model\..*self_attn)\.[qkv]_proj$", r"\1.qkv_proj"))
_NOMIC: Names = (
    (r"^layers\.", "encoder.layer."),
    (r"attn\.out_proj", "attention.dense"),
    (r"attn\.(?:Wqkv|qkv_proj)", "attention.qkv_proj"),
    (r"mlp\.up_gate_proj", "mlp.gate_up_proj"),
)
_GPT2: Names = (*_H, (r"attn\.out_proj", "attn.c_proj"), (r"fc_in", "c_fc"), (r"fc_out", "c_proj"))
_GRANITE_SHARED: Names = (
    (r"^(layers\.\d+\.)mlp\.experts", r"\1block_sparse_moe.experts"),
    (r"mlp\.shared_experts", "shared_mlp"),
    (r"shared_mlp\.(?:gate|up)_proj", "shared_mlp.input_linear"),
    (r"shared_mlp\.down_proj", "shared_mlp.output_linear"),
)
_INTERNLM2: Names = (
    (r"self_attn\.o_proj", "attention.wo"),
    (r"self_attn\.[qkv]_proj", "attention.wqkv"),
    (r"mlp\.gate_proj", "feed_forward.w1"),
    (r"mlp\.up_proj", "feed_forward.w3"),
    (r"mlp\.down_proj", "feed_forward.w2"),
)
_TEXT_MODEL: Names = ((r"^layers\.", "text_model.layers."),)
_LLM: Names = ((r"^layers\.", "llm.model.layers."),)
_FUSED: Names = ((r"self_attn\.[qkv]_proj", "self_attn.qkv_proj"), (r"(mlp|share_expert)\.(?:gate|up)_proj", r"\1.gate_up_proj"))
"""Of a class that tells a quantization nothing of what it fuses: a list must name the fused matrix."""
_FUSED_TOWER: Names = ((r"^(vis.*self_attn)\.[qkv]_proj$", r"\1.qkv_proj"),)
_FUSED_LATENTS: Names = ((r"(?:q_a_proj|kv_a_proj_with_mqa)$", "fused_qkv_a_proj"),)
_MODERN: Names = ((r"^layers\.", ".encoder_layer.layers."),)
_MODERN_LABELS: Names = ((r"^layers\.", "modernbert.encoder_layer.layers."),)
# no name of a checkpoint is that of a module: none is left out by its whole name
_NOWHERE: Names = ((r"^layers\.", "..layers."),)
_TEXTS: Names = ((r"^layers\.(\d+)\.text_model\.encoder\.layers\.0\.", r"text_model.encoder.layers.\1."),)
_HUNYUAN_V3: Names = ((r"mlp\.shared_experts", "mlp.shared_mlp"),)

# A drafter's quantization is told no names of fused parts (models/utils.py get_draft_quant_config): lists are held against the fused names.
_DRAFTER: Names = (
    (r"self_attn\.[qkv]_proj$", "self_attn.qkv_proj"),
    (r"mlp\.(?:gate|up)_proj$", "mlp.gate_up_proj"),
    (r"self_attn\.(?:q_a_proj|kv_a_proj_with_mqa)$", "self_attn.fused_qkv_a_proj"),
)
_QWEN_DRAFTER: Names = (*_DRAFTER, (r"self_attn\.qkv_proj$", "qkv_proj"))
_DRAFTERS = """
    Eagle3LlamaForCausalLM LlamaForCausalLMEagle3 Eagle3MiniMaxM2ForCausalLM Eagle3Qwen2_5vlForCausalLM Eagle3Qwen3vlForCausalLM PEagleDraftModel
    PeagleLlamaForCausalLM Eagle3DeepseekV2ForCausalLM Eagle3DeepseekV3ForCausalLM EagleLlamaForCausalLM EagleMistralForCausalLM EagleCohereForCausalLM
    DFlashDraftModel MuseGlimmerAssistantModel DFlashMuseGlimmerAssistantModel DFlash2DraftModel Qwen3DSparkModel Qwen3OmniDSparkModel Qwen3XPressModel
    DFlashQwen3XPressModel DFlashLagunaForCausalLM Gemma4MTPModel Step3p5MTP
"""


def _text_beside(prefix: str) -> Names:
    """A text model inside a whole that has a prefix of its own, to which no list is mapped."""
    return ((r"^layers\.", f"{prefix}..layers."), (r"^visual", f"{prefix}.visual"))


def _whisper(at: str) -> Names:
    """Whisper's encoder as a class of its own calls it: each layer once more inside its layer (whisper.py)."""
    return (
        (rf"^({at}\.layers\.\d+)\.fc", r"\1.mlp.fc"),
        (rf"^({at}\.layers\.\d+)\.(?:(self_attn)\.[qkv]_proj|(.*))$", r"\1.layers.\2\3"),
        (r"layers\.self_attn$", "layers.self_attn.qkv_proj"),
    )


def _whisper_parts(at: str) -> Names:
    """The same in a class that tells what it fuses."""
    return (rf"^({at}\.layers\.\d+)\.fc", r"\1.layers.mlp.fc"), (rf"^({at}\.layers\.\d+)\.self_attn", r"\1.layers.self_attn")


NAMES: Mapping[str, Names] = dict.fromkeys(_DRAFTERS.split(), _DRAFTER) | {
    "Eagle3Qwen3ForCausalLM": _QWEN_DRAFTER,
    "PeagleQwen3ForCausalLM": _QWEN_DRAFTER,
    "AriaForConditionalGeneration": ((r"^layers\.\d+\.mlp\.shared_experts\.", "."), *_NOWHERE),
    "BailingMoeV2_5ForCausalLM": _FUSED_LATENTS,
    "BailingMoeV3ForCausalLM": _FUSED_LATENTS,
    "BeeForConditionalGeneration": _FUSED_TOWER,
    "BertForMaskedLM": _MASKED_BERT,
    "BertForSequenceClassification": _MASKED_BERT,
    "BloomForCausalLM": _BLOOM,
    "BertForTokenClassification": _BERT,
    "BertModel": _BERT,
    "BertSpladeSparseEmbeddingModel": _BERT,
    "BgeM3EmbeddingModel": _BERT,
    "Blip2ForConditionalGeneration": ((r"^vision_model\.encoder", ".encoder"),),
    "CLIPModel": _TEXTS,
    "ChatGLMForConditionalGeneration": _CHATGLM,
    "ChatGLMModel": _CHATGLM,
    "ColBERTJinaRobertaModel": _JINA_ROBERTA,
    "ColBERTModernBertModel": _MODERN,
    "ColModernVBertForRetrieval": _FUSED_TOWER,
    "DbrxForCausalLM": ((r"^layers\.", "blocks."),),
    "DeepseekOCRForCausalLM": _OCR,
    "DeepseekVLV2ForCausalLM": _NOWHERE,
    "DomynEdgeForCausalLM": ((r"self_attn\.", "attention."),),
    "Eagle2_5_VLForConditionalGeneration": _FUSED_TOWER,
    "ExaoneForCausalLM": (
        *_H,
        (r"self_attn\.o_proj", "attn.attention.out_proj"),
        (r"self_attn", "attn.attention"),
        (r"mlp\.gate_proj", "mlp.c_fc_0"),
        (r"mlp\.up_proj", "mlp.c_fc_1"),
        (r"mlp\.down_proj", "mlp.c_proj"),
    ),
    "FalconForCausalLM": _H,
    "FalconH1ForCausalLM": ((r"self_attn\.", ""), (r"layers\.(\d+)\.mamba", r"\1.mixer")),
    "GLM4VForCausalLM": ((r"^vision\.", "transformer.vision."), *_CHATGLM),
    "GPT2ForSequenceClassification": _GPT2,
    "GPT2LMHeadModel": _GPT2,
    "GPTBigCodeForCausalLM": _H,
    "GPTJForCausalLM": _H,
    "GPTNeoXForCausalLM": (
        (r"self_attn\.o_proj", "attention.dense"),
        (r"self_attn\.[qkv]_proj", "attention.query_key_value"),
        (r"mlp\.up_proj", "mlp.dense_h_to_4h"),
        (r"mlp\.down_proj", "mlp.dense_4h_to_h"),
    ),
    "Glm4vForConditionalGeneration": ((r"^(visual\..*)\.(?:gate|up)_proj$", r"\1.gate_up_proj"),),
    "Gemma3TextModel": ((r"^layers\.", ".layers."), *_FUSED),
    **dict.fromkeys(("Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"), ((r"^(altup_projections|per_layer_model_projection)", r"self_decoder.\1"),)),
    "GlmAsrForConditionalGeneration": (
        (r"^(audio_tower\.layers\.\d+)\.fc", r"\1.mlp.fc"),
        (r"^(audio_tower\.layers\.\d+\.self_attn)\.out_proj", r"\1.o_proj"),
    ),
    "GlmForCausalLM": ((r"mlp\.(?:gate|up)_proj", "mlp.gate_up_proj"),),
    "GraniteMoeHybridForCausalLM": ((r"mamba\.", "mixer."),),
    "GraniteMoeSWAForCausalLM": _GRANITE_SHARED,
    "GraniteMoeSharedForCausalLM": _GRANITE_SHARED,
    **dict.fromkeys(("GteModel", "GteNewModel", "GteNewForSequenceClassification"), (*_NOMIC, (r"^encoder\.", ".encoder."))),
    "HF_ColBERT": _BERT,
    "HYV3ForCausalLM": _HUNYUAN_V3,
    "HYV3MTPModel": _HUNYUAN_V3,
    "BailingMoeV25MTPModel": _FUSED_LATENTS,
    "IQuestLoopCoderForCausalLM": ((r"layers\.(\d+)\.gate_projections", r"gate_projections.\1"), *_FUSED),
    "Idefics3ForConditionalGeneration": _TEXT_MODEL,
    "InternLM2ForCausalLM": _INTERNLM2,
    "InternLM2ForRewardModel": _INTERNLM2,
    "IsaacForConditionalGeneration": (
        (r"^vision_embedding\.transformer\.", "vision_embedding.0."),
        (r"^vision_embedding\.linear_fc1", "vision_embedding.1"),
        (r"^vision_embedding\.linear_fc2", "vision_embedding.3"),
    ),
    **dict.fromkeys(("JambaForCausalLM", "JambaForSequenceClassification"), ((r"self_attn\.", ""),)),
    "JinaForRanking": _FUSED,
    "JinaVLForRanking": _text_beside("qwen2_vl"),
    "LagunaForCausalLM": ((r"mlp\.shared_experts", "mlp.shared_expert"),),
    **dict.fromkeys(("ColBERTLfm2Model", "Lfm2ForCausalLM", "Lfm2MoeForCausalLM"), ((r"self_attn\.o_proj", "self_attn.out_proj"),)),
    "Lfm2BidirectionalModel": (
        (r"^layers\.", ".layers."),
        (r"self_attn\.o_proj", "self_attn.out_proj"),
        (r"self_attn\.[qkv]_proj", "self_attn.qkv_proj"),
        (r"feed_forward\.w[13]$", "feed_forward.w13"),
    ),
    "Lfm2VlForConditionalGeneration": (*_FUSED_TOWER, (r"^layers\.", "language.model.layers.")),
    "LlamaNemotronVLModel": _FUSED_TOWER,
    "LlavaOnevisionForConditionalGeneration": _FUSED_TOWER,
    "LongcatFlashForCausalLM": _FUSED_LATENTS,
    "LongcatFlashNgramForCausalLM": _FUSED_LATENTS,
    "MiniCPMO": _LLM,
    "MiniCPMV": _LLM,
    "MiniMaxM2ForCausalLM": ((r"block_sparse_moe\.", "mlp."),),
    "MiniMaxM3SparseForConditionalGeneration": ((r"^(vision_tower\..*)\.mlp\.", r"\1."),),
    "ModernBertForSequenceClassification": _MODERN_LABELS,
    "ModernBertForTokenClassification": _MODERN_LABELS,
    "ModernBertModel": _MODERN,
    "ModernVBertModel": _FUSED_TOWER,
    "MolmoForCausalLM": _FUSED,
    "MoonshotKimiaForCausalLM": _whisper("audio_tower"),
    "MossTranscribeDiarizeForConditionalGeneration": _whisper("whisper_encoder"),
    "NomicBertModel": _NOMIC,
    "OPTForCausalLM": ((r"^layers\.", "decoder.layers."), (r"(?<=\d\.)attn\.", "self_attn."), (r"mlp\.fc_in", "fc1"), (r"mlp\.fc_out", "fc2")),
    "OpenPanguVLForConditionalGeneration": ((r"^layers\.", "..layers."),),
    "OpenAIPrivacyFilterForTokenClassification": ((r"attn\.[qkv]_proj", "attn.qkv_proj"),),
    "OrionForCausalLM": _FUSED,
    "Ovis": _LLM,
    "Ovis2_5": _LLM,
    "Ovis2_6ForCausalLM": _LLM,
    "Ovis2_6_MoeForCausalLM": _LLM,
    "PaddleOCRVLForConditionalGeneration": _FUSED_TOWER,
    "Param2MoEForCausalLM": ((r"attention\.dense", "self_attn.o_proj"), (r"attention\.query_key_value", "self_attn.query_key_value")),
    "Phi3VForCausalLM": ((r"^vision_embed", ".vision_embed"), (r"^(\.vis.*self_attn)\.[qkv]_proj$", r"\1.qkv_proj"), *_NOWHERE),
    "Phi4ForCausalLMV": _FUSED_TOWER,
    "Phi4MMForCausalLM": _FUSED,
    "PhiForCausalLM": ((r"self_attn\.o_proj", "self_attn.dense"), (r"mlp\.up_proj", "mlp.fc1"), (r"mlp\.down_proj", "mlp.fc2")),
    "Plamo3ForCausalLM": (*_FUSED, (r"^layers\.(\d+)\.self_attn", r"layers.layers.\1.mixer"), (r"^layers\.(\d+)\.mlp", r"layers.layers.\1.mlp")),
    "RForConditionalGeneration": _FUSED_TOWER,
    "RobertaModel": _BERT,
    "RobertaForMaskedLM": _BERT,
    "RobertaForSequenceClassification": _MASKED_BERT,
    "RobertaForTokenClassification": (*_BERT, (r"^encoder", "roberta.encoder")),
    "SiglipModel": _TEXTS,
    "StableLmForCausalLM": _FUSED,
    "SmolVLMForConditionalGeneration": _TEXT_MODEL,
    "Starcoder2ForCausalLM": ((r"mlp\.up_proj", "mlp.c_fc"), (r"mlp\.down_proj", "mlp.c_proj")),
    "Step3TextForCausalLM": ((r"^layers\.", ".layers."), *_FUSED),
    "Step3VLForConditionalGeneration": (*_NOWHERE, *_FUSED),
    "UnlimitedOCRForCausalLM": _OCR,
    "UltravoxModel": (*_whisper_parts("audio_tower"), (r"^(multi_modal_projector\.layers\.\d+)\.fc", r"\1.mlp.fc")),
    "VoxtralForConditionalGeneration": _whisper_parts(r"whisper_encoder\.whisper_encoder"),
    "WhisperForConditionalGeneration": (
        (r"^layers\.(\d+)\.", r".decoder.layers.\1.layers."),
        (r"^model\.encoder\.layers\.(\d+)\.(?=self)", r".encoder.layers.\1.layers."),
        (r"^model\.encoder\.layers\.(\d+)\.(?=fc)", r".encoder.layers.\1.layers.mlp."),
    ),
    "Zamba2ForCausalLM": ((r"shared_transformer\.(?:self_attn\.)?", ""), (r"mamba\.", "mixer.")),
    "XLMRobertaForSequenceClassification": _MASKED_BERT,
    "XLMRobertaForTokenClassification": _BERT,
    "XLMRobertaModel": _BERT,
}

_UNMAPPED = """
    Eagle3LlamaForCausalLM LlamaForCausalLMEagle3 Eagle3MiniMaxM2ForCausalLM Eagle3Qwen2_5vlForCausalLM Eagle3Qwen3vlForCausalLM PEagleDraftModel
    PeagleLlamaForCausalLM Eagle3Qwen3ForCausalLM PeagleQwen3ForCausalLM EagleLlamaForCausalLM EagleMistralForCausalLM EagleCohereForCausalLM
    Gemma4MTPModel Step3p5MTP
    AXK1ForCausalLM BailingMoeForCausalLM BailingMoeV25MTPModel BailingMoeV2ForCausalLM
    BailingMoeV2_5ForCausalLM BertForSequenceClassification BertForTokenClassification BloomForCausalLM
    ChatGLMForConditionalGeneration ChatGLMModel ColBERTJinaRobertaModel ColBERTLfm2Model ColBERTModernBertModel DFlash2BeamDraftModel
    DFlashLagunaForCausalLM DbrxForCausalLM DeepSeekMTPModel DeepSeekV4MTPModel DeepseekForCausalLM DeepseekV2ForCausalLM DeepseekV32ForCausalLM
    DeepseekV32MTPModel DeepseekV3BidirectionalModel DeepseekV3ForCausalLM DomynEdgeForCausalLM     Eagle3DeepseekV2ForCausalLM Eagle3DeepseekV3ForCausalLM EagleDeepSeekMTPModel EagleMiniCPMForCausalLM Ernie4_5_MoeForCausalLM ErnieMTPModel
    Exaone4_5_MTP ExaoneMoeMTP FalconForCausalLM GPT2ForSequenceClassification GPT2LMHeadModel Glm4ForCausalLM Glm4MoeForCausalLM
    Glm4MoeLiteForCausalLM Glm4MoeLiteMTPModel Glm4MoeMTPModel GlmMoeDsaForCausalLM GlmOcrMTPModel GraniteMoeForCausalLM GraniteMoeHybridForCausalLM
    GraniteMoeSWAForCausalLM GraniteMoeSharedForCausalLM GteNewForSequenceClassification HYV3ForCausalLM HYV3MTPModel HYV4MTPModel
    IQuestLoopCoderForCausalLM Idefics3ForConditionalGeneration KimiK3MTPModel KimiLinearForCausalLM KimiVLForConditionalGeneration LagunaForCausalLM
    LongCatFlashMTPModel LongcatFlashForCausalLM MiMoMTPModel MiMoV2FlashForCausalLM MiMoV2ForCausalLM MiMoV2MTPModel
    MiMoV2OmniMTPModel MiniCPM3ForCausalLM MiniCPMForCausalLM MiniCPMV MiniMaxM3MTP MiniMaxM3SparseForCausalLM ModernBertForSequenceClassification
    OlmoHybridForCausalLM OpenPanguMTPModel PanguEmbeddedForCausalLM PanguUltraMoEForCausalLM
    Param2MoEForCausalLM Plamo3ForCausalLM Qwen3NextMTP Qwen3_5MTP Qwen3_5MoeMTP Qwen4ExpMTP
    RobertaForSequenceClassification RobertaForTokenClassification SarvamMLAForCausalLM SarvamMoEForCausalLM SmolVLMForConditionalGeneration
    Step3TextForCausalLM Step3p5MTP VoyageQwen3BidirectionalEmbedModel XLMRobertaForSequenceClassification
    XLMRobertaForTokenClassification K2HorizonForCausalLM
"""
UNMAPPED = frozenset(_UNMAPPED.split())
"""Classes that map no names of a checkpoint to their own, nor have a text model inside whose class does."""


def as_its_class_names(quantization: Quantization, architectures: Sequence[str]) -> Quantization:
    """The same, asked by the names that these classes, the whole model's and its text model's, give their modules."""
    names = [pair for architecture in architectures for pair in NAMES.get(architecture, ())]
    if not names:
        return quantization
    patterns = [(re.compile(pattern), into) for pattern, into in names]

    def renamed(name: str) -> str:
        for pattern, into in patterns:
            name = pattern.sub(into, name)
        return name

    def lookup(names: Sequence[str], target: Target) -> Storage:
        return quantization.lookup([renamed(name) for name in names], target)

    return replace(quantization, lookup=lookup)

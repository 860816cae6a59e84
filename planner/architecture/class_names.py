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
_CHATGLM: Names = ((r"^layers\.", "encoder.layers."),)
_OCR: Names = ((r"^vision_model\.transformer", "vision_model.encoder"),)
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
NAMES: Mapping[str, Names] = {
    "AriaForConditionalGeneration": ((r"mlp\.shared_experts\.", "mlp."),),
    "BertForSequenceClassification": _BERT,
    "BertForTokenClassification": _BERT,
    "BertModel": _BERT,
    "BertSpladeSparseEmbeddingModel": _BERT,
    "BgeM3EmbeddingModel": _BERT,
    "ChatGLMForConditionalGeneration": _CHATGLM,
    "ChatGLMModel": _CHATGLM,
    "DeepseekOCRForCausalLM": _OCR,
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
    "GraniteMoeHybridForCausalLM": ((r"mamba\.", "mixer."),),
    "GraniteMoeSWAForCausalLM": _GRANITE_SHARED,
    "GraniteMoeSharedForCausalLM": _GRANITE_SHARED,
    "GteModel": _NOMIC,
    "HYV3ForCausalLM": ((r"mlp\.shared_experts", "mlp.shared_mlp"),),
    "IQuestLoopCoderForCausalLM": ((r"layers\.(\d+)\.gate_projections", r"gate_projections.\1"),),
    "InternLM2ForCausalLM": _INTERNLM2,
    "InternLM2ForRewardModel": _INTERNLM2,
    "JambaForCausalLM": ((r"self_attn\.", ""),),
    "LagunaForCausalLM": ((r"mlp\.shared_experts", "mlp.shared_expert"),),
    "Lfm2ForCausalLM": ((r"self_attn\.o_proj", "self_attn.out_proj"),),
    "Lfm2MoeForCausalLM": ((r"self_attn\.o_proj", "self_attn.out_proj"),),
    "NomicBertModel": _NOMIC,
    "OPTForCausalLM": ((r"^layers\.", "decoder.layers."), (r"attn\.", "self_attn."), (r"mlp\.fc_in", "fc1"), (r"mlp\.fc_out", "fc2")),
    "Param2MoEForCausalLM": ((r"attention\.dense", "self_attn.o_proj"), (r"attention\.query_key_value", "self_attn.query_key_value")),
    "PhiForCausalLM": ((r"self_attn\.o_proj", "self_attn.dense"), (r"mlp\.up_proj", "mlp.fc1"), (r"mlp\.down_proj", "mlp.fc2")),
    "Plamo3ForCausalLM": ((r"^layers\.(\d+)\.self_attn", r"layers.layers.\1.mixer"), (r"^layers\.(\d+)\.mlp", r"layers.layers.\1.mlp")),
    "RobertaModel": _BERT,
    "Starcoder2ForCausalLM": ((r"mlp\.up_proj", "mlp.c_fc"), (r"mlp\.down_proj", "mlp.c_proj")),
    "UnlimitedOCRForCausalLM": _OCR,
    "XLMRobertaForSequenceClassification": _BERT,
    "XLMRobertaForTokenClassification": _BERT,
    "XLMRobertaModel": _BERT,
}

_UNMAPPED = """
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
    XLMRobertaForTokenClassification
"""
UNMAPPED = frozenset(_UNMAPPED.split())
"""Classes that map no names of a checkpoint to their own, nor have a text model inside whose class does."""


def as_its_class_names(quantization: Quantization, architectures: Sequence[str]) -> Quantization:
    """The same, asked by the names that the first of these classes that has its own gives its modules."""
    names = next((NAMES[name] for name in architectures if name in NAMES), None)
    if names is None:
        return quantization
    patterns = [(re.compile(pattern), into) for pattern, into in names]

    def renamed(name: str) -> str:
        for pattern, into in patterns:
            name = pattern.sub(into, name)
        return name

    def lookup(names: Sequence[str], target: Target) -> Storage:
        return quantization.lookup([renamed(name) for name in names], target)

    return replace(quantization, lookup=lookup)

"""Drafters in the shapes that vLLM's classes read, made to fit a target: what benchmarks/crossing_drafters.py draws from.

A target's own predicting layers need no config; a drafter with a checkpoint of its own gets its target's sizes and the keys of published ones
(EAGLE, EAGLE-3, P-EAGLE, DFlash, DSpark, XPress and Gemma 4's assistants).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

Row = dict[str, Any]
HEAD, WORDS = "has_own_lm_head", "has_own_embed_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrafterKind:
    """How a name is asked for: its method, configs of targets, keys that those leave out, what its checkpoint brings of what it could share."""

    method: str = "mtp"
    targets: tuple[str, ...]
    target_keys: Mapping[str, object] = field(default_factory=dict)
    keys: Mapping[str, object] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    outer_keys: Mapping[str, object] = field(default_factory=dict)
    is_separate: bool = False
    is_parallel: bool = False
    tokens: int = 0
    model_type: str = "llama"
    layers: int = 1


PREDICTS = {"num_nextn_predict_layers": 1}
LLAMAS = ("meta-llama--Llama-3.1-8B-Instruct", "meta-llama--Llama-3.3-70B-Instruct", "meta-llama--Llama-3.2-3B-Instruct")
QWENS = ("Qwen--Qwen3-8B", "Qwen--Qwen3-32B", "Qwen--Qwen3-30B-A3B", "Qwen--Qwen3-0.6B")
QWEN_VL = ("Qwen--Qwen3-VL-8B-Instruct", "Qwen--Qwen3-VL-30B-A3B-Instruct")
DEEPSEEKS = ("deepseek-ai--DeepSeek-V3", "deepseek-ai--DeepSeek-R1")
KIMIS = (*DEEPSEEKS, "deepseek-ai--DeepSeek-V2-Lite-Chat", "moonshotai--Kimi-K2-Instruct")
MIMO_FLASH, MIMO_PRO = "XiaomiMiMo--MiMo-V2-Flash", "made--mimo-v2.5-pro"


def _mtp(*targets: str, tokens: int = 0, **keys: object) -> DrafterKind:
    return DrafterKind(targets=targets, target_keys=keys, tokens=tokens)


def _eagle3(*targets: str, **more: Any) -> DrafterKind:
    return DrafterKind(method="eagle3", targets=targets, own=(HEAD,), is_separate=True, **more)


def _block(method: str, *targets: str, **more: Any) -> DrafterKind:
    return DrafterKind(method=method, targets=targets, is_separate=True, model_type="qwen3", layers=2, **more)


def _eagle(*targets: str, **more: Any) -> DrafterKind:
    return DrafterKind(method="eagle", targets=targets, is_separate=True, **more)


DSPARK: Mapping[str, object] = {
    "markov_rank": 256,
    "markov_head_type": "vanilla",
    "block_size": 4,
    "target_layer_ids": [1, 3, 5],
    "mask_token_id": 9,
    "use_aux_hidden_state": True,
    "sample_from_anchor": True,
}
DFLASH: Mapping[str, object] = {"block_size": 8, "dflash_config": {"target_layer_ids": [1, 3, 5], "mask_token_id": 9}}
DFLASH2 = {
    "target_layer_ids": [1, 3, 5],
    "mask_token_id": 9,
    "conv_kernel_size": 4,
    "conv_group_size": 16,
    "selector_rank": 128,
    "selector_top_k": 4,
    "block_size": 8,
}
DRAFTERS: Mapping[str, DrafterKind] = {
    "DeepSeekMTPModel": _mtp(*DEEPSEEKS),
    "DeepseekV32MTPModel": _mtp("deepseek-ai--DeepSeek-V3.2", "zai-org--GLM-5", "zai-org--GLM-5.2"),
    "DeepSeekV4MTPModel": _mtp("deepseek-ai--DeepSeek-V4-Flash", "made--deepseek-v4-4mix", "deepseek-ai--DeepSeek-V4-Pro"),
    "MiMoMTPModel": _mtp("XiaomiMiMo--MiMo-7B-Base"),
    "MiMoV2MTPModel": _mtp(
        MIMO_FLASH,
        MIMO_PRO,
        "made--mimo-v2.5",
        hidden_act="silu",
        layernorm_epsilon=1e-6,
        norm_topk_prob=True,
        n_group=1,
        topk_group=1,
        scoring_func="sigmoid",
        routed_scaling_factor=None,
    ),
    "ErnieMTPModel": _mtp("baidu--ERNIE-4.5-21B-A3B-PT", **PREDICTS),
    "ExaoneMoeMTP": _mtp("LGAI-EXAONE--K-EXAONE-236B-A23B", "made--exaonemoe", **PREDICTS),
    "Exaone4_5_MTP": DrafterKind(targets=("LGAI-EXAONE--EXAONE-4.5-33B",), outer_keys={**PREDICTS, "vocab_size": 153600}, target_keys={"vocab_size": 153600}),
    "NemotronHMTPModel": _mtp("nvidia--NVIDIA-Nemotron-3-Super-120B-A12B-FP8", "nvidia--NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16"),
    "LongCatFlashMTPModel": _mtp("meituan-longcat--LongCat-Flash-Chat"),
    "Glm4MoeMTPModel": _mtp("zai-org--GLM-4.5-Air", "zai-org--GLM-4.6", **PREDICTS),
    "Glm4MoeLiteMTPModel": _mtp("zai-org--GLM-4.7-Flash", **PREDICTS),
    "GlmOcrMTPModel": _mtp("zai-org--GLM-OCR"),
    "OpenPanguMTPModel": _mtp("made--panguu", **PREDICTS),
    "Qwen3NextMTP": _mtp("Qwen--Qwen3-Next-80B-A3B-Instruct", "Qwen--Qwen3-Coder-Next"),
    "Qwen3_5MTP": _mtp("Qwen--Qwen3.5-27B", "Qwen--Qwen3.5-0.8B", "made--Qwen3.5-0.8B"),
    "Qwen3_5MoeMTP": _mtp("Qwen--Qwen3.5-35B-A3B", "Qwen--Qwen3.5-397B-A17B", "made--InternS2Preview", "made--Qwen3.5-35B-A3B"),
    "Qwen4ExpMTP": _mtp("made--Qwen4Exp", "made--Qwen4Exp-without-PLE", "made--Qwen4Exp-without-PLE-QSA"),
    "Step3p5MTP": _mtp("stepfun-ai--Step-3.5-Flash", **PREDICTS),
    "HYV3MTPModel": _mtp("made--hyv3", **PREDICTS),
    "HYV4MTPModel": _mtp("made--hyv4"),
    "KimiK3MTPModel": _mtp("moonshotai--Kimi-K3", **PREDICTS),
    "MiniMaxM3MTP": _mtp("nvidia--MiniMax-M3-NVFP4"),
    "BailingMoeV25MTPModel": _mtp("made--bail25", "made--ring-1t-fp8", **PREDICTS),
    "Gemma4MTPModel": DrafterKind(targets=("google--gemma-4-31B-it", "google--gemma-4-E4B-it", "google--gemma-4-26B-A4B"), is_separate=True),
    "EagleLlamaForCausalLM": _eagle(*LLAMAS),
    "EagleMistralForCausalLM": _eagle("mistralai--Mistral-7B-Instruct-v0.3", "mistralai--Mistral-Nemo-Instruct-2407", model_type="mistral"),
    "EagleLlama4ForCausalLM": _eagle("meta-llama--Llama-4-Maverick-17B-128E-Instruct", model_type=""),
    "EagleCohereForCausalLM": _eagle("CohereLabs--c4ai-command-a-03-2025", "CohereLabs--c4ai-command-r7b-12-2024", model_type=""),
    "EagleMiniCPMForCausalLM": _eagle("openbmb--MiniCPM-2B", "openbmb--MiniCPM4-8B", model_type=""),
    "EagleDeepSeekMTPModel": _eagle(*DEEPSEEKS, model_type=""),
    "Eagle3LlamaForCausalLM": _eagle3(*LLAMAS, *QWENS),
    "LlamaForCausalLMEagle3": _eagle3(*LLAMAS, *QWENS, "openai--gpt-oss-20b", "meta-llama--Llama-4-Scout-17B-16E-Instruct"),
    "Eagle3MiniMaxM2ForCausalLM": _eagle3("MiniMaxAI--MiniMax-M2"),
    "Eagle3Qwen2_5vlForCausalLM": _eagle3("Qwen--Qwen2.5-VL-7B-Instruct"),
    "Eagle3Qwen3vlForCausalLM": _eagle3(*QWEN_VL),
    "Eagle3Qwen3ForCausalLM": _eagle3(*QWENS, model_type="qwen3"),
    "Eagle3DeepseekV2ForCausalLM": _eagle3(*KIMIS, model_type=""),
    "Eagle3DeepseekV3ForCausalLM": _eagle3(*KIMIS, model_type=""),
    "PEagleDraftModel": _eagle3(*LLAMAS, is_parallel=True, layers=2, keys={"mask_token_id": 9, "ptd_token_id": 9}),
    "PeagleLlamaForCausalLM": _eagle3(*LLAMAS, is_parallel=True, layers=2, keys={"mask_token_id": 9, "ptd_token_id": 9}),
    "PeagleQwen3ForCausalLM": _eagle3(*QWENS, is_parallel=True, model_type="qwen3", layers=2, keys={"mask_token_id": 9, "ptd_token_id": 9}),
    "DFlashDraftModel": _block("dflash", *QWENS, *LLAMAS, "Qwen--Qwen3.5-27B", keys=DFLASH),
    "MuseGlimmerAssistantModel": _block("dflash", "made--museglim", "meta-models--Muse-Glimmer-30B", keys=DFLASH),
    "DFlashMuseGlimmerAssistantModel": _block("dflash", "made--museglim", keys=DFLASH),
    "DFlash2DraftModel": _block("dflash", *QWENS, keys={"dflash_config": DFLASH2}),
    "DFlash2BeamDraftModel": _block(
        "dflash",
        "made--beam",
        keys={
            "layer_types": ["sliding_attention"] * 2,
            "sliding_window": 4096,
            "is_causal": False,
            "use_sliding_window": True,
            "dflash_config": {**DFLASH2, "final_logit_softcapping": 30.0},
        },
    ),
    "Qwen3DSparkModel": _block("dspark", *QWENS, keys=DSPARK),
    "Qwen3OmniDSparkModel": _block("dspark", "Qwen--Qwen3-Omni-30B-A3B-Instruct", keys=DSPARK, tokens=4),
    "Qwen3XPressModel": _block("dflash", *QWENS, keys={**DFLASH, "xpress_rank": 128, "xpress_mlp_hidden": 256}, tokens=7),
    "DFlashQwen3XPressModel": _block("dflash", *QWENS, keys={**DFLASH, "xpress_rank": 128, "xpress_mlp_hidden": 256}, tokens=7),
    "DFlashLagunaForCausalLM": _block("dflash", "made--laguna2", keys=DFLASH),
    # a small model of its own
    "Qwen3ForCausalLM": DrafterKind(method="draft_model", targets=QWENS, is_separate=True, model_type="qwen3", layers=4),
    "LlamaForCausalLM": DrafterKind(method="draft_model", targets=LLAMAS, is_separate=True, layers=4),
}
# Drafters that no case compares with the class that vLLM builds, and why.
NOT_COMPARED: Mapping[str, str] = {
    "MiMoV2OmniMTPModel": "its target, MiMoV2OmniForCausalLM, is not known here",
    "PEagleDraftModel": "vLLM 0.33 refuses it by its own name, for it asks its registry for Eagle3PEagleDraftModel; of the speculators library it is Peagle…",
}
_SIZES = """hidden_size intermediate_size num_attention_heads num_key_value_heads head_dim vocab_size max_position_embeddings rms_norm_eps hidden_act
    tie_word_embeddings rope_theta"""


def text_of(config: Row) -> Row:
    """The section of a target's text model."""
    inner = config.get("thinker_config") or config
    text = inner.get("text_config") or inner
    return text if isinstance(text, dict) else config


def checkpoint(name: str, target: Row, random: Random) -> Row:
    """The config.json of a drafter with a checkpoint of its own."""
    kind, text = DRAFTERS[name], text_of(target)
    if name == "Gemma4MTPModel":
        return _assistant(target, text, random)
    if not kind.model_type or name == "DFlashLagunaForCausalLM":  # of its target's own kind
        drafter = {**text, "num_hidden_layers": 2 if kind.method == "dflash" else 1}
        for key in ("layer_types", "no_rope_layers", "quantization_config", "num_nextn_predict_layers"):
            drafter.pop(key, None)
        if "first_k_dense_replace" in drafter and kind.method == "eagle3":
            drafter["first_k_dense_replace"] = 1
    else:
        drafter = {key: text[key] for key in _SIZES.split() if text.get(key) is not None} | {"num_hidden_layers": kind.layers, "model_type": kind.model_type}
        drafter |= {"rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": False}
        drafter = {"intermediate_size": 4 * drafter["hidden_size"], "vocab_size": 202048} | drafter
    if name == "EagleLlamaForCausalLM":
        name = random.choice([name, "LlamaForCausalLM"])
    drafter |= {"architectures": [name], "torch_dtype": "bfloat16", **kind.keys}
    if kind.method == "eagle3":
        drafter["draft_vocab_size"] = random.choice([min(32000, drafter["vocab_size"]), drafter["vocab_size"]])
        drafter |= random.choice([{}, {}, {"attention_bias": True}, {"norm_before_fc": True}, {"fc_norm": True}])
    if kind.method == "dspark":
        drafter |= random.choice([{}, {"enable_confidence_head": True}, {"enable_confidence_head": True, "confidence_head_with_markov": True}])
        drafter["target_hidden_size"] = drafter["hidden_size"]
    if name == "DFlashDraftModel":
        drafter |= random.choice([{}, {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 2048, "use_sliding_window": True}])
    if name == "DFlashLagunaForCausalLM":
        drafter |= {
            "vocab_size": text.get("vocab_size", 100352),
            "draft_vocab_size": text.get("vocab_size", 100352),
            "layer_types": ["full_attention"] * 2,
            "num_attention_heads_per_layer": [48, 48],
            "mlp_layer_types": ["dense", "dense"],
        }
    if name == "EagleLlama4ForCausalLM":
        drafter |= {
            "model_type": "llama4_text",
            "draft_vocab_size": drafter["vocab_size"],
            "yoco_global_kv_layer": None,
            "yoco_local_kv_layer": None,
            "moe_layers": [],
            "no_rope_layers": [1],
        }
    if name.startswith("Eagle3Deepseek"):
        drafter["model_type"] = "deepseek_v2"
    return as_library(name, drafter) if name.startswith("Peagle") or (name in _LIBRARY and random.random() < 0.3) else drafter


_LIBRARY = {
    "Eagle3LlamaForCausalLM": "eagle3",
    "Eagle3Qwen3ForCausalLM": "eagle3",
    "PeagleLlamaForCausalLM": "peagle",
    "PeagleQwen3ForCausalLM": "peagle",
    "DFlashDraftModel": "dflash",
    "DFlash2DraftModel": "dflash2",
    "Qwen3DSparkModel": "dspark",
}
_OF_THE_LIBRARY = (
    "draft_vocab_size norm_before_fc fc_norm markov_rank markov_head_type block_size enable_confidence_head confidence_head_with_markov target_hidden_size"
)


def as_library(name: str, drafter: Row) -> Row:
    """The same as the speculators library writes it: the layer's keys in a section, its algorithm's beside it."""
    own = {key: drafter[key] for key in _OF_THE_LIBRARY.split() if key in drafter}
    layer = {key: value for key, value in drafter.items() if key not in own and key not in ("architectures", "target_layer_ids", "dflash_config")}
    section = drafter.get("dflash_config", {})
    own |= {key: section[key] for key in ("conv_kernel_size", "conv_group_size", "selector_rank", "selector_top_k") if key in section}
    kind = _LIBRARY[name]
    if "eagle" not in kind:
        own["aux_hidden_state_layer_ids"] = [2, 4, 6]
    method = {"proposal_type": "greedy", "speculative_tokens": 4}
    verifier = {"verifier": {"name_or_path": "owner/name"}, "algorithm": kind, "proposal_methods": [method]}
    return {
        "architectures": ["Speculator"],
        "speculators_model_type": kind,
        "speculators_config": verifier,
        "transformer_layer_config": layer,
        "mask_token_id": 9,
    } | own


def _assistant(target: Row, text: Row, random: Random) -> Row:
    """Gemma 4's: a small text model of its target's heads, whose layers read the target's caches."""
    small = {
        key: text[key]
        for key in ("head_dim", "global_head_dim", "num_global_key_value_heads", "vocab_size", "sliding_window", "rope_parameters")
        if key in text
    }
    small |= {"model_type": "gemma4_text", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 4}
    heads = text.get("num_key_value_heads", 4)
    small |= {"num_attention_heads": 2 * heads, "num_key_value_heads": heads, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0}
    small["vocab_size_per_layer_input"] = 0
    small["layer_types"] = ["sliding_attention"] * 3 + ["full_attention"]
    ordered = random.random() < 0.5
    outer = {"backbone_hidden_size": text["hidden_size"], "use_ordered_embeddings": ordered, "num_centroids": 2048}
    return {"architectures": ["Gemma4AssistantForCausalLM"], "model_type": "gemma4_assistant", "text_config": small, "torch_dtype": "bfloat16", **outer}

"""What config vLLM makes of a drafter's before it builds one: of a target's for its own predicting layers, of a checkpoint's by its method.

Sources: vllm/config/speculative.py hf_config_override, transformers_utils/configs/eagle.py, transformers_utils/configs/speculators/algos.py, 0.33.
"""

from __future__ import annotations

from planner.architecture.build import QUANTIZED_AS
from planner.architecture.config import Config
from planner.architecture.families import FAMILIES
from planner.errors import BadValueError, UnsupportedModelError

# what vLLM makes of a target for its own predicting layers, by model_type or by architecture
_BY_TYPE = {
    "deepseek_v3": "DeepSeekMTPModel",
    "deepseek_v32": "DeepseekV32MTPModel",
    "glm_moe_dsa": "DeepseekV32MTPModel",
    "deepseek_v4": "DeepSeekV4MTPModel",
    "pangu_ultra_moe": "OpenPanguMTPModel",
    "kimi_k3": "KimiK3MTPModel",
    "ernie4_5_moe": "ErnieMTPModel",
    "nemotron_h": "NemotronHMTPModel",
    "nemotron_h_puzzle": "NemotronHMTPModel",
    "qwen3_next": "Qwen3NextMTP",
    "qwen4_exp": "Qwen4ExpMTP",
    "qwen4_exp_text": "Qwen4ExpMTP",
    "bailing_hybrid": "BailingMoeV25MTPModel",
    "exaone_moe": "ExaoneMoeMTP",
    "exaone4_5": "Exaone4_5_MTP",
    "qwen3_5": "Qwen3_5MTP",
    "qwen3_5_text": "Qwen3_5MTP",
    "qwen3_5_moe": "Qwen3_5MoeMTP",
    "qwen3_5_moe_text": "Qwen3_5MoeMTP",
    "intern_s2_preview": "Qwen3_5MoeMTP",
    "longcat_flash": "LongCatFlashMTPModel",
    "step3p5": "Step3p5MTP",
    "step3p7": "Step3p5MTP",
    "step5": "Step5MTP",
    "step5_vl": "Step5MTP",
    "hy_v3": "HYV3MTPModel",
    "hy_v4": "HYV4MTPModel",
    "minimax_m3_vl": "MiniMaxM3MTP",
    "glm5_next": "Glm5NextMTPModel",
    "dots3_note": "Dots3NoteMTPModel",
    "gemma4_assistant": "Gemma4MTPModel",
    "gemma4_unified_assistant": "Gemma4MTPModel",
}
_BY_ARCHITECTURE = {
    "MiMoForCausalLM": "MiMoMTPModel",
    "MiMoV2ForCausalLM": "MiMoV2MTPModel",
    "MiMoV2FlashForCausalLM": "MiMoV2MTPModel",
    "MiMoV2OmniForCausalLM": "MiMoV2OmniMTPModel",
    "Glm4MoeForCausalLM": "Glm4MoeMTPModel",
    "Glm4MoeLiteForCausalLM": "Glm4MoeLiteMTPModel",
    "GlmOcrForConditionalGeneration": "GlmOcrMTPModel",
    "BailingMoeV2_5ForCausalLM": "BailingMoeV25MTPModel",
    "BailingMoeV3ForCausalLM": "BailingMoeV3MTPModel",
    "MistralLarge3ForCausalLM": "EagleMistralLarge3ForCausalLM",
}


def draft_config(config: Config) -> Config | None:
    """The config of the layers that a target brings to predict further tokens, None where vLLM knows of none."""
    own = (config.texts("architectures") or [""])[0]
    name = _BY_ARCHITECTURE.get(own) or _BY_TYPE.get(config.text("model_type", default=""))
    return Config({**config.data, "architectures": [name]}, config.path) if name else None


_QUANTIZED_APART = ("Step3p5MTP", "NemotronHMTPModel", "Qwen4ExpMTP")  # they read the quantization anew (get_draft_quant_config)


def as_targets(config: Config, target: str) -> Config:
    """The config of a target's own predicting layers, whose quantization is the one that the target's class has read."""
    name = config.texts("architectures")[0]
    return config if name in _QUANTIZED_APART else Config({**config.data, QUANTIZED_AS: target}, config.path)


# the start of a class's name by method: it is put before the checkpoint's own
_PREFIXES = {"eagle": "Eagle", "eagle3": "Eagle3", "dflash": "DFlash"}
TARGETS_QUANTIZATION = ("EagleMiniCPMForCausalLM", "EagleDeepSeekMTPModel")  # their layers are made with their target's, whatever their checkpoint is
UNQUANTIZED = ("DFlash2BeamDraftModel",)  # whatever its checkpoint says
# named by vLLM's registry, and not known here
_NOT_BUILT = """
    BailingMoeV3MTPModel DSparkDraftModel DSparkV41DraftModel Dots3NoteMTPModel EagleMistralLarge3ForCausalLM Gemma4DSparkModel Glm5NextMTPModel
    InklingMTPModel InternS2MobiusMTP K3DSparkModel LiLiCorrDraftModel MuseSparkDSparkModel ParseAuxMTPModel Step5MTP
"""


def asked_config(config: Config, method: str) -> Config:
    """The config of a drafter's own checkpoint under the name that its method makes of it. Raises BadValueError for a name that vLLM does not know."""
    if is_speculators(config):
        return from_speculators(config)
    rewritten = published(config) or draft_config(config) or config
    name, prefix = (rewritten.texts("architectures") or [""])[0], _PREFIXES.get(method, "")
    if prefix and not name.startswith(prefix) and not (method != "eagle" and name.endswith(prefix)) and name != "LiLiCorrDraftModel":
        name = prefix + name
    if name not in FAMILIES and name not in _NOT_BUILT.split():
        raise BadValueError(f"Model architectures ['{name}'] are not supported for now.")
    return Config({**rewritten.data, "architectures": [name]}, config.path)


def published(config: Config) -> Config | None:
    """The config of a drafter that no target has, under the name of its class; None for any other."""
    name, kind = (config.texts("architectures") or [""])[0], config.text("model_type", default="")
    if is_speculators(config):
        return from_speculators(config)
    if kind.endswith("_assistant") and name not in FAMILIES:
        return draft_config(config)
    return Config({**config.data, "architectures": ["Qwen3DSparkModel"]}, config.path) if name == "DSparkDraftModel" and kind == "qwen3" else None


def is_speculators(config: Config) -> bool:
    """Whether it is a config of the speculators library (transformers_utils/config.py)."""
    return config.has("speculators_config") and not config.has("model_type")


def from_speculators(config: Config) -> Config:
    """The config of a drafter that the speculators library wrote: its layer's section with what its algorithm adds. Raises UnsupportedModelError."""
    kind, layer = config.text("speculators_model_type", default=""), dict(config.section("transformer_layer_config").data)
    model_type = str(layer.get("model_type") or "llama")
    names = {
        "eagle3": {"qwen3": "Eagle3Qwen3ForCausalLM", "llama": "Eagle3LlamaForCausalLM"}.get(model_type),
        "peagle": {"qwen3": "PeagleQwen3ForCausalLM", "llama": "PeagleLlamaForCausalLM"}.get(model_type),
        "dflash": "DFlashDraftModel",
        "dflash2": "DFlash2DraftModel",
        "dspark": "Qwen3OmniDSparkModel" if "Qwen3OmniDSparkModel" in config.texts("architectures") else "Qwen3DSparkModel",
    }
    if not (name := names.get(kind)):
        raise UnsupportedModelError(f"{config.path}: vLLM reads no drafter of the type {kind!r} ({model_type}) that the speculators library writes")
    said = {key: config.data[key] for key in _SPECULATORS if config.data.get(key) is not None}
    if kind == "peagle":
        said.pop("fc_norm", None)
    if kind in ("dflash", "dflash2", "dspark"):
        layers = [index - 1 for index in config.integers("aux_hidden_state_layer_ids")]
        section = {key: config.data[key] for key in _DFLASH2 if config.data.get(key) is not None}
        said |= {"target_layer_ids": layers} if kind == "dspark" else {"dflash_config": {"target_layer_ids": layers, **section}}
        said.pop("eagle_aux_hidden_state_layer_ids", None)
    return Config({**layer, **said, "architectures": [name]}, config.path)


_SPECULATORS = (
    "draft_vocab_size",
    "target_hidden_size",
    "norm_before_fc",
    "fc_norm",
    "eagle_aux_hidden_state_layer_ids",
    "markov_rank",
    "block_size",
    "enable_confidence_head",
    "confidence_head_with_markov",
    "use_aux_hidden_state",
)
_DFLASH2 = ("conv_kernel_size", "conv_group_size", "selector_rank", "selector_top_k")

"""Which of vLLM's classes keep redundant experts, whole shared experts where each rank sends its own tokens to the experts, whole towers.

Read off vLLM 0.33's classes (model_executor/models, models/) with the judge: configurations in tests/data/vllm_0.33_parallel.jsonl.
"""

from __future__ import annotations

from collections.abc import Mapping

from planner.facts.config import Parallel
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts
from planner.facts.record import replace
from planner.facts.storage import Encoding

_DEEPSEEK = frozenset(
    {
        "DeepseekForCausalLM",
        "DeepseekV2ForCausalLM",
        "DeepseekV3ForCausalLM",
        "DeepseekV32ForCausalLM",
        "DeepseekV4ForCausalLM",
        "GlmMoeDsaForCausalLM",
        "KimiK25ForConditionalGeneration",
        "KimiVLForConditionalGeneration",
        "MistralLarge3ForCausalLM",
    }
)
_LLAMA4 = frozenset({"Llama4ForCausalLM", "Llama4ForConditionalGeneration"})
# Their shared experts are built with disable_tp where config/parallel.py use_sequence_parallel_moe holds.
WHOLE_SHARED_EXPERTS = (
    _DEEPSEEK
    | _LLAMA4
    | {
        "AXK1ForCausalLM",
        "DeepseekOCR2ForCausalLM",
        "DeepseekOCRForCausalLM",
        "DeepseekV3BidirectionalModel",
        "DeepseekVLV2ForCausalLM",
        "InternS2PreviewForConditionalGeneration",
        "KimiLinearForCausalLM",
        "KimiK3ForConditionalGeneration",
        "NemotronHForCausalLM",
        "NemotronHPuzzleForCausalLM",
        "NemotronH_Nano_Omni_Reasoning_V3",
        "NemotronH_Nano_VL_V2",
        "NemotronH_Omni_Reasoning_V3",
        "NemotronH_Super_Omni_Reasoning_V3",
        "PanguUltraMoEForCausalLM",
        "PixtralForConditionalGeneration",
        "Qwen3NextForCausalLM",
        "Qwen3_5MoeForCausalLM",
        "Qwen3_5MoeForConditionalGeneration",
        "Qwen4ExpForCausalLM",
        "Qwen4ExpForConditionalGeneration",
        "UnlimitedOCRForCausalLM",
    }
)
# So are the MLPs of their layers without experts, where there is no pipeline (models/deepseek_v32/nvidia/model.py, 0.33).
_WHOLE_DENSE_MLPS = frozenset({"DeepseekV32ForCausalLM", "GlmMoeDsaForCausalLM"})
# They hand num_redundant_experts to their experts; others build none, and vLLM says nothing of it.
REDUNDANT_EXPERTS = (
    _DEEPSEEK
    | _LLAMA4
    | {
        "AXK1ForCausalLM",
        "AfmoeForCausalLM",
        "DeepseekOCR2ForCausalLM",
        "DeepseekOCRForCausalLM",
        "DeepseekVLV2ForCausalLM",
        "Ernie4_5_MoeForCausalLM",
        "FlexOlmoForCausalLM",
        "Glm4MoeForCausalLM",
        "HunYuanMoEV1ForCausalLM",
        "InternS2PreviewForConditionalGeneration",
        "InternVLChatModel",
        "Glm4vMoeForConditionalGeneration",
        "K2HorizonForCausalLM",
        "Lfm2MoeForCausalLM",
        "MiMoV2FlashForCausalLM",
        "MixtralForCausalLM",
        "NemotronHForCausalLM",
        "NemotronHPuzzleForCausalLM",
        "NemotronH_Nano_Omni_Reasoning_V3",
        "NemotronH_Nano_VL_V2",
        "NemotronH_Omni_Reasoning_V3",
        "NemotronH_Super_Omni_Reasoning_V3",
        "Ovis2_6_MoeForCausalLM",
        "PanguUltraMoEForCausalLM",
        "Qwen3MoeForCausalLM",
        "Qwen3NextForCausalLM",
        "Qwen3OmniMoeForConditionalGeneration",
        "Qwen4ExpForConditionalGeneration",
        "Qwen3VLMoeForConditionalGeneration",
        "Qwen3_5MoeForCausalLM",
        "Qwen3_5MoeForConditionalGeneration",
        "Step3p5ForCausalLM",
        "UnlimitedOCRForCausalLM",
    }
)
# They hand over the redundant experts and not that experts are balanced, which an assertion refuses (fused_moe/layer.py).
_UNTOLD = frozenset({"ExaoneMoEForCausalLM", "ExaoneMoeForCausalLM", "Glm4MoeLiteForCausalLM", "HYV3ForCausalLM", "HYV4ForCausalLM"})
# Their towers may be whole on every rank (supports_encoder_tp_data); --mm-encoder-tp-mode data changes nothing of others, vLLM says so in its log.
_WHOLE_TOWERS = """
    Alpamayo2Super ColQwen3 ColQwen3_5 Cosmos3ForConditionalGeneration D3ForSequenceClassification DotsOCRForCausalLM
    Eagle2_5_VLForConditionalGeneration Exaone4_5_ForConditionalGeneration Glm4vForConditionalGeneration Glm4vMoeForConditionalGeneration
    GlmOcrForConditionalGeneration H2OVLChatModel InternS1ProForConditionalGeneration IsaacForConditionalGeneration InternS2PreviewForConditionalGeneration InternVLChatModel
    JinaVLForRanking KimiK25ForConditionalGeneration KimiK3ForConditionalGeneration KimiVLForConditionalGeneration MiniCPMO
    MiniCPMOcrForConditionalGeneration MiniCPMV MiniCPMV4_6ForConditionalGeneration MiniCPMV4_7ForConditionalGeneration
    MiniMaxM3SparseForConditionalGeneration NVLM_D OpenCUAForConditionalGeneration OpsColQwen3Model QianfanOCRForConditionalGeneration
    Qwen2VLForConditionalGeneration Qwen2_5_VLForConditionalGeneration Qwen3VLForConditionalGeneration Qwen3VLMoeForConditionalGeneration
    Qwen3VLNemotronEmbedModel Qwen3_5ForConditionalGeneration Qwen3_5MoeForConditionalGeneration Qwen4ExpForConditionalGeneration
    Step3VLForConditionalGeneration Step3p7ForConditionalGeneration StepVLForConditionalGeneration
"""
WHOLE_TOWERS = _LLAMA4 | frozenset(_WHOLE_TOWERS.split())
# Who makes experts that cannot be moved (supports_eplb of each method), by quantization and what reads them.
_UNMOVED: Mapping[tuple[str, Encoding], str] = {
    ("auto_gptq", Encoding.GPTQ): "AutoGPTQMoEMethod",
    ("auto_gptq", Encoding.AWQ): "AutoGPTQMoEMethod",
    ("inc", Encoding.GPTQ): "AutoGPTQMoEMethod",
    ("inc", Encoding.AWQ): "AutoGPTQMoEMethod",
    ("auto_awq", Encoding.AWQ): "AutoAWQMoEMethod",
    ("compressed-tensors", Encoding.PACKED): "CompressedTensorsWNA16MoEMethod",
    ("compressed-tensors", Encoding.INT8): "CompressedTensorsW8A8Int8MoEMethod",
    ("quark", Encoding.FP8): "QuarkW8A8Fp8MoEMethod",
    ("modelopt", Encoding.FP8): "ModelOptFp8MoEMethod",
}
_UNMOVED_BEFORE_BLACKWELL: Mapping[tuple[str, Encoding], str] = {
    ("compressed-tensors", Encoding.NVFP4): "CompressedTensorsW4A4Nvfp4MoEMethod",
    ("compressed-tensors", Encoding.OTHER): "CompressedTensorsW4A4Mxfp4MoEMethod",
    ("modelopt", Encoding.OTHER): "ModelOptMxFp8FusedMoE",
}


def with_experts(parallel: Parallel, model: ModelSpec) -> Parallel:
    """How a model's class divides its experts: without what only other classes do. Data parallelism of a dense model is that of separate servers."""
    return replace(
        parallel,
        data_parallel_size=parallel.data_parallel_size if model.experts_per_token else 1,
        redundant_experts=parallel.redundant_experts if model.architecture in REDUNDANT_EXPERTS else 0,
        balances_experts=parallel.balances_experts and model.architecture in REDUNDANT_EXPERTS,
        whole_tower=parallel.whole_tower and model.architecture in WHOLE_TOWERS,
        whole_shared_experts=parallel.whole_shared_experts and model.architecture in WHOLE_SHARED_EXPERTS,
        whole_dense_mlps=parallel.whole_shared_experts and parallel.pipeline_parallel_size == 1 and model.architecture in _WHOLE_DENSE_MLPS,
    )


def eplb_problem(parallel: Parallel, model: ModelSpec, gpu: GpuSpec) -> str:
    """Why vLLM does not balance this model's experts, or an empty string (fused_moe/layer.py, routed_experts.py)."""
    banks = [module for layers in model.layers for module in layers.modules if isinstance(module, Experts)]
    if not banks:
        return ""
    made, before = (model.quantization or "", banks[0].storage.encoding), gpu.compute_capability is not None and gpu.compute_capability < (10, 0)
    if gpu.vendor == "nvidia" and (method := _UNMOVED.get(made) or (_UNMOVED_BEFORE_BLACKWELL.get(made) if before else None)):
        return f"EPLB is not supported {method}."
    if model.architecture in _UNTOLD and parallel.redundant_experts:
        return "Redundant experts are only supported with EPLB."
    whole, ranks = max(bank.experts for bank in banks) + parallel.redundant_experts, parallel.expert_ranks
    if model.architecture in REDUNDANT_EXPERTS and whole % ranks:
        return f"EPLB currently only supports even distribution of experts across ranks. Got {whole} experts and {ranks} EP ranks."
    return ""

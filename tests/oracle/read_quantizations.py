"""Which `--quantization` vLLM takes with which checkpoint; run by the judge's Python. Writes JSON: checkpoint, then name, then what vLLM makes of it.

The method that decides (config/model.py _verify_quantization) on a stand-in of its configuration; null is a refusal.
"""

import json
from types import SimpleNamespace

import simulated_gpu

simulated_gpu.install("h100", (9, 0), 80 * 2**30, 1)

import vllm.model_executor.layers.quantization as methods  # noqa: E402
from vllm.config.model import ModelConfig  # noqa: E402

GROUPED = {"bits": 4, "group_size": 128, "desc_act": False}
CHECKPOINTS = {  # as planner/architecture/quantization.py calls what the file says
    "auto_awq": {"quant_method": "awq", **GROUPED},
    "auto_gptq": {"quant_method": "gptq", **GROUPED},
    "fp8": {"quant_method": "fp8"},
    "compressed-tensors": {"quant_method": "compressed-tensors"},
    "modelopt": {"quant_method": "modelopt", "quant_algo": "FP8"},
    "modelopt_fp4": {"quant_method": "modelopt", "quant_algo": "NVFP4"},
    "modelopt_mixed": {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"},
    "inc": {"quant_method": "auto-round", **GROUPED},
    "gpt_oss_mxfp4": {"quant_method": "mxfp4"},
    "deepseek_v4_fp8": {"quant_method": "fp8"},
    "quark": {"quant_method": "quark"},
}
TYPES = {"gpt_oss_mxfp4": "gpt_oss", "deepseek_v4_fp8": "deepseek_v4"}


def taken(checkpoint: str, name: str) -> str | None:
    config = SimpleNamespace(
        quantization=name,
        model_arch_config=SimpleNamespace(quantization_config=dict(CHECKPOINTS[checkpoint])),
        hf_config=SimpleNamespace(model_type=TYPES.get(checkpoint, "llama")),
        allow_deprecated_quantization=True,
    )
    try:
        ModelConfig._verify_quantization(config)
    except ValueError:
        return None
    return config.quantization


NAMES = [*methods.QUANTIZATION_METHODS, "fp4", "nvfp4", "marlin", "int8", "bitsandbytes", "gguf"]
print(json.dumps({checkpoint: {name: taken(checkpoint, name) for name in NAMES} for checkpoint in CHECKPOINTS}))

"""Dtypes that vLLM refuses of a model or of its quantization.

Sources: vLLM 0.33 config/model.py (_FLOAT16_NOT_SUPPORTED_MODELS, _resolve_auto_dtype), config/vllm.py _get_quantization_config, get_supported_act_dtypes of
model_executor/layers/quantization/; 0.11 has the same but for what it has no method of.
"""

from __future__ import annotations

from planner.engines.vllm.engine_args import EngineArgs, Refused
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts, Linear

_NO_FLOAT16 = {"Gemma2": "gemma2", "Gemma3": "gemma3", "Glm4": "glm4"}
_CLASSES = ("For", "Model", "TextModel")
_FULL, _HALF, _BRAIN = "float32", "float16", "bfloat16"
_ANY = frozenset({_FULL, _HALF, _BRAIN})
_DTYPES = {"compressed-tensors": _ANY, "gpt_oss_mxfp4": frozenset({_BRAIN})}
_MICRO_SCALED = "mxfp8"


def actual_dtype(asked: EngineArgs) -> str:
    """The dtype of weights and activations: what is asked, or what `auto` makes of the checkpoint's."""
    model, old = asked.model, asked.gpu.vendor == "nvidia" and asked.gpu.capability < 80
    own = model.dtype if model.dtype != _FULL else _HALF if model.pooling and not _breaks(model) else _BRAIN
    own = _HALF if own == _BRAIN and old else own
    return {"auto": own, "half": _HALF, "float": _FULL}.get(asked.config.dtype, asked.config.dtype)


def dtypes(asked: EngineArgs) -> Refused:
    """Why the dtype is refused."""
    model, dtype = asked.model, actual_dtype(asked)
    kind = _breaks(model)
    if kind and asked.config.dtype in ("half", _HALF):
        why = "Numerical instability. Please use bfloat16 or float32 instead."
        yield f"The model type {kind!r} does not support float16. Reason: {why}", "--dtype bfloat16"
    if model.quantization is None or dtype not in _ANY:
        return
    name, allowed = model.quantization, _DTYPES.get(model.quantization, frozenset({_HALF, _BRAIN}))
    if name == "modelopt" and _is_micro_scaled(model):
        name, allowed = "modelopt_mxfp8", frozenset({_BRAIN})
    if dtype not in allowed:
        told = ", ".join(f"torch.{known}" for known in sorted(allowed))
        yield f"torch.{dtype} is not supported for quantization method {name}. Supported dtypes: [{told}]", f"--dtype {_BRAIN}"


def _breaks(model: ModelSpec) -> str:
    """The model type of one that float16 breaks, or an empty string."""
    return next((kind for stem, kind in _NO_FLOAT16.items() if model.architecture.startswith(tuple(stem + rest for rest in _CLASSES))), "")


def _is_micro_scaled(model: ModelSpec) -> bool:
    modules = (module for group in model.layers for module in group.modules)
    return any(isinstance(module, Linear | Experts) and module.storage.name == _MICRO_SCALED for module in modules)

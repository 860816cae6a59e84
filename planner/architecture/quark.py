"""Which storage each weight of a Quark checkpoint (AMD's own) has, as vLLM 0.33 reads it.

Source: vllm/model_executor/layers/quantization/quark/ {quark,quark_moe,utils}.py and schemes/.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from planner.architecture.config import Config
from planner.architecture.formats import (
    FP8_CHANNEL,
    FP8_TENSOR,
    FP8_TENSOR_STATIC,
    FP8_TENSOR_STATIC_EXPERTS,
    MXFP4_LINEAR,
    MXFP4_MARLIN,
    Quantization,
    Target,
    fp8_block,
    listed,
    scalars,
    spellings,
)
from planner.errors import UnsupportedModelError
from planner.facts.storage import BF16, Arithmetic, Cut, Encoding, Plane, Storage


def quark(config: Config) -> Quantization:
    """Read `quantization_config` of a Quark checkpoint: one scheme for all, others for layers by pattern, and what is left out."""
    exclude = config.texts("exclude")
    overall = config.section("global_quant_config")
    by_layer = {name: Config(value, config.path) for name, value in config.section("layer_quant_config").data.items() if isinstance(value, dict)}

    def excluded(name: str) -> bool:
        return any(_matches(pattern, name) for pattern in exclude)

    def scheme(name: str) -> Config:
        for pattern, own in by_layer.items():
            if any(fnmatchcase(spelled, pattern) or pattern in spelled for spelled in spellings(name)):
                return own
        return overall

    def lookup(names: Sequence[str], target: Target) -> Storage:
        if target is Target.EXPERTS:  # all or none: one of its matrices that is left out leaves out the bank
            inside = [spelled + "." for spelled in spellings(names[0])]
            if any(pattern.startswith(tuple(inside)) for pattern in exclude) or any(excluded(spelled) for spelled in spellings(names[0])):
                return BF16
        elif target is Target.HEAD or listed(names, excluded):
            return BF16
        return _storage(scheme(names[0]), target)

    return Quantization("quark", lookup, _storage(overall, Target.LINEAR), attention_scales=scalars(4, 16), leaves_cache=lambda name: listed([name], excluded))


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        from planner.patterns import foreign_pattern

        return foreign_pattern(pattern[3:]).match(name) is not None
    return pattern == name


def _hint(scheme: Config, key: str) -> dict[str, object]:
    """The description of a tensor; of several in a row, the last is how it is stored."""
    value = scheme.data.get(key)
    value = value[-1] if isinstance(value, list) and value else value
    return value if isinstance(value, dict) else {}


def _storage(scheme: Config, target: Target) -> Storage:
    weight, inputs = _hint(scheme, "weight"), _hint(scheme, "input_tensors")
    kind, granularity = str(weight.get("dtype", "")), str(weight.get("qscheme", ""))
    static, experts = bool(inputs) and not inputs.get("is_dynamic"), target is Target.EXPERTS
    if not weight:
        return BF16
    if kind == "fp8_e4m3" and granularity == "per_tensor":
        return FP8_TENSOR if not static else FP8_TENSOR_STATIC_EXPERTS if experts else FP8_TENSOR_STATIC
    if kind == "fp8_e4m3" and granularity == "per_channel":
        return FP8_CHANNEL
    if kind == "fp8_e4m3" and granularity == "per_block":
        return fp8_block(128, 128, cut=Cut.NOWHERE)
    if kind == "fp4" and granularity == "per_group" and weight.get("group_size") == 32:
        return MXFP4_MARLIN if experts else MXFP4_LINEAR
    if kind == "int8" and granularity == "per_channel":
        return Storage(name="int8", planes=(Plane(8), Plane(32, 1, 0)), arithmetic=Arithmetic.INT8, encoding=Encoding.INT8)
    raise UnsupportedModelError(
        f"Quark weights of {kind or 'no type'} {granularity} are not supported", "known: fp8_e4m3, fp4 in groups of 32, int8 by channel"
    )

"""Which storage each weight of a compressed-tensors checkpoint has, as vLLM 0.33 reads it.

Source: vllm/model_executor/layers/quantization/compressed_tensors/ (schemes/ give the tensors, utils.py who is targeted or ignored).
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.architecture.config import Config
from planner.architecture.formats import (
    FP8_CHANNEL,
    FP8_TENSOR,
    FP8_TENSOR_STATIC,
    FP8_TENSOR_STATIC_EXPERTS,
    MXFP4_LINEAR,
    PER_MATRIX,
    SCALE,
    Quantization,
    Target,
    fp8_block,
    grouped_int,
    listed,
    nvfp4,
    scalars,
    spellings,
    weight_only,
    with_parts,
)
from planner.errors import PlannerError, UnsupportedModelError
from planner.facts.storage import BF16, Arithmetic, Cut, Encoding, Plane, Storage


def compressed_tensors(config: Config) -> Quantization:
    """Read `quantization_config` of a compressed-tensors checkpoint: groups of targets, each with its scheme."""
    if config.section("sparsity_config").items("targets"):
        raise UnsupportedModelError("Sparsity support has been removed from compressed-tensors. Please use a model without sparsity configuration.")
    ignore = with_parts(config.texts("ignore"))
    groups = [Config(value, config.path) for value in config.section("config_groups").data.values() if isinstance(value, dict)]
    groups = [group for group in groups if not all(t.endswith("Attention") for t in group.texts("targets"))]
    if not groups:
        raise PlannerError(f"{config.path}: config_groups is empty; a compressed-tensors checkpoint names its groups there")
    kv_cache_dtype = "fp8" if config.has("kv_cache_scheme") and config.section("kv_cache_scheme").data.get("num_bits") == 8 else "auto"

    from planner.patterns import foreign_pattern

    def matches(pattern: str, name: str) -> bool:
        return foreign_pattern(pattern[3:]).match(name) is not None if pattern.startswith("re:") else pattern == name

    def ignored(name: str) -> bool:
        return any(matches(pattern, name) for pattern in ignore)

    def lookup(names: Sequence[str], target: Target) -> Storage:
        if target is Target.EXPERTS:  # one unfused name decides (compressed_tensors_moe.py get_moe_method)
            names = [names[0] + ".0.gate_proj", names[0] + ".0.up_proj", names[0] + ".0.down_proj"]
        if listed(names, ignored):
            return BF16
        for group in groups:
            targets = group.texts("targets")
            wanted = "Linear" in targets and target is not Target.HEAD
            if wanted or any(matches(t, s) for t in targets for name in names for s in spellings(name)):
                return _compressed_storage(group, target)
        return BF16

    scales = (*scalars(3, 32), *scalars(3, 16, "attn.zero_points"))
    main = _compressed_storage(groups[0], Target.LINEAR)
    return Quantization("compressed-tensors", lookup, main, attention_scales=scales, kv_cache_dtype=kv_cache_dtype)


def _fp8(weights: Config, strategy: str, target: Target, *, static: bool) -> Storage:
    """Eight-bit floats with a scale for each block, output channel or matrix."""
    if strategy == "block":
        block = weights.integers("block_structure", low=1, count=2)
        return fp8_block(block[0], block[1], cut=Cut.NOWHERE)
    if strategy == "channel":
        return FP8_CHANNEL
    if not static:
        return FP8_TENSOR
    return FP8_TENSOR_STATIC_EXPERTS if target is Target.EXPERTS else FP8_TENSOR_STATIC


def _compressed_storage(group: Config, target: Target) -> Storage:
    weights, activations = group.section("weights"), group.section("input_activations")
    if weights.data.get("actorder") in ("group", "dynamic"):
        raise UnsupportedModelError("activation ordering by group is not supported by vLLM any more", "use a checkpoint with static ordering or none")
    bits, kind = weights.integer("num_bits", high=16), weights.text("type", default="int")
    strategy = weights.text("strategy", default="tensor")
    static = bool(activations.data) and not activations.flag("dynamic", default=False) if not isinstance(activations.data.get("dynamic"), str) else False
    size = weights.integer("group_size", default=-1, low=-1)
    if kind == "int" and (not activations.data or bits < 8):
        extra = 4 if target is Target.EXPERTS else 16  # weight_shape: two bf16 an expert, two int64 a linear
        return grouped_int(bits, size, not weights.flag("symmetric", default=True), encoding=Encoding.PACKED, extra_bytes=extra)
    if kind == "int" and bits == 8 and strategy in ("channel", "tensor"):
        planes = [Plane(8), Plane(32, 1, 0) if strategy == "channel" else SCALE]
        if static:  # a scale of the inputs, and their zero point where they have one
            planes += [PER_MATRIX] if activations.flag("symmetric", default=True) else [PER_MATRIX, Plane(8, -1, 0)]
        return Storage(name="int8", planes=tuple(planes), arithmetic=Arithmetic.INT8, encoding=Encoding.INT8)
    if kind == "float" and bits == 8 and strategy in ("block", "channel", "tensor"):
        stored = _fp8(weights, strategy, target, static=static)
        return stored if activations.data else weight_only(stored)
    if kind == "float" and bits == 4 and size == 16:
        scales = (SCALE, SCALE) if activations.data or target is Target.EXPERTS else (SCALE,)
        return nvfp4(*scales, arithmetic=Arithmetic.FP4 if activations.data else Arithmetic.BF16)
    if kind == "float" and bits == 4 and size == 32:
        return MXFP4_LINEAR
    raise UnsupportedModelError(f"compressed-tensors weights of {bits}-bit {kind} by {strategy} are not supported")

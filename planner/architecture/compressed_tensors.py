"""Which storage each weight of a compressed-tensors checkpoint has, as vLLM 0.33 reads it.

Source: vllm/model_executor/layers/quantization/compressed_tensors/ (schemes/ give the tensors, utils.py who is targeted or ignored).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from re import Pattern

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
    fused_name,
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
    targets = {wanted: group for group in groups for wanted in group.texts("targets")}  # of one that is named twice, the last group's scheme

    from planner.patterns import foreign_pattern

    def patterns(listed: Iterable[str]) -> dict[str, Pattern[str]]:
        return {text: foreign_pattern(text[3:]) for text in listed if text.startswith("re:")}

    # Files name each of thousands of experts: names are looked up, only patterns are tried one by one, and of each module once.
    place, targeted = {wanted: at for at, wanted in enumerate(targets)}, patterns(targets)
    ignored_names, ignored_patterns = frozenset(ignore), patterns(ignore).values()

    def ignored(name: str) -> bool:
        return name in ignored_names or any(pattern.match(name) for pattern in ignored_patterns)

    @cache
    def target_of(name: str) -> str | None:
        spelled = spellings(name)
        by_name = [each for each in spelled if each in targets]
        by_pattern = next((wanted for wanted, pattern in targeted.items() if any(pattern.match(each) for each in spelled)), None)
        return min([*by_name, *([by_pattern] if by_pattern else [])], key=place.__getitem__, default=None)

    def group_of(names: Sequence[str], target: Target) -> Config | None:
        """The group of a module: by its name, else by those of all its parts, else by its class (utils.py find_matched_target)."""
        whole = fused_name(names)
        if listed([whole], ignored) or listed(names, ignored):
            return None
        parts = [target_of(name) for name in names]
        named = target_of(whole) or (parts[0] if None not in parts else None)
        if named is None and target is not Target.HEAD:
            named = "Linear" if "Linear" in targets else None
        return None if named is None else targets[named]

    def lookup(names: Sequence[str], target: Target) -> Storage:
        if target is not Target.EXPERTS:
            group = group_of(names, target)
        else:  # by the names of one expert's matrices (compressed_tensors_moe.py get_moe_method)
            found = [group_of([f"{names[0]}.0.{part}"], target) for part in ("gate_proj", "up_proj", "down_proj")]
            group = found[0]
            if any(_scheme(other) != _scheme(group) for other in found):
                raise UnsupportedModelError("All MoE projections need to have same quantization scheme but found multiple")
        return BF16 if group is None else _compressed_storage(group, target)

    scales = (*scalars(3, 32), *scalars(3, 16, "attn.zero_points"))
    strategy = _cache_strategy(config)
    main = _compressed_storage(groups[0], Target.LINEAR)
    return Quantization(
        "compressed-tensors",
        lookup,
        main,
        attention_scales=scales,
        has_cache_scheme=strategy != "",
        scales_by_head=strategy == "attn_head",
        kv_cache_dtype="fp8" if strategy else "auto",
    )


def _scheme(group: Config | None) -> dict[str, object] | None:
    """What a group says of how its targets are stored."""
    return None if group is None else {key: value for key, value in group.data.items() if key != "targets"}


_MOST_TOLD = 40  # letters of what a file says, in a message


def _cache_strategy(config: Config) -> str:
    """What of the cache has a scale: all of a layer, or each head. Raises UnsupportedModelError where vLLM does (validate_kv_cache_scheme)."""
    scheme = config.section("kv_cache_scheme").data
    if not scheme:
        return ""
    kind, bits, strategy = scheme.get("type"), scheme.get("num_bits"), str(scheme.get("strategy"))
    if kind != "float" or bits != 8:
        received = f"num_bits={str(bits)[:_MOST_TOLD]}, type={str(kind)[:_MOST_TOLD]}"
        raise UnsupportedModelError(f"Currently supported kv cache quantization is num_bits=8, type=float, however received {received}")
    if strategy not in ("tensor", "attn_head"):
        raise UnsupportedModelError(f"Invalid strategy for compressed-tensors KV cache: {strategy[:_MOST_TOLD]}", "known: tensor, attn_head")
    if not scheme.get("symmetric"):
        raise UnsupportedModelError("Only support symmetric scaling factor for compressed-tensors KV cache.")
    return strategy


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

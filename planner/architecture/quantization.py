"""Which storage each weight has, from a checkpoint's quantization_config, as vLLM 0.33 reads it.

Sources: vllm/model_executor/layers/quantization/ {fp8,auto_awq,auto_gptq,modelopt,mxfp4}.py and
compressed_tensors/ (create_weights gives the tensors, is_layer_skipped and its siblings who is left out).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch

from planner.architecture.config import Config
from planner.errors import PlannerError, UnsupportedModelError
from planner.model import BF16, Plane, Storage, Tensor


class Role(StrEnum):
    """What kind of weight asks: formats treat these differently."""

    LINEAR = "linear"
    EXPERTS = "experts"
    HEAD = "head"


def spellings(name: str) -> list[str]:
    """Every spelling under which a checkpoint may list the module `name` (given without its model prefix).

    vLLM maps checkpoint names to its own per architecture (hf_to_vllm_mapper); listing the spellings is the general form.
    """
    prefixes = ("", "model.", "language_model.", "language_model.model.", "model.language_model.", "model.language_model.model.", "backbone.")
    return [prefix + name for prefix in prefixes]


@dataclass(frozen=True, slots=True)
class Quantization:
    """A checkpoint's quantization: its name in vLLM, and who is stored how."""

    name: str | None
    lookup: Callable[[Sequence[str], Role], Storage]
    attention_scales: tuple[Tensor, ...] = ()
    latent_scales: tuple[Tensor, ...] = ()
    kv_cache_dtype: str = "auto"

    def storage(self, names: Sequence[str], role: Role) -> Storage:
        """Storage of the (fused) module made of the checkpoint modules `names`."""
        return self.lookup(names, role)


UNQUANTIZED = Quantization(name=None, lookup=lambda names, role: BF16)

_SCALE = Plane(32, 0, 0)  # one float32 for each fused part
_PER_MATRIX = Plane(32, -1, 0)

FP8_TENSOR = Storage("fp8", (Plane(8), _SCALE))
FP8_TENSOR_STATIC = Storage("fp8", (Plane(8), _SCALE, _SCALE))
FP8_TENSOR_STATIC_EXPERTS = Storage("fp8", (Plane(8), _SCALE, _PER_MATRIX))
FP8_CHANNEL = Storage("fp8", (Plane(8), Plane(32, 1, 0)))
INT8_CHANNEL = Storage("int8", (Plane(8), Plane(32, 1, 0)))
NVFP4_LINEAR = Storage("nvfp4", (Plane(4), Plane(8, 1, 16), _SCALE, _SCALE), input_multiple=16)
NVFP4_WEIGHT_ONLY = Storage("nvfp4", (Plane(4), Plane(8, 1, 16), _SCALE, Plane(16, 0, 0)), input_multiple=16)  # its unused input scale is 16-bit
MXFP4 = Storage("mxfp4", (Plane(4), Plane(8, 1, 32)), input_multiple=32)
MXFP8 = Storage("mxfp8", (Plane(8), Plane(8, 1, 32)), input_multiple=32)


def fp8_block(rows: int, columns: int) -> Storage:
    """FP8 with a float32 scale for each block of rows x columns (vllm fp8.py:330)."""
    return Storage(f"fp8-block{rows}", (Plane(8), Plane(32, rows, columns)))


def grouped_int(bits: int, group: int, zero_points: bool, *, extra_bytes: int = 0) -> Storage:
    """4- or 8-bit integers, a 16-bit scale (and packed zero point) a group of inputs; group -1 is a whole row."""
    columns = 0 if group == -1 else group
    planes = [Plane(bits, extra_bytes=extra_bytes), Plane(16, 1, columns)]
    if zero_points:
        planes.append(Plane(bits, 1, columns))
    return Storage(f"int{bits}-g{group}", tuple(planes), input_multiple=max(1, columns), output_multiple=32 // bits if zero_points else 1)


def _scalars(count: int, bits: int, name: str = "attn.scales") -> tuple[Tensor, ...]:
    return tuple(Tensor(name=name, axes=(), bits=bits) for _ in range(count))


def read_quantization(section: Config, hf_quant: Config | None = None) -> Quantization:
    """Read `quantization_config` (or a ModelOpt hf_quant_config.json beside it). Raises UnsupportedModelError for an unknown method."""
    config = section if section.data else hf_quant
    if config is None or not config.data:
        return UNQUANTIZED
    method = config.text("quant_method", default="").lower().replace("compressed_tensors", "compressed-tensors")
    if method == "":
        method = _modelopt_method(config)
    readers: dict[str, Callable[[Config], Quantization]] = {
        "fp8": _fp8,
        "awq": _awq,
        "auto_awq": _awq,
        "awq_marlin": _awq,
        "gptq": _gptq,
        "auto_gptq": _gptq,
        "gptq_marlin": _gptq,
        "compressed-tensors": _compressed_tensors,
        "modelopt": _modelopt,
        "modelopt_fp4": _modelopt,
        "modelopt_mixed": _modelopt,
        "mxfp4": _mxfp4,
        "": lambda _: UNQUANTIZED,
    }
    if method not in readers:
        known = ", ".join(sorted(name for name in readers if name))
        raise UnsupportedModelError(f"quantization method {method!r} is not supported", f"known: {known}")
    return readers[method](config)


def _modelopt_method(config: Config) -> str:
    """VLLM sets the method of a ModelOpt file from its producer (model_arch_config_convertor.py:249); else none applies."""
    inner = config.section("quantization")
    if config.section("producer").data.get("name") == "modelopt" and inner.has("quant_algo"):
        return "modelopt"
    return ""


def _listed(names: Sequence[str], matches: Callable[[str], bool]) -> bool:
    """Whether every part of a fused module is listed (vLLM refuses half-listed ones)."""
    hits = [any(matches(s) for s in spellings(name)) for name in names]
    if any(hits) and not all(hits):
        raise UnsupportedModelError(f"only some of {', '.join(names)} are quantized; vLLM needs all parts of a fused layer alike")
    return all(hits)


def _fp8(config: Config) -> Quantization:
    ignored = set(config.texts("ignored_layers", "modules_to_not_convert"))
    static = config.text("activation_scheme", default="dynamic") == "static"
    block = config.integers("weight_block_size", low=1)
    linear = fp8_block(block[0], block[1]) if len(block) == 2 else (FP8_TENSOR_STATIC if static else FP8_TENSOR)
    experts = linear if len(block) == 2 else (FP8_TENSOR_STATIC_EXPERTS if static else FP8_TENSOR)
    expert_names = [name for name in ignored if "experts" in name]
    substring = config.text("ignored_layers_match_mode", default="exact") == "substring"  # as vLLM's Fp8Config attribute

    def skipped_linear(name: str) -> bool:
        return any(part in name for part in ignored) if substring else name in ignored

    def lookup(names: Sequence[str], role: Role) -> Storage:
        if role is Role.HEAD:
            return BF16
        if role is Role.EXPERTS:
            skipped = any(s in name for name in expert_names for s in spellings(names[0]))
            return BF16 if skipped else experts
        return BF16 if _listed(names, skipped_linear) else linear

    return Quantization("fp8", lookup, attention_scales=_scalars(4, 16))


def _awq(config: Config) -> Quantization:
    bits, group = config.integer("bits", "w_bit", high=16), config.integer("group_size", "q_group_size", low=-1)
    storage = grouped_int(bits, group, zero_points=True)  # qzeros are created whatever `zero_point` says (auto_awq.py:471)
    skip = config.texts("modules_to_not_convert")
    head_quantized = config.flag("lm_head", default=False)

    def lookup(names: Sequence[str], role: Role) -> Storage:
        if role is Role.HEAD and not head_quantized:
            return BF16
        skipped = _listed(names, lambda s: any(part in s for part in skip))
        return BF16 if skipped else storage

    return Quantization("auto_awq", lookup)


def _gptq(config: Config) -> Quantization:
    bits, group = config.integer("bits", high=16), config.integer("group_size", low=-1)
    if config.flag("desc_act") and group != -1:
        raise UnsupportedModelError("GPTQ with desc_act (act-order) is not supported", "use a checkpoint quantized without desc_act")
    storage = grouped_int(bits, group, zero_points=True)
    rules = [rule for rule in config.section("dynamic").data if rule.startswith("-:")]
    if any(not rule.startswith("-:") for rule in config.section("dynamic").data):
        raise UnsupportedModelError("GPTQ with per-module `dynamic` bit widths is not supported")

    def lookup(names: Sequence[str], role: Role) -> Storage:
        if role is Role.HEAD and not config.flag("lm_head", default=False):
            return BF16
        skipped = _listed(names, lambda s: any(re.match(rule[2:], s) for rule in rules))
        return BF16 if skipped else storage

    return Quantization("auto_gptq", lookup)


def _compressed_tensors(config: Config) -> Quantization:
    ignore = config.texts("ignore")
    groups = [Config(value, config.path) for value in config.section("config_groups").data.values() if isinstance(value, dict)]
    groups = [group for group in groups if not all(t.endswith("Attention") for t in group.texts("targets"))]
    if not groups:
        raise PlannerError(f"{config.path}: config_groups is empty; a compressed-tensors checkpoint names its groups there")
    kv_cache_dtype = "fp8" if config.has("kv_cache_scheme") and config.section("kv_cache_scheme").data.get("num_bits") == 8 else "auto"

    def matches(pattern: str, name: str) -> bool:
        return re.match(pattern[3:], name) is not None if pattern.startswith("re:") else pattern == name

    def ignored(name: str) -> bool:
        return any(matches(pattern, name) for pattern in ignore)

    def lookup(names: Sequence[str], role: Role) -> Storage:
        if role is Role.EXPERTS:  # one unfused name decides (compressed_tensors_moe.py get_moe_method)
            names = [names[0] + ".0.gate_proj", names[0] + ".0.up_proj", names[0] + ".0.down_proj"]
        if _listed(names, ignored):
            return BF16
        for group in groups:
            targets = group.texts("targets")
            wanted = "Linear" in targets and role is not Role.HEAD
            if wanted or any(matches(t, s) for t in targets for name in names for s in spellings(name)):
                return _compressed_storage(group, role)
        return BF16

    scales = (*_scalars(3, 32), *_scalars(3, 16, "attn.zero_points"))
    return Quantization("compressed-tensors", lookup, attention_scales=scales, kv_cache_dtype=kv_cache_dtype)


def _compressed_storage(group: Config, role: Role) -> Storage:
    weights, activations = group.section("weights"), group.section("input_activations")
    bits, kind = weights.integer("num_bits", high=16), weights.text("type", default="int")
    strategy = weights.text("strategy", default="tensor")
    static = bool(activations.data) and not activations.flag("dynamic", default=False) if not isinstance(activations.data.get("dynamic"), str) else False
    size = weights.integer("group_size", default=-1, low=-1)
    if kind == "int" and not activations.data:
        extra = 4 if role is Role.EXPERTS else 16  # weight_shape: two bf16 an expert, two int64 a linear
        return grouped_int(bits, size, not weights.flag("symmetric", default=True), extra_bytes=extra)
    if kind == "int" and bits == 8 and strategy == "channel":
        return INT8_CHANNEL
    if kind == "float" and bits == 8 and strategy == "block":
        block = weights.integers("block_structure", low=1, count=2)
        return fp8_block(block[0], block[1])
    if kind == "float" and bits == 8 and strategy == "channel":
        return FP8_CHANNEL
    if kind == "float" and bits == 8 and strategy == "tensor":
        if role is Role.EXPERTS:
            return FP8_TENSOR_STATIC_EXPERTS if static else FP8_TENSOR
        return FP8_TENSOR_STATIC if static else FP8_TENSOR
    if kind == "float" and bits == 4 and size == 16:
        scales = (_SCALE, _SCALE) if activations.data else (_SCALE,)
        return Storage("nvfp4", (Plane(4), Plane(8, 1, 16), *scales), input_multiple=16)
    raise UnsupportedModelError(f"compressed-tensors weights of {bits}-bit {kind} by {strategy} are not supported")


def _modelopt(config: Config) -> Quantization:
    inner = config.section("quantization") if config.has("quantization") else config
    algorithm = inner.text("quant_algo").upper()
    exclude = inner.texts("exclude_modules") if config.has("quantization") else config.texts("ignore", "exclude_modules")
    layers = {name: str(value.get("quant_algo", "")).upper() for name, value in inner.section("quantized_layers").data.items() if isinstance(value, dict)}
    if algorithm != "MIXED_PRECISION":
        _modelopt_storage(algorithm, Role.LINEAR)

    def excluded(name: str) -> bool:
        return any(fnmatch(name, pattern) or pattern in name for pattern in exclude)

    def lookup(names: Sequence[str], role: Role) -> Storage:
        if layers:
            found = {layers[s] for name in names for s in spellings(name) if s in layers}
            if len(found) > 1:
                raise UnsupportedModelError(f"{', '.join(names)} are quantized by {', '.join(sorted(found))}; vLLM needs all parts of a fused layer alike")
            if not found:
                parents = tuple(s.removesuffix("experts") if role is Role.EXPERTS else s + "." for s in spellings(names[0]))
                found = set([a for key, a in layers.items() if key.startswith(parents)][:1])
            return _modelopt_storage(found.pop(), role) if found else BF16
        if any(excluded(s) for name in names for s in spellings(name)):
            return BF16
        if any(part in names[0] for part in ("vision_tower", "vision_model", "vit_large_projector")):
            return BF16
        return _modelopt_storage(algorithm, role)

    scheme = config.section("kv_cache_scheme") if isinstance(config.data.get("kv_cache_scheme"), dict) else Config({}, "")
    fp8_kv = inner.data.get("kv_cache_quant_algo") == "FP8" or scheme.data.get("num_bits") == 8
    name = {"NVFP4": "modelopt_fp4", "MIXED_PRECISION": "modelopt_mixed"}.get(algorithm, "modelopt")
    scales = _scalars(4, 16) if fp8_kv or not layers else ()  # mixed precision registers them with an FP8 cache only
    return Quantization(name, lookup, attention_scales=scales, latent_scales=scales, kv_cache_dtype="fp8" if fp8_kv else "auto")


def _modelopt_storage(algorithm: str, role: Role) -> Storage:
    experts = role is Role.EXPERTS
    known: dict[str, Storage] = {
        "FP8": FP8_TENSOR_STATIC_EXPERTS if experts else FP8_TENSOR_STATIC,
        "FP8_PER_CHANNEL_PER_TOKEN": FP8_CHANNEL,
        "FP8_PB_WO": fp8_block(128, 128),
        "NVFP4": NVFP4_LINEAR,
        "W4A16_NVFP4": NVFP4_LINEAR if experts else NVFP4_WEIGHT_ONLY,
        "MXFP8": MXFP8,
    }
    if algorithm not in known:
        raise UnsupportedModelError(f"ModelOpt algorithm {algorithm!r} is not supported", f"known: {', '.join(known)}")
    return known[algorithm]


def _mxfp4(config: Config) -> Quantization:
    def lookup(names: Sequence[str], role: Role) -> Storage:
        return MXFP4 if role is Role.EXPERTS else BF16

    return Quantization("gpt_oss_mxfp4", lookup)

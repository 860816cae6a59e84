"""Which storage each weight has, from a checkpoint's quantization_config, as vLLM 0.33 reads it.

Sources: vllm/model_executor/layers/quantization/ {fp8,auto_awq,auto_gptq,modelopt,mxfp4}.py and
compressed_tensors/ (create_weights gives the tensors, is_layer_skipped and its siblings who is left out).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from planner.architecture.config import Config
from planner.architecture.formats import (
    FP8_TENSOR,
    FP8_TENSOR_STATIC,
    FP8_TENSOR_STATIC_EXPERTS,
    MXFP4,
    MXFP4_MARLIN,
    NVFP4,
    UNQUANTIZED,
    Quantization,
    Target,
    fp8_block,
    grouped_int,
    listed,
    mentioned,
    scalars,
    spellings,
    with_parts,
)
from planner.errors import UnsupportedModelError
from planner.facts.storage import BF16, Encoding, Storage
from planner.patterns import foreign_pattern

# Methods that vLLM has no more, and the minor release that dropped them: their files in model_executor/layers/quantization/ of the releases on PyPI.
# (0.15 has no source distribution: what 0.14 has and 0.16 lacks is put down to 0.15.)
DROPPED = {
    "tpu_int8": 14,
    "hqq": 15,
    "deepspeedfp": 15,
    "ipex": 15,
    "gptq_marlin_24": 15,
    "rtn": 15,
    "gptq_bitblas": 15,
    "bitblas": 15,
    "ptpc_fp8": 19,
    "petit_nvfp4": 20,
    "gguf": 24,
    "bitsandbytes": 28,
}


def read_quantization(section: Config, hf_quant: Config | None = None, *, mapped: Callable[[], bool] = lambda: True) -> Quantization:
    """Read `quantization_config` (or a ModelOpt hf_quant_config.json beside it). Raises UnsupportedModelError for an unknown method.

    `mapped` says whether the model's class maps the names of its checkpoint, for whoever needs to know.
    """
    config = section if section.data else hf_quant
    if config is None or not config.data:
        return UNQUANTIZED
    method = config.text("quant_method", default="").lower().replace("compressed_tensors", "compressed-tensors")
    if method == "":
        method = _modelopt_method(config)
    readers: dict[str, Callable[[Config], Quantization]] = {
        "fp8": _fp8,
        "deepseek_v4_fp8": _deepseek_v4,
        "awq": _awq,
        "auto_awq": _awq,
        "awq_marlin": _awq,
        "gptq": _gptq,
        "auto_gptq": _gptq,
        "gptq_marlin": _gptq,
        "compressed-tensors": _compressed_tensors,
        "auto-round": _auto_round,
        "inc": _auto_round,
        **dict.fromkeys(("modelopt", "modelopt_fp4", "modelopt_mixed"), partial(_modelopt, mapped=mapped)),
        "mxfp4": _mxfp4,
        "quark": _quark,
        "": lambda _: UNQUANTIZED,
    }
    if method in DROPPED:
        raise UnsupportedModelError(
            f"vLLM reads quantization method {method!r} no more: it was dropped in 0.{DROPPED[method]}", "use a checkpoint in another format"
        )
    if method not in readers:
        known = ", ".join(sorted(name for name in readers if name))
        raise UnsupportedModelError(f"quantization method {method!r} is not supported", f"known: {known}")
    return readers[method](config)


def _compressed_tensors(config: Config) -> Quantization:
    from planner.architecture.compressed_tensors import compressed_tensors

    return compressed_tensors(config)


def _quark(config: Config) -> Quantization:
    from planner.architecture.quark import quark

    return quark(config)


def _modelopt_method(config: Config) -> str:
    """VLLM sets the method of a ModelOpt file from its producer (model_arch_config_convertor.py:249); else none applies."""
    inner = config.section("quantization")
    if config.section("producer").data.get("name") == "modelopt" and inner.has("quant_algo"):
        return "modelopt"
    return ""


def _fp8(config: Config) -> Quantization:
    ignored = set(with_parts(config.texts("ignored_layers", "modules_to_not_convert")))
    static = config.text("activation_scheme", default="dynamic") == "static"
    block = config.integers("weight_block_size", low=1)
    linear = fp8_block(block[0], block[1]) if len(block) == 2 else (FP8_TENSOR_STATIC if static else FP8_TENSOR)
    experts = linear if len(block) == 2 else (FP8_TENSOR_STATIC_EXPERTS if static else FP8_TENSOR)
    expert_names = [name for name in ignored if "experts" in name]
    substring = config.text("ignored_layers_match_mode", default="exact") == "substring"  # as vLLM's Fp8Config attribute

    def skipped_linear(name: str) -> bool:
        return any(part in name for part in ignored) if substring else name in ignored

    def lookup(names: Sequence[str], target: Target) -> Storage:
        if target is Target.HEAD:
            return BF16
        if target is Target.EXPERTS:
            skipped = any(s in name for name in expert_names for s in spellings(names[0]))
            return BF16 if skipped else experts
        return BF16 if ignored and listed(names, skipped_linear) else linear

    return Quantization("fp8", lookup, linear, attention_scales=scalars(4, 16))


def _deepseek_v4(config: Config) -> Quantization:
    """FP8 blocks with exponent-only scales; the experts in MXFP4, NVFP4 or FP8, as `expert_dtype` and `moe_quant_algo` say (quant_config.py)."""
    dtype, algorithm = config.text("expert_dtype", default="fp4"), config.text("moe_quant_algo", default="").upper()
    if dtype not in ("fp4", "fp8"):
        raise UnsupportedModelError(f"expert_dtype {dtype!r} is not supported", "known: fp4, fp8")
    linear = fp8_block(128, 128, scale_bits=8 if dtype == "fp4" else 32)
    four_bit = NVFP4 if algorithm == "NVFP4" else MXFP4_MARLIN

    def lookup(names: Sequence[str], target: Target) -> Storage:
        if target is Target.HEAD:
            return BF16
        return four_bit if target is Target.EXPERTS and dtype == "fp4" else linear

    return Quantization("deepseek_v4_fp8", lookup, lookup([""], Target.EXPERTS))


def _awq(config: Config) -> Quantization:
    bits, group = config.integer("bits", "w_bit", high=16), config.integer("group_size", "q_group_size", low=-1)
    if bits != 4:
        raise UnsupportedModelError(f"AWQ in {bits} bits is not supported by vLLM", "it reads AWQ in 4 bits")
    storage = grouped_int(bits, group, zero_points=True, encoding=Encoding.AWQ)  # qzeros are created whatever `zero_point` says (auto_awq.py:471)
    skip = config.texts("modules_to_not_convert")
    head_quantized = config.flag("lm_head", default=False)

    def lookup(names: Sequence[str], target: Target) -> Storage:
        if target is Target.HEAD and not head_quantized:
            return BF16
        return BF16 if skip and mentioned(names, skip) else storage

    return Quantization("auto_awq", lookup, storage)


def _gptq(config: Config) -> Quantization:
    base, overrides = _gptq_setting(config, config), config.section("dynamic").data

    def setting(name: str) -> tuple[int, int] | None:
        """Bits and group of a module; None where it is left out. The first pattern that begins one of its names decides (gptq_utils.py)."""
        for pattern, own in overrides.items():
            if any(foreign_pattern(pattern[2:] if pattern[:2] in ("-:", "+:") else pattern).match(spelled) for spelled in spellings(name)):
                return None if pattern.startswith("-:") else _gptq_setting(Config(own if isinstance(own, dict) else {}, config.path), config)
        return base

    def lookup(names: Sequence[str], target: Target) -> Storage:
        if target is Target.HEAD and not config.flag("lm_head", default=False):
            return BF16
        settings = {setting(name) for name in names}
        if len(settings) > 1:
            raise UnsupportedModelError(f"{', '.join(names)} are quantized differently; vLLM needs all parts of a fused layer alike")
        if (own := settings.pop()) is None:
            return BF16
        # auto_gptq.py creates w13_bias and w2_bias for every model
        return grouped_int(*own, zero_points=True, encoding=Encoding.GPTQ, bias=target is Target.EXPERTS)

    return Quantization("auto_gptq", lookup, grouped_int(*base, zero_points=True, encoding=Encoding.GPTQ))


def _gptq_setting(config: Config, default: Config) -> tuple[int, int]:
    """Bits and group size, of a module's own section or else of the checkpoint. Raises UnsupportedModelError for what vLLM has no kernel for."""
    bits = config.integer("bits", high=16) if config.has("bits") else default.integer("bits", high=16)
    group = config.integer("group_size", low=-1) if config.has("group_size") else default.integer("group_size", low=-1)
    ordered, sym = config.flag("desc_act", default=default.flag("desc_act", default=False)), config.flag("sym", default=default.flag("sym", default=True))
    if ordered and group != -1:
        raise UnsupportedModelError("GPTQ with desc_act (act-order) is not supported", "use a checkpoint quantized without desc_act")
    if bits not in (4, 8) or not sym:
        raise UnsupportedModelError(f"GPTQ in {bits} bits, sym {sym}, is not supported by vLLM", "it reads GPTQ in 4 or 8 bits with sym")
    return bits, group


def _auto_round(config: Config) -> Quantization:
    """AutoRound (Intel Neural Compressor): integers packed as GPTQ or AWQ does, some modules set apart by `extra_config` (inc/config_parser.py)."""
    kind, packing = config.text("data_type", default="int"), config.text("packing_format", default="auto_round:auto_gptq")
    if kind != "int":
        raise UnsupportedModelError(f"AutoRound with data type {kind!r} is not supported", "known: int")
    base = (config.integer("bits", high=16), config.integer("group_size", low=-1))
    encoding = Encoding.GPTQ if "gptq" in packing else Encoding.AWQ
    blocks = _block_names(config)
    own = {name: Config(value, config.path) for name, value in config.section("extra_config").data.items() if isinstance(value, dict)}

    def setting(name: str, target: Target) -> tuple[int, int]:
        quantized = target is not Target.HEAD and (not blocks or any(s.startswith(block) for s in spellings(name) for block in blocks))
        for key, value in own.items():
            inside = target is Target.EXPERTS and any(key.startswith(s) for s in spellings(name))
            if inside or key in spellings(name) or _searched(key, name):
                return value.integer("bits", default=base[0] if quantized else 16, high=16), value.integer("group_size", default=base[1], low=-1)
        return base if quantized else (16, -1)

    def lookup(names: Sequence[str], target: Target) -> Storage:
        settings = {setting(name, target) for name in names}
        if len(settings) > 1:
            raise UnsupportedModelError(f"{', '.join(names)} are quantized differently; vLLM needs all parts of a fused layer alike")
        bits, group = settings.pop()
        if bits == 16:
            return BF16
        stored = grouped_int(bits, group, zero_points=True, encoding=encoding, bias=target is Target.EXPERTS and "gptq" in packing)
        return replace(stored, symmetric=config.flag("sym", default=True))

    return Quantization("inc", lookup, grouped_int(*base, zero_points=True, encoding=encoding))


def _block_names(config: Config) -> list[str]:
    """The blocks to quantize: a list, or names between commas."""
    for key in ("block_name_to_quantize", "to_quant_block_names"):
        if isinstance(config.data.get(key), str):
            return [part.strip() for part in config.text(key).split(",")]
        if config.has(key):
            return config.texts(key)
    return []


def _searched(pattern: str, name: str) -> bool:
    """Whether a key that is a regular expression finds the module."""
    if not set(pattern) & set(r"*+?^$()[]{}|\\"):
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    return any(foreign_pattern(pattern).search(s) for s in spellings(name))


def _modelopt(config: Config, *, mapped: Callable[[], bool]) -> Quantization:
    from planner.architecture.modelopt import modelopt

    return modelopt(config, mapped=mapped)


def _mxfp4(config: Config) -> Quantization:
    return Quantization("gpt_oss_mxfp4", lambda names, target: MXFP4 if target is Target.EXPERTS else BF16, MXFP4)

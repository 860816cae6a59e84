"""Quantization sections as published checkpoints have them, for benchmarks/crossing.py.

Their shapes are those of llm-compressor, AutoAWQ, GPTQModel, ModelOpt, Quark, AutoRound and of the vendors' own FP8 repositories: which names are left
out is drawn among the ways in which those write them.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

Row = dict[str, Any]
_SIZES = ("hidden_size", "intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "ffn_hidden_size", "n_embd", "n_inner")
TOWERS = ("vision_config", "audio_config", "thinker_config", "vit_config", "img_processor", "encoder_config")


_TOWER_NAMES = ("visual", "vision", "vpm", "apm", "audio", "resampler", "projector", "mlp1", "multi_modal", "connector", "encoder")


def _left_out(config: Row, random: Random) -> list[str]:
    """A list of what is left out, in the words of llm-compressor: names and patterns behind `re:`."""
    has_tower = any(key in config for key in TOWERS)
    lists = [
        ["lm_head"],
        ["lm_head"],
        ["lm_head", "re:.*mlp.gate$", "re:.*mlp.shared_expert_gate$", "re:.*router.*", "re:.*block_sparse_moe.gate"],
        [],
        ["re:.*lm_head"],
    ]
    if has_tower:
        lists = [
            ["re:.*lm_head", "re:visual.*", "re:vision_tower.*", "re:multi_modal_projector.*", "re:model.visual.*", "re:.*vision_model.*"],
            ["lm_head", "re:.*visual.*", "re:.*vision.*", "re:.*multi_modal_projector.*", "re:.*audio.*", "re:.*projector.*"],
            ["language_model.lm_head", "lm_head", "re:vision.*", "re:.*vision.*", "re:.*multi_modal.*", "re:.*mlp1.*", "re:.*audio.*", "re:.*visual.*"],
            ["lm_head"],
        ]
    return random.choice(lists)


def _group(config: Row, sizes: tuple[int, ...]) -> int:
    """The first of these group sizes that divides the text model's sizes, as who quantizes it takes one that does."""
    text = config.get("text_config") or config
    widths = [value for key, value in text.items() if isinstance(value, int) and key in _SIZES and value]
    return next((size for size in sizes if not any(width % size for width in widths)), -1)


def _labels(config: Row) -> list[str]:
    """The name of a head of labels, where there is one: who quantizes leaves it out."""
    return ["score"] if any(word in config["architectures"][0] for word in ("Classification", "Reward", "Ranking")) else []


def _own_names(config: Row, tower: Sequence[str], random: Random) -> list[str]:
    """The same in the words of the vendors' own FP8 lists: each module by its whole name."""
    return random.choice([["lm_head"], [], ["lm_head", *tower]] if tower else [["lm_head"], []])


def _weights(bits: int, kind: str, strategy: str, **more: object) -> Row:
    return {"num_bits": bits, "type": kind, "strategy": strategy, "symmetric": True, "dynamic": False, "group_size": None, **more}


_INPUTS: dict[str, Row] = {
    "token": {"num_bits": 8, "strategy": "token", "dynamic": True, "symmetric": True},
    "static": {"num_bits": 8, "strategy": "tensor", "dynamic": False, "symmetric": True},
    "group": {"num_bits": 8, "strategy": "group", "group_size": 128, "dynamic": True, "symmetric": True, "type": "float"},
    "fp4": {"num_bits": 4, "strategy": "tensor_group", "group_size": 16, "dynamic": "local", "symmetric": True, "type": "float"},
    "mx": {"num_bits": 4, "strategy": "group", "group_size": 32, "dynamic": True, "symmetric": True, "type": "float"},
}


def _inputs(name: str, kind: str) -> Row:
    return {"type": kind} | _INPUTS[name]


SCHEMES: dict[str, tuple[str, Row, Row | None]] = {
    "ct-w4a16": ("pack-quantized", _weights(4, "int", "group", group_size=128), None),
    "ct-w4a16-g32": ("pack-quantized", _weights(4, "int", "group", group_size=32), None),
    "ct-w4a16-asym": ("pack-quantized", _weights(4, "int", "group", group_size=128, symmetric=False), None),
    "ct-w4a16-channel": ("pack-quantized", _weights(4, "int", "channel"), None),
    "ct-w8a16": ("pack-quantized", _weights(8, "int", "channel"), None),
    "ct-w8a8-int8": ("int-quantized", _weights(8, "int", "channel"), _inputs("token", "int")),
    "ct-fp8-dynamic": ("float-quantized", _weights(8, "float", "channel"), _inputs("token", "float")),
    "ct-fp8-static": ("float-quantized", _weights(8, "float", "tensor"), _inputs("static", "float")),
    "ct-fp8-block": ("float-quantized", _weights(8, "float", "block", block_structure=[128, 128]), _inputs("group", "float")),
    "ct-nvfp4": ("nvfp4-pack-quantized", _weights(4, "float", "tensor_group", group_size=16), _INPUTS["fp4"]),
    "ct-nvfp4a16": ("nvfp4-pack-quantized", _weights(4, "float", "tensor_group", group_size=16), None),
    "ct-mxfp4": ("mxfp4-pack-quantized", _weights(4, "float", "group", group_size=32, scale_dtype="torch.uint8"), _INPUTS["mx"]),
}
QUARK: dict[str, tuple[Row, Row]] = {
    "quark-fp8": (
        {"dtype": "fp8_e4m3", "qscheme": "per_tensor", "is_dynamic": False, "symmetric": True},
        {"dtype": "fp8_e4m3", "qscheme": "per_tensor", "is_dynamic": False, "symmetric": True},
    ),
    "quark-ptpc": (
        {"dtype": "fp8_e4m3", "qscheme": "per_channel", "ch_axis": 0, "is_dynamic": False, "symmetric": True},
        {"dtype": "fp8_e4m3", "qscheme": "per_channel", "ch_axis": 1, "is_dynamic": True, "symmetric": True},
    ),
    "quark-mxfp4": (
        {"dtype": "fp4", "qscheme": "per_group", "group_size": 32, "ch_axis": -1, "is_dynamic": False, "scale_format": "e8m0", "symmetric": None},
        {"dtype": "fp4", "qscheme": "per_group", "group_size": 32, "ch_axis": -1, "is_dynamic": True, "scale_format": "e8m0", "symmetric": None},
    ),
}
_OTHERS = "none fp8-static fp8-dynamic modelopt-fp8 autoround gptq8 gptq-desc gptq-dynamic modelopt-mxfp8 modelopt-w4a16"
# Each, and how often it is drawn: what people serve most, most.
FORMATS: dict[str, int] = dict.fromkeys((*SCHEMES, *QUARK, *_OTHERS.split()), 1) | dict.fromkeys(
    ("fp8-block", "ct-w4a16", "ct-fp8-dynamic", "awq", "gptq4", "ct-nvfp4", "modelopt-nvfp4"), 3
)


def quantized(kind: str, config: Row, tower: Sequence[str], random: Random) -> Row:
    """The keys that a checkpoint of this format adds to its config; `tower` are the names of its tower's matrices."""
    for known, made in (
        (kind in SCHEMES, _compressed_tensors),
        (kind in QUARK, _quark),
        (kind.startswith("fp8-"), _fp8),
        (kind == "awq", _awq),
        (kind.startswith("gptq"), _gptq),
        (kind == "autoround", _auto_round),
        (kind.startswith("modelopt"), _modelopt),
    ):
        if known:
            return {"quantization_config": made(kind, config, tower, random)}
    return {}


def _compressed_tensors(kind: str, config: Row, tower: Sequence[str], random: Random) -> Row:
    layout, weights, inputs = SCHEMES[kind]
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": None, "format": layout}
    return {"quant_method": "compressed-tensors", "format": layout, "config_groups": {"group_0": group}, "ignore": _left_out(config, random) + _labels(config)}


def _quark(kind: str, config: Row, tower: Sequence[str], random: Random) -> Row:
    weight, inputs = QUARK[kind]
    return {
        "quant_method": "quark",
        "global_quant_config": {"weight": weight, "input_tensors": inputs, "bias": None, "output_tensors": None},
        "layer_quant_config": {},
        "layer_type_quant_config": {},
        "exclude": random.choice([["lm_head"], [], ["lm_head", "re:.*mlp.gate$"]]),
        "export": {"pack_method": "reorder", "kv_cache_group": [], "weight_format": "real_quantized", "min_kv_scale": 0.0},
    }


def _fp8(kind: str, config: Row, tower: Sequence[str], random: Random) -> Row:
    names = _own_names(config, tower, random)
    section: Row = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "static" if kind == "fp8-static" else "dynamic"}
    if kind == "fp8-block":
        section["weight_block_size"] = [128, 128]
    if names:
        section[random.choice(["modules_to_not_convert", "ignored_layers"])] = names
    return section


def _awq(kind: str, config: Row, tower: Sequence[str], random: Random) -> Row:
    left: list[str] = random.choice([[], ["visual"], ["lm_head"], ["vision_tower", "multi_modal_projector", "visual"]])
    group = _group(config, random.choice([(128, 64, 32), (64, 32), (32,)]))
    section: Row = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm"}
    return section | {"modules_to_not_convert": left + _labels(config) or None}


def _gptq(kind: str, config: Row, tower: Sequence[str], random: Random) -> Row:
    left: Row = {f"-:.*{name}.*": {} for name in (*_labels(config), *(_TOWER_NAMES if tower else ()))}
    if kind == "gptq-dynamic":
        left |= {r"-:.*mlp\.down_proj": {}, r"+:.*self_attn\.o_proj": {"bits": 8, "group_size": 64}}
    group = -1 if kind == "gptq-desc" else _group(config, random.choice([(128, 64, 32), (32,), ()]))
    section: Row = {"quant_method": "gptq", "bits": 8 if kind == "gptq8" else 4, "group_size": group, "sym": True, "lm_head": False}
    return section | {"desc_act": kind == "gptq-desc"} | ({"dynamic": left} if left else {})


def _auto_round(kind: str, config: Row, tower: Sequence[str], random: Random) -> Row:
    section: Row = {"quant_method": "auto-round", "bits": 4, "group_size": _group(config, (128, 64, 32)), "sym": True, "data_type": "int"}
    own = {"extra_config": {name: {"bits": 16} for name in _labels(config)}}
    return section | {"packing_format": random.choice(["auto_round:auto_gptq", "auto_round:auto_awq"])} | own


def _modelopt(kind: str, config: Row, tower: Sequence[str], random: Random) -> Row:
    algorithm = {"modelopt-fp8": "FP8", "modelopt-nvfp4": "NVFP4", "modelopt-mxfp8": "MXFP8", "modelopt-w4a16": "W4A16_NVFP4"}[kind]
    left = random.choice([["lm_head"], ["lm_head", "*mlp.gate*"], ["lm_head", "*visual*", "*vision*", "*router*"], ["*self_attn*", "lm_head"], []])
    section: Row = {"quant_method": "modelopt", "quant_algo": algorithm, "ignore": left, "producer": {"name": "modelopt", "version": "0.37.0"}}
    if random.random() < 0.4 and "kv_lora_rank" not in str(config):  # FlashMLA, which would keep such a cache, is compiled: the judge lacks it
        section["kv_cache_scheme"] = {"dynamic": False, "num_bits": 8, "type": "float"}
    return section

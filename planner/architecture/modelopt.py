"""Which storage each weight of a ModelOpt checkpoint has, as vLLM 0.33 reads it (model_executor/layers/quantization/modelopt.py)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import translate

from planner.architecture.config import Config
from planner.architecture.formats import (
    FP8_CHANNEL,
    FP8_TENSOR_STATIC,
    FP8_TENSOR_STATIC_EXPERTS,
    MXFP8,
    NVFP4,
    NVFP4_WEIGHT_ONLY,
    Quantization,
    Target,
    fp8_block,
    fused_name,
    listed,
    scalars,
    spellings,
    weight_only,
)
from planner.errors import UnsupportedModelError
from planner.facts.storage import BF16, Cut, Storage


def _fused(names: Sequence[str]) -> Sequence[str]:
    """The one name by which the class calls the matrix made of these: patterns are held against it alone, whole names against each part."""
    whole = fused_name(names)
    return names if whole == names[0] else [whole]


def modelopt(config: Config, *, mapped: Callable[[], bool]) -> Quantization:
    """Who is stored how, by a checkpoint's section. Raises UnsupportedModelError for an algorithm that is not known."""
    inner = config.section("quantization") if config.has("quantization") else config
    algorithm = inner.text("quant_algo").upper()
    named = inner.texts("exclude_modules") if config.has("quantization") else config.texts("ignore", "exclude_modules")
    # a pattern that ends in `*` is read as the module itself and what is inside it, where names are mapped at all (modelopt.py apply_vllm_mapper)
    maps = mapped()
    exclude = [part for name in named for part in ((name[:-1], name[:-1] + ".*") if maps and re.search(r"[^.]\*$", name) else (name,))]
    layers = {name: str(value.get("quant_algo", "")).upper() for name, value in inner.section("quantized_layers").data.items() if isinstance(value, dict)}
    inside: dict[str, str] = {}  # of every module that has quantized ones inside, the algorithm of the first
    for name, kind in layers.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            inside.setdefault(".".join(parts[:depth]), kind)
    if algorithm != "MIXED_PRECISION":
        _storage(algorithm, Target.LINEAR)

    wild = re.compile("|".join(translate(pattern) for pattern in exclude if set(pattern) & set("*?[")) or "(?!)")

    def excluded(name: str) -> bool:
        return wild.match(name) is not None or any(pattern in name for pattern in exclude)

    whole_names = frozenset(exclude)

    def lookup(names: Sequence[str], target: Target) -> Storage:
        if layers:
            algorithms = {layers[s] for name in names for s in spellings(name) if s in layers}
            if len(algorithms) > 1:
                raise UnsupportedModelError(f"{', '.join(names)} are quantized by {', '.join(sorted(algorithms))}; vLLM needs all parts of a fused layer alike")
            if not algorithms:
                parents = spellings(names[0])
                if target is Target.EXPERTS:
                    parents += [parent.removesuffix(".experts") for parent in parents]
                parent = next((parent for parent in parents if parent in inside), None)
                return BF16 if parent is None else _storage(inside[parent], target)
            return _storage(algorithms.pop(), target)
        if listed(names, whole_names.__contains__) or any(excluded(s) for name in _fused(names) for s in spellings(name)):
            return BF16
        if any(part in names[0] for part in ("vision_tower", "vision_model", "vit_large_projector")):
            return BF16
        return _storage(algorithm, target)

    cache = _cache_dtype(inner, config)
    asks_scales = bool(inner.data.get("kv_cache_quant_algo")) if config.has("quantization") else cache == "fp8"
    name = {"NVFP4": "modelopt_fp4", "MIXED_PRECISION": "modelopt_mixed"}.get(algorithm, "modelopt")
    scales = scalars(4, 16) if asks_scales or not layers else ()  # mixed precision registers them with a cache that has some only
    main = _storage(Counter(layers.values()).most_common(1)[0][0] if layers else algorithm, Target.LINEAR)
    return Quantization(
        name,
        lookup,
        main,
        attention_scales=scales,
        latent_scales=scales,
        kv_cache_dtype=cache,
    )


def _cache_dtype(inner: Config, config: Config) -> str:
    """What the checkpoint asks its cache to be: a scheme before a name; the model's own for what vLLM only warns of (utils/torch_utils.py)."""
    keys = ("kv_cache_scheme", "kv_cache_quant_algo")
    said = next((value for key in keys for section in (inner, config) if (value := section.data.get(key))), None)
    if isinstance(said, dict):
        kind = (said.get("num_bits"), said.get("type"))
        return "fp8" if kind == (8, "float") and said.get("dynamic") is False else "nvfp4" if kind == (4, "float") else "auto"
    name = said.lower() if isinstance(said, str) else ""
    return name if name in ("fp8", "nvfp4") else "auto"


def _storage(algorithm: str, target: Target) -> Storage:
    experts = target is Target.EXPERTS
    known: dict[str, Storage] = {
        "FP8": FP8_TENSOR_STATIC_EXPERTS if experts else FP8_TENSOR_STATIC,
        "FP8_PER_CHANNEL_PER_TOKEN": FP8_CHANNEL,
        "FP8_PB_WO": fp8_block(128, 128) if experts else replace(fp8_block(128, 128, cut=Cut.ANYWHERE), input_multiple=128),
        "NVFP4": NVFP4,
        "W4A16_NVFP4": weight_only(NVFP4) if experts else NVFP4_WEIGHT_ONLY,
        "MXFP8": MXFP8,
    }
    if algorithm not in known:
        raise UnsupportedModelError(f"ModelOpt algorithm {algorithm!r} is not supported", f"known: {', '.join(known)}")
    return known[algorithm]

"""Mixes that others than llama.cpp's quantizer make, by what their published files take beside its own mix of the same bits.

Which tensor gets which type is decided anew for every model and now and again for the same one, so a file's header is exact and this is not.
Sizes (tests/engines/llamacpp/test_field_local.py): Qwen3.5 0.8B to 122B and their own Q8_0 (ggml-org/Llama-macOS#63, March 2026), all of Qwen3.8-27B's
as the Hub listed them on 19 August and 24 September 2026, Qwen3.6-35B-A3B's, Gemma 4 26B's. What is no expert lies in 8 bits beside experts: a log
of Qwen3.6-35B-A3B with --cpu-moe (June 2026) has 1,921 MiB of it on the GPU. Errors cover the files of hybrids from 9B on; of the rest few are known.
"""

from __future__ import annotations

from dataclasses import replace

from planner.engines.llamacpp.layers import EXPERTS, Layer, Part
from planner.engines.llamacpp.model import GgufModel, converted
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass

_BESIDE_EXPERTS = "Q8_0"
_PLAIN_PERMILLE, _PLAIN_ERROR_PERMILLE = 930, 70  # of models without a recurrent state: one file of Gemma 4 26B, so the interval is wide


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamic:
    """A mix beside one of llama.cpp's: its layers in thousandths of that one's, dense or with experts; how far files lie from it, in thousandths of all weights."""

    base: str
    dense_permille: int
    experts_permille: int
    error_permille: int


DYNAMIC = {
    "UD-IQ2_XXS": Dynamic(base="IQ2_XXS", dense_permille=945, experts_permille=1200, error_permille=120),
    "UD-Q2_K_XL": Dynamic(base="Q2_K", dense_permille=935, experts_permille=985, error_permille=70),
    "UD-IQ3_XXS": Dynamic(base="IQ3_XXS", dense_permille=965, experts_permille=925, error_permille=60),
    "UD-Q3_K_XL": Dynamic(base="Q3_K_M", dense_permille=1040, experts_permille=1050, error_permille=70),
    "UD-IQ4_XS": Dynamic(base="IQ4_XS", dense_permille=960, experts_permille=935, error_permille=60),
    "UD-Q4_K_M": Dynamic(base="Q4_K_M", dense_permille=1020, experts_permille=1048, error_permille=45),
    "UD-Q4_K_XL": Dynamic(base="Q4_K_M", dense_permille=1072, experts_permille=1050, error_permille=30),
    "UD-Q5_K_M": Dynamic(base="Q5_K_M", dense_permille=1030, experts_permille=1070, error_permille=45),
    "UD-Q5_K_XL": Dynamic(base="Q5_K_M", dense_permille=1080, experts_permille=1080, error_permille=50),
    "UD-Q6_K": Dynamic(base="Q6_K", dense_permille=1000, experts_permille=1030, error_permille=45),
    "UD-Q6_K_XL": Dynamic(base="Q6_K", dense_permille=1165, experts_permille=1125, error_permille=45),
    "UD-Q8_K_XL": Dynamic(base="Q8_0", dense_permille=1095, experts_permille=1100, error_permille=45),
}


def name_of(mix: str) -> str:
    """A mix of others by name in any case, UD_Q4_K_XL too; empty for one whose files nobody compared."""
    wanted = mix.upper().replace("UD_", "UD-", 1)
    return wanted if wanted in DYNAMIC else ""


def dynamic(model: ModelSpec, mix: str) -> GgufModel:
    """The file of a model in a mix of `DYNAMIC`: the ends as llama.cpp has them, the layers larger or smaller."""
    rule = DYNAMIC[mix]
    own = converted(model, rule.base)
    permille = rule.experts_permille if own.has_experts else rule.dense_permille
    permille = permille if model.has_state else permille * _PLAIN_PERMILLE // 1000
    error = rule.error_permille + (0 if model.has_state else _PLAIN_ERROR_PERMILLE)
    wide = converted(model, _BESIDE_EXPERTS).layers if own.has_experts else own.layers
    layers = _scaled(own.layers, wide, sum(own.layer_bytes) * permille // 1000)
    grown = sum(layer.bytes for layer in layers) - sum(own.layer_bytes)
    return replace(own, mix=mix, layers=layers, file_bytes=own.file_bytes + grown, exact=False, weights_error_permille=error)


def _scaled(layers: tuple[Layer, ...], wide: tuple[Layer, ...], wanted_bytes: int) -> tuple[Layer, ...]:
    """Layers that take so many bytes together: what is no expert as in `wide`, the rest of the parts in the same measure larger or smaller."""
    if all(not layer.bytes_of(EXPERTS) for layer in layers):
        have = sum(layer.bytes for layer in layers)
        return tuple(Layer(tuple((part, size * wanted_bytes // have) for part, size in layer.parts), layer.caches) for layer in layers)
    beside = sum(layer.bytes - layer.bytes_of(EXPERTS) for layer in wide)
    have = sum(layer.bytes_of(EXPERTS) for layer in layers)
    left = max(0, wanted_bytes - beside)
    return tuple(_layer(layer, dict(broad.parts), left, have) for layer, broad in zip(layers, wide, strict=True))


def _layer(layer: Layer, broad: dict[Part, int], left: int, have: int) -> Layer:
    return Layer(tuple((part, size * left // have if part in EXPERTS else broad[part]) for part, size in layer.parts), layer.caches)

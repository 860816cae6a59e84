"""Mixes that others than llama.cpp's quantizer make, by what their published files take beside its own mix of the same bits.

Which tensor gets which type is decided anew for every model, so a file's header is exact and this is not. Sizes: Qwen3.5 0.8B to 122B and their
own Q8_0 (ggml-org/Llama-macOS#63, March 2026); Qwen3.6-27B UD-Q3_K_XL 13.469 GiB (model card of sokann/Qwen3.6-27B-GGUF-4.256bpw, 2026); Qwen3.6-27B-MTP
UD-Q4_K_XL and Qwen3.6-35B-A3B UD-Q4_K_M in logs (tests/engines/llamacpp/test_field_local.py). Ten files of one family: the intervals are theirs.
"""

from __future__ import annotations

from dataclasses import replace

from planner.engines.llamacpp.layers import Layer
from planner.engines.llamacpp.model import GgufModel, converted
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamic:
    """A mix beside one of llama.cpp's: its layers in thousandths of that one's, dense or with experts; how far files lie from it, in thousandths of all weights."""

    base: str
    dense_permille: int
    experts_permille: int
    error_permille: int


DYNAMIC = {
    "UD-Q4_K_XL": Dynamic(base="Q4_K_M", dense_permille=1078, experts_permille=1050, error_permille=25),
    "UD-Q4_K_M": Dynamic(base="Q4_K_M", dense_permille=1050, experts_permille=1048, error_permille=30),
    "UD-Q3_K_XL": Dynamic(base="Q3_K_M", dense_permille=1098, experts_permille=1070, error_permille=40),
}


def name_of(mix: str, model: ModelSpec) -> str:
    """A mix of others by name in any case, UD_Q4_K_XL too; empty for one whose files of such a model, with a recurrent state, nobody compared."""
    wanted = mix.upper().replace("UD_", "UD-", 1)
    return wanted if wanted in DYNAMIC and model.has_state else ""


def dynamic(model: ModelSpec, mix: str) -> GgufModel:
    """The file of a model in a mix of `DYNAMIC`: the ends as llama.cpp has them, the layers larger."""
    rule = DYNAMIC[mix]
    own = converted(model, rule.base)
    permille = rule.experts_permille if own.has_experts else rule.dense_permille
    layers = tuple(Layer(tuple((part, size * permille // 1000) for part, size in layer.parts), layer.caches) for layer in own.layers)
    grown = sum(layer.bytes for layer in layers) - sum(own.layer_bytes)
    return replace(own, mix=mix, layers=layers, file_bytes=own.file_bytes + grown, exact=False, weights_error_permille=rule.error_permille)

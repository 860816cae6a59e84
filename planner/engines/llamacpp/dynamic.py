"""Mixes that others than llama.cpp's quantizer make, by what their published files take beside its own mix of the same bits.

Which tensor gets which type is decided anew for every model and now and again for the same one, so a file's header is exact and this is not.
Sizes (tests/engines/llamacpp/test_field_local.py), as the Hub listed them: Qwen3.5 0.8B to 122B and their own Q8_0 (ggml-org/Llama-macOS#63, March
2026), all of Qwen3.8-27B's on 19 August and 24 September 2026, Qwen3.6-35B-A3B's; of models of attention alone Qwen3-14B, Ministral 3 14B, Mistral
Small, Llama 3.3 70B, Gemma 3 and 4, whose shares lie within 2 % of each other, and two mixtures. What is no expert lies in 8 bits beside experts: a log
of Qwen3.6-35B-A3B with --cpu-moe (June 2026) has 1,921 MiB of it on the GPU. The table of token embeddings too with Qwen3.5 and 3.6: logs of Q4_K_M, of a
file of 8.8 GiB and of the 122B have 8 bits of it, those of Qwen3-Next, Qwen3-Coder-30B and of dense ones as many as llama.cpp's own mix.
"""

from __future__ import annotations

from dataclasses import replace

from planner.engines.llamacpp.layers import EXPERTS, Layer, Part
from planner.engines.llamacpp.model import EXPERTS_STAY, GgufModel, converted
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass

_BESIDE_EXPERTS = "Q8_0"
_WIDE_EMBEDDINGS = "Qwen3_5Moe"
# Tensors by type in logs: of Qwen3.5-122B-A10B 96 in Q4_K, 48 in Q5_K, 373 in Q8_0, the output in Q6_K, to the byte; of Qwen3.6-35B-A3B three of Q6_K more.
_LAID_OUT, _LAID_OUT_PERMILLE = "UD-Q4_K_M", 20
_OF_EIGHT_BITS = {Part.GATE_EXPERTS: 9, Part.UP_EXPERTS: 9, Part.DOWN_EXPERTS: 11}  # seventeenths: 144 and 176 bytes for the 272 of Q8_0
_OF_2025 = "qwen3-next"  # a hybrid whose files are older than the mixes of hybrids: UD-Q4_K_XL takes 46.1 GB, of Qwen3-Coder-Next, which has its shape, 49.6
_SMALL = 2048  # hidden size of a small model, of which more is left in 8 and 16 bits
_LAYER_INPUTS_PERMILLE = 45  # Gemma 3n and 4 E: embeddings for each layer take half of a file, and two files of theirs lay 3 and 7 % lower
_MADE_AGAIN_PERMILLE = 20  # how far a file lies from a known one of the same name


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamic:
    """A mix beside one of llama.cpp's: its layers in thousandths of that one's and how far files lie from it, in thousandths of all weights.

    Of models with a recurrent state (dense, small, with experts), then of those of attention alone (dense, with experts).
    """

    base: str
    hybrid: tuple[int, int]
    small: tuple[int, int]
    hybrid_experts: tuple[int, int]
    dense: tuple[int, int]
    experts: tuple[int, int]

    def share(self, model: ModelSpec, *, has_experts: bool) -> tuple[int, int]:
        """What a model's file takes, and its error."""
        if not model.has_state or model.name.startswith(_OF_2025):
            return self.experts if has_experts else self.dense
        if has_experts:
            return self.hybrid_experts
        return self.small if model.hidden_size <= _SMALL else self.hybrid


DYNAMIC = {
    "UD-IQ2_XXS": Dynamic(base="IQ2_XXS", hybrid=(945, 120), small=(1040, 120), hybrid_experts=(1200, 120), dense=(1048, 30), experts=(1110, 190)),
    "UD-Q2_K_XL": Dynamic(base="Q2_K", hybrid=(935, 70), small=(1031, 70), hybrid_experts=(985, 70), dense=(1066, 30), experts=(998, 90)),
    "UD-IQ3_XXS": Dynamic(base="IQ3_XXS", hybrid=(965, 60), small=(1060, 60), hybrid_experts=(925, 60), dense=(972, 25), experts=(930, 130)),
    "UD-Q3_K_XL": Dynamic(base="Q3_K_M", hybrid=(1040, 70), small=(1150, 70), hybrid_experts=(1050, 70), dense=(1044, 25), experts=(955, 70)),
    "UD-IQ4_XS": Dynamic(base="IQ4_XS", hybrid=(960, 60), small=(1000, 60), hybrid_experts=(935, 60), dense=(1000, 80), experts=(935, 130)),
    "UD-Q4_K_M": Dynamic(base="Q4_K_M", hybrid=(1020, 45), small=(1080, 45), hybrid_experts=(1048, 45), dense=(1000, 80), experts=(1000, 110)),
    "UD-Q4_K_XL": Dynamic(base="Q4_K_M", hybrid=(1072, 30), small=(1131, 45), hybrid_experts=(1050, 30), dense=(1016, 25), experts=(983, 70)),
    "UD-Q5_K_M": Dynamic(base="Q5_K_M", hybrid=(1030, 45), small=(1080, 45), hybrid_experts=(1070, 45), dense=(1005, 80), experts=(1060, 110)),
    "UD-Q5_K_XL": Dynamic(base="Q5_K_M", hybrid=(1080, 50), small=(1110, 50), hybrid_experts=(1080, 50), dense=(1005, 25), experts=(1010, 80)),
    "UD-Q6_K": Dynamic(base="Q6_K", hybrid=(1000, 45), small=(1080, 45), hybrid_experts=(1030, 45), dense=(1000, 80), experts=(1020, 80)),
    "UD-Q6_K_XL": Dynamic(base="Q6_K", hybrid=(1165, 45), small=(1371, 45), hybrid_experts=(1125, 45), dense=(1098, 30), experts=(1051, 70)),
    "UD-Q8_K_XL": Dynamic(base="Q8_0", hybrid=(1095, 45), small=(1660, 45), hybrid_experts=(1100, 45), dense=(1217, 30), experts=(1110, 80)),
}
_KNOWN = {  # bytes of files, by architecture, layers and hidden size
    ("Qwen3MoeForCausalLM", 48, 2048): {
        "UD-Q3_K_XL": 13_806_312_608, "UD-Q4_K_XL": 17_665_334_432, "UD-Q5_K_XL": 21_740_305_568, "UD-Q6_K_XL": 26_340_328_608,
    },
    ("Gemma4ForConditionalGeneration", 30, 2816): {
        "UD-Q2_K_XL": 10_546_934_240, "UD-Q3_K_XL": 12_907_280_096, "UD-Q4_K_XL": 17_011_000_000, "UD-Q5_K_M": 21_150_365_408,
    },
    (EXPERTS_STAY, 24, 2880): {"UD-Q4_K_XL": 11_870_000_000, "UD-Q8_K_XL": 13_200_000_000},
}  # fmt: skip


def name_of(mix: str) -> str:
    """A mix of others by name in any case, UD_Q4_K_XL too; empty for one whose files nobody compared."""
    wanted = mix.upper().replace("UD_", "UD-", 1)
    return wanted if wanted in DYNAMIC else ""


def dynamic(model: ModelSpec, mix: str) -> GgufModel:
    """The file of a model in a mix of `DYNAMIC`: the ends as llama.cpp has them, the layers larger or smaller."""
    rule = DYNAMIC[mix]
    own, wide = converted(model, rule.base), converted(model, _BESIDE_EXPERTS)
    permille, error = rule.share(model, has_experts=own.has_experts)
    if own.layer_inputs:
        error += _LAYER_INPUTS_PERMILLE
    has_wide = model.architecture.startswith(_WIDE_EMBEDDINGS) and not own.tied_bytes
    longer = max(0, wide.input_bytes - own.input_bytes) if has_wide else 0  # at the cost of the layers: the shares are those of whole files
    wanted = sum(own.layer_bytes) * permille // 1000 - longer
    if known := _KNOWN.get((model.architecture, own.layer_count, own.hidden), {}).get(mix):
        wanted, error = known - own.file_bytes + sum(own.layer_bytes) - longer, _MADE_AGAIN_PERMILLE
    if model.architecture == EXPERTS_STAY:
        layers = _beside_scaled(own.layers, wanted if known else sum(own.layer_bytes))
    else:
        layers = _scaled(own.layers, wide.layers if own.has_experts else own.layers, wanted)
    if has_wide and mix == _LAID_OUT:
        layers, error = tuple(_laid_out(layer) for layer in wide.layers), _LAID_OUT_PERMILLE
    grown = sum(layer.bytes for layer in layers) - sum(own.layer_bytes) + longer
    return replace(
        own,
        mix=mix,
        layers=layers,
        input_bytes=own.input_bytes + longer,
        file_bytes=own.file_bytes + grown,
        exact=False,
        weights_error_permille=error,
    )


def _laid_out(layer: Layer) -> Layer:
    """A layer of Unsloth's Q4_K_M of Qwen3.5 and 3.6 with experts, of one in 8 bits: experts in Q4_K, what leads out of them in Q5_K."""
    return Layer(tuple((part, size * _OF_EIGHT_BITS.get(part, 17) // 17) for part, size in layer.parts), layer.caches)


def _beside_scaled(layers: tuple[Layer, ...], wanted_bytes: int) -> tuple[Layer, ...]:
    """Layers that take so many bytes together, of which experts take what they do in every mix."""
    have = sum(layer.bytes - layer.bytes_of(EXPERTS) for layer in layers)
    left = have + wanted_bytes - sum(layer.bytes for layer in layers)
    return tuple(Layer(tuple((part, size if part in EXPERTS else size * left // have) for part, size in layer.parts), layer.caches) for layer in layers)


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

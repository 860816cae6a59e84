"""How vLLM stores a 16-bit checkpoint that it quantizes while loading (`--quantization fp8_per_block`).

Source: vllm 0.33 config/quantization.py _ONLINE_SHORTHANDS, layers/quantization/online/ and experts_int8.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.architecture.formats import (
    FP8_CHANNEL,
    FP8_MATRIX,
    MXFP4_LINEAR,
    MXFP8,
    PER_MATRIX,
    Quantization,
    Target,
    fp8_block,
    nvfp4,
)
from planner.facts.storage import BF16, Cut, Plane, Storage

_INT8_WEIGHTS = Storage(name="int8-weights", planes=(Plane(8), Plane(32, 1, 0)))
# Four bits a weight, an 8-bit scale for 64 of them and a 32-bit one for 256 of these (model_loader/bitsandbytes_loader.py: compress_statistics; until 0.27).
_NF4 = Storage(name="nf4", planes=(Plane(4), Plane(8, 1, 64), Plane(32, 1, 64 * 256)))
_BLOCKS = fp8_block(128, 128, cut=Cut.ANYWHERE)
# Of linear layers and of experts: one scale a matrix, a block of 128 x 128, an output channel, a few inputs; where only experts are, the rest stays.
ONLINE: dict[str, tuple[Storage, Storage]] = {
    "fp8": (FP8_MATRIX, FP8_MATRIX),
    "fp8_per_tensor": (FP8_MATRIX, FP8_MATRIX),
    "fp8_per_block": (_BLOCKS, _BLOCKS),
    "fp8_per_channel": (FP8_CHANNEL, FP8_CHANNEL),
    "mxfp8": (MXFP8, MXFP8),
    "mxfp4": (MXFP4_LINEAR, MXFP4_LINEAR),
    "int8_per_channel_weight_only": (BF16, _INT8_WEIGHTS),
    "experts_int8": (BF16, _INT8_WEIGHTS),
    "bitsandbytes": (_NF4, _NF4),
    "nvfp4_per_token": (BF16, nvfp4(PER_MATRIX, PER_MATRIX)),
}


def online_quantization(name: str) -> Quantization | None:
    """The quantization of that name; None where vLLM has no such method, or its sizes are not known here."""
    if name not in ONLINE:
        return None
    linear, experts = ONLINE[name]

    def lookup(names: Sequence[str], target: Target) -> Storage:
        return BF16 if target is Target.HEAD else experts if target is Target.EXPERTS else linear

    return Quantization(name, lookup, experts if linear is BF16 else linear)

"""The stored forms of a weight, and what a quantization is: who is stored how. Read from checkpoints by quantization.py.

Source of the planes: create_weights of each method in vllm/model_executor/layers/quantization/, 0.33.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from planner.errors import UnsupportedModelError
from planner.facts.model import BF16, Plane, Storage, Tensor


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

SCALE = Plane(32, 0, 0)  # one float32 for each fused part
PER_MATRIX = Plane(32, -1, 0)

FP8_TENSOR = Storage("fp8", (Plane(8), SCALE))
FP8_TENSOR_STATIC = Storage("fp8", (Plane(8), SCALE, SCALE))
FP8_TENSOR_STATIC_EXPERTS = Storage("fp8", (Plane(8), SCALE, PER_MATRIX))
FP8_CHANNEL = Storage("fp8", (Plane(8), Plane(32, 1, 0)))
NVFP4_LINEAR = Storage("nvfp4", (Plane(4), Plane(8, 1, 16), SCALE, SCALE), input_multiple=16)
NVFP4_WEIGHT_ONLY = Storage("nvfp4", (Plane(4), Plane(8, 1, 16), SCALE, Plane(16, 0, 0)), input_multiple=16)  # its unused input scale is 16-bit
MXFP4 = Storage("mxfp4", (Plane(4), Plane(8, 1, 32)), input_multiple=32)
MXFP4_LINEAR = Storage("mxfp4-linear", (Plane(4), Plane(8, 1, 32)), input_multiple=32)
MXFP8 = Storage("mxfp8", (Plane(8), Plane(8, 1, 32)), input_multiple=32)


def fp8_block(rows: int, columns: int, *, scale_bits: int = 32) -> Storage:
    """FP8 with a scale for each block of rows x columns (vllm fp8.py:330)."""
    return Storage(f"fp8-block{rows}", (Plane(8), Plane(scale_bits, rows, columns)))


def grouped_int(bits: int, group: int, zero_points: bool, *, extra_bytes: int = 0, bias: bool = False) -> Storage:
    """4- or 8-bit integers, a 16-bit scale (and packed zero point) a group of inputs; group -1 is a whole row. `bias`: one for each row, used or not."""
    columns = 0 if group == -1 else group
    planes = [Plane(bits, extra_bytes=extra_bytes), Plane(16, 1, columns)]
    if zero_points:
        planes.append(Plane(bits, 1, columns))
    if bias:
        planes.append(Plane(16, 1, 0))
    return Storage(f"int{bits}-g{group}", tuple(planes), input_multiple=max(1, columns), output_multiple=32 // bits if zero_points else 1)


def scalars(count: int, bits: int, name: str = "attn.scales") -> tuple[Tensor, ...]:
    """`count` parameters of one value each."""
    return tuple(Tensor(name=name, axes=(), bits=bits) for _ in range(count))


def listed(names: Sequence[str], matches: Callable[[str], bool]) -> bool:
    """Whether every part of a fused module is listed (vLLM refuses half-listed ones)."""
    hits = [any(matches(s) for s in spellings(name)) for name in names]
    if any(hits) and not all(hits):
        raise UnsupportedModelError(f"only some of {', '.join(names)} are quantized; vLLM needs all parts of a fused layer alike")
    return all(hits)
